"""Run trials in worker processes that end with their parent, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gence._errors import InputError
from gence.bench.plan import Trial
from gence.bench.records import Cell, write_record
from gence.bench.trial import run_trial
from gence.data import LabelledData


@dataclass(frozen=True)
class Failure:
    """A trial that raised, and why; it leaves no record, so the next run tries it again."""

    cell: Cell
    reason: str


def execute(
    trials: Sequence[Trial],
    data: LabelledData,
    folder: Path,
    *,
    workers: int,
    on_done: Callable[[Trial, Failure | None], None],
) -> tuple[Failure, ...]:
    """Run every trial once and write its record; one trial that raises does not stop the others.

    Every trial computes with one thread, so its numbers do not depend on `workers`.

    Args:
        trials: What to run.
        data: The data of all of them.
        folder: The folder of the study.
        workers: Worker processes; 1 runs in this process.
        on_done: Called in this process after each trial, with its failure if it failed.

    Returns:
        The failures.

    Raises:
        InputError: If a worker process dies, which the system does to one that takes too much memory.
    """
    if not trials:
        return ()
    if workers == 1 or len(trials) < 2:
        return _in_this_process(trials, data, folder, on_done)
    return _in_workers(trials, data, folder, min(workers, len(trials)), on_done)


def _in_this_process(
    trials: Sequence[Trial], data: LabelledData, folder: Path, on_done: Callable[[Trial, Failure | None], None]
) -> tuple[Failure, ...]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _warm_up()
    failures = []
    try:
        for trial in trials:
            failure = _run_and_record(trial, data, folder)
            failures += [failure] if failure else []
            on_done(trial, failure)
    finally:
        torch.set_num_threads(threads)
    return tuple(failures)


def _in_workers(
    trials: Sequence[Trial],
    data: LabelledData,
    folder: Path,
    workers: int,
    on_done: Callable[[Trial, Failure | None], None],
) -> tuple[Failure, ...]:
    # A forked child would inherit torch's threads in an unusable state.
    context = multiprocessing.get_context("spawn")
    not_ours = set(multiprocessing.active_children())
    failures = []
    with (
        tempfile.TemporaryDirectory(prefix="gence-") as place,
        ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(_share(data, place), folder)
        ) as pool,
    ):
        try:
            # Submitting starts the workers, and they inherit that Ctrl-C is held back: it reaches the whole process
            # group, and the parent alone decides what becomes of its workers.
            with _ctrl_c_held_back():
                pending = {pool.submit(_run_in_worker, trial): trial for trial in trials}
            for done in as_completed(pending):
                failure = done.result()
                failures += [failure] if failure else []
                on_done(pending[done], failure)
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died, perhaps for want of memory; finished trials are kept: run the same command "
                "again, with fewer --workers"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - not_ours:
                worker.terminate()
            raise
    return tuple(failures)


@dataclass(frozen=True)
class _SharedData:
    """Labelled data whose arrays lie in files: every worker maps the same memory.

    Starting a worker then sends next to nothing; over a pipe, large arrays would make workers start one by one.
    """

    place: str
    arrays: tuple[str, ...]
    rest: dict[str, Any]

    def open(self) -> LabelledData:
        arrays = {name: np.load(Path(self.place) / f"{name}.npy", mmap_mode="r") for name in self.arrays}
        return LabelledData(**arrays, **self.rest)


def _share(data: LabelledData, place: str) -> _SharedData:
    values = {f.name: getattr(data, f.name) for f in fields(data)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    for name, value in arrays.items():
        np.save(Path(place) / f"{name}.npy", value, allow_pickle=False)
    return _SharedData(place, tuple(arrays), {name: value for name, value in values.items() if name not in arrays})


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes started inside never see it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker_data: tuple[LabelledData, Path] | None = None


def _start_worker(shared: _SharedData, folder: Path) -> None:
    global _worker_data
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, args=(shared.place,), daemon=True).start()
    _warm_up()
    _worker_data = (shared.open(), folder)


def _warm_up() -> None:
    """Take the first optimiser step of a process, which imports for seconds, off the clock of its first trial."""
    weight = torch.zeros(1, requires_grad=True)
    weight.sum().backward()
    torch.optim.SGD([weight]).step()


def _end_with_parent(place: str) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        shutil.rmtree(place, ignore_errors=True)
        os._exit(1)


def _run_in_worker(trial: Trial) -> Failure | None:
    assert _worker_data is not None, "the pool starts every worker with its data"
    return _run_and_record(trial, *_worker_data)


def _run_and_record(trial: Trial, data: LabelledData, folder: Path) -> Failure | None:
    try:
        record, arrays = run_trial(trial, data)
    # Whatever a loss or a model raises is that trial's failure; the study goes on and reports it.
    except Exception as error:
        return Failure(trial.cell, f"{type(error).__name__}: {error}")
    write_record(folder, record, arrays)
    return None
