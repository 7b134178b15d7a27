from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gence import InputError
from gence.data import load


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str | bytes) -> str:
        path = tmp_path / "people.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_a_table_comes_out_as_it_was_written(file) -> None:
    data = load(file("age,sex,born,ill\n30,f,1970-01-02,yes\n,m,1970-01-03,no\n32,,1970-01-04,no\n"), target="ill")

    assert (data.name, data.kind, data.class_names) == ("people", "table", ("no", "yes"))
    assert data.labels.tolist() == [1, 0, 0]
    assert data.labels.dtype == np.int64
    assert data.inputs.dtype == np.float64
    # age, age is missing, sex=f, sex=m, sex is missing, born
    np.testing.assert_array_equal(
        data.inputs, np.array([[30, 0, 1, 0, 0, 1], [np.nan, 1, 0, 1, 0, 2], [32, 0, 0, 0, 1, 3]], np.float32)
    )
    assert data.test_rows is None
    assert data.notes == (
        "1 missing value in 1 column (age) is filled with the median of the training rows",
        "counted dates in days since 1970-01-01: born",
    )


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["10", "9", "10"], ("9", "10")),
        (["1.0", "0.0", "1.0"], ("0", "1")),
        (["True", "False", "True"], ("False", "True")),
        (["b", "a", "None"], ("None", "a", "b")),
        (["NA", "DE", "DE"], ("DE", "NA")),
    ],
)
def test_class_names_are_the_values_of_the_target(file, values: list[str], names: tuple[str, ...]) -> None:
    data = load(file("x,y\n" + "".join(f"{row},{value}\n" for row, value in enumerate(values))), target="y")

    assert data.class_names == names
    assert len(data.labels) == 3


def test_rows_without_a_label_are_dropped(file) -> None:
    data = load(file("x,y\n1,0\n2,\n3,1\n4,nan\n5,1\n"), target="y")

    assert data.inputs.tolist() == [[1], [3], [5]]
    assert (data.labels.tolist(), data.class_names) == ([0, 1, 1], ("0", "1"))
    assert data.notes == ("dropped 2 rows without a value in y",)


def test_gaps_in_dropped_rows_do_not_count(file) -> None:
    data = load(file("x,y\n1,a\n,\n3,b\n"), target="y")

    assert data.notes == ("dropped 1 row without a value in y",)


def test_question_marks_and_their_like_are_missing(file) -> None:
    data = load(file("x,y\n1,a\n?,b\nNA,b\nnull,b\n"), target="y")

    np.testing.assert_array_equal(data.inputs[:, 0], np.array([1, np.nan, np.nan, np.nan], np.float32))


def test_spaces_after_commas_and_quotes_and_a_byte_order_mark_do_not_count(file) -> None:
    data = load(file('\ufeffx, y\n1, "a, b"\n2, c\n'), target="y")

    assert data.inputs.tolist() == [[1], [2]]
    assert data.class_names == ("a, b", "c")


@pytest.mark.parametrize(
    "text", ["x;z;y\n1,5;2;a\n2,5;7;b\n", "x;z;y\n1.5;2;a\n2.5;7;b\n", "x\tz\ty\n1.5\t2\ta\n2.5\t7\tb\n"]
)
def test_semicolons_and_tabs_separate_where_there_are_no_commas(file, text: str) -> None:
    data = load(file(text), target="y")

    assert data.inputs.tolist() == [[1.5, 2], [2.5, 7]]


def test_without_a_target_the_columns_are_listed(file, refusal) -> None:
    message = refusal(file("x,y\n1,a\n"))

    assert message.endswith("people.csv: which column holds the label? give --target; columns: x, y")


def test_an_unknown_target_gets_the_nearest_name(file, refusal) -> None:
    message = refusal(file("age,survived\n1,a\n"), target="survive")

    assert message == "unknown column 'survive': did you mean 'survived'? known: age, survived"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,y\n1,0.5\n2,1\n", "column 'y' holds the number 0.5; a class label is expected"),
        ("x,y\n1,inf\n2,1\n", "column 'y' holds the number inf; a class label is expected"),
        (
            "x,y\n" + "".join(f"{row % 3},{row}\n" for row in range(30)),
            "column 'y' holds 30 different values in 30 rows",
        ),
        ("x,y\n1,0\ninf,1\n", "column 'x' holds inf in row 1 (the first row is 0)"),
        ("x,y\n1,0\n2,0\n", "people: every row has the class '0'"),
        ("x,y\n1,\n2,\n", "no training row has a value in 'y'; at least two classes are needed"),
        ("x,y\n", "no training row has a value in 'y'"),
        ("y\na\nb\n", "no column is left to learn from (there is only the label)"),
        ("\n\n", "the file is empty; a header line and rows are expected"),
        ("x,y\n1,a\n2,b,c\n", "not a table of comma-separated values (Expected 2 fields in line 3, saw 3)"),
        ('x,y\n1,"a\n2,b\n', "not a table of comma-separated values (EOF inside string"),
        ("x,y\n1,2,a\n3,4,b\n", "the rows have more fields than the header has names; name every column in line 1"),
        (b"x,y\n1,caf\xe9\n2,b\n", "the text is not UTF-8 ('utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_tables_that_do_not_fit_are_refused(file, refusal, text: str | bytes, words: str) -> None:
    source = file(text)

    message = refusal(source, target="y")

    assert words in message
    assert "people" in message.split(":")[0]


def test_an_image_size_is_refused(file, refusal) -> None:
    assert "a .csv file holds no image files; leave it out" in refusal(file("x,y\n1,a\n"), target="y", image_size=8)


def test_a_column_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    # Pandas renames the second one, and a second copy of the label would then be learnt from.
    (tmp_path / "people.csv").write_text('noise,kind, "kind"\n1,a,a\n2,b,b\n')
    with pytest.raises(InputError, match=r"people\.csv: several columns have the same name \(kind\); rename them"):
        load(str(tmp_path / "people.csv"), target="kind")


def test_a_time_in_seconds_keeps_its_seconds(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("at,kind\n" + "\n".join(f"{1_760_000_000 + i * i},{i % 2}" for i in range(12)))
    data = load(str(tmp_path / "log.csv"), target="kind")
    assert data.inputs[:, 0].tolist() == [1_760_000_000 + i * i for i in range(12)]
