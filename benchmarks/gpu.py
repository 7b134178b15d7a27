"""How fast GenCE is on a CUDA GPU beside all that computes cross-entropy there, and what memory it needs.

    PYTHONPATH=src python benchmarks/gpu.py --out benchmarks/gpu.json    # under 8 minutes of an idle GPU
    python benchmarks/gpu.py --quick --out rehearsal.json                # the same, with few rounds
    python benchmarks/gpu.py --device cpu --tiny --out rehearsal.json    # the same path, without a GPU
    python benchmarks/gpu.py --table                                     # the tables of docs/speed.md
    python benchmarks/gpu.py --page docs/speed.md                        # and into the page

It needs torch, triton and numpy; Liger, quack and cut-cross-entropy take part where they are installed. Each case runs
in a process of its own. A candidate that fails is an error in the file, and one that takes the process or the device
down is left out in a second try. The file is written after each case, so a run that is stopped keeps what is done.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from speed.candidates import DENSE, LINEAR
from speed.cases import Case, Effort, measure
from speed.machines import Gpu, Machine, Processor
from speed.record import (
    Target,
    environment,
    fill,
    milliseconds,
    ratio,
    shown,
    shown_ratio,
    table,
    verdicts,
    where,
    write,
)

OUT = Path(__file__).with_suffix(".json")

CE, CE_COMPILED, GENCE = "F.cross_entropy", "F.cross_entropy, compiled", "GenCE, triton"
CE_LOGITS, LINEAR_GENCE = "F.cross_entropy of the logits", "linear GenCE, triton"
CHUNKED = ("F.linear_cross_entropy, chunked", "chunked cross-entropy")
CUT = "cut-cross-entropy"

OF_LOGITS = (tuple(DENSE), (CE, CE_COMPILED))
OF_FEATURES = (tuple(LINEAR), (CE_LOGITS, *CHUNKED, CUT))

CASES = [
    Case(8192, 32_000, *OF_LOGITS, dtype="bfloat16"),
    Case(4096, 1000, *OF_LOGITS, dtype="bfloat16"),
    Case(32_768, 1000, *OF_LOGITS, dtype="bfloat16"),
    Case(8192, 128_256, *OF_LOGITS, dtype="bfloat16"),
    Case(8192, 128_256, *OF_FEATURES, dtype="bfloat16", features=4096),
    Case(4096, 1000, *OF_LOGITS),
    Case(4096, 32_000, *OF_FEATURES, dtype="bfloat16", features=1024),
]
"""The most wanted first, should the time not be enough for all."""

TINY = [
    Case(8, 5, (CE, "GenCE, definition", "GenCE", GENCE, CE_COMPILED), (CE, CE_COMPILED)),
    Case(8, 5, (CE_LOGITS, "GenCE of the logits", LINEAR_GENCE, CHUNKED[1]), (CE_LOGITS, CHUNKED[1]), features=3),
]

EFFORT = Effort(seconds=3.5, least=8, most=200)
QUICK = Effort(seconds=0.5, least=3, most=20)
REHEARSAL = Effort(seconds=0.0, least=2, most=2, backend="eager")

MINUTES, MINUTES_A_CASE = 7.5, 2.0


def targets(content: dict[str, Any]) -> list[Target]:
    """The bounds that were set for a Hopper GPU, with what was found at the first setting."""
    bounds: list[Target] = []
    for case in content["cases"]:
        of, entries = case["case"], case["candidates"]
        if case["features"]:
            bounds += _linear_targets(case, content["settings"][0])
        elif case["dtype"] == "bfloat16":
            for base, bound in ((CE, 0.5), (CE_COMPILED, 1.0)):
                found = ratio(case, GENCE, base, content["settings"][0])
                bounds.append(Target(f"{of}: forward and backward to {base}", bound, found and found["median"]))
            peak = entries.get(GENCE, {}).get("peak")
            held = None if peak is None else (1.0 + peak) / 2.0
            bounds.append(Target(f"{of}: peak memory over logits and gradient", 1.02, held))
            if case["classes"] == 32_000:
                share = copy_share(case, GENCE, content["settings"][0])
                bounds.append(Target(f"{of}: share of the copy rate", 0.85, share, at_least=True))
    return bounds


def _linear_targets(case: dict[str, Any], setting: str) -> list[Target]:
    peaks = {name: entry["peak"] for name, entry in case["candidates"].items() if "peak" in entry}
    least = min((peaks[name] for name in (CUT, *CHUNKED) if name in peaks), default=None)
    own = peaks.get(LINEAR_GENCE)
    memory = own / least if own is not None and least is not None else None
    against = [found["median"] for base in CHUNKED if (found := ratio(case, LINEAR_GENCE, base, setting))]
    return [
        Target(f"{case['case']}: peak memory to the least of the chunked and {CUT}", 1.2, memory),
        Target(f"{case['case']}: forward and backward to the fastest chunked", 1.5, max(against, default=None)),
    ]


def copy_share(case: dict[str, Any], name: str, setting: str) -> float | None:
    """The rate at which three passes over the logits were made, as a share of the rate of a large copy."""
    took = milliseconds(case, name, setting)
    if took is None or case["copy_rate"] is None:
        return None
    return 3 * case["logits_bytes"] / (took / 1e3) / case["copy_rate"]


def tables(content: dict[str, Any]) -> str:
    """On what it was measured, a table a case, and the bounds, as docs/speed.md has them."""
    plain, *others = content["settings"]
    parts = [where(content)]
    for case in content["cases"]:
        first, second = case["bases"][:2]
        head = [case["case"], "forward, ms", "backward", "both", *others, f"to {first}", f"to {second}", "peak memory"]
        rows = []
        for name, entry in case["candidates"].items():
            if "error" in entry and "times" not in entry:
                continue
            times = [milliseconds(case, name, plain, part) for part in ("forward", "backward", "both")]
            times += [milliseconds(case, name, setting) for setting in others]
            against = [ratio(case, name, base, plain) for base in (first, second)]
            share = copy_share(case, name, plain)
            last = ["-" if share is None else f"{share:.0%}"] if not case["features"] else []
            launched = [str(entry.get("launches", "-")), shown(milliseconds(case, name, plain, "host"))]
            row = [*map(shown, times), *map(shown_ratio, against), shown(entry.get("peak")), *launched, *last]
            rows.append([name, *row])
        head += ["launches", "launching, ms", *([] if case["features"] else ["of copying"])]
        parts.append(table(head, rows))
    return "\n\n".join([*parts, verdicts(targets(content))])


def run(case: int, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """A case in a process of its own, again without the candidate that took it down, while there is time."""
    until, without = time.perf_counter() + seconds, {}
    while True:
        found, error = _child(case, options, tuple(without), until - time.perf_counter())
        culprit = found.pop("at", None) if error else None
        if culprit is None or time.perf_counter() > until:
            break
        without[culprit] = found["candidates"][culprit].get("error", error)
    for name, why in without.items():
        found["candidates"][name] = {"error": why}
    if error:
        found["error"] = error
    return found


def _child(
    case: int, options: argparse.Namespace, without: tuple[str, ...], seconds: float
) -> tuple[dict[str, Any], str | None]:
    """What a process found before its end, and why it did not end well, if it did not."""
    with tempfile.TemporaryDirectory() as place:
        part = Path(place) / "case.json"
        command = [sys.executable, __file__, "--case", str(case), "--out", str(part), "--device", options.device]
        command += [*(["--tiny"] if options.tiny else []), *(["--quick"] if options.quick else [])]
        command += ["--without", *without] if without else []
        error = None
        # A file and no pipe: a compiler's workers hold a pipe open when the process is stopped.
        with (Path(place) / "stderr").open("w+") as said:
            try:
                status = subprocess.run(command, stderr=said, timeout=max(seconds, 1.0)).returncode
                said.seek(0)
                error = f"exit status {status}: {' '.join(said.read().strip().splitlines()[-1:])}" if status else None
            except subprocess.TimeoutExpired:
                error = f"stopped after {seconds:.0f} s"
        if part.exists():
            return json.loads(part.read_text()), error
    chosen = (TINY if options.tiny else CASES)[case]
    nothing = {"case": str(chosen), "bases": chosen.bases, "features": chosen.features, "dtype": chosen.dtype}
    return {**nothing, "classes": chosen.classes, "candidates": {}}, error


def one_case(options: argparse.Namespace) -> None:
    """What a child does."""
    # Some shapes have fewer rows than classes, which is unwise in training and no matter here.
    warnings.filterwarnings("ignore", message="GenCE was given a batch of")
    case = (TINY if options.tiny else CASES)[options.case]
    case = replace(case, names=tuple(name for name in case.names if name not in options.without))
    effort = REHEARSAL if options.tiny else QUICK if options.quick else EFFORT
    measure(case, _machine(options), effort, lambda found: write(options.out, found))


def _machine(options: argparse.Namespace) -> Machine:
    return Gpu(torch.device("cuda")) if options.device == "cuda" else Processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument(
        "--table", action="store_true", help="print the tables of what was measured, and measure nothing"
    )
    parser.add_argument("--page", type=Path, help="put these tables in their place on this page, and measure nothing")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--tiny", action="store_true", help="rehearse: small shapes, few rounds, nothing compiled")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which no further case is begun")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--without", nargs="+", default=(), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table:
        print(tables(json.loads(options.out.read_text())))
        return
    if options.page:
        fill(options.page, "gpu", tables(json.loads(options.out.read_text())))
        return
    if options.case is not None:
        one_case(options)
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA GPU here; rehearse with --device cpu --tiny")
    started = time.perf_counter()
    device = torch.device(options.device)
    settings = Gpu.settings if device.type == "cuda" else Processor.settings
    content: dict[str, Any] = {"what": __doc__, "environment": environment(device), "settings": settings, "cases": []}
    for number, case in enumerate(TINY if options.tiny else CASES):
        left = 60 * options.minutes - (time.perf_counter() - started)
        if left < 10:
            print(f"no time left for {case}", flush=True)
            continue
        content["cases"].append(run(number, options, min(left, 60 * MINUTES_A_CASE)))
        content["seconds"] = time.perf_counter() - started
        content["targets"] = [one.as_dict() for one in targets(content)]
        write(options.out, content)
        print(f"{content['seconds']:5.0f} s  {case}", flush=True)
        found = content["cases"][-1]
        for name, entry in [("", found), *found["candidates"].items()]:
            if "error" in entry:
                print(f"         {name}: {entry['error']}", flush=True)
    print(tables(content))


if __name__ == "__main__":
    main()
