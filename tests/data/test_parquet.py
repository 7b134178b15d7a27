from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gence.data import load

FEATURES = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ant", "bee", "cat"]}}


@pytest.fixture
def shard(png, write_parquet):
    """A shard of 2 x 2 images, each of one grey value."""

    def write(path: Path, greys: list[int], labels: list[int]) -> Path:
        images = [{"bytes": png(np.full((2, 2), grey, np.uint8)), "path": None} for grey in greys]
        return write_parquet(path, {"img": images, "label": labels}, FEATURES)

    return write


def greys(inputs: np.ndarray) -> list[int]:
    return inputs[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("folder", ["", "data", "plain_text"])
def test_shards_are_read_in_order_wherever_the_layout_puts_them(tmp_path: Path, shard, folder: str) -> None:
    shard(tmp_path / "zoo" / folder / "train-00001-of-00002.parquet", [4, 5], [0, 2])
    shard(tmp_path / "zoo" / folder / "test-00000-of-00001.parquet", [6], [1])
    shard(tmp_path / "zoo" / folder / "train-00000-of-00002.parquet", [1, 2, 3], [0, 1, 2])
    (tmp_path / "zoo/README.md").write_text("a card")
    (tmp_path / "zoo/.cache").mkdir()

    data = load(str(tmp_path / "zoo"))

    assert (data.name, data.kind, data.class_names) == ("zoo", "image", ("ant", "bee", "cat"))
    assert greys(data.inputs) == [1, 2, 3, 4, 5, 6]
    assert data.labels.tolist() == [0, 1, 2, 0, 2, 1]
    assert data.test_rows is not None
    assert data.test_rows.tolist() == [5]
    assert data.notes == ()


def test_validation_counts_as_test_only_where_there_is_no_test(tmp_path: Path, shard) -> None:
    shard(tmp_path / "train-00000-of-00001.parquet", [1, 2], [0, 1])
    shard(tmp_path / "validation-00000-of-00001.parquet", [3], [2])

    data = load(str(tmp_path))
    shard(tmp_path / "test-00000-of-00001.parquet", [4], [0])
    with_test = load(str(tmp_path))

    assert (greys(data.inputs), data.class_names) == ([1, 2, 3], ("ant", "bee", "cat"))
    assert data.notes == ("tested on the validation split, as there is no test split",)
    assert (greys(with_test.inputs), with_test.class_names) == ([1, 2, 4], ("ant", "bee"))
    assert with_test.notes == ("not used, beside train, test: validation", "left out classes without a row: cat")


def test_files_without_shard_numbers_are_splits_too(tmp_path: Path, shard) -> None:
    shard(tmp_path / "train.parquet", [1, 2], [0, 1])
    shard(tmp_path / "test.parquet", [3], [0])

    data = load(str(tmp_path))

    assert data.test_rows is not None
    assert data.test_rows.tolist() == [2]


def test_a_lone_split_is_everything(tmp_path: Path, shard) -> None:
    shard(tmp_path / "part-0.parquet", [1, 2], [0, 1])
    shard(tmp_path / "part-1.parquet", [3], [0])

    data = load(str(tmp_path))

    assert (greys(data.inputs), data.test_rows) == ([1, 2, 3], None)


def test_a_test_split_with_hidden_labels_is_dropped(tmp_path: Path, shard) -> None:
    shard(tmp_path / "train.parquet", [1, 2], [0, 1])
    shard(tmp_path / "test.parquet", [3, 4], [-1, -1])

    data = load(str(tmp_path))

    assert (greys(data.inputs), data.test_rows) == ([1, 2], None)
    assert "dropped 2 rows without a value in label" in data.notes


def test_a_training_split_with_hidden_labels_is_refused(tmp_path: Path, shard, refusal) -> None:
    shard(tmp_path / "train.parquet", [1, 2], [-1, -1])
    shard(tmp_path / "test.parquet", [3, 4], [0, 1])

    assert "no training row has a value in 'label'" in refusal(tmp_path)


def test_images_of_both_splits_share_one_size_and_colour(tmp_path: Path, shard, png, write_parquet) -> None:
    shard(tmp_path / "train.parquet", [1, 2], [0, 1])
    large = {"bytes": png(np.full((9, 9, 3), 77, np.uint8)), "path": None}
    write_parquet(tmp_path / "test.parquet", {"img": [large], "label": [0]}, FEATURES)

    data = load(str(tmp_path))

    assert data.inputs.shape == (3, 3, 64, 64)
    assert greys(data.inputs) == [1, 2, 77]


def test_tables_share_their_categories_over_both_splits(tmp_path: Path, write_parquet) -> None:
    write_parquet(tmp_path / "train-0.parquet", {"x": [1, 2], "sex": ["m", "f"], "ill": [0, 1]})
    write_parquet(tmp_path / "test-0.parquet", {"ill": [1, None], "sex": ["x", "m"], "x": [None, 4.5]})

    data = load(str(tmp_path), target="ill")

    # x, x is missing, sex=f, sex=m, sex=x
    np.testing.assert_array_equal(
        data.inputs, np.array([[1, 0, 0, 1, 0], [2, 0, 1, 0, 0], [np.nan, 1, 0, 0, 1]], np.float32)
    )
    assert (data.kind, data.labels.tolist(), data.class_names) == ("table", [0, 1, 1], ("0", "1"))
    assert data.test_rows is not None
    assert data.test_rows.tolist() == [2]
    assert data.notes[0] == "dropped 1 row without a value in ill"


def test_a_table_with_labels_in_the_test_split_alone_is_refused(tmp_path: Path, write_parquet, refusal) -> None:
    write_parquet(tmp_path / "train.parquet", {"x": [1.0, 2.0], "ill": [None, None]})
    write_parquet(tmp_path / "test.parquet", {"x": [1.0, 2.0], "ill": [0, 1]})

    assert "no training row has a value in 'ill'" in refusal(tmp_path, target="ill")


def test_several_configurations_are_listed(tmp_path: Path, shard, refusal) -> None:
    shard(tmp_path / "small/train.parquet", [1, 2], [0, 1])
    shard(tmp_path / "large/train.parquet", [1, 2], [0, 1])

    message = refusal(tmp_path)

    assert (
        f"several folders in it hold parquet files (large, small); give one of them, such as {tmp_path}/large"
        in message
    )


def test_splits_without_train_are_refused(tmp_path: Path, shard, refusal) -> None:
    shard(tmp_path / "one.parquet", [1], [0])
    shard(tmp_path / "two.parquet", [1], [0])

    assert "there is no split called 'train' among one, two" in refusal(tmp_path)


def test_missing_shards_are_counted(tmp_path: Path, shard, refusal) -> None:
    shard(tmp_path / "train-00001-of-00003.parquet", [1], [0])

    assert "of the 3 shards of the split train, 2 are missing (numbers 0, 2); add them" in refusal(tmp_path)


@pytest.mark.parametrize(
    "other", ["train-00000-of-00001-9f3c.parquet", "train.parquet", "train-00001-of-00003.parquet"]
)
def test_files_of_two_series_are_refused(tmp_path: Path, shard, refusal, other: str) -> None:
    shard(tmp_path / "train-00000-of-00001.parquet", [1, 2], [0, 1])
    shard(tmp_path / other, [1, 2], [0, 1])

    message = refusal(tmp_path)

    assert "the files of the split train are of several series (" in message
    assert other in message


def test_shards_with_other_columns_are_refused(tmp_path: Path, shard, write_parquet, refusal) -> None:
    shard(tmp_path / "train-0.parquet", [1, 2], [0, 1])
    write_parquet(tmp_path / "train-1.parquet", {"label": [1]})

    message = refusal(tmp_path)

    assert (
        "train-1.parquet: the columns (label) or their types differ from those of train-0.parquet (img, label)"
        in message
    )


def test_a_test_split_without_the_label_is_refused(tmp_path: Path, shard, png, write_parquet, refusal) -> None:
    shard(tmp_path / "train.parquet", [1, 2], [0, 1])
    image: dict[str, Any] = {"bytes": png(np.zeros((2, 2), np.uint8)), "path": None}
    write_parquet(tmp_path / "test.parquet", {"img": [image]})

    assert "the split test has no column label, which train has; the same columns are expected in both" in refusal(
        tmp_path
    )


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"PAR1 and then nothing PAR1"])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, refusal, content: bytes) -> None:
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(content)

    words = "not a parquet file, or cut short" if content else "the file is empty"
    assert f"{tmp_path}/train-00000-of-00001.parquet: {words}" in refusal(tmp_path)


def test_a_shard_cut_short_is_refused(tmp_path: Path, shard, refusal) -> None:
    path = shard(tmp_path / "train.parquet", [1, 2], [0, 1])
    path.write_bytes(path.read_bytes()[:-20])

    assert "train.parquet: not a parquet file, or cut short" in refusal(tmp_path)


def test_damage_in_the_middle_of_a_shard_is_refused(tmp_path: Path, shard, refusal) -> None:
    path = shard(tmp_path / "train.parquet", list(range(40)), [0, 1] * 20)
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 2000 + content[2004:])

    assert "train.parquet: the file is damaged (" in refusal(tmp_path)
