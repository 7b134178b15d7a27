from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gence._errors import InputError
from gence.data import ColumnEncoder
from gence.data.columns import encode_columns, fit_columns
from gence.data.encoder import SourceColumn

DAY = datetime.datetime(2020, 1, 1)
CELLS = {
    "numbers": st.integers(-9, 9),
    "fractions": st.floats(-1e9, 1e9),
    "booleans": st.booleans(),
    "letters": st.sampled_from(["a", "b", "c", "0", "07"]),
    "dates": st.integers(0, 400).map(lambda days: str((DAY + datetime.timedelta(days)).date())),
    "times": st.integers(0, 400).map(lambda hours: pd.Timestamp(DAY) + pd.Timedelta(hours=hours)),
    "spans": st.integers(0, 400).map(lambda hours: pd.Timedelta(hours=hours)),
    "anything": st.sampled_from([1, "a", True, 2.5]),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(3, 30))
    columns: dict[str, Any] = {"always": [row % 3 for row in range(rows)]}
    for kind in draw(st.lists(st.sampled_from(list(CELLS)), max_size=5, unique=True)):
        cells = st.none() | CELLS[kind] if draw(st.booleans()) else CELLS[kind]
        columns[kind] = pd.Series(draw(st.lists(cells, min_size=rows, max_size=rows)))
    return pd.DataFrame(columns)


@settings(max_examples=60, deadline=None)
@given(frame=frames(), size=st.integers(1, 9))
def test_rows_come_out_alike_together_and_in_pieces(frame: pd.DataFrame, size: int) -> None:
    whole = encode_columns(frame, "people")

    pieces = [whole.encoder.encode(frame.iloc[start : start + size], "people") for start in range(0, len(frame), size)]

    np.testing.assert_array_equal(np.concatenate([piece.values for piece in pieces]), whole.values)
    assert all(piece.notes == () for piece in pieces)
    assert ColumnEncoder.from_json(json.loads(json.dumps(whole.encoder.as_json()))) == whole.encoder


def naive(column: SourceColumn, cell: object) -> list[float]:
    """One cell as the definition says: the categories, other, missing."""
    if cell is None:
        return [0.0] * (len(column.categories) + column.other) + [1.0] * column.marked
    hits = [float(cell == value) for value in column.categories]
    return hits + [float(not any(hits))] * column.other + [0.0] * column.marked


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("distinct", [3, 101])
def test_categories_follow_their_definition(distinct: int, gaps: bool) -> None:
    trained = [f"w{number:03}" for number in range(distinct)] * 3 + [None] * gaps
    encoder = fit_columns(pd.DataFrame({"word": trained}), "people")
    cells = ["w001", "mauve", None, "w100", "w002"]

    rows = encoder.encode(pd.DataFrame({"word": cells}), "new")

    assert rows.values.tolist() == [naive(encoder.columns[0], cell) for cell in cells]
    assert encoder.names == encode_columns(pd.DataFrame({"word": trained}), "people").names


ENCODER = fit_columns(
    pd.DataFrame(
        {
            "age": [30, 40, 50],
            "colour": ["red", "blue", "red"],
            "born": ["2000-01-01", "1999-12-31", "2001-05-06"],
            "ill": [True, False, True],
            "same": [1, 1, 1],
            "waited": pd.to_timedelta(["1 days", "2 days", "4 days"]),
        }
    ),
    "people",
)


def rows(**changed: Any) -> pd.DataFrame:
    cells: dict[str, Any] = {
        "age": [31.0, 32.0],
        "colour": ["red", "blue"],
        "born": ["2000-01-01", "2000-01-02"],
        "ill": [True, False],
        "waited": pd.to_timedelta(["1 days", "2 days"]),
    }
    return pd.DataFrame(cells | changed)


def test_columns_that_were_left_out_are_not_needed_and_others_are_ignored() -> None:
    encoded = ENCODER.encode(rows(extra=[1, 2])[["extra", "ill", "waited", "born", "colour", "age"]], "new")

    assert encoded.values.tolist() == [[31, 0, 1, 10957, 1, 1], [32, 1, 0, 10958, 0, 2]]
    assert ENCODER.names == ("age", "colour=blue", "colour=red", "born", "ill", "waited")
    assert encoded.notes == ()
    assert ENCODER.ignored(["age", "extra", "label", "same"], "label") == (
        "not used, as training had no such column: extra",
    )
    assert ENCODER.ignored(["age", "label"], "label") == ()


def test_unknown_categories_and_new_gaps_are_counted() -> None:
    encoded = ENCODER.encode(rows(colour=["mauve", "teal"], age=[np.nan, 3]), "new")

    np.testing.assert_array_equal(encoded.values[:, :3], [[np.nan, 0, 0], [3, 0, 0]])
    assert encoded.notes == (
        "1 row has no value of 'age', which training always had; it is filled with the median of training",
        "2 rows hold values of 'colour' that training never saw (mauve, teal); they count as none of the known ones",
    )
    assert ENCODER.encode(rows(colour=["red", None]), "new").notes == (
        "1 row has no value of 'colour', which training always had; it counts as none of the known ones",
    )


