"""What was measured, as a file: where, when, of what version; targets beside what was found; tables."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import gence

RIVALS = {"liger": "liger-kernel", "quack": "quack-kernels", "cut-cross-entropy": "cut-cross-entropy"}


def environment(device: torch.device) -> dict[str, Any]:
    """Versions of what computes, and the hardware; the threads are those that PyTorch computes with."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "gence": gence.__version__,
        "torch": torch.__version__,
        "triton": _version("triton"),
        **{name: _version(package) for name, package in RIVALS.items()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": card.name,
            "cuda": torch.version.cuda,
            "capability": f"{card.major}.{card.minor}",
            "memory_bytes": card.total_memory,
            "cache_bytes": card.L2_cache_size,
            "multiprocessors": card.multi_processor_count,
        }
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    # platform.processor() is empty on most Linux systems.
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file at once, so that one that is killed while writing leaves the last whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    beside.replace(path)


def fill(page: Path, name: str, text: str) -> None:
    """Put `text` in a page of the docs, between the comments that mark the place `name`."""
    before, start, rest = page.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->\n")
    if not end:
        raise ValueError(f"{page} must have a place called {name!r}; got none: put the comments around it")
    page.write_text(f"{before}{start}\n{text}\n\n{end}{after}")


@dataclass(frozen=True)
class Target:
    """A bound that was set before anything was measured, and what was found; None if it could not be measured."""

    what: str
    bound: float
    found: float | None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        if self.found is None:
            return "not measured"
        met = self.found >= self.bound if self.at_least else self.found <= self.bound
        return "met" if met else "missed"

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}

    def cells(self) -> list[str]:
        """A row of a table."""
        bound = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
        return [self.what, bound, "-" if self.found is None else f"{self.found:.2f}", self.verdict]


def ratio(case: dict[str, Any], name: str, base: str, setting: str, part: str = "both") -> dict[str, float] | None:
    """The median ratio of a candidate to `base` with its interval; None if one of them was not measured."""
    times = case["candidates"].get(name, {}).get("times", {}).get(setting, {})
    return times.get(part, {}).get("ratio", {}).get(base)


def milliseconds(case: dict[str, Any], name: str, setting: str, part: str = "both") -> float | None:
    """The median time of a candidate; None if it was not measured."""
    return case["candidates"].get(name, {}).get("times", {}).get(setting, {}).get(part, {}).get("ms")


def where(content: dict[str, Any]) -> str:
    """On what it was measured, in a sentence."""
    found = content["environment"]
    threads = f"{found['threads']} thread{'s' * (found['threads'] != 1)} of {found['cores']} cores"
    on = f"{found['gpu']}, CUDA {found['cuda']}, triton {found['triton']}" if "gpu" in found else found["processor"]
    return (
        f"{on}, {threads}, load {found['load']:.1f} at the start; torch {found['torch']}, Python {found['python']}, "
        f"gence {found['gence']}; {found['date']}."
    )


def verdicts(targets: Iterable[Target]) -> str:
    """The table of the bounds."""
    return table(["bound", "", "found", ""], [one.cells() for one in targets])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(number: float | None) -> str:
    """Three digits, as they fit."""
    if number is None:
        return "-"
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def shown_ratio(found: dict[str, float] | None) -> str:
    """A ratio with its interval."""
    return "-" if found is None else f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
