"""Named data sets from small copies in a data root and, without a network, from a folder that stands in for the hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import numpy as np
import pytest

from gence.data import load, ood
from gence.data.facts import Facts
from gence.data.named import read_test_images
from gence.data.recipes import RECIPES

DIGITS = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list("0123456789")}}
FINE_AND_COARSE = {
    "img": {"_type": "Image"},
    "fine_label": {"_type": "ClassLabel", "names": ["ant", "bee", "cat"]},
    "coarse_label": {"_type": "ClassLabel", "names": ["insect", "mammal"]},
}


@pytest.fixture
def shrink(monkeypatch: pytest.MonkeyPatch):
    """Let a recipe expect a small copy."""

    def to(name: str, *facts: Any) -> None:
        monkeypatch.setitem(RECIPES, name, replace(RECIPES[name], facts=Facts(*facts)))

    return to


@pytest.fixture
def put(png, write_parquet):
    """Write images of one grey or colour each, numbered by their pixels, with labels in one or several columns."""

    def images(folder: Path, split: str, labels: dict[str, list[int]], features: dict, *, colour: bool = False) -> None:
        count = len(next(iter(labels.values())))
        shape = (4, 4, 3) if colour else (4, 4)
        pictures = [{"bytes": png(np.full(shape, number % 256, np.uint8)), "path": None} for number in range(count)]
        column = next(iter(features))
        write_parquet(folder / f"{split}-00000-of-00001.parquet", {column: pictures, **labels}, features)

    return images


@pytest.fixture
def cifar100(tmp_path: Path, put, shrink) -> Path:
    shrink("cifar100", 4, 3, 3, (3, 4, 4))
    folder = tmp_path / "root/uoft-cs/cifar100/cifar100"
    put(folder, "train", {"fine_label": [0, 1, 2, 0], "coarse_label": [0, 0, 1, 0]}, FINE_AND_COARSE, colour=True)
    put(folder, "test", {"fine_label": [2, 1, 0], "coarse_label": [1, 0, 0]}, FINE_AND_COARSE, colour=True)
    return tmp_path / "root"


def test_a_root_holds_repositories_and_their_configurations(cifar100: Path) -> None:
    data = load("cifar100", data_root=cifar100)

    assert (data.name, data.kind, data.class_names) == ("cifar100", "image", ("ant", "bee", "cat"))
    assert data.labels.tolist() == [0, 1, 2, 0, 2, 1, 0]
    assert data.inputs[:, 2, 3, 3].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert data.test_rows is not None
    assert data.test_rows.tolist() == [4, 5, 6]
    assert data.notes == ("not used, beside img, fine_label: coarse_label",)


@pytest.mark.parametrize("place", ["cifar100", "uoft-cs/cifar100", "uoft-cs/cifar100/data"])
def test_shorter_paths_below_the_root_do_as_well(cifar100: Path, tmp_path: Path, place: str) -> None:
    other = tmp_path / "other" / place
    other.parent.mkdir(parents=True)
    (cifar100 / "uoft-cs/cifar100/cifar100").rename(other)

    assert len(load("cifar100", data_root=tmp_path / "other").labels) == 7


def test_the_only_configuration_has_no_folder_of_its_own(tmp_path: Path, put, shrink) -> None:
    shrink("tiny-imagenet", 2, 2, 2, (1, 4, 4))
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["n1", "n2"]}}
    for split in ("train", "valid"):
        put(tmp_path / "zh-plus/tiny-imagenet/data", split, {"label": [0, 1]}, features)

    data = load("tiny-imagenet", data_root=tmp_path)

    assert data.notes == ("tested on the valid split, as there is no test split",)
    assert read_test_images("tiny-imagenet", tmp_path).tolist() == data.inputs[2:].tolist()


def test_a_named_data_set_goes_before_a_folder_of_its_name(cifar100: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cifar100 / "uoft-cs/cifar100/cifar100").rename(cifar100 / "cifar100")
    monkeypatch.chdir(cifar100)

    assert load("cifar100", data_root=cifar100).name == "cifar100"
    assert load("./cifar100", target="coarse_label").class_names == ("insect", "mammal")


def test_other_numbers_than_published_are_refused(cifar100: Path, shrink, refusal) -> None:
    shrink("cifar100", 50_000, 3, 100, (3, 32, 32))

    assert refusal("cifar100", data_root=cifar100) == (
        "cifar100: not as published: training rows 4 instead of 50000, classes 3 instead of 100, rows of shape "
        "(3, 4, 4) instead of (3, 32, 32) (read from train-00000-of-00001.parquet, test-00000-of-00001.parquet); "
        f"download {cifar100}/uoft-cs/cifar100/cifar100 again, or give its path if it is other data"
    )


def test_files_of_a_split_that_is_not_read_are_not_named(cifar100: Path, shrink, refusal) -> None:
    folder = cifar100 / "uoft-cs/cifar100/cifar100"
    (folder / "validation-00000-of-00001.parquet").write_bytes((folder / "test-00000-of-00001.parquet").read_bytes())
    shrink("cifar100", 5, 3, 3, (3, 4, 4))

    assert "(read from train-00000-of-00001.parquet, test-00000-of-00001.parquet)" in refusal(
        "cifar100", data_root=cifar100
    )


def test_images_may_be_resized_and_are_still_checked(cifar100: Path, shrink, refusal) -> None:
    assert load("cifar100", data_root=cifar100, image_size=2).inputs.shape == (7, 3, 2, 2)

    shrink("cifar100", 4, 3, 3, (1, 4, 4))
    assert "rows of shape (3,) instead of (1,)" in refusal("cifar100", data_root=cifar100, image_size=2)


def test_of_test_images_the_training_rows_are_not_read(cifar100: Path, refusal) -> None:
    train = cifar100 / "uoft-cs/cifar100/cifar100/train-00000-of-00001.parquet"
    train.write_bytes(b"PAR1")

    images = read_test_images("cifar100", cifar100)
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert "not a parquet file, or cut short" in refusal("cifar100", data_root=cifar100)


def test_test_images_are_checked_as_well(cifar100: Path, shrink) -> None:
    shrink("cifar100", 4, 10, 3, (3, 4, 4))

    with pytest.raises(
        ValueError, match=r"not as published: test rows 3 instead of 10 \(read from test-\S+\); download"
    ):
        read_test_images("cifar100", cifar100)


def test_a_missing_folder_is_refused_with_what_the_root_holds(cifar100: Path, refusal) -> None:
    (cifar100 / "notes.txt").write_text("mine")

    assert refusal("cifar10", data_root=cifar100) == (
        f"cifar10: the data root has no folder {cifar100}/uoft-cs/cifar10/plain_text, {cifar100}/uoft-cs/cifar10 or "
        f"{cifar100}/cifar10, where the parquet files of the hub are expected; it holds notes.txt, uoft-cs/cifar100"
    )


def test_an_empty_root_holds_nothing(tmp_path: Path, refusal) -> None:
    assert refusal("mnist", data_root=tmp_path).endswith("it holds nothing")


@pytest.mark.parametrize("name", ["mnist", "mnist_pairs", "medmnist/pathmnist", "digits", "breast_cancer"])
def test_a_root_that_is_no_folder_is_refused_even_where_none_is_needed(tmp_path: Path, name: str, refusal) -> None:
    (tmp_path / "file").touch()
    end = "the data root is the folder that named data sets lie in"

    assert refusal(name, data_root=tmp_path / "nowhere") == f"{tmp_path}/nowhere: there is no such folder; {end}"
    told = f"{tmp_path}/file: this is a file, a folder is expected; {end}"
    assert refusal(name, data_root=str(tmp_path / "file")) == told
    assert refusal(name, data_root="").startswith("the data root is empty; give the folder that")
    with pytest.raises(ValueError, match="no such folder"):
        read_test_images(name, tmp_path / "nowhere")


def test_a_folder_without_parquet_files_is_refused(tmp_path: Path, refusal) -> None:
    (tmp_path / "mnist").mkdir()

    message = refusal("mnist", data_root=tmp_path)
    assert message == (
        f"{tmp_path}/mnist: no parquet files are in it; train-00000-of-00001.parquet is expected, as on the hub"
    )


@pytest.mark.parametrize("source", [".", "hf:org/zoo"])
def test_a_root_is_for_named_data_sets_only(tmp_path: Path, source: str, refusal) -> None:
    message = refusal(source, data_root=tmp_path)

    assert message.startswith(f"{source}: a data root was given, but this is no named data set (cifar10, cifar100,")
    assert message.endswith("leave it out")


def test_a_slip_in_a_name_is_found_beside_a_root_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal) -> None:
    monkeypatch.chdir(tmp_path)

    for slip, meant in {"cifar-10": "cifar10", "CIFAR100": "cifar100", "tiny_imagenet": "tiny-imagenet"}.items():
        expected = f"{slip!r}: there is no such file or folder; did you mean {meant!r}?"
        assert refusal(slip, data_root=tmp_path) == refusal(slip) == expected


def test_what_is_embedded_needs_no_root_and_minds_none(tmp_path: Path) -> None:
    assert load("digits", data_root=tmp_path).fingerprint == load("digits").fingerprint


def test_the_label_of_a_named_data_set_is_not_chosen(refusal) -> None:
    message = refusal("cifar100", target="coarse_label")

    assert message.startswith("cifar100: the target 'coarse_label' was given, but a named source has no columns")


@pytest.fixture
def hub(cifar100: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without a network the library reads a folder ORG/NAME of the working directory as it would the repository."""
    card = cifar100 / "uoft-cs/cifar100/README.md"
    card.write_text("---\nconfigs:\n- config_name: cifar100\n  data_files: [{split: train, path: cifar100/train*},")
    with card.open("a") as file:
        file.write(" {split: test, path: cifar100/test*}]\n---\n")
    monkeypatch.chdir(cifar100)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cifar100 / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cifar100


