"""A study in one file: everything of the folder but its logits, the same bytes each time, and nothing foreign read."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gence import InputError
from gence.bench.records import (
    METRICS,
    RECORD_VERSION,
    CalibratorResult,
    Cell,
    FailureRecord,
    PerClass,
    Reliability,
    TrialRecord,
    Tried,
    TuningRecord,
    archive,
    load_study,
    read_archive,
    read_study,
    record_path,
    save_study,
    tuning_files,
    unpack_archive,
    write_archive,
    write_failure,
    write_files,
    write_record,
)

AWKWARD = (0.1 + 0.2, 1e-320, 1 / 3, 1e300, 5e-324, 2.0, 1e-5, 123456789.123456789, -0.0)
"""Floats that a writer with too few digits would spoil, one a metric."""


def cell(loss: str, seed: int) -> Cell:
    return Cell(data="digits", regime="none", model="mlp", loss=loss, labels_per_class=10, batch_size=32, seed=seed)


def key_of(place: Cell) -> str:
    return f"{place.loss}{place.seed}".ljust(64, "0")


def trial(loss: str, seed: int) -> TrialRecord:
    result = CalibratorResult(
        metrics=dict(zip(METRICS, AWKWARD, strict=True)),
        reliability=Reliability(counts=(1,), confidence_sums=(0.7,), correct_counts=(1,)),
        per_class=PerClass(rows=(1,), correct=(1,), nll=(0.1,), confidence=(0.7,), predicted=(1,)),
        fitted={"temperature": 1.1, "note": "ünïcode"},
        remarks=("few rows",),
        seconds=0.5,
    )
    place = cell(loss, seed)
    return TrialRecord(
        version=RECORD_VERSION,
        key=key_of(place),
        spec_hash="s" * 64,
        cell=place,
        training={"epochs": 10},
        data={"rows": {"test": 3}},
        results={"none": result, "temperature": result},
        seconds={"train": 1.0},
        environment={"gence": "0.1.0", "torch": "2.9"},
        finished_at="2026-05-01T10:00:00+00:00",
        logits_file="l.npz",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four trials: two finished, one failed, one still to be done; a trial of a tuning, and a stranger's record."""
    folder = tmp_path / "study"
    # Not the order of the file names.
    cells = [cell("gence", 1), cell("ce", 0), cell("gence", 0), cell("ce", 1)]
    save_study(folder, {"data": ["digits"], "command": "gence run"}, {key_of(one): one for one in cells})
    for record in (trial("gence", 1), trial("ce", 0), trial("focal", 0)):
        write_record(folder, record, {"test_logits": np.zeros(3)})
    tried = Tried(number=0, learning_rate=0.1, weight_decay=1e-5, epochs=3, knobs={}, nll=0.25, accuracy=0.5)
    common: dict[str, Any] = {"version": RECORD_VERSION, "spec_hash": "s" * 64, "environment": {}}
    tuning = TuningRecord(
        **common, key="t" * 64, tuning="u" * 64, cell=cells[0], tried=tried, rows={}, seconds={}, finished_at="2026"
    )
    write_files(folder, tuning_files(tuning))
    failed: dict[str, Any] = {"kind": "died", "reason": "gone", "attempts": 1, "seconds": 1.0, "failed_at": "2026"}
    write_failure(folder, FailureRecord(**common, key=key_of(cells[2]), cell=cells[2], **failed))
    return folder


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_a_study_comes_back_from_its_archive_as_from_its_folder(folder: Path, tmp_path: Path) -> None:
    path = write_archive(folder, tmp_path / "kept" / "digits.study.gz")
    there, here = read_study(path), load_study(folder)
    assert (there.folder, here.folder) == (path, folder)
    assert (there.spec, there.expected, there.records, there.failures) == (
        here.spec,
        here.expected,
        here.records,
        here.failures,
    )
    assert [record.cell.loss for record in there.records] == ["gence", "ce"], "in the order of the grid"
    assert (there.expected, len(there.failures)) == (4, 1)
    assert read_study(folder) == here


