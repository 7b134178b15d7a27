"""Jobs done by worker processes that end with their parent, however it ends."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gence._errors import InputError
from gence.bench.executors.in_process import warm_up
from gence.bench.inputs import StudyData
from gence.bench.jobs import Attempt, Failed, Finished, Job, Outcome, after_death, do, failed

# A forked child would inherit torch's threads in an unusable state.
_START_METHOD = "spawn"

_STARTS = 3
"""How often in a row a worker may die before it is ready, while no worker finishes a job."""


@dataclass(frozen=True)
class Workers:
    """Up to `count` processes, each with one thread and one job at a time, which map the same data.

    A job whose process dies is tried again in a new one. On `"cuda"` the workers take the GPUs in turn.
    """

    data: StudyData
    count: int
    device: torch.device

    def run(self, jobs: Sequence[Job], finished: Finished, go_on: Callable[[], bool]) -> None:
        """Do all of `jobs` and all that follows from them, while `go_on` says so.

        Raises:
            InputError: If the data cannot be laid out for the workers, or a worker cannot be started.
        """
        if not jobs:
            return
        waiting = deque(Attempt(job) for job in jobs)
        not_ours = set(multiprocessing.active_children())
        workers: list[_Worker] = []
        with tempfile.TemporaryDirectory(prefix="gence-") as place:
            try:
                self._work_off(waiting, workers, _share(self.data, Path(place)), place, finished, go_on)
            except BaseException:
                for process in set(multiprocessing.active_children()) - not_ours:
                    process.kill()
                raise
            finally:
                # At once, because each takes a moment to leave.
                with ThreadPoolExecutor(max(len(workers), 1)) as threads:
                    list(threads.map(_Worker.end, workers))

    def _work_off(
        self,
        waiting: deque[Attempt],
        workers: list[_Worker],
        shared: bytes,
        place: str,
        finished: Finished,
        go_on: Callable[[], bool],
    ) -> None:
        busy: dict[Future[str | None], _Worker] = {}

        def fill() -> None:
            for worker in workers:
                if worker.is_idle and waiting and go_on():
                    busy[worker.give(waiting.popleft())] = worker
            dead = [worker for worker in workers if worker.is_dead]
            starting = sum(worker.is_starting for worker in workers)
            while len(waiting) > starting and (dead or len(workers) < self.count) and go_on():
                if not dead:
                    workers.append(_Worker(shared, place, _of_worker(self.device, len(workers))))
                    dead = workers[-1:]
                worker = dead.pop()
                busy[worker.start()] = worker
                starting += 1

        fill()
        while busy:
            over, _ = wait(busy, return_when=FIRST_COMPLETED)
            results = [busy.pop(future).take() for future in over]
            waiting.extend(result for result in results if isinstance(result, Attempt))
            # Before what has come back is written down: a disk is slower than the next job's start.
            fill()
            for result in results:
                if isinstance(result, tuple):
                    waiting.extend(Attempt(job) for job in finished(*result))
                    # Where others get on, whatever kills a worker while it starts is no reason to end the study.
                    for worker in workers:
                        worker.forgive()
            fill()


class _Worker:
    """A pool of one process, so that a death names its culprit, and what it is doing.

    Attributes:
        pool: Of this one process.
        future: Of what it is doing, its start included.
        attempt: The job it is doing.
        is_dead: Whether it has to be started before it can be given anything.
    """

    def __init__(self, shared: bytes, place: str, device: torch.device) -> None:
        self._arguments = (shared, place, device)
        self._starts = 0
        self._since = 0.0
        self.pool: ProcessPoolExecutor | None = None
        self.future: Future[str | None] | None = None
        self.attempt: Attempt | None = None
        self.is_dead = True

    @property
    def is_starting(self) -> bool:
        return self.future is not None and self.attempt is None

    @property
    def is_idle(self) -> bool:
        return self.future is None and not self.is_dead

    def start(self) -> Future[str | None]:
        context = multiprocessing.get_context(_START_METHOD)
        self.pool = ProcessPoolExecutor(1, context, initializer=_start_worker, initargs=self._arguments)
        self.is_dead = False
        self._starts += 1
        # Submitting starts the process, and it inherits that Ctrl-C is held back: it reaches the whole process group,
        # and the parent alone decides what becomes of its workers.
        with _ctrl_c_held_back():
            self.future = self.pool.submit(_be_ready)
        return self.future

    def give(self, attempt: Attempt) -> Future[str | None]:
        assert self.pool is not None, "an idle worker has been started"
        self.attempt, self._since = attempt, time.perf_counter()
        try:
            self.future = self.pool.submit(_leave, self._arguments[1], _do_in_worker, attempt.job)
        except BrokenProcessPool as error:  # it died while it was idle
            self.future = Future()
            self.future.set_exception(error)
        return self.future

    def forgive(self) -> None:
        """Count its deaths while it starts from 0 again."""
        self._starts = 0

    def end(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def take(self) -> tuple[Job, Outcome] | Attempt | None:
        """What came of its job, or the next attempt at it; None if it has only started."""
        assert self.future is not None, "only a worker that does something has anything to take"
        error, attempt, future = self.future.exception(), self.attempt, self.future
        self.future = self.attempt = None
        self.is_dead = isinstance(error, BrokenProcessPool)
        if attempt is None:
            self._check_start(error)
            return None
        if isinstance(error, OSError):
            raise _no_room(self._arguments[1], error)
        if self.is_dead:
            again = after_death(attempt, time.perf_counter() - self._since)
            return (attempt.job, again) if isinstance(again, Failed) else again
        left = future.result()
        assert left is not None, "a job leaves its outcome"
        return attempt.job, pickle.loads(Path(left).read_bytes())

    def _check_start(self, error: BaseException | None) -> None:
        if error is None:
            self._starts = 0
        elif not self.is_dead:
            raise InputError(f"a worker process cannot start: {failed(error, 0.0).reason}") from error
        elif self._starts >= _STARTS:
            raise InputError(
                f"a worker process died {_STARTS} times while it started, perhaps for want of memory; finished trials "
                "are kept: run the same command again, with fewer --workers"
            ) from error


def _of_worker(device: torch.device, number: int) -> torch.device:
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", number % torch.cuda.device_count())


class _Sharer(pickle.Pickler):
    """Pickles all but large arrays, which it lays into files: every worker maps the same memory.

    Starting a worker then sends next to nothing; over a pipe, large arrays would make workers start one by one.
    """

    def __init__(self, stream: io.BytesIO, place: Path) -> None:
        super().__init__(stream)
        self._place = place
        self._count = 0

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, np.ndarray) or obj.nbytes < 4096:
            return NotImplemented
        path = self._place / f"{self._count}.npy"
        self._count += 1
        np.save(path, obj, allow_pickle=False)
        return np.load, (str(path), "r")


def _share(data: StudyData, place: Path) -> bytes:
    stream = io.BytesIO()
    try:
        _Sharer(stream, place).dump(data)
    except OSError as error:
        raise _no_room(place, error) from error
    return stream.getvalue()


def _no_room(place: str | Path, error: OSError) -> InputError:
    return InputError(
        f"{place}: what the workers share cannot be written there ({error}); every finished trial is kept: make room, "
        "set TMPDIR to a folder with room, or give --workers 1"
    )


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


_at_work: tuple[StudyData, torch.device] | Exception | None = None


def _start_worker(shared: bytes, place: str, device: torch.device) -> None:
    global _at_work
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, args=(place,), daemon=True).start()
    # What is raised here would only break the pool; the parent shall learn why.
    try:
        warm_up()
        _at_work = (pickle.loads(shared), device)
    except Exception as error:
        _at_work = error


def _end_with_parent(place: str) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        shutil.rmtree(place, ignore_errors=True)
        os._exit(1)


def _be_ready() -> None:
    if isinstance(_at_work, Exception):
        raise _at_work


def _do_in_worker(job: Job) -> Outcome:
    assert isinstance(_at_work, tuple), "no job is given to a worker that is not ready"
    return do(job, *_at_work)


def _leave(place: str, what: Callable[[Job], Outcome], job: Job) -> str:
    """Do a job and leave its outcome in a file; its name.

    A process that is killed while it sends much down its pipe would leave the parent waiting for the rest for ever.
    """
    try:
        outcome = pickle.dumps(what(job))
    except BaseException as error:
        outcome = pickle.dumps(failed(error, 0.0))
    left = Path(place) / f"{os.getpid()}.outcome"
    left.write_bytes(outcome)
    return str(left)
