"""Scripts that run as `python script` runs them, each in a process of its own, which has imported the large packages.

Importing torch takes seconds, transformers and Lightning take ten. So one process imports them, and forks for every
script before anything is computed.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """What came of a script: its exit status, and what it printed."""

    status: int
    out: str
    err: str


class WarmPython:
    """A process that has imported these modules; use it as a context manager, which ends it."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> WarmPython:
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.communicate()

    def run(self, script: Path, folder: Path, *, warnings_are_errors: bool = False) -> Ended:
        """Run the script in the folder, and wait for its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        printed = folder / "out.txt", folder / "err.txt"
        self._process.stdin.write(json.dumps([str(script), *map(str, printed), warnings_are_errors]) + "\n")
        self._process.stdin.flush()
        status = self._process.stdout.readline()
        assert status, "the process that forks has ended"
        return Ended(int(status), *(path.read_text() for path in printed))


def main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for request in sys.stdin:
        script, out, err, warnings_are_errors = json.loads(request)
        child = os.fork()
        if not child:
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        return
    for number, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(Path(out).parent)
    if warnings_are_errors:
        sys.warnoptions.insert(0, "error")
        warnings.simplefilter("error")
    sys.argv = [script]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
