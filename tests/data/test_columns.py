from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from gence._errors import InputError
from gence.data.columns import encode_columns


def column_of(frame: pd.DataFrame, name: str) -> list[float]:
    columns = encode_columns(frame, "people")
    return columns.values[:, columns.names.index(name)].tolist()


def test_numbers_and_booleans_stay_one_column() -> None:
    columns = encode_columns(
        pd.DataFrame({"age": [3, 1, 2], "tall": [True, False, True], "w": [0.5, 0.25, 9]}), "people"
    )

    assert columns.values.dtype == np.float64
    assert columns.values.tolist() == [[3, 1, 0.5], [1, 0, 0.25], [2, 1, 9]]
    assert columns.names == ("age", "tall", "w")
    assert columns.notes == ()


def test_a_missing_number_stays_nan_and_is_marked() -> None:
    columns = encode_columns(pd.DataFrame({"age": [3, np.nan, 2], "fare": [np.nan, np.nan, 1]}), "people")

    np.testing.assert_array_equal(
        columns.values, np.array([[3, 0, np.nan, 1], [np.nan, 1, np.nan, 1], [2, 0, 1, 0]], np.float32)
    )
    assert columns.names == ("age", "age is missing", "fare", "fare is missing")
    assert columns.notes == (
        "3 missing values in 2 columns (age, fare) are filled with the median of the training rows",
    )


def test_one_missing_value_is_spoken_of_in_the_singular() -> None:
    notes = encode_columns(pd.DataFrame({"age": [3, np.nan]}), "people").notes

    assert notes == ("1 missing value in 1 column (age) is filled with the median of the training rows",)


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([True, None, False], dtype=object),
        pd.Series([Decimal("1"), None, Decimal("0")], dtype=object),
        pd.Series([1, None, 0], dtype="Int64"),
        pd.Series([True, None, False], dtype="boolean"),
        pd.Series([1, np.nan, 0], dtype="float32"),
    ],
)
def test_numbers_with_gaps_are_numbers_however_they_arrive(values: pd.Series) -> None:
    columns = encode_columns(pd.DataFrame({"x": values}), "people")

    np.testing.assert_array_equal(columns.values, np.array([[1, 0], [np.nan, 1], [0, 0]], np.float32))


@pytest.mark.parametrize(
    "values",
    [
        ["1970-01-02", "1970-01-03T12:00", None],
        pd.to_datetime(["1970-01-02", "1970-01-03T12:00", None], format="ISO8601"),
        pd.to_datetime(["1970-01-02T01:00+01:00", "1970-01-03T13:00+01:00", None], format="ISO8601"),
        pd.to_timedelta(["1 days", "60 hours", None]),
    ],
)
def test_dates_are_counted_in_days(values: object) -> None:
    columns = encode_columns(pd.DataFrame({"born": values}), "people")

    np.testing.assert_array_equal(columns.values[:, 0], np.array([1, 2.5, np.nan], np.float32))
    assert columns.names == ("born", "born is missing")


def test_dates_are_noted() -> None:
    columns = encode_columns(pd.DataFrame({"born": ["2000-01-01", "1999-12-31"]}), "people")

    assert columns.values[:, 0].tolist() == [10957, 10956]
    assert columns.notes == ("counted dates in days since 1970-01-01: born",)


@pytest.mark.parametrize("values", [["2020-01-02", "soon"], ["2020-01-02", "2020-13-40"], ["01/02/2020", "02/02/2020"]])
def test_what_only_resembles_dates_is_text(values: list[str]) -> None:
    columns = encode_columns(pd.DataFrame({"born": values}), "people")

    assert columns.names == tuple(f"born={value}" for value in sorted(values))


def test_text_gets_a_column_a_value_and_one_for_missing() -> None:
    columns = encode_columns(pd.DataFrame({"sex": ["m", "f", None, "m"]}), "people")

    assert columns.names == ("sex=f", "sex=m", "sex is missing")
    assert columns.values.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert columns.notes == ()


