"""The catalogue against what other people publish of the same data sets."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gence.data import LabelledData, load, recipes
from gence.data.ood import OOD_SETS
from gence.data.recipes import RECIPES

PAGE = Path(__file__).parents[2] / "docs/data.md"


def test_the_names_are_those_that_load_takes() -> None:
    small = {"cifar10", "cifar100", "tiny-imagenet", "svhn", "mnist", "mnist_pairs", "fashion_mnist"}
    embedded = {"breast_cancer", "digits", "digit_pairs"}
    subsets = ("path", "derma", "oct", "pneumonia", "retina", "breast", "blood", "tissue", "organa", "organc", "organs")

    assert set(recipes.names()) == {*small, *embedded, *(f"medmnist/{subset}mnist" for subset in subsets)}


def test_the_numbers_of_rows_are_the_published_totals() -> None:
    """The totals that the papers name in their text; Yang et al. 2023, table 1, for MedMNIST."""
    totals = {
        "cifar10": 60_000,
        "cifar100": 60_000,
        "tiny-imagenet": 110_000,  # without the unlabelled test images
        "svhn": 99_289,  # without the extra ones
        "mnist": 70_000,
        "fashion_mnist": 70_000,
        "medmnist/pathmnist": 107_180 - 10_004,
        "medmnist/dermamnist": 10_015 - 1_003,
        "medmnist/octmnist": 109_309 - 10_832,
        "medmnist/pneumoniamnist": 5_856 - 524,
        "medmnist/retinamnist": 1_600 - 120,
        "medmnist/breastmnist": 780 - 78,
        "medmnist/bloodmnist": 17_092 - 1_712,
        "medmnist/tissuemnist": 236_386 - 23_640,
        "medmnist/organamnist": 58_850 - 6_491,
        "medmnist/organcmnist": 23_660 - 2_392,
        "medmnist/organsmnist": 25_221 - 2_452,
    }
    for name, total in totals.items():
        facts = (RECIPES[name].earlier or (RECIPES[name].facts,))[0]
        assert facts.train_rows + facts.test_rows == total, name


def test_classes_and_shapes() -> None:
    classes = {name: entry.facts.classes for name, entry in RECIPES.items()}
    assert [classes[f"medmnist/{name}mnist"] for name in ("path", "derma", "oct", "blood", "tissue")] == [9, 7, 4, 8, 8]
    assert classes["cifar100"] == classes["mnist_pairs"] == classes["digit_pairs"] == 100
    for name, entry in RECIPES.items():
        assert len(entry.class_names) in (0, entry.facts.classes), name
        assert all((old.classes, old.shape) == (entry.facts.classes, entry.facts.shape) for old in entry.earlier)


@pytest.mark.parametrize("name", ["digits", "digit_pairs", "breast_cancer"])
def test_what_is_embedded_is_as_its_recipe_says(name: str) -> None:
    data, facts = load(name), RECIPES[name].facts
    tested = 0 if data.test_rows is None else len(data.test_rows)

    assert RECIPES[name].embedded
    assert (data.name, len(data.labels) - tested, tested) == (name, facts.train_rows, facts.test_rows)
    assert (data.num_classes, data.inputs.shape[1:]) == (facts.classes, facts.shape)
    if data.kind == "image":
        assert data.inputs.max() == RECIPES[name].white


def test_augmentation_is_by_name_and_none_for_what_has_no_recipe() -> None:
    assert recipes.augmentation("cifar100") == ("crop", "flip")
    assert recipes.augmentation("svhn") == ("crop",)
    assert recipes.augmentation("mnist") == recipes.augmentation("my photos") == ()


def test_white_is_told_by_name_shape_and_classes_together() -> None:
    digits = load("digits")

    assert recipes.white_pixel(digits) == 16.0
    assert recipes.white_pixel(replace(digits, name="zoo")) is None
    assert recipes.white_pixel(replace(digits, inputs=np.zeros((1797, 1, 9, 9), np.uint8))) is None
    assert recipes.white_pixel(LabelledData("digits", "image", digits.inputs[:2], np.arange(2), ("a", "b"))) is None


def recipe_rows() -> list[str]:
    lines = []
    for name, entry in RECIPES.items():
        source = "embedded" if entry.embedded else entry.file or f"{entry.repository}/{entry.config}".rstrip("/")
        facts, usual = entry.facts, ", ".join(entry.augmentation) or "none"
        counts = f"{facts.train_rows:,} | {facts.test_rows:,} | {facts.classes}"
        shape = " x ".join(map(str, facts.shape))
        lines.append(f"| `{name}` | {entry.title} | {counts} | {shape} | {usual} | {source} | {entry.reference} |")
    return lines


def ood_rows() -> list[str]:
    def listed(found: tuple[str, ...]) -> str:
        return ", ".join(found) or "none"

    return [
        f"| `{name}` | {listed(sets.near)} | {listed(sets.far)} | {listed(sets.not_held)} | {sets.reference} |"
        for name, sets in OOD_SETS.items()
    ]


@pytest.mark.parametrize(
    ("heading", "rows"), [("Named data sets", recipe_rows()), ("Out-of-distribution sets", ood_rows())]
)
def test_the_tables_of_the_page_are_the_catalogues(heading: str, rows: list[str]) -> None:
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (section,) = [one for one in section if one.startswith(heading)]
    assert [line for line in section.splitlines() if line.startswith("| `")] == rows
