"""Fresh environments, as a stranger makes them: the core alone, each extra alone, and a torchvision that is broken.

    python tests/environments.py

It downloads PyTorch once and takes some minutes, so the tests do not run it. Every line that it prints is a check; the
exit status is 1 if one failed.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXTRAS = {
    "sklearn": "gence.integrations.sklearn",
    "hf": "gence.integrations.huggingface",
    "lightning": "gence.integrations.lightning",
    "boosting": "gence.integrations.boosting",
    "jax": "gence.integrations.jax",
    "onnx": "gence.classifier, onnx, onnxruntime, onnxscript",
    "lab": "gence.cli",
}
"""Extra -> the module that is for it."""

REPEATS = 9
LIMIT_MS = 50.0

failed: list[str] = []


def say(what: str, fine: bool, found: str) -> None:
    print(f"{'ok  ' if fine else 'FAIL'} {what}: {found}", flush=True)
    if not fine:
        failed.append(what)


def call(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tempfile.gettempdir())


def check(what: str, python: Path, code: str) -> None:
    result = call(python, code)
    said = (result.stdout + result.stderr).strip().splitlines()
    say(what, result.returncode == 0, said[-1] if said else "fine")


def install(python: Path, *what: str) -> float:
    started = time.perf_counter()
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", ROOT / "constraints.txt", *what], check=True)
    return time.perf_counter() - started


def first_example() -> str:
    found = re.search(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        core, other = Path(folder, "core"), Path(folder, "other")
        subprocess.run([sys.executable, "-m", "venv", core], check=True)
        python = core / "bin/python"
        seconds = install(python, str(ROOT))
        found = call(python, "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions()))")
        extra = {"sklearn", "scikit-learn", "pandas", "pydantic", "scipy", "triton"} & set(found.stdout.lower().split())
        say("the core in one pip line", not extra, f"{seconds:.0f} s; {found.stdout.strip()}")
        check("the first example of the README", python, first_example())
        adds = [
            float(
                call(
                    python,
                    "import torch, time; t = time.perf_counter(); import gence; print(1e3 * (time.perf_counter() - t))",
                ).stdout
            )
            for _ in range(REPEATS)
        ]
        middle = statistics.median(adds)
        say(
            f"import gence adds under {LIMIT_MS:g} ms to import torch",
            middle < LIMIT_MS,
            f"median {middle:.1f} ms of {REPEATS}, from {min(adds):.1f} to {max(adds):.1f}",
        )
        for name, module in EXTRAS.items():
            # An environment is its folder: the copy answers to its own path.
            shutil.copytree(core, other, symlinks=True)
            seconds = install(other / "bin/python", f"{ROOT}[{name}]")
            check(f"[{name}] alone, {seconds:.0f} s: import {module}", other / "bin/python", f"import {module}")
            shutil.rmtree(other)
        broken(core, other)
    sys.exit(bool(failed))


def broken(core: Path, other: Path) -> None:
    """Everything that is for people beside a torchvision that was built for another PyTorch."""
    shutil.copytree(core, other, symlinks=True)
    python = other / "bin/python"
    install(python, f"{ROOT}[lab,sklearn,hf,lightning,boosting,jax,onnx]")
    # The wheel of another version: its operators are not there.
    install(python, "--no-deps", "torchvision")
    result = call(python, "import torchvision")
    said = (result.stderr.strip().splitlines() or ["it can be imported"])[-1]
    say("torchvision is there and broken", result.returncode != 0, said)
    check("gence beside it", python, first_example())
    for name, module in EXTRAS.items():
        if name != "lightning":
            check(f"{module} beside it", python, f"import {module}")
    # Lightning itself fails then, and no callback of ours can change that: it must say what the cure is.
    result = call(python, "import gence.integrations.lightning")
    said = (result.stderr.strip().splitlines() or ["it can be imported"])[-1]
    fine = result.returncode == 0 or ("ImportError" in said and "torchvision" in said)
    say("gence.integrations.lightning beside it", fine, said)


if __name__ == "__main__":
    main()