def test_the_hundred_most_frequent_values_are_kept() -> None:
    # w000 to w098 three times, then w099, w100, w101 once each: the first of the ties takes the last place.
    values = [f"w{number:03}" for number in range(99)] * 3 + ["w101", "w100", "w099", None]

    columns = encode_columns(pd.DataFrame({"word": values}), "people")

    assert columns.names == (*(f"word=w{number:03}" for number in range(100)), "word=other", "word is missing")
    assert columns.values.sum(1).tolist() == [1.0] * len(values)
    assert columns.values[:, -2].nonzero()[0].tolist() == [297, 298]
    assert columns.values[:, -1].nonzero()[0].tolist() == [300]
    assert columns.notes == ("kept the 100 most frequent values and put the rest into one, 'other': word",)


def test_exactly_a_hundred_values_need_no_other() -> None:
    columns = encode_columns(pd.DataFrame({"word": [f"w{number:03}" for number in range(100)] * 2}), "people")

    assert len(columns.names) == 100
    assert columns.notes == ()


def test_text_that_is_different_in_nearly_every_row_is_left_out() -> None:
    frame = pd.DataFrame({"x": np.arange(202) % 7, "id": [f"person {row}" for row in range(202)]})

    columns = encode_columns(frame, "people")

    assert columns.names == ("x",)
    assert columns.notes == ("left out 1 column with a different text in nearly every row: id",)


@pytest.mark.parametrize(("rows", "word_columns"), [(204, 101), (203, 0)])
def test_text_that_repeats_in_half_of_the_rows_is_kept(rows: int, word_columns: int) -> None:
    frame = pd.DataFrame({"x": np.arange(rows) % 7, "word": [f"w{row % 102:03}" for row in range(rows)]})

    assert len(encode_columns(frame, "people").names) == 1 + word_columns


def test_columns_with_one_value_are_left_out() -> None:
    frame = pd.DataFrame({"x": [1, 2], "n": [5, 5], "t": ["a", "a"], "empty": [np.nan, np.nan], "none": [None, None]})

    columns = encode_columns(frame, "people")

    assert columns.names == ("x",)
    assert columns.notes == ("left out 4 columns with one value only: n, t, empty, none",)


def test_a_single_value_with_gaps_still_tells_something() -> None:
    columns = encode_columns(pd.DataFrame({"n": [5, np.nan], "t": ["a", None]}), "people")

    assert columns.names == ("n", "n is missing", "t=a", "t is missing")


@pytest.mark.parametrize("first", [0, 1, 1001])
def test_row_numbers_are_left_out(first: int) -> None:
    frame = pd.DataFrame({"x": np.arange(12) % 5, "Id": np.arange(12) + first, "year": 2 * np.arange(12) + 1990})

    columns = encode_columns(frame, "people")

    assert columns.names == ("x", "year")
    assert columns.notes == ("left out 1 column only numbering the rows: Id",)


def test_row_numbers_are_recognised_after_rows_were_dropped() -> None:
    frame = pd.DataFrame({"x": np.arange(12) % 5, "Id": np.arange(12)}).drop(index=[3, 4])

    assert encode_columns(frame, "people").names == ("x",)


def test_a_few_counting_numbers_are_a_column_like_others() -> None:
    assert encode_columns(pd.DataFrame({"x": [1, 2, 3]}), "people").names == ("x",)


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, b"bytes", datetime.time(12)])
def test_what_is_neither_number_text_nor_date_is_left_out(value: object) -> None:
    frame = pd.DataFrame({"x": [1, 2], "odd": [value, None]})

    columns = encode_columns(frame, "people")

    assert columns.names == ("x",)
    assert columns.notes == ("left out 1 column holding neither numbers nor text nor dates: odd",)


@pytest.mark.parametrize(("value", "shown"), [(np.inf, "inf"), (-np.inf, "-inf"), (1e300, "1e+300")])
def test_infinity_is_refused_with_its_column_and_row(value: float, shown: str) -> None:
    frame = pd.DataFrame({"x": [1, 2, 3, 4], "fare": [1, 2, value, value]}).drop(index=0)

    with pytest.raises(InputError, match=r"people: column 'fare' holds .* in row 2 \(the first row is 0\)") as caught:
        encode_columns(frame, "people")
    assert f"holds {shown} in" in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"n": [5, 5]}), "no column is left to learn from (left out 1 column with one value only: n)"),
        (pd.DataFrame(index=range(2)), "no column is left to learn from (there is only the label)"),
    ],
)
def test_a_table_without_usable_columns_is_refused(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(InputError) as caught:
        encode_columns(frame, "people")
    assert words in str(caught.value)
