"""One spec for as long as the machine is there: what is done comes from an archive and goes into one."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from evidence.packed_data import PackedData
from evidence.rows import rows_of
from evidence.schedule import Assumed, Piece, Schedule, pieces_in_order
from gence._errors import InputError
from gence._files import write_atomically
from gence.bench.executors import InProcess, Workers
from gence.bench.inputs import StudyData
from gence.bench.jobs import Done, Job, Outcome
from gence.bench.ledger import Ledger, Progress
from gence.bench.plan import Trial, plan
from gence.bench.records import (
    read_study,
    record_path,
    save_study,
    write_archive,
    write_failure,
)
from gence.bench.spec import Spec

ENDING = ".study.gz"

_RARELY = 10.0
"""So many times as long as writing the archive takes, trials end before it is written again."""


@dataclass(frozen=True)
class Session:
    """What one call is given.

    Attributes:
        out: The folder for archives; they alone need to be kept.
        resume: The folder with archives of earlier sessions.
        started: When it began, by `time.monotonic`.
        end: When it must be over.
        assumed: Of the machine, with the number of worker processes.
        fewer: Whether there may be fewer, where so many would slow each other down until none is done in time.
        device: Where models are trained.
        retry_failed: Whether trials that failed are tried again.
        say: Is told every line of progress.
    """

    out: Path
    resume: Path
    started: float
    end: float
    assumed: Assumed
    device: torch.device
    fewer: bool = False
    retry_failed: bool = False
    say: Callable[[str], None] = print

    def left(self, name: str, spec: Spec, data: StudyData) -> list[Piece]:
        """The trials of the spec that the pack has the rows of and no earlier session has done, in order."""
        with self._opened(name, spec, data) as (_, ledger):
            return _pieces(ledger, spec, data)

    def run(self, name: str, spec: Spec, data: StudyData) -> Path:
        """Run what is left of a spec, as far as it goes; the archive.

        Raises:
            InputError: If an archive cannot be read or is of another study.
        """
        archive = self.out / f"{name}{ENDING}"
        with self._opened(name, spec, data) as (folder, ledger):
            pieces, assumed = _pieces(ledger, spec, data), self.assumed
            if self.fewer:
                assumed = assumed.with_fitting_workers(pieces, self.end - time.monotonic())
            schedule = Schedule(pieces, assumed, self.started, self.end)
            keeper = _Keeper(folder, archive, self.end)

            def finished(job: Job, outcome: Outcome) -> Sequence[Job]:
                ledger.finished(job, _without_logits(outcome))
                assert isinstance(job, Trial), "nothing is tuned"
                if isinstance(outcome, Done):  # one that failed may have failed at once
                    schedule.learn(job, outcome.seconds)
                keeper.keep()
                following = schedule.next()
                return [] if following is None else [following]

            trials = (schedule.next() for _ in range(assumed.workers))
            first = [trial for trial in trials if trial is not None]
            executor = (
                InProcess(data, self.device) if assumed.workers == 1 else Workers(data, assumed.workers, self.device)
            )
            # What has been done is there even if the last trials take longer than the machine is lent for.
            last = threading.Timer(max(self.end - time.monotonic(), 0.0), keeper.keep)
            last.daemon = True
            last.start()
            try:
                executor.run(first, finished, lambda: time.monotonic() < self.end)
            finally:
                last.cancel()
                keeper.keep(at_once=True)
        return archive

    @contextmanager
    def _opened(self, name: str, spec: Spec, data: StudyData) -> Iterator[tuple[Path, Ledger]]:
        planned = plan(spec, data)
        with tempfile.TemporaryDirectory(prefix="gence-evidence-") as place:
            folder = Path(place)
            written = {**spec.model_dump(mode="json"), "command": "benchmarks/gpu_evidence/run.py"}
            save_study(folder, written, {trial.key: trial.cell for trial in planned.trials})
            _restore(self.resume / f"{name}{ENDING}", folder, {trial.key for trial in planned.trials})
            yield folder, Ledger(planned, folder, retry_failed=self.retry_failed, on_progress=self._tell)

    def _tell(self, progress: Progress) -> None:
        if (cell := progress.cell) is None:
            return
        place = f"{cell.loss}, {cell.model}, {cell.labels_per_class} labels a class, seed {cell.seed}"
        failed = f" failed: {progress.failure}" if progress.failure else ""
        minutes = (time.monotonic() - self.started) / 60
        self.say(f"{minutes:5.1f} min  {progress.done}/{progress.total}  {place}{failed}")


class _Keeper:
    """Writes the archive of a folder, not more often than is worth it."""

    def __init__(self, folder: Path, archive: Path, end: float) -> None:
        self._folder, self._archive, self._end = folder, archive, end
        self._last, self._took = -1e9, 0.0
        self._alone = threading.Lock()

    def keep(self, *, at_once: bool = False) -> None:
        with self._alone:
            now = time.monotonic()
            if not at_once and now < self._end and now - self._last < _RARELY * self._took:
                return
            write_archive(self._folder, self._archive)
            self._last = time.monotonic()
            self._took = self._last - now


def _pieces(ledger: Ledger, spec: Spec, data: StudyData) -> list[Piece]:
    there = [job for job in ledger.start() if isinstance(job, Trial) and _is_packed(job, data)]
    return pieces_in_order(there, data, spec)


def _is_packed(trial: Trial, data: StudyData) -> bool:
    one = data.labelled[trial.cell.data]
    return not isinstance(one, PackedData) or one.has(rows_of(trial, data))


def _without_logits(outcome: Outcome) -> Outcome:
    """Logits are a hundred times as large as all else, and no report reads them."""
    if not isinstance(outcome, Done):
        return outcome
    return replace(outcome, files=tuple(file for file in outcome.files if file[0].endswith(".json")))


def _restore(archive: Path, folder: Path, known: set[str]) -> None:
    """Lay out what an archive holds; without one there is nothing to restore."""
    if not archive.is_file():
        return
    study = read_study(archive)
    strange = [one for one in (*study.records, *study.failures) if one.key not in known]
    if strange:
        raise InputError(
            f"{archive}: {len(strange)} of its trials are none of this study, as the spec, the test rows or the "
            "foreign images have changed; name another --resume and --out, or undo the change"
        )
    for record in study.records:
        text = record.model_dump_json(indent=1) + "\n"
        write_atomically(record_path(folder, record.cell, record.key), text.encode())
    for failure in study.failures:
        write_failure(folder, failure)
