"""Predictions in the three kinds of files, written by numpy, pandas and pyarrow, and every line of refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gence._errors import InputError
from gence._files import check_place
from gence.data import Predictions, read_predictions, write_probabilities
from gence.data.predictions.classes import RawLabels, class_numbers

Z = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.5, -0.25], [-4.0, 0.0, 4.0]])
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
Y = np.array([0, 1, 1, 2])
NAMES = ("cat", "dog", "newt")

Save = Callable[..., Path]


def table(scores: np.ndarray, labels: Any = Y, names: Sequence[object] = NAMES, prefix: str = "logit_") -> pd.DataFrame:
    frame = pd.DataFrame({f"{prefix}{name}": scores[:, i] for i, name in enumerate(names)})
    return frame if labels is None else frame.assign(label=labels)


@pytest.fixture
def npz(tmp_path: Path) -> Save:
    def save(**arrays: Any) -> Path:
        np.savez(tmp_path / "p.npz", **arrays)
        return tmp_path / "p.npz"

    return save


@pytest.fixture(params=["csv", "parquet"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Save:
    def save(frame: pd.DataFrame) -> Path:
        path = tmp_path / f"p.{request.param}"
        frame.to_csv(path, index=False) if request.param == "csv" else frame.to_parquet(path)
        return path

    return save


@pytest.fixture
def csv(tmp_path: Path) -> Save:
    def save(text: str) -> Path:
        (tmp_path / "p.csv").write_text(text)
        return tmp_path / "p.csv"

    return save


def refusal(path: object, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_predictions(str(path), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_logits_and_labels_of_an_npz(npz: Save) -> None:
    path = npz(logits=Z, labels=Y)
    found = read_predictions(path)
    assert found.probs is None
    assert found.logits is found.scores
    np.testing.assert_array_equal(found.scores, Z)
    np.testing.assert_array_equal(found.labels, Y)
    assert (found.scores.dtype, found.labels.dtype) == (np.float64, np.int64)
    assert (found.class_names, found.source, found.notes) == (("0", "1", "2"), str(path), ())


@pytest.mark.parametrize(
    ("stored", "read"), [("float16", "float32"), ("float32", "float32"), (">f8", "float64"), ("int8", "float64")]
)
def test_numbers_of_an_npz_keep_their_precision(npz: Save, stored: str, read: str) -> None:
    found = read_predictions(npz(logits=(Z * 4).astype(stored), labels=Y))
    assert found.scores.dtype == read
    np.testing.assert_array_equal(found.scores, Z * 4)


def test_other_names_of_arrays_and_class_names(npz: Save) -> None:
    arrays = {"p": P, "truth": np.array(NAMES)[Y], "class_names": np.array(NAMES)}
    found = read_predictions(npz(**arrays), probs="p", labels="truth")
    assert found.logits is None
    np.testing.assert_array_equal(found.scores, P)
    np.testing.assert_array_equal(found.labels, Y)
    assert found.class_names == NAMES


def test_of_logits_and_probabilities_the_logits_are_used_and_it_is_said(npz: Save, saved: Save) -> None:
    both = pd.concat([table(P, None, prefix="prob_"), table(Z)], axis=1)
    for path, words in ((npz(logits=Z, probs=P, labels=Y), "(probs)"), (saved(both), "(prob_*)")):
        found = read_predictions(path)
        np.testing.assert_array_equal(found.logits, Z)
        assert [words in note for note in found.notes if "were used" in note] == [True]
    assert read_predictions(path, probs="prob_*").probs is not None


def test_columns_named_by_class_with_text_labels(saved: Save) -> None:
    found = read_predictions(saved(table(Z, np.array(NAMES)[Y]).assign(comment='x, "y"')))
    np.testing.assert_array_equal(found.logits, Z)
    np.testing.assert_array_equal(found.labels, Y)
    assert (found.class_names, found.notes) == (NAMES, ())


def test_columns_named_by_class_with_class_numbers_are_taken_in_their_order_and_it_is_said(saved: Save) -> None:
    found = read_predictions(saved(table(Z)))
    np.testing.assert_array_equal(found.labels, Y)
    assert found.notes == ("the labels are class numbers, in the order of the columns: cat, dog, newt",)


@pytest.mark.parametrize("prefix", ["prob_", "probability_"])
def test_probabilities_by_either_name(saved: Save, prefix: str) -> None:
    np.testing.assert_array_equal(read_predictions(saved(table(P, prefix=prefix))).probs, P)


def test_numbered_columns_are_ordered_by_number(saved: Save) -> None:
    z = np.arange(36.0).reshape(3, 12) ** 1.5
    order = [str(i) for i in (11, 2, 10, 0, 1, 3, 9, 8, 7, 6, 5, 4)]
    frame = table(z, [11, 0, 10], range(12))[[*(f"logit_{i}" for i in order), "label"]]
    found = read_predictions(saved(frame))
    np.testing.assert_array_equal(found.logits, z)
    assert found.class_names == tuple(str(i) for i in range(12))
    assert found.labels.tolist() == [11, 0, 10]


def test_patterns_and_a_label_column_of_ones_own(saved: Save) -> None:
    frame = table(P, None, range(3), "p").assign(predicted=0, true_class=Y)[
        ["predicted", "p2", "p0", "true_class", "p1"]
    ]
    found = read_predictions(saved(frame.drop(columns="predicted")), probs="p*", labels="true_class")
    np.testing.assert_array_equal(found.probs, P)
    np.testing.assert_array_equal(found.labels, Y)
    np.testing.assert_array_equal(
        read_predictions(saved(table(Z).add_suffix("!")), logits="logit_*!", labels="label!").logits, Z
    )


@pytest.mark.parametrize("labels", [[True, False], ["True", "False"]])
def test_true_and_false_are_classes_by_those_names(saved: Save, labels: list[object]) -> None:
    found = read_predictions(saved(table(Z[:2, :2], labels, ("False", "True"))))
    assert found.labels.tolist() == [1, 0]


def test_whole_numbers_written_as_decimals_are_class_numbers(saved: Save, npz: Save) -> None:
    assert read_predictions(saved(table(Z, Y.astype(float), range(3)))).labels.tolist() == Y.tolist()
    assert read_predictions(npz(logits=Z, labels=Y.astype(np.float32))).labels.tolist() == Y.tolist()


def test_parquet_types_beside_float64(tmp_path: Path) -> None:
    whole = [1, -2]
    types = {
        "float16": pa.float16(),
        "float32": pa.float32(),
        "int8": pa.int8(),
        "decimal": pa.decimal128(5, 2),
        "dictionary": None,
    }
    for name, kind in types.items():
        columns = {f"logit_{i}": pa.array(whole, kind) for i in range(2)}
        label = pa.array(["1", "0"]).dictionary_encode() if kind is None else pa.array([1, 0], pa.uint16())
        pq.write_table(pa.table({**columns, "label": label}), tmp_path / "p.parquet")
        found = read_predictions(tmp_path / "p.parquet")
        assert found.logits.tolist() == [[1, 1], [-2, -2]]
        assert found.labels.tolist() == [1, 0]
        assert found.scores.dtype == (np.float32 if name in ("float16", "float32") else np.float64)


def test_a_column_name_that_begins_another_one_is_not_mixed_up_with_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"logit_a": [1.0], "logit_a.b": [2.0], "label": ["a.b"]}), tmp_path / "p.parquet")
    found = read_predictions(tmp_path / "p.parquet")
    assert (found.logits.tolist(), found.labels.tolist()) == ([[1.0, 2.0]], [1])


@pytest.mark.parametrize(
    "text",
    [
        "logit_NA;logit_001;label\n-1,5;2,25;001\n3;4;NA\n",
        "logit_NA\tlogit_001\tlabel\n-1.5\t2.25\t001\n3\t4\tNA\n",
        '\ufefflogit_NA, logit_001, label\n-1.5, 2.25, 001\n\n3, 4,"NA"\n',
    ],
)
def test_separators_decimal_commas_and_spaces_of_a_csv(csv: Save, text: str) -> None:
    found = read_predictions(csv(text))
    assert found.class_names == ("NA", "001")
    assert found.logits.tolist() == [[-1.5, 2.25], [3, 4]]
    assert found.labels.tolist() == [1, 0]


def test_labels_may_be_absent_or_unusable_where_they_are_not_required(npz: Save, saved: Save) -> None:
    assert read_predictions(npz(logits=Z), labels_required=False).labels is None
    hidden = read_predictions(saved(table(Z, [-1, -1, -1, -1])), labels_required=False)
    assert hidden.labels is None
    assert "the labels were not used: " in hidden.notes[0]
    assert "label '-1'" in refusal(saved(table(Z, -1)), labels_required=False, labels="label")


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ({"z": Z, "y": Y}, {}, ("neither logits nor probs among the arrays z, y", "--logits NAME", "--probs NAME")),
        ({"logits": Z, "y": Y}, {}, ("no array 'labels' among logits, y", "--labels NAME")),
        ({"logits": Z, "target": Y}, {"labels": "targets"}, ("'targets'", "did you mean --labels target?")),
        ({"logit": Z, "labels": Y}, {"logits": "logits"}, ("'logits'", "did you mean --logits logit?")),
        ({"logits": Z.astype(object), "labels": Y}, {}, ("Python objects", "never loaded", "logits.astype(str)")),
        ({"logits": Z.astype(str), "labels": Y}, {}, ("logits has the type", "numbers are expected")),
        ({"logits": Z > 0, "labels": Y}, {}, ("logits has the type bool",)),
        ({"logits": Z[:, 0], "labels": Y}, {}, ("one column of logits", "[np.zeros_like(z), z]")),
        ({"probs": P[:, :1], "labels": Y}, {}, ("one column of probs", "[1 - p, p]")),
        ({"logits": Z[None], "labels": Y}, {}, ("shape (1, 4, 3)", "(rows, classes)")),
        ({"logits": Z[:0], "labels": Y[:0]}, {}, ("no rows",)),
        ({"logits": Z, "labels": Y[:3]}, {}, ("4 rows of logits but 3 labels",)),
        ({"logits": Z, "labels": np.eye(3)[Y]}, {}, ("labels has the shape (4, 3)", "labels.argmax(axis=1)")),
        ({"logits": Z, "labels": Y[:, None]}, {}, ("labels has the shape (4, 1)", "labels.ravel()")),
        ({"logits": Z, "labels": Y.astype("S")}, {}, ("labels has the type |S21", "labels.astype(str)")),
        ({"logits": Z, "labels": Y + 1}, {}, ("row 3 (counted from 0) has the label '3'", "from 0 to 2")),
        ({"logits": Z, "labels": Y - 1}, {}, ("row 0", "'-1'", "leave rows without a label out")),
        ({"logits": Z, "labels": Y + 0.5}, {}, ("row 0", "'0.5'", "none of the 3 classes (0, 1, 2)")),
        ({"logits": Z, "labels": np.array([0, np.nan, 1, 1])}, {}, ("row 1", "no label")),
        ({"logits": Z, "labels": Y, "class_names": np.array(["a", "b"])}, {}, ("2 class names for 3 columns",)),
        ({"logits": Z, "labels": Y, "class_names": np.array(["a", "b", "a"])}, {}, ("class_names", "all different")),
        (
            {"logits": P, "labels": Y},
            {},
            ("the logits are probabilities", "gence audit takes", "logarithm of its float64"),
        ),
        ({"probs": Z, "labels": Y}, {}, ("row 0", "holds 2", "[0, 1]", "name them so: --logits NAME")),
        ({"probs": P * [[1], [1], [0.9], [1]], "labels": Y}, {}, ("row 2", "sums to 0.9 (1 of 4", "--logits NAME")),
        ({"logits": Z, "labels": Y}, {"logits": "logits", "probs": "p"}, ("--logits and --probs were both given",)),
    ],
)
def test_an_npz_is_refused_with_the_reason_and_the_cure(
    npz: Save, arrays: dict[str, Any], options: dict[str, str], words: tuple[str, ...]
) -> None:
    message = refusal(npz(**arrays), **options)
    for word in words:
        assert word in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["logits", "probs"])
def test_nan_and_infinity_are_refused_with_their_row(npz: Save, saved: Save, bad: float, kind: str) -> None:
    scores = (Z if kind == "logits" else P).copy()
    scores[2, 1] = bad
    for path in (npz(**{kind: scores}, labels=Y), saved(table(scores, prefix=kind[:-1] + "_"))):
        assert f"1 of 4 rows of the {kind} have NaN, infinity or no number, the first is row 2" in refusal(path)


@pytest.mark.parametrize("row", [[-1.0, 1.0, 1.0], [0.9, 0.9, 0.9], [2.0, -0.5, -0.5]])
def test_logits_that_only_look_a_little_like_probabilities_are_logits(npz: Save, row: list[float]) -> None:
    assert read_predictions(npz(logits=np.array([row]), labels=Y[:1])).logits is not None


def test_huge_logits_are_no_infinity(npz: Save) -> None:
    assert read_predictions(npz(logits=Z * 1e307 * 4, labels=Y)).logits is not None


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (table(Z).add_prefix("a_"), {"labels": "a_label"}, ("no columns logit_*, prob_*", "--logits 'PATTERN_*'")),
        (table(Z, None), {}, ("no column 'label' among logit_cat", "--labels NAME")),
        (table(Z), {"labels": "lable"}, ("no column 'lable'", "did you mean --labels label?")),
        (table(Z), {"logits": "z_*"}, ("no column fits --logits 'z_*' among logit_cat", "the star")),
        (table(Z), {"logits": "logit"}, ("--logits 'logit'", "one star", "'z_*'")),
        (table(Z[:, :1], names=["cat"]), {}, ("one column of logits", "np.zeros_like(z)")),
        (table(P[:, :1], names=["cat"], prefix="prob_"), {}, ("one column of probs", "1 - p")),
        (table(Z).iloc[:0], {}, ("no rows",)),
        (table(P, prefix="logit_"), {}, ("the logits are probabilities",)),
        (table(Z, prefix="prob_"), {}, ("row 0", "--logits NAME")),
        (table(Z).assign(prob_a=1, probability_a=1), {"logits": "y_*"}, ("no column fits",)),
        (table(P, prefix="prob_").assign(probability_a=1), {}, ("both prob_* and probability_* are there", "--probs")),
        (table(Z).assign(logit_dog=["1", "2", "x", "3"]), {}, ("column 'logit_dog'", "the text", "one column a class")),
        (table(Z).assign(logit_dog=True), {}, ("column 'logit_dog' holds values of the type bool",)),
        (table(Z, ["cat", "dgo", "dog", "dog"]), {}, ("row 1", "'dgo'", "(cat, dog, newt)", "did you mean 'dog'?")),
        (table(Z, [0, 1, 7, 1]), {}, ("row 2", "'7'", "its number from 0 to 2")),
        (table(Z, [0, 1, -1, 1]), {}, ("row 2", "'-1'", "leave rows without a label out")),
        (table(Z, [0, 1, 1.5, 1]), {}, ("row 2", "'1.5'")),
        (table(Z, ["cat", None, "dog", "dog"]), {}, ("row 1 (counted from 0) has no label", "leave such rows out")),
        (table(Z, ["cat", "1", "dog", "dog"]), {}, ("row 1", "'1'", "none of the 3 classes")),
        (table(Z, [1, 1, 2, 2], (1, 2, 3)), {}, ("label 1 could mean two classes of 1, 2, 3", "'2'", "without a gap")),
        (table(Z, Y, (1, 2, 3)), {}, ("label 1 could mean two classes of 1, 2, 3",)),
        (table(Z, Y, ("other", 0, 1)), {}, ("label 0 could mean two classes of other, 0, 1", "'other'")),
        (table(Z, names=("a", "b", "b ")), {}, ("of the same class ('logit_b', 'logit_b ');",)),
    ],
)
def test_a_table_is_refused_with_the_reason_and_the_cure(
    saved: Save, frame: pd.DataFrame, options: dict[str, str], words: tuple[str, ...]
) -> None:
    message = refusal(saved(frame), **options)
    for word in words:
        assert word in message


def test_a_list_column_is_no_column_a_class(tmp_path: Path) -> None:
    pq.write_table(pa.table({"logit_s": Z.tolist(), "label": Y}), tmp_path / "p.parquet")
    assert "holds values of the type list<" in refusal(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("logit_a,logit_b,label\n1,2,a\n1,2,3,4\n", ("not a table of comma-separated values", "mend it")),
        ("logit_a,logit_a,label\n1,2,a\n", ("several columns have the same name (logit_a)",)),
        ("logit_a,logit_b,label\n1,,a\n", ("row 0", "no number")),
        ("logit_a,logit_b,label", ("there are no rows; at least one is expected",)),
        ("logit_a,logit_b,label\n", ("there are no rows; at least one is expected",)),
        ("logit_a,logit_b,label\n1_0,2,a\n2_0,3,b\n", ("'logit_a' holds numbers as text; save it as numbers",)),
        ("logit_a,logit_b,label\n\u0661,2,a\n", ("'logit_a' holds numbers as text",)),
        ("logit_a,logit_b,label\n1,2,a\0\n", ("NUL bytes", "save it as UTF-8")),
        ("logit_a,logit_b,label\n1,2,\x1b[2Jz\n", ("the label '[2Jz'",)),
    ],
)
def test_a_malformed_csv_is_refused(csv: Save, text: str, words: tuple[str, ...]) -> None:
    message = refusal(csv(text))
    for word in words:
        assert word in message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_a_csv_in_another_encoding_is_told_to_be_saved_as_utf_8(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes("logit_a,logit_b,label\n1,2,\xe9\n".encode(encoding))
    message = refusal(path)
    assert "the text is not UTF-8 (" in message
    assert message.endswith("; save it as UTF-8")


def test_numbers_as_text_in_a_parquet_file(saved: Save, tmp_path: Path) -> None:
    table(Z).astype({"logit_dog": str}).to_parquet(tmp_path / "p.parquet")
    assert "column 'logit_dog' holds numbers as text; save it as numbers" in refusal(tmp_path / "p.parquet")


def test_labels_that_are_lists_are_said_to_be(tmp_path: Path) -> None:
    pq.write_table(pa.table({"logit_a": [1.0], "logit_b": [2.0], "label": [[1]]}), tmp_path / "p.parquet")
    message = refusal(tmp_path / "p.parquet")
    assert "column 'label' holds values of the type list<" in message
    assert "a class name or number is expected" in message


@pytest.mark.parametrize(("names", "labels"), [((1, 2, 3), [1, 2, 3, 2]), (("x", 0, 1), ["x", "0", "1", "0"])])
def test_stars_from_one_are_names_when_a_label_is_no_position(
    saved: Save, names: tuple[object, ...], labels: list[object]
) -> None:
    found = read_predictions(saved(table(Z, labels, names)))
    assert found.labels.tolist() == [0, 1, 2, 1]
    assert ["the labels are names of classes: " in note for note in found.notes] == [True]


def test_messages_offer_probabilities_only_where_they_are_of_use(npz: Save, saved: Save) -> None:
    both = table(P, prefix="prob_").assign(probability_a=1)
    files: list[tuple[Save, Any]] = [(npz, {"z": Z}), (saved, table(Z).add_prefix("a_"))]
    for save, content in files:
        path, naming = (save(**content), {}) if save is npz else (save(content), {"labels": "a_label"})
        assert "--probs" in refusal(path, **naming)
        message = refusal(path, **naming, logits_only=True)
        assert "--probs" not in message
        assert "for probabilities there is gence audit" in message
    assert read_predictions(saved(both), logits_only=True).probs is not None


def test_files_that_are_not_there_or_not_what_they_are_called(tmp_path: Path, npz: Save) -> None:
    path = npz(logits=Z, labels=Y)
    assert f"did you mean '{path}'?" in refusal(tmp_path / "p.npy")
    assert "a file ending in .npz, .csv, .parquet" in refusal(tmp_path / "somewhere/quite/else.xyz")
    for name in ("p.pkl", "folder.npz"):
        (tmp_path / name).mkdir() if name.endswith("npz") else (tmp_path / name).write_bytes(b"x")
        assert "files that end in .npz, .csv, .parquet" in refusal(tmp_path / name)
    for ending, words in ((".npz", "not an .npz file"), (".parquet", "not a parquet file")):
        (tmp_path / f"empty{ending}").touch()
        assert "the file is empty" in refusal(tmp_path / f"empty{ending}")
        (tmp_path / f"bad{ending}").write_bytes(b"PK\x03\x04 no such thing")
        assert words in refusal(tmp_path / f"bad{ending}")
    np.save(tmp_path / "one.npy", Z)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    assert "one array without a name" in refusal(tmp_path / "one.npz")
    data = path.read_bytes()
    path.write_bytes(data.replace(Z.tobytes()[:8], b"\1" * 8))
    assert "logits is damaged" in refusal(path)


def test_one_row_can_be_read(npz: Save, saved: Save) -> None:
    for path in (npz(logits=Z[:1], labels=Y[:1]), saved(table(Z[:1], Y[:1]))):
        assert read_predictions(path).scores.shape == (1, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"logits": None}, "either logits or probabilities"),
        ({"probs": P}, "either logits or probabilities"),
        ({"logits": Z.astype(np.float16)}, "float64 or float32"),
        ({"class_names": NAMES[:2]}, "2 class names for 3 columns"),
        ({"labels": Y.astype(np.int32)}, "int64 (rows,)"),
        ({"labels": Y + 1}, "labels from 1 to 3; class numbers from 0 to 2"),
    ],
)
def test_predictions_made_by_hand_are_checked(changes: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"logits": Z, "probs": None, "labels": Y, "class_names": NAMES, "source": "mine"}
    with pytest.raises(InputError, match=r"^mine: ") as caught:
        Predictions(**(arguments | changes))
    assert words in str(caught.value)


@given(st.lists(st.sampled_from(["a", "b", "10", "-3"]), min_size=1), st.permutations(["a", "b", "10", "-3"]))
def test_labels_are_looked_up_by_name_whatever_the_order(labels: list[str], names: list[str]) -> None:
    values, codes = np.unique(labels, return_inverse=True)
    names = [name.replace("10", "ten") for name in names]
    numbers, note = class_numbers(RawLabels([v.replace("10", "ten") for v in values.tolist()], codes), names, "here")
    assert numbers.tolist() == [names.index(label.replace("10", "ten")) for label in labels]
    assert note is None


@pytest.mark.parametrize("ending", [".npz", ".csv", ".parquet"])
@pytest.mark.parametrize("names", [NAMES, ("0", "1", "2")])
@pytest.mark.parametrize("labels", [Y, None])
def test_what_is_written_is_read_back_to_the_last_bit(
    tmp_path: Path, ending: str, names: tuple[str, ...], labels: np.ndarray | None
) -> None:
    path = write_probabilities(tmp_path / f"new/q{ending}", P, names, labels)
    found = read_predictions(path, labels_required=labels is not None)
    np.testing.assert_array_equal(found.probs, P)
    assert found.class_names == names
    assert found.labels is None if labels is None else found.labels.tolist() == Y.tolist()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_columns_and_arrays_that_are_written(tmp_path: Path) -> None:
    frame = pd.read_csv(write_probabilities(tmp_path / "q.csv", P, NAMES, Y))
    assert list(frame) == ["prob_cat", "prob_dog", "prob_newt", "label"]
    assert frame["label"].tolist() == ["cat", "dog", "dog", "newt"]
    np.testing.assert_allclose(frame.iloc[:, :3].to_numpy(), P, rtol=1e-15)
    assert (
        pd.read_parquet(write_probabilities(tmp_path / "q.parquet", P, ("0", "1", "2"), Y))["label"].dtype == np.int64
    )
    with np.load(write_probabilities(tmp_path / "q.npz", P, NAMES, Y)) as arrays:
        assert {name: arrays[name].tolist() for name in arrays.files} == {
            "probs": P.tolist(),
            "class_names": list(NAMES),
            "labels": Y.tolist(),
        }


def test_the_input_is_not_written_over_nor_a_file_of_another_kind(tmp_path: Path, npz: Save, monkeypatch) -> None:
    path = npz(logits=Z, labels=Y)
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"p\.npz: the predictions are read from this file"):
        write_probabilities("p.npz", P, NAMES, source=path)
    with pytest.raises(InputError, match=r"q\.txt: probabilities are written to files that end in \.npz, \.csv"):
        write_probabilities("q.txt", P, NAMES)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["p.npz"]


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.npz").mkdir()
    (tmp_path / "f").touch()
    cases = [
        ("d.npz", False, "d.npz: this is a folder; give a file"),
        ("f", True, "f: this is a file; give a folder"),
        ("f/a/q.npz", False, "f/a/q.npz: 'f' is a file, not a folder"),
        ("f/a/b", True, "f/a/b: 'f' is a file, not a folder"),
    ]
    monkeypatch.chdir(tmp_path)
    for place, folder, words in cases:
        with pytest.raises(InputError, match=words):
            check_place(place, folder=folder)
    check_place("new/er/q.npz")
    check_place("new/er", folder=True)
    check_place("d.npz", folder=True)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match=r"^new/q\.npz: no permission to write in '\.'"):
        check_place("new/q.npz")


def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path) -> None:
    path = write_probabilities(tmp_path / "q.parquet", P, NAMES)
    before = path.read_bytes()
    with pytest.raises(IndexError):
        write_probabilities(path, P, (*NAMES, "eft"))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["q.parquet"]