def test_every_line_is_a_file_of_the_folder_to_the_last_digit(folder: Path, tmp_path: Path) -> None:
    header, *lines = lines_of(write_archive(folder, tmp_path / "a.study.gz"))
    assert header == {
        "format": "gence study",
        "archive": 1,
        "records": {"trial": 2, "tuning": 1, "failure": 1},
        "study": json.loads((folder / "study.json").read_text()),
    }
    files = [path for part in ("trials", "tuning", "failures") for path in sorted((folder / part).glob("*.json"))]
    files = [path for path in files if "focal" not in path.name]  # of no trial of this study
    kinds = ["trial", "trial", "tuning", "failure"]
    # repr tells -0.0 from 0.0, and 2.0 from 2.
    assert repr(lines) == repr([{k: json.loads(path.read_text())} for k, path in zip(kinds, files, strict=True)])
    assert list(lines[0]["trial"]["results"]["none"]["metrics"].values()) == list(AWKWARD)


def test_the_same_records_give_the_same_bytes_whenever_and_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    first = write_archive(folder, tmp_path / "a.study.gz").read_bytes()
    other = tmp_path / "elsewhere"
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.suffix == ".json":
            (other / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, other / path.relative_to(folder))
    assert write_archive(other, tmp_path / "b.study.gz").read_bytes() == first
    assert first[3:8] == bytes(5), "no name and no time"


