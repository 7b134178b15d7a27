from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gence import InputError
from gence.data import (
    IndexFile,
    LabelledData,
    Regime,
    few_labels,
    index_file,
    index_hash,
    long_tail,
    read_indices,
    split_calibration,
    write_indices,
)

Edit = Callable[[dict[str, Any]], object]


def data(name: str = "toy", shift: float = 0.0) -> LabelledData:
    inputs = np.arange(60, dtype=np.float64).reshape(30, 2) + shift
    return LabelledData(name, "table", inputs, np.arange(30) % 3, ("a", "b", "c"))


def choice() -> IndexFile:
    toy = data()
    return index_file(toy, long_tail(toy.labels, np.arange(30), 5, seed=0), Regime(long_tail=("exp", 5)), seed=0)


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[Edit], str]:
    """Change what an index file holds, read it, and give the message, which must be one line."""

    def of(edit: Edit) -> str:
        path = write_indices(tmp_path / "toy.json", choice())
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        with pytest.raises(InputError) as caught:
            read_indices(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(str(path), "PATH")

    return of


def test_the_hash_is_that_of_64_bit_little_endian_integers() -> None:
    rows = [3, 0, 2**40]
    expected = hashlib.sha256(struct.pack("<3q", *rows)).hexdigest()
    assert index_hash(np.array(rows)) == expected
    assert index_hash(np.array(rows, dtype=">i8")) == expected
    assert index_hash(np.array(rows)[::-1]) != expected
    assert index_hash(np.array([7, 8], np.uint8)) == index_hash(np.array([7, 8]))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written, toy = choice(), data()
    read = read_indices(write_indices(tmp_path / "deep" / "toy.json", written), toy)
    assert np.array_equal(read.rows, written.rows)
    assert (read.data, read.fingerprint, read.regime, read.seed) == ("toy", toy.fingerprint, "long-tail:5", 0)
    assert read.rows_per_class == (10, 4, 2)
    assert read.sha256 == index_hash(np.concatenate(long_tail(toy.labels, np.arange(30), 5, seed=0)))


def test_the_classes_come_back_as_they_were_drawn(tmp_path: Path) -> None:
    toy = data()
    drawn = few_labels(toy.labels, np.arange(30), 5, seed=1)
    read = read_indices(write_indices(tmp_path / "toy.json", index_file(toy, drawn, "few-labels:5", seed=1)))
    for one, other in zip(read.drawn, drawn, strict=True):
        assert np.array_equal(one, other)
    for one, other in zip(split_calibration(read.drawn, 0.4), split_calibration(drawn, 0.4), strict=True):
        assert np.array_equal(one, other)


def test_the_file_is_json_with_a_line_a_field(tmp_path: Path) -> None:
    text = write_indices(tmp_path / "toy.json", choice()).read_text()
    assert [line.split('"')[1] for line in text.splitlines()[1:-1]] == [
        *("format", "version", "data", "fingerprint", "regime", "seed", "rows_per_class", "rows", "sha256")
    ]


def test_other_data_are_refused_by_their_fingerprint(tmp_path: Path) -> None:
    path = write_indices(tmp_path / "toy.json", choice())
    with pytest.raises(
        InputError, match=r"these are rows of toy with the fingerprint \w{12}\.\.\., but other has \w{12}"
    ):
        read_indices(path, data("other", shift=1.0))
    assert read_indices(path, data("by another name")).data == "toy"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["rows"].reverse(), "PATH: the row numbers do not have the sha256 that the file states; it was"),
        (lambda c: c.pop("sha256"), "PATH: the row numbers do not have the sha256"),
        (lambda c: c.update(version=2), "PATH: index file version 2; this gence reads 1: upgrade"),
        (lambda c: c.pop("format"), "PATH: an index file written by gence is expected, this is other JSON"),
        (lambda c: c.update(seed="0"), "PATH: this index file is damaged: 'seed' is no int; write it again"),
        (lambda c: c.pop("fingerprint"), "PATH: this index file is damaged: 'fingerprint' is no str; write it again"),
        (lambda c: c["rows"].append(2**63), "PATH: this index file is damaged: 'rows' is no list of numbers; write"),
        (lambda c: c.update(rows_per_class=[-1, 3]), "PATH: this index file is damaged: 'rows_per_class' is no list"),
        (lambda c: c["rows"].pop(), "PATH: this index file is damaged: 16 rows in rows_per_class, 15 in rows; write"),
    ],
)
def test_a_damaged_file_is_refused(edited: Callable[[Edit], str], edit: Edit, message: str) -> None:
    assert edited(edit).startswith(message)


def test_what_is_no_index_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    for content, message in ((b"[1, 2]", "this is other JSON"), (b"rows", "not JSON"), (b"\x93NUMPY", "not JSON")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_indices(path)
    with pytest.raises(FileNotFoundError):
        read_indices(tmp_path / "absent.json")


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is a folder; give a file to write to"):
        write_indices(tmp_path, choice())


def test_what_is_no_choice_of_these_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"drawn must hold rows of toy, 0\.\.29; got 30"):
        index_file(data(), [np.array([0, 30])], "none", seed=0)
    with pytest.raises(ValueError, match="one array a class; got one with rows of the class numbers 0 and 1"):
        index_file(data(), [np.array([0, 1])], "none", seed=0)
    with pytest.raises(ValueError, match=r"rows must be integers of shape \(rows,\); got float64"):
        index_hash(np.array([0.5]))