def test_without_a_root_the_hub_is_read(hub: Path) -> None:
    data = load("cifar100")

    assert data.fingerprint == load("cifar100", data_root=hub).fingerprint
    assert (data.name, data.notes) == ("cifar100", ("not used, beside img, fine_label: coarse_label",))
    np.testing.assert_array_equal(read_test_images("cifar100"), data.inputs[4:])


def test_what_comes_from_the_hub_is_checked(hub: Path, shrink, refusal) -> None:
    shrink("cifar100", 4, 4, 3, (3, 4, 4))

    assert refusal("cifar100") == "cifar100: not as published: test rows 3 instead of 4; download it again"


def test_a_hub_out_of_reach_is_refused_with_the_root_as_the_cure(hub: Path, refusal) -> None:
    message = refusal("svhn")

    assert message.startswith("svhn: cannot be loaded (")
    assert message.endswith(
        "check the network, or download the parquet files to ROOT/ufldl-stanford/svhn/cropped_digits and give "
        "--data-root ROOT"
    )


def test_pairs_of_mnist_are_made_of_the_mnist_of_the_root(tmp_path: Path, put, shrink, refusal) -> None:
    shrink("mnist", 260, 110, 10, (1, 4, 4))
    folder = tmp_path / "ylecun/mnist/mnist"
    put(folder, "train", {"label": [number % 10 for number in range(256)] + [6, 7, 8, 9]}, DIGITS)
    put(folder, "test", {"label": [number % 10 for number in range(110)]}, DIGITS)

    pairs = load("mnist_pairs", data_root=tmp_path)

    assert (pairs.name, pairs.num_classes, pairs.inputs.shape) == ("mnist_pairs", 100, (70_000, 1, 4, 8))
    assert len(read_test_images("mnist_pairs", tmp_path)) == 10_000
    assert "leave it out" in refusal("mnist_pairs", data_root=tmp_path, image_size=8)

    shrink("mnist", 60_000, 110, 10, (1, 4, 4))
    assert refusal("mnist_pairs", data_root=tmp_path).startswith("mnist: not as published: training rows 260 instead")


def test_out_of_distribution_images_come_from_the_root(cifar100: Path, refusal) -> None:
    digits = load("digits")

    images = ood.load_ood("cifar100", digits, data_root=cifar100)

    assert (images.shape, images.dtype) == ((3, 1, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="svhn: the data root has no folder"):
        ood.load_ood("svhn", digits, data_root=cifar100)
