from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gence.data import load


@pytest.fixture
def file(tmp_path: Path):
    def write(**arrays: Any) -> str:
        path = tmp_path / "cells.npz"
        np.savez(path, **arrays)
        return str(path)

    return write


def image_batch(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape))[::-1] % 256).reshape(shape).astype(np.uint8)


def test_two_axes_are_a_table(file) -> None:
    data = load(file(X=np.array([[1, 2], [3, 4]]), y=np.array([7, 5])))

    assert (data.name, data.kind, data.class_names) == ("cells", "table", ("5", "7"))
    assert data.inputs.dtype == np.float64
    assert data.inputs.tolist() == [[1, 2], [3, 4]]
    assert data.labels.tolist() == [1, 0]
    assert data.test_rows is None


def test_three_axes_are_grey_images(file) -> None:
    images = image_batch(2, 5, 6)

    data = load(file(X=images, y=np.array(["cat", "ant"])))

    assert (data.kind, data.class_names, data.labels.tolist()) == ("image", ("ant", "cat"), [1, 0])
    assert data.inputs.dtype == np.uint8
    np.testing.assert_array_equal(data.inputs, images[:, None])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_may_come_first_or_last(file, channels: int) -> None:
    images = image_batch(2, 5, 6, channels)

    last = load(file(X=images, y=np.array([0, 1])))
    first = load(file(X=images.transpose(0, 3, 1, 2), y=np.array([0, 1])))

    assert last.inputs.shape == (2, channels, 5, 6)
    np.testing.assert_array_equal(last.inputs, images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(first.inputs, last.inputs)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, bool])
def test_whole_grey_values_become_uint8(file, dtype: type) -> None:
    images = image_batch(2, 12, 12).astype(dtype)

    data = load(file(X=images, y=np.array([0, 1])))

    assert data.inputs.dtype == np.uint8
    np.testing.assert_array_equal(data.inputs[:, 0], images)


def test_fractional_pixels_become_float32(file) -> None:
    images = np.linspace(0, 1, 60).reshape(2, 5, 6)

    data = load(file(X=images, y=np.array([0, 1])))

    assert data.inputs.dtype == np.float32
    np.testing.assert_array_equal(data.inputs[:, 0], images.astype(np.float32))


def test_a_test_split_comes_last(file) -> None:
    data = load(
        file(
            X=np.zeros((3, 2)),
            y=np.array(["a", "b", "a"]),
            X_test=np.ones((2, 2)),
            y_test=np.array(["b", "longer name"]),
        )
    )

    assert data.test_rows is not None
    assert data.test_rows.tolist() == [3, 4]
    assert data.inputs[:, 0].tolist() == [0, 0, 0, 1, 1]
    assert data.class_names == ("a", "b", "longer name")
    assert data.labels.tolist() == [0, 1, 0, 1, 2]


def test_an_empty_test_split_is_none(file) -> None:
    data = load(file(X=np.eye(2), y=np.array([0, 1]), X_test=np.zeros((0, 2)), y_test=np.zeros(0, int)))

    assert data.test_rows is None


@pytest.mark.parametrize(("images", "first_bad"), [(np.zeros((4, 2)), 2), (np.zeros((4, 5, 5)), 1)])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite_are_refused_with_their_row(
    file, refusal, images: np.ndarray, first_bad: int, value: float
) -> None:
    images[first_bad, 1] = images[3, 0] = value

    message = refusal(file(X=images, y=np.arange(4) % 2))

    assert f"X holds NaN, infinity or a number beyond 3.4e38 in 2 of 4 rows, the first is row {first_bad} " in message


@pytest.mark.parametrize("shape", [(2, 3, 32, 3), (2, 1, 28, 1), (2, 4, 9, 3)])
def test_a_layout_that_reads_both_ways_is_refused_with_a_cure_that_works(file, refusal, shape: tuple[int, ...]) -> None:
    images, labels = image_batch(*shape), np.array([0, 1])

    message = refusal(file(X=images, y=labels))

    assert f"X of shape {shape} may be (rows, channels, height, width) or (rows, height, width, channels)" in message
    assert "save X.transpose(0, 2, 3, 1) if axis 1 is the channels, or X.transpose(0, 3, 1, 2) if axis 3 is" in message
    as_first = load(file(X=images.transpose(0, 2, 3, 1), y=labels))
    np.testing.assert_array_equal(as_first.inputs, images)
    as_last = load(file(X=images.transpose(0, 3, 1, 2), y=labels))
    np.testing.assert_array_equal(as_last.inputs, images.transpose(0, 3, 1, 2))


