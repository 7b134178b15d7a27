"""What of a study is done, what may be done now, and what each finished job makes possible."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gence.bench.environment import environment
from gence.bench.jobs import Done, Failed, Job, Outcome
from gence.bench.plan import Plan, Trial
from gence.bench.records import (
    RECORD_VERSION,
    Cell,
    FailureRecord,
    Tuned,
    TuningRecord,
    failure_path,
    read_failure,
    read_record,
    read_tuning,
    record_path,
    tuning_files,
    tuning_path,
    write_failure,
    write_files,
)
from gence.bench.tune import Tuning, TuningTrial, tried_of


@dataclass(frozen=True)
class Progress:
    """Where a study stands: called with the cell of the job that just ended, or None at the start.

    Attributes:
        done: Trials of the grid and of tunings that are behind us, failed ones included.
        total: All of them.
        cell: Whose job just ended.
        tuning: Whether that was a trial of a tuning.
        failure: Why it came to nothing, if it did.
    """

    done: int
    total: int
    cell: Cell | None
    tuning: bool = False
    failure: str | None = None


class Ledger:
    """The one place that writes a study's files; the folder says what is done, so that a broken study goes on."""

    def __init__(
        self, plan: Plan, folder: Path, *, retry_failed: bool, on_progress: Callable[[Progress], None]
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._retry_failed = retry_failed
        self._on_progress = on_progress
        self._tunings: dict[str, Tuning] = {}
        self._waiting: dict[str, list[Trial]] = {}
        self._done = 0
        self._total = len(plan.trials)

    def start(self) -> list[Job]:
        """The jobs that can be done at once.

        Raises:
            InputError: If a record in the folder cannot be read.
        """
        jobs: list[Job] = []
        for trial in self._plan.trials:
            if self._is_behind_us(trial):
                self._done += 1
            elif trial.tuning is None:
                jobs.append(trial)
            else:
                self._waiting.setdefault(trial.tuning, []).append(trial)
        # Counted before any of them is taken up again, which may count trials as done.
        self._total += sum(self._plan.tunings[key].tune.trials for key in self._waiting)
        for key in list(self._waiting):
            if self._retry_failed:
                self._forget_if_all_failed(key)
            self._tunings[key] = Tuning(self._plan.tunings[key])
            jobs += self._advance(key)
        self._on_progress(Progress(self._done, self._total, None))
        return jobs

    def finished(self, job: Job, outcome: Outcome) -> Sequence[Job]:
        """Write down what came of a job, and say what can be done now because of it."""
        if isinstance(job, TuningTrial):
            return self._finished_tuning(job, outcome)
        if isinstance(outcome, Done):
            write_files(self._folder, outcome.files)
            failure_path(self._folder, job.cell, job.key).unlink(missing_ok=True)
        else:
            self._write_failure(job, outcome)
        self._count(job, outcome)
        return ()

    def _is_behind_us(self, trial: Trial) -> bool:
        path = record_path(self._folder, trial.cell, trial.key)
        if path.is_file():
            read_record(path)
            # It stayed if the run that wrote the record ended before it could be removed.
            failure_path(self._folder, trial.cell, trial.key).unlink(missing_ok=True)
            return True
        failed = failure_path(self._folder, trial.cell, trial.key)
        return not self._retry_failed and failed.is_file() and bool(read_failure(failed))

    def _forget_if_all_failed(self, key: str) -> None:
        """Start a tuning from the beginning that nothing came of; no finished trial rests on it.

        One that something came of stays as it is: its seeds shall all have the recipe that it chose.
        """
        tuning, found = Tuning(self._plan.tunings[key]), list[Path]()
        while (trial := tuning.next()) is not None:
            path = tuning_path(self._folder, trial.cell, trial.key)
            if not path.is_file():
                return
            tuning.tell(read_tuning(path).tried)
            found.append(path)
        if tuning.result() is None:
            for path in found:
                path.unlink()

    def _advance(self, key: str) -> list[Job]:
        """The next trial of a tuning, or the trials that waited for it."""
        tuning = self._tunings[key]
        while (trial := tuning.next()) is not None:
            path = tuning_path(self._folder, trial.cell, trial.key)
            if not path.is_file():
                return [trial]
            tuning.tell(read_tuning(path).tried)
            self._done += 1
        waiting, tuned = self._waiting.pop(key), tuning.result()
        if tuned is not None:
            return [_with_recipe(trial, tuned) for trial in waiting]
        nothing = Failed("error", f"every one of the {tuning.plan.tune.trials} trials of its tuning failed", 0.0)
        for trial in waiting:
            self._write_failure(trial, nothing)
            self._count(trial, nothing)
        return []

    def _finished_tuning(self, job: TuningTrial, outcome: Outcome) -> Sequence[Job]:
        if isinstance(outcome, Done):
            assert outcome.tried is not None, "a trial of a tuning says what was tried"
            write_files(self._folder, outcome.files)
            tried = outcome.tried
        else:
            tried = tried_of(job, failure=f"{outcome.kind}: {outcome.reason}")
            record = TuningRecord(
                version=RECORD_VERSION,
                key=job.key,
                tuning=job.plan.key,
                spec_hash=job.plan.spec_hash,
                cell=job.cell,
                tried=tried,
                rows={},
                seconds={"train": outcome.seconds},
                environment=environment(),
                finished_at=_now(),
            )
            write_files(self._folder, tuning_files(record))
        self._tunings[job.plan.key].tell(tried)
        self._count(job, outcome)
        return self._advance(job.plan.key)

    def _write_failure(self, trial: Trial, outcome: Failed) -> None:
        path = failure_path(self._folder, trial.cell, trial.key)
        before = read_failure(path).attempts if path.is_file() else 0
        record = FailureRecord(
            version=RECORD_VERSION,
            key=trial.key,
            spec_hash=trial.spec_hash,
            cell=trial.cell,
            kind=outcome.kind,
            reason=outcome.reason,
            attempts=before + outcome.attempts,
            seconds=outcome.seconds,
            environment=environment(),
            failed_at=_now(),
        )
        write_failure(self._folder, record)

    def _count(self, job: Job, outcome: Outcome) -> None:
        self._done += 1
        failure = outcome.reason if isinstance(outcome, Failed) else None
        self._on_progress(Progress(self._done, self._total, job.cell, isinstance(job, TuningTrial), failure))


def _with_recipe(trial: Trial, tuned: Tuned) -> Trial:
    best = next(tried for tried in tuned.tried if tried.number == tuned.chosen)
    recipe = dataclasses.replace(
        trial.recipe, learning_rate=best.learning_rate, weight_decay=best.weight_decay, epochs=best.epochs
    )
    return dataclasses.replace(trial, recipe=recipe, knobs=best.knobs, tuned=tuned)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
