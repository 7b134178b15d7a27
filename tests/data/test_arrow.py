"""What a single parquet file shows of the Arrow path: which columns are read, and as what."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gence.data import load

IMAGE = {"_type": "Image"}
LABEL = {"_type": "ClassLabel", "names": ["zebra", "ant", "cat"]}
PIXELS = [np.full((2, 3), value, np.uint8) for value in (10, 20, 30, 40)]


@pytest.fixture
def images(png) -> list[dict[str, Any]]:
    return [{"bytes": png(pixels), "path": None} for pixels in PIXELS]


@pytest.fixture
def file(tmp_path: Path, write_parquet):
    def write(columns: dict[str, Any], features: dict[str, Any] | None = None) -> str:
        return str(write_parquet(tmp_path / "zoo.parquet", columns, features))

    return write


def test_declared_images_and_classes_are_read(file, images) -> None:
    data = load(file({"img": images, "kind": [2, 0, 2, 1]}, {"img": IMAGE, "kind": LABEL}))

    assert (data.name, data.kind, data.class_names) == ("zoo", "image", ("zebra", "ant", "cat"))
    assert data.labels.tolist() == [2, 0, 2, 1]
    assert data.labels.dtype == np.int64
    np.testing.assert_array_equal(data.inputs, np.stack(PIXELS)[:, None])
    assert data.test_rows is None
    assert data.notes == ()


def test_declared_classes_without_a_row_are_left_out(file, images) -> None:
    data = load(file({"img": images, "kind": [2, 0, 2, 0]}, {"img": IMAGE, "kind": LABEL}))

    assert (data.class_names, data.labels.tolist()) == (("zebra", "cat"), [1, 0, 1, 0])
    assert data.notes == ("left out classes without a row: ant",)


def test_images_whose_declaration_was_lost_are_found_by_their_shape(file, images) -> None:
    without_paths = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.null())]))
    lost = {"bytes": {"_type": "Value"}, "path": {"_type": "Value"}}

    data = load(file({"img": without_paths, "label": [0, 1, 0, 1]}, {"img": lost}))

    np.testing.assert_array_equal(data.inputs, np.stack(PIXELS)[:, None])


@pytest.mark.parametrize("label", ["label", "Labels"])
def test_undeclared_images_and_labels_are_found(file, images, label: str) -> None:
    data = load(file({"picture": images, label: ["b", "a", "b", "a"]}))

    assert (data.kind, data.class_names, data.labels.tolist()) == ("image", ("a", "b"), [1, 0, 1, 0])


def test_the_target_wins_over_what_is_declared(file, images) -> None:
    columns = {"img": images, "kind": [2, 0, 2, 1], "wild": [True, False, False, True]}

    data = load(file(columns, {"img": IMAGE, "kind": LABEL, "wild": {"_type": "Value"}}), target="wild")

    assert (data.class_names, data.labels.tolist()) == (("False", "True"), [1, 0, 0, 1])
    assert data.notes == ("not used, beside img, wild: kind",)


def test_several_declared_labels_are_listed(file, images, refusal) -> None:
    source = file(
        {"img": images, "fine": [0, 1, 2, 0], "coarse": [0, 1, 1, 0]}, {"img": IMAGE, "fine": LABEL, "coarse": LABEL}
    )

    assert "several columns may hold the label (fine, coarse); choose one with --target" in refusal(source)
    assert load(source, target="coarse").labels.tolist() == [0, 1, 1, 0]


def test_images_without_a_label_column_are_refused(file, images, refusal) -> None:
    source = file({"img": images, "kind": [2, 0, 2, 1]})

    assert refusal(source).endswith("which column holds the label? give --target; columns: img, kind")
    assert refusal(source, target="kinds") == "unknown column 'kinds': did you mean 'kind'? known: img, kind"


def test_the_image_column_is_no_label(file, images, refusal) -> None:
    source = file({"img": images, "kind": [2, 0, 2, 1]})

    assert "column 'img' holds values of the kind dict; a class label is expected" in refusal(source, target="img")


def test_of_two_image_columns_the_first_is_read(file, images) -> None:
    data = load(file({"img": images, "mask": images[::-1], "label": [0, 1, 0, 1]}))

    assert data.inputs[0, 0, 0, 0] == 10
    assert data.notes == ("not used, beside img, label: mask",)


def test_declared_sound_is_not_taken_for_an_image(file, images, refusal) -> None:
    source = file({"sound": images, "label": [0, 1, 0, 1]}, {"sound": {"_type": "Audio"}})

    assert "left out 1 column holding neither numbers nor text nor dates: sound" in refusal(source, target="label")


def test_images_without_a_label_are_dropped(file, images) -> None:
    data = load(file({"img": images, "kind": [2, -1, 0, None]}, {"img": IMAGE, "kind": LABEL}))

    assert data.inputs[:, 0, 0, 0].tolist() == [10, 30]
    assert (data.class_names, data.labels.tolist()) == (("zebra", "cat"), [1, 0])
    assert data.notes == ("dropped 2 rows without a value in kind", "left out classes without a row: ant")


def test_text_labels_may_be_missing_or_stored_as_a_dictionary(file, images) -> None:
    labels = pa.array(["b", None, "a", "b"]).dictionary_encode()

    data = load(file({"img": images, "label": labels}))

    assert (data.class_names, data.labels.tolist()) == (("a", "b"), [1, 0, 1])


def test_minus_one_is_a_class_where_none_are_declared(file, images) -> None:
    assert load(file({"img": images, "label": [1, -1, 1, -1]})).class_names == ("-1", "1")


def test_images_in_files_are_read_from_their_paths(file, images, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(images[0]["bytes"])
    images[0] = {"bytes": None, "path": str(tmp_path / "0.png")}

    data = load(file({"img": images, "label": [0, 1, 0, 1]}))

    np.testing.assert_array_equal(data.inputs, np.stack(PIXELS)[:, None])


def test_images_are_resized_on_demand(file, images) -> None:
    data = load(file({"img": images, "label": [0, 1, 0, 1]}), image_size=5)

    assert data.inputs.shape == (4, 1, 5, 5)
    assert data.notes == ("resized 4 images of 3 x 2 pixels to 5 x 5",)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (None, "zoo.parquet: row 1 of train: the image is missing; take that row out"),
        ({"bytes": None, "path": None}, "zoo.parquet: row 1 of train: the image is missing"),
        (
            {"bytes": b"junk", "path": "a.png"},
            "zoo.parquet: row 1 of train: the image cannot be read (damaged, or not an",
        ),
        (
            {"bytes": None, "path": "/nowhere/a.png"},
            "cannot be read ([Errno 2] No such file or directory: '/nowhere/a.png')",
        ),
    ],
)
def test_a_broken_image_is_refused_with_its_row(file, images, refusal, cell: Any, words: str) -> None:
    images[1] = cell

    assert words in refusal(file({"img": images, "label": [0, 1, 0, 1]}))


def test_the_row_of_a_broken_image_counts_rows_without_a_label(file, images, refusal) -> None:
    images[2]["bytes"] = b"junk"

    assert "row 2 of train: " in refusal(file({"img": images, "label": ["a", None, "b", "a"]}))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0.5, 1.0, 0.0, 1.0], "column 'label' holds the number 0.5; a class label is expected"),
        ([None, None, None, None], "no training row has a value in 'label'"),
        ([1, 1, 1, 1], "zoo: every row has the class '1'"),
        ([datetime.date(2020, 1, 1)] * 4, "a class label is expected"),
        ([Decimal("0.5")] * 4, "column 'label' holds the number 0.5; a class label is expected"),
    ],
)
def test_labels_that_do_not_fit_are_refused(file, images, refusal, labels: list[Any], words: str) -> None:
    assert words in refusal(file({"img": images, "label": labels}))


def test_a_table_comes_out_as_it_was_written(file) -> None:
    columns = {
        "legs": pa.array([4, None, 2, 0], pa.int16()),
        "born": pa.array([datetime.date(1970, 1, day) for day in (1, 2, 3, 4)]),
        "price": pa.array([Decimal("1.5"), Decimal("2.5"), Decimal("3.5"), Decimal("4.5")]),
        "colour": pa.array(["red", "blue", "red", "red"]).dictionary_encode(),
        "tags": [["a"], [], ["b"], []],
        "kind": ["cat", "ant", None, "cat"],
    }

    data = load(file(columns), target="kind")

    assert (data.name, data.kind, data.class_names, data.labels.tolist()) == ("zoo", "table", ("ant", "cat"), [1, 0, 1])
    # legs, legs is missing, born, price, colour=blue, colour=red
    np.testing.assert_array_equal(
        data.inputs, np.array([[4, 0, 0, 1.5, 0, 1], [np.nan, 1, 1, 2.5, 1, 0], [0, 0, 3, 4.5, 0, 1]], np.float32)
    )
    assert data.notes == (
        "dropped 1 row without a value in kind",
        "left out 1 column holding neither numbers nor text nor dates: tags",
        "1 missing value in 1 column (legs) is filled with the median of the training rows",
        "counted dates in days since 1970-01-01: born",
    )


def test_a_table_without_a_target_lists_its_columns(file, refusal) -> None:
    assert refusal(file({"x": [1, 2], "label": [0, 1]})).endswith("give --target; columns: x, label")


def test_declared_classes_name_a_tables_labels_and_categories(file) -> None:
    columns = {"x": [1, 2, 3, 4], "kind": [2, -1, 0, 2], "prey": [1, 0, 1, 0]}
    features = {"x": {"_type": "Value"}, "kind": LABEL, "prey": LABEL}

    data = load(file(columns, features), target="kind")

    assert (data.class_names, data.labels.tolist()) == (("zebra", "cat"), [1, 0, 1])
    # x, prey=ant, prey=zebra
    assert data.inputs.tolist() == [[1, 1, 0], [3, 1, 0], [4, 0, 1]]


def test_the_only_declared_label_of_a_table_needs_no_target(file) -> None:
    assert load(file({"x": [1, 2], "kind": [0, 1]}, {"kind": LABEL})).class_names == ("zebra", "ant")


def test_the_index_that_pandas_stores_is_no_column(file, refusal) -> None:
    source = file({"x": [1, 2], "label": [0, 1], "__index_level_0__": [7, 8]})

    assert load(source, target="label").inputs.tolist() == [[1], [2]]
    assert refusal(source).endswith("columns: x, label")


def test_metadata_that_makes_no_sense_is_passed_over(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    for number, metadata in enumerate([b"{", b"[]", b'{"info": {}}', b'{"info": {"features": {"y": 3}}}']):
        table = pa.table({"x": [1, 2], "y": [0, 1]}).replace_schema_metadata({"huggingface": metadata})
        pq.write_table(table, tmp_path / f"{number}.parquet")

        assert load(str(tmp_path / f"{number}.parquet"), target="y").class_names == ("0", "1")


def test_an_image_size_is_refused_for_a_table(file, refusal) -> None:
    message = refusal(file({"x": [1, 2], "y": [0, 1]}), target="y", image_size=8)

    assert "an image size was given, but there are no images; leave it out" in message


def test_columns_of_one_name_are_refused(tmp_path: Path, refusal) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"]), tmp_path / "zoo.parquet")

    assert "several columns have the same name (x); rename them" in refusal(tmp_path / "zoo.parquet", target="x")