def test_images_too_small_to_tell_are_sent_to_a_table(file, refusal) -> None:
    images, labels = image_batch(2, 3, 4, 3), np.array([0, 1])

    assert "better saved as a table: X.reshape(len(X), -1)" in refusal(file(X=images, y=labels))
    assert load(file(X=images.reshape(len(images), -1), y=labels)).kind == "table"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.eye(2), "labels": np.eye(2)}, "no X, y among x, labels; X and y are expected"),
        ({"X": np.eye(2)}, "no y among X; X and y are expected, and perhaps X_test and y_test"),
        ({}, "no X, y among no arrays at all"),
        ({"X": np.eye(2), "y": np.arange(2), "X_test": np.eye(2)}, "no y_test among X, y, X_test"),
        ({"X": np.eye(2), "y": np.eye(2)}, "y has the shape (2, 2); one label a row is expected, as y.argmax(axis=1)"),
        ({"X": np.eye(2), "y": np.ones((2, 1))}, "y has the shape (2, 1); one label a row is expected, as y.ravel()"),
        ({"X": np.eye(2), "y": np.arange(3)}, "X has 2 rows, y has 3; one label for every row"),
        ({"X": np.eye(2), "y": np.ones(2)}, "y has the type float64; whole numbers or text are expected"),
        ({"X": np.eye(2), "y": np.array([b"a", b"b"])}, "y has the type |S1; whole numbers or text are expected"),
        ({"X": np.eye(2).astype(str), "y": np.arange(2)}, "X has the type <U32; numbers are expected"),
        ({"X": np.eye(2) * 1j, "y": np.arange(2)}, "X has the type complex128; numbers are expected"),
        ({"X": np.arange(2), "y": np.arange(2)}, "X has the shape (2,); (rows, columns) is expected"),
        ({"X": np.zeros((2, 5, 0)), "y": np.arange(2)}, "X has the shape (2, 5, 0); (rows, columns) is expected"),
        ({"X": np.zeros((2, 5, 6, 7)), "y": np.arange(2)}, "X has the shape (2, 5, 6, 7); 1, 3 or 4 channels"),
        ({"X": np.full((2, 5, 5), 256), "y": np.arange(2)}, "X holds whole numbers from 256 to 256; 0 to 255"),
        ({"X": np.full((2, 5, 5), -1), "y": np.arange(2)}, "X holds whole numbers from -1 to -1; 0 to 255"),
        (
            {"X": np.eye(2), "y": np.array([0, None])},
            "y holds Python objects, which are never loaded; save numbers, or",
        ),
        ({"X": np.eye(30), "y": np.arange(30)}, "y holds 30 different values in 30 rows; a class label is expected"),
        ({"X": np.zeros((0, 2)), "y": np.zeros(0, int)}, "there are no rows"),
        ({"X": np.eye(2), "y": np.zeros(2, int)}, "every row has the class '0'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(file, refusal, arrays: dict[str, Any], words: str) -> None:
    assert words in refusal(file(**arrays))


@pytest.mark.parametrize(
    ("test", "test_labels", "words"),
    [
        (np.eye(3), np.arange(3), "X_test, y_test hold rows of (3,) float64 with whole numbers for labels"),
        (np.zeros((2, 2, 2)), np.arange(2), "X_test, y_test hold rows of (1, 2, 2) float32"),
        (np.eye(2), np.array(["a", "b"]), "X_test, y_test hold rows of (2,) float64 with text for labels"),
    ],
)
def test_a_test_split_of_another_kind_is_refused(
    file, refusal, test: np.ndarray, test_labels: np.ndarray, words: str
) -> None:
    message = refusal(file(X=np.eye(2), y=np.arange(2), X_test=test, y_test=test_labels))

    assert "X, y hold rows of (2,) float64 with whole numbers for labels" in message
    assert words in message


def test_grey_values_beside_fractions_are_refused(file, refusal) -> None:
    images = image_batch(2, 5, 5)

    assert "uint8" in refusal(file(X=images, y=np.arange(2), X_test=images / 255, y_test=np.arange(2)))


def test_a_file_cut_short_is_refused(file, refusal) -> None:
    path = Path(file(X=np.eye(2), y=np.arange(2)))
    path.write_bytes(path.read_bytes()[:-30])

    assert "not an .npz file, or cut short; save the arrays again with np.savez" in refusal(path)


def test_a_damaged_array_is_refused_by_name(file, refusal) -> None:
    path = Path(file(X=np.ones((50, 2)), y=np.arange(50) % 2))
    content = bytearray(path.read_bytes())
    content[300] ^= 0xFF
    path.write_bytes(bytes(content))

    assert "X is damaged or cut short (Bad CRC-32" in refusal(path)


@pytest.mark.parametrize("content", [b"X,y\n1,2\n", b"\x80\x04\x95harmful pickle"])
def test_another_format_under_this_ending_is_refused(tmp_path: Path, refusal, content: bytes) -> None:
    (tmp_path / "cells.npz").write_bytes(content)

    assert "not an .npz file, or cut short" in refusal(tmp_path / "cells.npz")


def test_a_single_array_is_refused(tmp_path: Path, refusal) -> None:
    with open(tmp_path / "cells.npz", "wb") as stream:
        np.save(stream, np.eye(2))

    assert "one array without a name; X and y are expected" in refusal(tmp_path / "cells.npz")


@pytest.mark.parametrize("option", [{"target": "y"}, {"image_size": 16}])
def test_arrays_take_no_options(file, refusal, option: dict[str, Any]) -> None:
    message = refusal(file(X=np.eye(2), y=np.arange(2)), **option)

    assert "an .npz file" in message
    assert "leave it out" in message
