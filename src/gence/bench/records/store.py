"""One file a trial, written whole or not at all; a study folder is its spec and its trials."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from gence._errors import InputError
from gence._files import write_atomically
from gence.bench.records.trial import RECORD_VERSION, Cell, TrialRecord

_SPEC = "study.json"
_TRIALS = "trials"


@dataclass(frozen=True)
class Study:
    """A study on disk: the spec it was started with, and the records finished so far that belong to it.

    Attributes:
        folder: Where it lies.
        spec: The resolved spec, as it stands in study.json.
        expected: How many trials the whole grid has.
        records: The finished trials, in the order of the grid.
    """

    folder: Path
    spec: dict[str, Any]
    expected: int
    records: tuple[TrialRecord, ...]


def record_path(folder: Path, cell: Cell, key: str) -> Path:
    """The file of a trial: readable first, then enough of the key to tell two recipes apart."""
    name = f"{cell.loss}-n{cell.labels_per_class}-b{cell.batch_size}-s{cell.seed}-{key[:12]}"
    return folder / _TRIALS / f"{name}.json"


def write_record(folder: Path, record: TrialRecord, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write a trial's logits, then its record: a record on disk means that the trial is whole."""
    path = record_path(folder, record.cell, record.key)
    buffer = io.BytesIO()
    contents: dict[str, Any] = dict(arrays)
    np.savez_compressed(buffer, **contents)
    write_atomically(path.parent / record.logits_file, buffer.getvalue())
    write_atomically(path, (record.model_dump_json(indent=1) + "\n").encode())
    return path


def read_record(path: Path) -> TrialRecord:
    """The record at `path`.

    Raises:
        InputError: If the file is not a record, or one of another version.
    """
    cure = "move it away to have the trial run again"
    try:
        content = json.loads(path.read_text())
        version = content.get("version") if isinstance(content, dict) else None
        _refuse_other_version(f"{path}: record", version, cure)
        return TrialRecord.model_validate_json(json.dumps(content))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not a trial record ({reason}); {cure}") from error


def save_study(folder: Path, spec: Mapping[str, Any], trials: Mapping[str, Cell]) -> None:
    """Write study.json: version and spec, and the key and cell of every trial of its grid, in order."""
    cells = {key: cell.model_dump() for key, cell in trials.items()}
    content = {"version": RECORD_VERSION, "spec": dict(spec), "trials": cells}
    write_atomically(folder / _SPEC, (json.dumps(content, indent=1) + "\n").encode())


def load_study(folder: Path) -> Study:
    """Read a study back: its spec and the finished records of its grid, in grid order.

    Raises:
        InputError: If the folder holds no study or one of another version, or a record in it cannot be read.
    """
    path = folder / _SPEC
    if not path.is_file():
        raise InputError(f"{folder}: no study here ({_SPEC} is missing); give the --out folder of a run or compare")
    try:
        content = json.loads(path.read_text())
        # Version 1 did not write its number.
        _refuse_other_version(f"{path}: study", content.get("version", 1), "start the study again with another --out")
        trials = {key: Cell.model_validate(cell) for key, cell in content["trials"].items()}
        spec = dict(content["spec"])
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError, KeyError, AttributeError, TypeError) as error:
        cure = "delete it and start the study again with the same --out"
        raise InputError(f"{path}: not a study file; {cure}") from error
    paths = {key: record_path(folder, cell, key) for key, cell in trials.items()}
    records = {key: read_record(path) for key, path in paths.items() if path.is_file()}
    for key, record in records.items():
        if (record.key, record.cell) != (key, trials[key]):
            raise InputError(f"{paths[key]}: the record of another trial; move it away to have this trial run again")
    return Study(folder, spec, len(trials), tuple(records.values()))


def _refuse_other_version(what: str, version: Any, cure: str) -> None:
    if version != RECORD_VERSION:
        raise InputError(f"{what} version {version!r}, this gence reads version {RECORD_VERSION}; {cure}")
