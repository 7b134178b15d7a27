"""One piece of a study's work, wherever it is done: what goes in, what comes out, and what may go wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from gence.bench.inputs import StudyData
from gence.bench.plan import Trial
from gence.bench.records import FailureKind, Files, Tried, trial_files, tuning_files
from gence.bench.trial import run_trial
from gence.bench.tune import TuningTrial, run_tuning_trial

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Job = Trial | TuningTrial


@dataclass(frozen=True)
class Done:
    """A job that came to its end: the files it leaves for the folder of the study, and for a tuning what was tried."""

    files: Files
    seconds: float
    tried: Tried | None = None


@dataclass(frozen=True)
class Failed:
    """A job that came to nothing, and why; `attempts` is how often it was tried."""

    kind: FailureKind
    reason: str
    seconds: float
    attempts: int = 1


Outcome = Done | Failed

Finished = Callable[[Job, Outcome], Sequence[Job]]
"""Called in the process of the study after every job; returns the jobs that can be done now because of it."""


class Executor(Protocol):
    """Does jobs somewhere, each once, in any order; the caller alone writes files."""

    def run(self, jobs: Sequence[Job], finished: Finished, go_on: Callable[[], bool]) -> None:
        """Do all of `jobs` and all that follows from them; what `finished` raises ends the run.

        Before a job is started `go_on` is asked; once it says no, only what has been started is brought to its end.
        """
        ...


ATTEMPTS = 3
"""How often a job is tried whose process dies."""


@dataclass(frozen=True)
class Attempt:
    """A job, and how often it has been tried, this time included."""

    job: Job
    number: int = 1


def do(job: Job, data: StudyData, device: torch.device, group: ProcessGroup | None = None) -> Outcome:
    """Do one job. Whatever a loss, a model or the memory makes of it is its own failure, and no other job's."""
    started = time.perf_counter()
    try:
        if isinstance(job, TuningTrial):
            record = run_tuning_trial(job, data, device, group)
            files, tried = tuning_files(record), record.tried
        else:
            files, tried = trial_files(*run_trial(job, data, device, group)), None
        return Done(files, time.perf_counter() - started, tried)
    # A model that calls sys.exit ends its trial, not the study.
    except (Exception, SystemExit) as error:
        return failed(error, time.perf_counter() - started)


def failed(error: BaseException, seconds: float) -> Failed:
    """The failure of a job that raised `error`."""
    return Failed(_kind(error), _reason(error), seconds)


def after_death(attempt: Attempt, seconds: float) -> Attempt | Failed:
    """The next attempt at a job whose process died, or its failure if that was the last one."""
    if attempt.number < ATTEMPTS:
        return Attempt(attempt.job, attempt.number + 1)
    reason = f"its worker process died {attempt.number} times, perhaps for want of memory"
    return Failed("died", reason, seconds, attempt.number)


# On a CPU torch says so in words only.
_NO_MEMORY = ("not enough memory", "DefaultCPUAllocator", "Cannot allocate memory", "out of memory")


def _kind(error: BaseException) -> FailureKind:
    if isinstance(error, FloatingPointError):
        return "diverged"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return "memory"
    return "error"


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