def test_many_unknown_categories_are_not_all_listed() -> None:
    encoder = fit_columns(pd.DataFrame({"word": [f"w{number % 101}" for number in range(303)]}), "people")

    notes = encoder.encode(pd.DataFrame({"word": list("abcdefg") * 2}), "new").notes

    assert notes == (
        "14 rows hold values of 'word' beyond the 100 kept in training (a, b, c, d, e and others); "
        "they count as 'other'",
    )


@pytest.mark.parametrize(
    ("trained", "new", "expected"),
    [
        (["7", "x"], [7, 8], [[1, 0], [0, 0]]),
        (["7", "x"], [7.0, np.nan], [[1, 0], [0, 0]]),
        (["2.5", "x"], [2.5, 2], [[1, 0], [0, 0]]),
        (["True", "x"], [True, False], [[1, 0], [0, 0]]),
        (["0123", "x"], ["0123", "123"], [[1, 0], [0, 0]]),
    ],
)
def test_what_is_not_text_is_compared_as_text_with_categories(trained: list, new: list, expected: list) -> None:
    encoder = fit_columns(pd.DataFrame({"zip": trained}), "people")

    assert encoder.encode(pd.DataFrame({"zip": new}), "new").values.tolist() == expected


def test_words_for_true_and_false_are_read_where_training_had_booleans() -> None:
    encoded = ENCODER.encode(rows(ill=["TRUE", "false"]), "new")

    assert encoded.values[:, 4].tolist() == [1, 0]
    assert ENCODER.encode(rows(ill=["1", None]), "new").values[0, 4] == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"age": [3, "old"]}, "new: column 'age' holds 'old' in row 1 (the first row is 0); a number is expected"),
        ({"age": pd.to_datetime(["2020-01-01", None])}, "a number is expected"),
        ({"age": pd.to_timedelta(["1 days", "2 days"])}, "a number is expected"),
        ({"waited": [1, 2]}, "column 'waited' holds 1 in row 0 (the first row is 0); a duration is expected"),
        ({"born": ["2000-01-01", "soon"]}, "column 'born' holds 'soon' in row 1"),
        ({"born": [2000, 2001]}, "a date such as 2024-05-31 is expected, as in training: mend it, or leave it empty"),
        ({"ill": ["yes", "no"]}, "column 'ill' holds 'yes' in row 0 (the first row is 0); true or false is expected"),
        ({"colour": ["red", [1]]}, "column 'colour' holds [1] in row 1 (the first row is 0); text is expected"),
        ({"age": [np.inf, 1]}, "column 'age' holds inf in row 0 (the first row is 0); numbers up to 3.4e38"),
    ],
)
def test_cells_of_another_kind_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        ENCODER.encode(rows(**changed), "new")
    assert words in str(caught.value)


def test_a_row_is_named_by_its_number_in_the_source() -> None:
    frame = rows(age=[1, "old"])
    frame.index = np.array([500, 501])

    with pytest.raises(InputError, match="in row 501 "):
        ENCODER.encode(frame, "new")


def test_a_missing_column_is_named_with_the_nearest_one_that_is_there() -> None:
    with pytest.raises(InputError) as caught:
        ENCODER.encode(rows().rename(columns={"colour": "color"}), "new")
    assert str(caught.value).startswith(
        "new: no column 'colour', which the model was trained on; did you mean 'color'? columns: age, color, born"
    )


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match=r"several columns have the same name \(x\); rename them"):
        fit_columns(pd.DataFrame([[1, 2], [2, 3]], columns=["x", "x"]), "people")


def changed_entry(**entries: Any) -> dict[str, Any]:
    content = ENCODER.as_json()
    content["columns"][1] |= entries
    return content


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"columns": {}},
        {"columns": []},
        {"columns": [1]},
        {"columns": [{"name": "x"}]},
        {**ENCODER.as_json(), "more": 1},
        {"columns": ENCODER.as_json()["columns"][:1] * 2},
        changed_entry(name=3),
        changed_entry(kind="colour"),
        changed_entry(kind="number"),
        changed_entry(kind="left out"),
        changed_entry(categories=[]),
        changed_entry(categories="red"),
        changed_entry(categories=["red", 1]),
        changed_entry(categories=["red", "red"]),
        changed_entry(other=0),
        changed_entry(marked="yes"),
        changed_entry(why="because"),
        changed_entry(more=1),
    ],
)
def test_damaged_content_is_refused(content: object) -> None:
    with pytest.raises(InputError) as caught:
        ColumnEncoder.from_json(content)
    assert "\n" not in str(caught.value)
