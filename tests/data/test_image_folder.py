from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gence.data import load


def put(path: Path, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 2), grey).save(path)


def greys(inputs: np.ndarray) -> list[int]:
    return inputs[:, 0, 0, 0].tolist()


def test_one_subfolder_is_one_class(tmp_path: Path) -> None:
    for grey, name in enumerate(["dog/2.png", "dog/1.png", "ant/z.png", "cat/a.png"]):
        put(tmp_path / "pets" / name, grey * 10)

    data = load(str(tmp_path / "pets"))

    assert (data.name, data.kind, data.inputs.shape) == ("pets", "image", (4, 1, 2, 3))
    assert data.class_names == ("ant", "cat", "dog")
    assert data.labels.tolist() == [0, 1, 2, 2]
    assert greys(data.inputs) == [20, 30, 10, 0]
    assert data.labels.dtype == np.int64
    assert data.test_rows is None
    assert data.notes == ()


@pytest.mark.parametrize("test_name", ["test", "val", "valid", "validation", "Test"])
def test_a_test_folder_becomes_the_test_split(tmp_path: Path, test_name: str) -> None:
    for grey, name in enumerate(["train/b/1.png", "train/a/1.png", f"{test_name}/b/1.png", "train/c/1.png"]):
        put(tmp_path / name, grey * 10)

    data = load(str(tmp_path))

    assert data.class_names == ("a", "b", "c")
    assert data.labels.tolist() == [0, 1, 2, 1]
    assert greys(data.inputs) == [10, 0, 30, 20]
    assert data.test_rows is not None
    assert data.test_rows.tolist() == [3]


def test_validation_beside_test_is_left_alone_and_noted(tmp_path: Path) -> None:
    for name in ["train/a/1.png", "train/b/1.png", "test/a/1.png", "val/zebra/1.png"]:
        put(tmp_path / name)

    data = load(str(tmp_path))

    assert len(data.labels) == 3
    assert data.notes == ("not used, beside train, test: val",)


def test_train_alone_has_no_test_split(tmp_path: Path) -> None:
    put(tmp_path / "train/a/1.png")
    put(tmp_path / "train/b/1.png")

    data = load(str(tmp_path))

    assert (data.class_names, data.test_rows) == (("a", "b"), None)


def test_train_may_be_the_name_of_a_class(tmp_path: Path) -> None:
    put(tmp_path / "plane/1.png")
    put(tmp_path / "train/1.png")

    assert load(str(tmp_path)).class_names == ("plane", "train")


def test_train_and_test_without_class_folders_are_refused(tmp_path: Path, refusal) -> None:
    put(tmp_path / "train/cat.1.png")
    put(tmp_path / "test/1.png")

    message = refusal(tmp_path)

    assert (
        f"{tmp_path}/train: no class folders with images in them; {tmp_path}/train/CLASS/IMAGE is expected" in message
    )
    assert "sort the images into class folders, or take this folder away" in message


def test_a_test_class_that_train_lacks_is_refused(tmp_path: Path, refusal) -> None:
    for name in ["train/ant/1.png", "train/bird/1.png", "test/ant/1.png", "test/birds/1.png"]:
        put(tmp_path / name)

    message = refusal(tmp_path)

    assert (
        "the test split has 1 class that train lacks: birds; did you mean 'bird'? classes of train: ant, bird"
        in message
    )


def test_endings_are_read_in_any_case(tmp_path: Path) -> None:
    for number, ending in enumerate(["png", "JPG", "jpeg", "Bmp", "gif", "webp", "tif", "TIFF"]):
        put(tmp_path / f"{'ab'[number % 2]}/{number}.{ending}")

    data = load(str(tmp_path))

    assert len(data.labels) == 8
    assert data.notes == ()


def test_hidden_files_are_nothing_and_foreign_files_are_counted(tmp_path: Path) -> None:
    for name in ["a/1.png", "b/1.png", ".cache/1.png", "a/._1.png", "loose.png"]:
        put(tmp_path / name)
    for name in ["README.md", "a/Thumbs.db", ".DS_Store"]:
        (tmp_path / name).write_text("text")

    data = load(str(tmp_path))

    assert data.class_names == ("a", "b")
    assert len(data.labels) == 2
    assert data.notes == ("passed over 3 files that are not an image of a class",)


def test_foreign_files_beside_train_are_counted_too(tmp_path: Path) -> None:
    for name in ["train/a/1.png", "train/b/1.png"]:
        put(tmp_path / name)
    (tmp_path / "LICENSE").write_text("text")

    assert load(str(tmp_path)).notes == ("passed over 1 file that is not an image of a class",)


def test_folders_without_images_are_no_classes(tmp_path: Path) -> None:
    for name in ["a/1.png", "a/deeper/2.png", "b/1.png"]:
        put(tmp_path / "pets" / name)
    (tmp_path / "pets/docs").mkdir()

    data = load(str(tmp_path / "pets"))

    assert data.class_names == ("a", "b")
    assert len(data.labels) == 2
    assert data.notes == ("passed over 2 folders without images: pets/a/deeper, pets/docs",)


def test_images_of_several_sizes_are_resized_with_a_note(tmp_path: Path) -> None:
    put(tmp_path / "a/1.png", 50)
    (tmp_path / "b").mkdir()
    Image.new("RGB", (100, 80), (1, 2, 3)).save(tmp_path / "b/1.png")

    data = load(str(tmp_path))
    small = load(str(tmp_path), image_size=1)

    assert data.inputs.shape == (2, 3, 64, 64)
    assert data.inputs[:, :, 0, 0].tolist() == [[50, 50, 50], [1, 2, 3]]
    assert data.notes == ("resized 2 images of 2 different sizes to 64 x 64",)
    assert small.inputs.shape == (2, 3, 1, 1)


def test_a_broken_image_is_refused_by_its_path(tmp_path: Path, refusal) -> None:
    put(tmp_path / "a/1.png")
    put(tmp_path / "b/1.png")
    (tmp_path / "b/2.png").write_bytes(b"")

    assert f"{tmp_path}/b/2.png: the image cannot be read (damaged, or not an image)" in refusal(tmp_path)


def test_one_class_is_not_enough(tmp_path: Path, refusal) -> None:
    put(tmp_path / "pets/cat/1.png")

    assert "pets: every row has the class 'cat'" in refusal(tmp_path / "pets")


def test_a_target_is_refused(tmp_path: Path, refusal) -> None:
    put(tmp_path / "a/1.png")

    assert "the target 'label' was given, but a folder of images has no columns" in refusal(tmp_path, target="label")
