"""A study in one file to commit: every record as it was written, without the logits beside it."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gence._errors import InputError
from gence._files import check_place, write_atomically
from gence.bench.records.store import (
    NOT_A_STUDY,
    SPEC_FILE,
    TUNING,
    Study,
    as_json,
    failure_path,
    load_study,
    read_tuning,
    record_path,
    refuse_other_version,
    spec_and_grid,
    tuning_path,
    write_files,
)
from gence.bench.records.trial import Cell, FailureRecord, TrialRecord, TuningRecord

ARCHIVE_VERSION = 1
ENDING = ".study.gz"

LARGEST = 2**30
"""Bytes of an archive once unpacked; a file that holds more is none of ours, whatever it unpacks to."""

_FORMAT = "gence study"
_GIVE = "give one that gence report --archive wrote"
_CURE = "make it again from the run with gence report --archive"


class _Header(BaseModel):
    """The first line; `study` is what study.json holds, `records` how many of each kind follow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["gence study"] = _FORMAT
    archive: int = ARCHIVE_VERSION
    records: dict[str, int]
    study: dict[str, Any]


class _Line(BaseModel):
    """A line after the first: one record, under the name of its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial: TrialRecord | None = None
    tuning: TuningRecord | None = None
    failure: FailureRecord | None = None


def write_archive(folder: Path, path: Path) -> Path:
    """Write the study in `folder` into the file `path`, whole or not at all.

    It is gzip of JSON lines. The first has the format, the version of archives, study.json as it stands, and how many
    records of each kind follow; then come the trials and the failures of its grid and all trials of tunings, every
    kind in the order of its file names. The numbers are those of the records, to the last digit, and the same records
    give the same bytes.

    Args:
        folder: The folder of a run.
        path: The archive; its name ends in `.study.gz`.

    Returns:
        `path`.

    Raises:
        InputError: If the name ends in anything else, no file can be written there, the folder holds no study or one
            that cannot be read, or the archive would be larger than may be read back.
    """
    check_archive(path)
    if folder.is_file():
        raise InputError(f"{folder}: the folder of a run is expected, this is a file; copy an archive as it is")
    study = load_study(folder)
    tunings = sorted((folder / TUNING).glob("*.json"))
    for tuning in tunings:
        read_tuning(tuning)
    places = {
        "trial": sorted(record_path(folder, record.cell, record.key) for record in study.records),
        "tuning": tunings,
        "failure": sorted(failure_path(folder, record.cell, record.key) for record in study.failures),
    }
    counts = {kind: len(paths) for kind, paths in places.items()}
    header = _Header(records=counts, study=_content(folder / SPEC_FILE)).model_dump()
    records = ({kind: _content(one)} for kind, paths in places.items() for one in paths)
    text = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in (header, *records))
    if len(text) > LARGEST:
        raise InputError(
            f"{path}: {len(text):,} bytes of records are more than the {LARGEST:,} that an archive may hold; make "
            "several studies of it, and an archive of each"
        )
    write_atomically(path, _packed(text))
    return path


def check_archive(path: Path) -> None:
    """Refuse a place where no archive can be written, before any long work.

    Raises:
        InputError: If the name does not end in `.study.gz`, a folder is in the way, or the permission is missing.
    """
    if not path.name.endswith(ENDING) or path.name == ENDING:
        raise InputError(f"{path}: the name of an archive ends in {ENDING}; give --archive NAME{ENDING}")
    check_place(path)


def read_study(place: Path) -> Study:
    """Read a study, from the folder of a run or from an archive of one.

    Raises:
        InputError: If it is neither, or one of another version, or a record in it cannot be read.
    """
    archived = place.is_file() or (place.name.endswith(ENDING) and not place.exists())
    return read_archive(place) if archived else load_study(place)


def read_archive(path: Path) -> Study:
    """Read a study from an archive; raises as `read_study` does, for a folder too."""
    spec, trials, found = _contents(path)
    done, failed = found["trial"], found["failure"]
    return Study(
        path,
        spec,
        len(trials),
        tuple(done[key] for key in trials if key in done),
        tuple(failed[key] for key in trials if key in failed),
    )


def unpack_archive(path: Path, folder: Path) -> None:
    """Write the records of an archive that `folder` does not have, as files of a run; a run can then go on there.

    What an archive lacks stays missing: the logits. A record that is there is left as it is.

    Raises:
        InputError: If `path` is no archive, or a record in it cannot be read.
    """
    _, _, found = _contents(path)
    for record in found["tuning"].values():
        _add(folder, tuning_path(Path(), record.cell, record.key), record)
    for record in found["failure"].values():
        if not record_path(folder, record.cell, record.key).exists():
            _add(folder, failure_path(Path(), record.cell, record.key), record)
    for record in found["trial"].values():
        _add(folder, record_path(Path(), record.cell, record.key), record)


def _add(folder: Path, place: Path, record: TrialRecord | TuningRecord | FailureRecord) -> None:
    if not (folder / place).exists():
        write_files(folder, ((str(place), as_json(record)),))


def _contents(path: Path) -> tuple[dict[str, Any], dict[str, Cell], dict[str, dict[str, Any]]]:
    """The spec, the cells of the grid by their keys, and of each kind the records by theirs."""
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, not an' if path.is_dir() else 'no such'} archive; {_GIVE}")
    lines = _lines(path)
    spec, trials, counts = _opened(path, next(lines, b""))
    found: dict[str, dict[str, Any]] = {"trial": {}, "tuning": {}, "failure": {}}
    for number, line in enumerate(lines, 2):
        kind, record = _record(f"{path}: line {number}", line)
        if kind != "tuning" and trials.get(record.key) != record.cell:
            raise InputError(f"{path}: line {number}: the record of a trial that the study has not; {_CURE}")
        if record.key in found[kind]:
            raise InputError(f"{path}: line {number}: a record that was there before; {_CURE}")
        found[kind][record.key] = record
    there = {kind: len(records) for kind, records in found.items()}
    if there != counts:
        raise InputError(f"{path}: {_counted(counts)} are expected, {_counted(there)} are there; {_CURE}")
    return spec, trials, found


def _lines(path: Path) -> Iterator[bytes]:
    left = LARGEST
    try:
        with gzip.open(path) as stream:
            while line := stream.readline(left + 1):
                left -= len(line)
                if left < 0:
                    raise InputError(f"{path}: more than {LARGEST:,} bytes once unpacked; no archive holds so many")
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: not a whole archive of a study ({error}); {_GIVE}") from error


def _opened(path: Path, line: bytes) -> tuple[dict[str, Any], dict[str, Cell], dict[str, int]]:
    """What the first line says: the spec, the cells of the grid by their keys, and how many records follow."""
    try:
        content = json.loads(line)
        # A newer archive may have another header.
        if content["format"] == _FORMAT and content["archive"] != ARCHIVE_VERSION:
            raise InputError(
                f"{path}: archive version {content['archive']!r}, this gence reads version {ARCHIVE_VERSION}; read it "
                "with a newer gence"
            )
        header = _Header.model_validate(content)
        spec, trials = spec_and_grid(header.study, f"{path}: study", "read it with the gence that wrote it")
    except (*NOT_A_STUDY, RecursionError) as error:
        raise InputError(f"{path}: not an archive of a study; {_GIVE}") from error
    return spec, trials, header.records


def _record(what: str, line: bytes) -> tuple[str, Any]:
    """The record of a line, and its kind."""
    try:
        found = {kind: record for kind, record in _Line.model_validate_json(line) if record is not None}
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise InputError(f"{what}: not a record ({reason}); {_CURE}") from error
    if len(found) != 1:
        raise InputError(f"{what}: one record is expected, got {len(found)}; {_CURE}")
    ((kind, record),) = found.items()
    refuse_other_version(f"{what}: record", record.version, "read it with the gence that wrote it")
    return kind, record


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _content(path: Path) -> Any:
    # Parsed and written again, a float keeps every digit: both ways are exact in Python.
    return json.loads(path.read_bytes())


def _packed(text: bytes) -> bytes:
    """Gzip without name and time, so that equal text gives equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=9, mtime=0) as stream:
        stream.write(text)
    return buffer.getvalue()
