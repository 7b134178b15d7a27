"""Cases that two gloo processes run together; they are started once for all cases of a file, as that takes seconds.

A test file is the script of both processes: at its end it calls `take_part` with its cases, if it is run as one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist


def start(script: str, folder: Path) -> None:
    """Run the script in two processes and wait for them; what went wrong in which case is then in the folder."""
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), str(folder)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        outputs = [process.communicate(timeout=180)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)


def what_went_wrong(name: str, rank: int, folder: Path) -> str:
    """The trace of a case in one process, empty if there is none."""
    return (folder / f"{name}-{rank}.txt").read_text()


def take_part(cases: Mapping[str, Callable[[], object]]) -> None:
    """One of the two processes: run every case, leave a file for each with what went wrong, empty if nothing did."""
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", rank=rank, world_size=2, store=store, timeout=timedelta(seconds=60))
    for name, case in cases.items():
        trace = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                case()
        except BaseException:  # the other process must not be left waiting for this one's later cases
            trace = traceback.format_exc()
        (folder / f"{name}-{rank}.txt").write_text(trace)
        dist.barrier()
    dist.destroy_process_group()
