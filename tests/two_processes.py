"""Cases that two gloo processes run together; they are started once for all cases of a file, as that takes seconds.

A test file is the script of both processes: at its end it calls `take_part` with its cases, if it is run as one. What
it imports is imported once, and the process forks before anything is computed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes


def start(script: str, folder: Path) -> None:
    """Run the script in two processes and wait for them; what went wrong in which case is then in the folder."""
    process = subprocess.Popen(
        [sys.executable, script, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output = process.communicate(timeout=180)[0]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output


def what_went_wrong(name: str, rank: int, folder: Path) -> str:
    """The trace of a case in one process, empty if there is none."""
    return (folder / f"{name}-{rank}.txt").read_text()


def take_part(cases: Mapping[str, Callable[[], object]]) -> None:
    """Be two processes that run every case, and leave a file for each with what went wrong, empty if nothing did."""
    torch.set_num_threads(1)
    start_processes(_run, (cases, Path(sys.argv[1])), nprocs=2, start_method="fork")


def _run(rank: int, cases: Mapping[str, Callable[[], object]], folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}  # as torchrun would set them
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
