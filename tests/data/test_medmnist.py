"""Small files in the layout of MedMNIST's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gence.data import load
from gence.data.facts import Facts
from gence.data.medmnist import MEDMNIST
from gence.data.recipes import RECIPES

GREY = "medmnist/octmnist"
COLOUR = "medmnist/pathmnist"


def arrays(channels: int = 1) -> dict[str, np.ndarray]:
    """5 training, 2 validation and 3 test rows, labels as `(rows, 1)`, colour last."""
    made: dict[str, np.ndarray] = {}
    for seed, (split, rows) in enumerate({"train": 5, "val": 2, "test": 3}.items()):
        shape = (rows, 28, 28) if channels == 1 else (rows, 28, 28, channels)
        made[f"{split}_images"] = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        made[f"{split}_labels"] = (np.arange(rows) % 4)[:, None].astype(np.uint8)
    return made


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with two subsets, whose recipes are told of their small numbers of rows."""
    for name, channels in ((GREY, 1), (COLOUR, 3)):
        facts = replace(RECIPES[name].facts, train_rows=5, test_rows=3)
        monkeypatch.setitem(RECIPES, name, replace(RECIPES[name], facts=facts))
        write(tmp_path, name, arrays(channels))
    return tmp_path


def write(root: Path, name: str, made: dict[str, Any]) -> Path:
    path = root / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **made)
    return path


def test_train_and_test_are_read_and_val_is_left_out(root: Path) -> None:
    data, theirs = load(GREY, data_root=root), arrays()

    assert (data.name, data.kind, data.class_names[3]) == (GREY, "image", "normal")
    np.testing.assert_array_equal(data.inputs[:5, 0], theirs["train_images"])
    np.testing.assert_array_equal(data.inputs[5:, 0], theirs["test_images"])
    assert data.labels.tolist() == [0, 1, 2, 3, 0, 0, 1, 2]
    assert data.labels.dtype == np.int64
    assert data.test_rows is not None
    assert data.test_rows.tolist() == [5, 6, 7]
    assert data.notes == ("not used, beside train, test: val",)


def test_colours_come_first(root: Path) -> None:
    data = load(COLOUR, data_root=root)

    assert data.inputs.shape == (8, 3, 28, 28)
    assert data.inputs.flags.c_contiguous
    np.testing.assert_array_equal(data.inputs[6, 2], arrays(3)["test_images"][1, :, :, 2])
    assert data.num_classes == 9  # classes without a row keep their numbers and names


def test_the_file_may_lie_in_the_root_itself(root: Path) -> None:
    (root / f"{GREY}.npz").rename(root / "octmnist.npz")

    assert len(load(GREY, data_root=root).labels) == 8


def test_the_files_of_the_release_before_are_read_as_well(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(RECIPES[GREY], facts=MEDMNIST[GREY].facts, earlier=(Facts(5, 3, 4, (1, 28, 28)),))
    monkeypatch.setitem(RECIPES, GREY, recipe)

    assert len(load(GREY, data_root=root).labels) == 8


def test_ordered_grades_are_said_to_be_ordered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "medmnist/retinamnist"
    monkeypatch.setitem(RECIPES, name, replace(RECIPES[name], facts=Facts(5, 3, 5, (3, 28, 28))))
    write(root, name, arrays(3))

    assert "ordered" in load(name, data_root=root).notes[-1]


def test_other_numbers_than_published_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch, refusal) -> None:
    monkeypatch.setitem(RECIPES, GREY, MEDMNIST[GREY])

    path = root / f"{GREY}.npz"
    assert refusal(GREY, data_root=root) == (
        f"{GREY}: not as published: training rows 5 instead of 97477, test rows 3 instead of 1000; download {path} "
        "again, or give its path if it is other data"
    )


def test_without_a_root_it_is_said_where_the_file_is_to_be_had(refusal) -> None:
    assert refusal(COLOUR) == (
        f"{COLOUR}: it is read from a file; download pathmnist.npz from https://zenodo.org/records/10519652 to "
        "ROOT/medmnist and give --data-root ROOT"
    )


def test_a_missing_file_is_refused_with_what_there_is(root: Path, refusal) -> None:
    message = refusal("medmnist/bloodmnist", data_root=root)

    assert f"the data root has no file {root}/medmnist/bloodmnist.npz; download it from https://zenodo.org" in message
    assert message.endswith("the root holds medmnist/octmnist.npz, medmnist/pathmnist.npz")


def test_several_labels_an_image_are_refused(refusal) -> None:
    message = refusal("medmnist/chestmnist")

    assert "its images have several labels each, and one class a row is expected" in message
    assert "medmnist/pneumoniamnist" in message


@pytest.mark.parametrize("source", ["medmnist/path", "medmnist/pathmnst", "medmnist/PathMNIST"])
def test_a_slip_in_a_subset_gets_that_subset(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = f"{source!r}: there is no such file or folder; did you mean 'medmnist/pathmnist'?"

    assert refusal(source) == expected
    (tmp_path / "medmnist").mkdir()
    assert refusal(source) == expected


def test_there_is_nothing_to_choose(root: Path, refusal) -> None:
    assert "leave it out" in refusal(GREY, data_root=root, image_size=64)
    assert "leave it out" in refusal(GREY, data_root=root, target="label")


AGAIN = "download it again from https://zenodo.org/records/10519652"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_labels": None}, "no test_labels among test_images, train_images, train_labels, val_images, val_labels"),
        ({"train_images": np.zeros((5, 28, 28))}, "train_images is float64 of shape (5, 28, 28); uint8"),
        ({"train_images": np.zeros((5, 3, 28, 28), np.uint8)}, "train_images is uint8 of shape (5, 3, 28, 28); uint8"),
        ({"test_labels": np.zeros(3, int)}, "test_labels is int64 of shape (3,); whole numbers (rows, 1) are expected"),
        ({"test_labels": np.zeros((3, 14), int)}, "test_labels is int64 of shape (3, 14); whole numbers (rows, 1)"),
        (
            {"test_labels": np.array([[0], [1], [4]])},
            "test_labels holds class numbers from 0 to 4; 0 to 3 are expected",
        ),
        ({"test_labels": np.array([[0], [-1], [1]])}, "test_labels holds class numbers from -1 to 1; 0 to 3"),
        ({"test_labels": np.zeros((2, 1), int)}, "test_images has the shape (3, 28, 28), which does not fit 2 labels"),
        ({"test_images": np.zeros((3, 9, 9), np.uint8)}, "test_images has the shape (3, 9, 9), which does not fit 3"),
    ],
)
def test_another_layout_is_refused(root: Path, refusal, change: dict[str, Any], message: str) -> None:
    made = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    path = write(root, GREY, dict(sorted(made.items())))

    refused = refusal(GREY, data_root=root)
    assert refused.startswith(f"{path}: {message}")
    assert refused.endswith(AGAIN)


def test_nothing_is_unpickled(root: Path, refusal) -> None:
    write(root, GREY, {**arrays(), "train_labels": np.array([{}, 1], object)})

    assert "train_labels holds Python objects, which are never loaded" in refusal(GREY, data_root=root)


def test_a_damaged_file_is_refused(root: Path, refusal) -> None:
    (root / f"{GREY}.npz").write_bytes(b"PK\x03\x04")

    assert "not an .npz file, or cut short" in refusal(GREY, data_root=root)