def rewrite(change: Callable[[list[dict[str, Any]]], Any]) -> Callable[[bytes], bytes]:
    """Change the lines of an archive, and pack them as before."""

    def changed(content: bytes) -> bytes:
        lines = [json.loads(line) for line in gzip.decompress(content).splitlines()]
        change(lines)
        return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    return changed


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda content: content[:-30], "not a whole archive of a study (Compressed file ended"),
    "cut in the header": (lambda content: content[:40], "not a whole archive of a study (Compressed file ended"),
    "a byte changed": (lambda c: c[:-6] + bytes([c[-6] ^ 1]) + c[-5:], "not a whole archive of a study (CRC check"),
    "a broken stream": (lambda content: content[:10] + b"\xff" * 40, "not a whole archive of a study (Error -3"),
    "no gzip": (lambda content: b"data,model\n", "not a whole archive of a study (Not a gzipped file"),
    "empty": (lambda content: b"", "not an archive of a study"),
    "a pickle": (lambda content: gzip.compress(pickle.dumps({"format": "gence study"})), "not an archive of a study"),
    "other JSON": (lambda content: gzip.compress(b'{"format": "other"}'), "not an archive of a study"),
    "a list": (lambda content: gzip.compress(b"[1]"), "not an archive of a study"),
    "deep JSON": (lambda content: gzip.compress(b"[" * 100_000), "not an archive of a study"),
    "a newer archive": (
        rewrite(lambda lines: lines[0].update(archive=2, more=1)),
        "archive version 2, this gence reads version 1; read it with a newer gence",
    ),
    "older records": (
        rewrite(lambda lines: lines[0]["study"].update(version=3)),
        f"study version 3, this gence reads version {RECORD_VERSION}; read it with the gence that wrote it",
    ),
    "an older record": (
        rewrite(lambda lines: lines[1]["trial"].update(version=3)),
        f"line 2: record version 3, this gence reads version {RECORD_VERSION}; read it with the gence that wrote it",
    ),
    "a spec of text": (rewrite(lambda lines: lines[0]["study"].update(spec="ab")), "not an archive of a study"),
    "more in the header": (rewrite(lambda lines: lines[0].update(more=1)), "not an archive of a study"),
    "a line lost": (
        rewrite(lambda lines: lines.pop(1)),
        "2 trial, 1 tuning, 1 failure are expected, 1 trial, 1 tuning, 1 failure are there; make it again",
    ),
    "a line twice": (
        rewrite(lambda lines: lines.append(lines[1])),
        "line 6: a record that was there before; make it again",
    ),
    "a metric renamed": (
        rewrite(lambda lines: lines[1]["trial"]["results"]["none"].update(metrics={"nlll": 1.0})),
        "line 2: not a record (trial.results.none.metrics: ",
    ),
    "a kind unknown": (rewrite(lambda lines: lines[1].update(logits=[])), "line 2: not a record (logits: Extra inputs"),
    "no record": (rewrite(lambda lines: lines[1].clear()), "line 2: one record is expected, got 0"),
    "a stranger's trial": (
        rewrite(lambda lines: lines[1]["trial"].update(key="f" * 64)),
        "line 2: the record of a trial that the study has not; make it again from the run",
    ),
    "another cell": (
        rewrite(lambda lines: lines[1]["trial"]["cell"].update(seed=9)),
        "line 2: the record of a trial that the study has not",
    ),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_whole_archive_is_refused_in_one_line(
    folder: Path, tmp_path: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    path = write_archive(folder, tmp_path / "a.study.gz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        read_study(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "\n" not in message


def test_an_archive_that_unpacks_to_more_than_may_be_is_neither_read_nor_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_archive(folder, tmp_path / "a.study.gz")
    size = len(gzip.decompress(path.read_bytes()))
    monkeypatch.setattr(archive, "LARGEST", size)
    assert read_study(path).expected == 4
    write_archive(folder, path)
    monkeypatch.setattr(archive, "LARGEST", size - 1)
    with pytest.raises(InputError, match=f"more than {size - 1:,} bytes once unpacked; no archive holds so many"):
        read_study(path)
    with pytest.raises(InputError, match=f"{size:,} bytes of records are more than the {size - 1:,} that an archive"):
        write_archive(folder, tmp_path / "b.study.gz")
    assert not (tmp_path / "b.study.gz").exists()


def test_an_archive_that_swells_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.study.gz"
    path.write_bytes(gzip.compress(bytes(2**24), 1))
    monkeypatch.setattr(archive, "LARGEST", 2**16)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"more than 65,536 bytes once unpacked"):
            read_study(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.gz", "a.study", "a.study.gz.json", ".study.gz"])
def test_an_archive_has_its_ending(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        write_archive(folder, tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name}: the name of an archive ends in .study.gz; give --archive NAME.study.gz"
    )
    assert not (tmp_path / name).exists()


def test_only_the_whole_folder_of_a_run_is_archived(folder: Path, tmp_path: Path) -> None:
    path = write_archive(folder, tmp_path / "a.study.gz")
    with pytest.raises(InputError, match="the folder of a run is expected, this is a file; copy an archive as it is"):
        write_archive(path, tmp_path / "b.study.gz")
    with pytest.raises(InputError, match="no study here"):
        write_archive(tmp_path / "nowhere", tmp_path / "b.study.gz")
    next((folder / "tuning").glob("*.json")).write_text("{}")
    with pytest.raises(InputError, match="not a trial record"):
        write_archive(folder, tmp_path / "b.study.gz")
    assert not (tmp_path / "b.study.gz").exists()


def test_a_folder_is_unpacked_file_by_file_and_keeps_what_it_has(folder: Path, tmp_path: Path) -> None:
    path = write_archive(folder, tmp_path / "a.study.gz")
    again = tmp_path / "again"
    kept = record_path(again, cell("gence", 1), key_of(cell("gence", 1)))
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"mine")
    unpack_archive(path, again)
    there = {str(one.relative_to(again)): one.read_bytes() for one in again.rglob("*.json")}
    here = {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*/*.json")}
    del there[str(kept.relative_to(again))]
    assert len(there) == 3
    assert there == {name: here[name] for name in there}


def test_only_an_archive_is_unpacked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder, not an archive; give one that gence report --archive wrote"):
        unpack_archive(folder, tmp_path / "again")
    with pytest.raises(InputError, match="no such archive"):
        read_archive(tmp_path / "a.study.gz")
    assert not (tmp_path / "again").exists()
