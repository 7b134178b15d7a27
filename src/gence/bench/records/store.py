"""One file a trial, written whole or not at all; a study folder is its spec, its trials and what it tried for them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from gence._errors import InputError
from gence._files import write_atomically
from gence.bench.records.trial import RECORD_VERSION, Cell, FailureRecord, TrialRecord, TuningRecord

SPEC_FILE = "study.json"
TRIALS, TUNING, FAILURES = "trials", "tuning", "failures"

Files = tuple[tuple[str, bytes], ...]
"""What a trial leaves behind: places below the folder of the study, and contents; its record comes last."""

NOT_A_STUDY = (json.JSONDecodeError, UnicodeDecodeError, ValidationError, KeyError, AttributeError, TypeError)
"""What reading the content of a study.json may raise that is none."""

_AnyRecord = TypeVar("_AnyRecord", TrialRecord, TuningRecord, FailureRecord)


@dataclass(frozen=True)
class Study:
    """A study on disk: the spec it was started with, and the records finished so far that belong to it.

    Attributes:
        folder: Where it lies; the file, of one that lies in an archive.
        spec: The resolved spec, as it stands in study.json.
        expected: How many trials the whole grid has.
        records: The finished trials, in the order of the grid.
        failures: The trials that came to nothing, in the order of the grid.
    """

    folder: Path
    spec: dict[str, Any]
    expected: int
    records: tuple[TrialRecord, ...]
    failures: tuple[FailureRecord, ...] = ()


def record_path(folder: Path, cell: Cell, key: str) -> Path:
    """The file of a trial: readable first, then enough of the key to tell two recipes apart."""
    return folder / TRIALS / f"{_stem(cell, key)}.json"


def tuning_path(folder: Path, cell: Cell, key: str) -> Path:
    """The file of one trial of a tuning."""
    return folder / TUNING / f"{_stem(cell, key)}.json"


def failure_path(folder: Path, cell: Cell, key: str) -> Path:
    """The file of a failed trial, named as its record would be."""
    return folder / FAILURES / f"{_stem(cell, key)}.json"


def _stem(cell: Cell, key: str) -> str:
    place = [cell.data, cell.model, *([] if cell.regime == "none" else [cell.regime]), cell.loss]
    # Short enough for every file system, whatever the data are called; the key tells two of a name apart.
    readable = re.sub(r"[^\w.=+-]", "-", "-".join(place))[:120]
    return f"{readable}-n{cell.labels_per_class}-b{cell.batch_size}-s{cell.seed}-{key[:12]}"


def trial_files(record: TrialRecord, arrays: Mapping[str, np.ndarray]) -> Files:
    """A trial's logits, then its record: a record on disk means that the trial is whole."""
    path = record_path(Path(), record.cell, record.key)
    buffer = io.BytesIO()
    contents: dict[str, Any] = dict(arrays)
    np.savez_compressed(buffer, **contents)
    return ((str(path.parent / record.logits_file), buffer.getvalue()), (str(path), as_json(record)))


def tuning_files(record: TuningRecord) -> Files:
    """One trial of a tuning."""
    return ((str(tuning_path(Path(), record.cell, record.key)), as_json(record)),)


def write_files(folder: Path, files: Files) -> None:
    """Write what a trial left, in that order."""
    for place, content in files:
        write_atomically(folder / place, content)


def write_record(folder: Path, record: TrialRecord, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a trial's logits, then its record."""
    write_files(folder, trial_files(record, arrays))
    return record_path(folder, record.cell, record.key)


def write_failure(folder: Path, record: FailureRecord) -> None:
    """Write down that a trial came to nothing."""
    write_atomically(failure_path(folder, record.cell, record.key), as_json(record))


def as_json(record: TrialRecord | TuningRecord | FailureRecord) -> bytes:
    """The content of a record's file."""
    return (record.model_dump_json(indent=1) + "\n").encode()


def read_record(path: Path) -> TrialRecord:
    """The record at `path`.

    Raises:
        InputError: If the file is not a record, or one of another version.
    """
    return _read(path, TrialRecord)


def read_tuning(path: Path) -> TuningRecord:
    """The record of one trial of a tuning at `path`; raises as `read_record` does."""
    return _read(path, TuningRecord)


def read_failure(path: Path) -> FailureRecord:
    """The record of a failed trial at `path`; raises as `read_record` does."""
    return _read(path, FailureRecord)


def _read(path: Path, form: type[_AnyRecord]) -> _AnyRecord:
    cure = "move it away to have the trial run again"
    content = path.read_bytes()
    try:
        record = form.model_validate_json(content)
    except ValidationError as error:
        refuse_other_version(f"{path}: record", _version(content), cure)
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a trial record ({reason}); {cure}") from error
    refuse_other_version(f"{path}: record", record.version, cure)
    return record


def _version(content: bytes) -> Any:
    """The version of a record that cannot be read otherwise; today's where it says none."""
    try:
        found = json.loads(content)
    except ValueError:
        return RECORD_VERSION
    return found.get("version", RECORD_VERSION) if isinstance(found, dict) else RECORD_VERSION


def save_study(folder: Path, spec: Mapping[str, Any], trials: Mapping[str, Cell]) -> None:
    """Write study.json: version and spec, and the key and cell of every trial of its grid, in order."""
    cells = {key: cell.model_dump() for key, cell in trials.items()}
    content = {"version": RECORD_VERSION, "spec": dict(spec), "trials": cells}
    write_atomically(folder / SPEC_FILE, (json.dumps(content, indent=1) + "\n").encode())


def load_study(folder: Path) -> Study:
    """Read a study back: its spec and the finished and failed trials of its grid, in grid order.

    Raises:
        InputError: If the folder holds no study or one of another version, or a record in it cannot be read.
    """
    path = folder / SPEC_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no study here ({SPEC_FILE} is missing); give the --out folder of a run or compare")
    try:
        content = json.loads(path.read_text())
        spec, trials = spec_and_grid(content, f"{path}: study", "start the study again with another --out")
    except NOT_A_STUDY as error:
        cure = "delete it and start the study again with the same --out"
        raise InputError(f"{path}: not a study file; {cure}") from error
    records, failures = [], []
    for key, cell in trials.items():
        done, failed = record_path(folder, cell, key), failure_path(folder, cell, key)
        if done.is_file():
            records.append(_own(done, read_record(done), key, cell))
        elif failed.is_file():
            failures.append(_own(failed, read_failure(failed), key, cell))
    return Study(folder, spec, len(trials), tuple(records), tuple(failures))


def spec_and_grid(content: Any, what: str, cure: str) -> tuple[dict[str, Any], dict[str, Cell]]:
    """The spec, and the key and cell of every trial in order, of the content of a study.json.

    Raises:
        InputError: If it is one of another version; `what` and `cure` are for the message.
        NOT_A_STUDY: If it is none.
    """
    # Version 1 did not write its number.
    refuse_other_version(what, content.get("version", 1), cure)
    return {**content["spec"]}, {key: Cell.model_validate(cell) for key, cell in content["trials"].items()}


def _own(path: Path, record: _AnyRecord, key: str, cell: Cell) -> _AnyRecord:
    if (record.key, record.cell) != (key, cell):
        raise InputError(f"{path}: the record of another trial; move it away to have this trial run again")
    return record


def refuse_other_version(what: str, version: Any, cure: str) -> None:
    """Refuse a `version` of records that is not this gence's; `what` and `cure` are for the message."""
    if version != RECORD_VERSION:
        raise InputError(f"{what} version {version!r}, this gence reads version {RECORD_VERSION}; {cure}")
