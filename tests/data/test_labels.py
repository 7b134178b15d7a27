from __future__ import annotations

import datetime

import numpy as np
import pytest

from gence._errors import InputError
from gence.data.labels import encode_labels


@pytest.mark.parametrize(
    ("values", "numbers", "names"),
    [
        (np.array([10, 9, 10, -1]), [2, 1, 2, 0], ("-1", "9", "10")),
        (np.array([10.0, 9.0, 9.0]), [1, 0, 0], ("9", "10")),
        (np.array(["b", "a", "b"]), [1, 0, 1], ("a", "b")),
        (np.array(["10", "9"], object), [0, 1], ("10", "9")),
        (np.array([True, False]), [1, 0], ("False", "True")),
        (np.array([True, False], object), [1, 0], ("False", "True")),
    ],
)
def test_numbers_sort_as_numbers_and_text_as_text(
    values: np.ndarray, numbers: list[int], names: tuple[str, ...]
) -> None:
    labels = encode_labels(values, "y")

    assert labels.numbers.tolist() == numbers
    assert labels.numbers.dtype == np.int64
    assert labels.names == names


def test_declared_classes_keep_their_order_and_lose_those_without_a_row() -> None:
    labels = encode_labels(np.array([3, 0, 3, 2]), "y", ["zebra", "ant", "cat", "dog", "elk"])

    assert labels.numbers.tolist() == [2, 0, 2, 1]
    assert labels.names == ("zebra", "cat", "dog")
    assert labels.notes == ("left out classes without a row: ant, elk",)


def test_declared_classes_that_all_occur_need_no_note() -> None:
    assert encode_labels(np.array([1, 0]), "y", ["b", "a"]).notes == ()


@pytest.mark.parametrize("number", [-2, 2])
def test_a_class_number_that_is_not_declared_is_refused(number: int) -> None:
    with pytest.raises(
        InputError, match=rf"y holds the class number {number}, but .* 2 classes \(a, b\), counted from 0"
    ):
        encode_labels(np.array([0, number]), "y", ["a", "b"])


@pytest.mark.parametrize("value", [0.53, np.inf, 1e300])
def test_fractions_are_no_labels(value: float) -> None:
    with pytest.raises(InputError, match=r"y holds the number .*a class label is expected") as caught:
        encode_labels(np.array([1.0, value]), "y")
    assert f"{value:g}" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([datetime.date(2020, 1, 1), None], object), "NoneType, date"),
        (np.array(["2020-01-01"], "datetime64[D]"), "date"),
        (np.array([{"bytes": b""}, {}], object), "dict"),
        (np.array([1, "a"], object), "int, str"),
    ],
)
def test_other_kinds_of_values_are_no_labels(values: np.ndarray, kind: str) -> None:
    with pytest.raises(InputError, match=f"y holds values of the kind {kind}; a class label is expected"):
        encode_labels(values, "y")


@pytest.mark.parametrize(("classes", "rows"), [(20, 20), (21, 63), (100, 300)])
def test_twenty_classes_or_three_rows_a_class_are_enough(classes: int, rows: int) -> None:
    assert len(encode_labels(np.arange(rows) % classes, "y").names) == classes


@pytest.mark.parametrize(("classes", "rows"), [(21, 62), (100, 299)])
def test_more_classes_than_that_are_measurements(classes: int, rows: int) -> None:
    with pytest.raises(
        InputError, match=rf"y holds {classes} different values in {rows} rows; a class label is expected"
    ):
        encode_labels(np.arange(rows) % classes, "y")


def test_declared_classes_may_be_as_many_as_the_rows() -> None:
    assert len(encode_labels(np.arange(30), "y", [f"c{number:02}" for number in range(30)]).names) == 30
