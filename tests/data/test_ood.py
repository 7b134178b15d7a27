from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from gence._errors import InputError
from gence.data import LabelledData, load, load_ood, match_images, ood_sets
from gence.data.ood import OOD_SETS
from gence.data.recipes import RECIPES


def images_like(*shape: int, dtype: type = np.uint8) -> LabelledData:
    return LabelledData("zoo", "image", np.zeros((2, *shape), dtype), np.array([0, 1]), ("ant", "bee"))


@pytest.mark.parametrize(
    ("name", "near", "far", "not_held"),
    [
        ("cifar10", "cifar100 tiny-imagenet", "mnist svhn", "textures places365"),
        ("cifar100", "cifar10 tiny-imagenet", "mnist svhn", "textures places365"),
        ("mnist", "fashion_mnist", "cifar10 tiny-imagenet", "notmnist textures places365"),
    ],
)
def test_the_sets_of_openood(name: str, near: str, far: str, not_held: str) -> None:
    """The sets that its configurations name for near and far."""
    sets = ood_sets(name)

    assert (set(sets.near), set(sets.far)) == (set(near.split()), set(far.split()))
    assert set(sets.not_held) == set(not_held.split())
    assert sets.reference.startswith("OpenOOD")


def test_every_set_is_a_named_data_set_of_images_and_never_the_data_themselves() -> None:
    for name, sets in OOD_SETS.items():
        assert len(RECIPES[name].facts.shape) == 3, name
        assert sets.far, name
        assert len({name, *sets.near, *sets.far}) == 1 + len(sets.near) + len(sets.far), name
        assert all(len(RECIPES[other].facts.shape) == 3 for other in (*sets.near, *sets.far)), name


def test_near_medical_sets_have_as_many_channels_and_no_class_of_the_data() -> None:
    for name in (name for name in OOD_SETS if name.startswith("medmnist/")):
        own = RECIPES[name]
        for other in (RECIPES[near] for near in OOD_SETS[name].near):
            assert other.facts.shape == own.facts.shape
            shared = {one.rstrip("s") for one in own.class_names} & {one.rstrip("s") for one in other.class_names}
            # Normal is said of an organ, and the organs differ.
            assert shared <= {"normal"}, (name, other.title)


def test_a_name_without_sets_is_refused() -> None:
    with pytest.raises(InputError, match="unknown data set with out-of-distribution sets 'cifar': did you mean 'cifar"):
        ood_sets("cifar")


def test_images_of_the_right_shape_stay_as_they_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 4), np.uint8)

    np.testing.assert_array_equal(match_images(images, images_like(3, 5, 4)), images)


def test_grey_becomes_colour_by_repetition_and_colour_grey_by_its_luma() -> None:
    """ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B."""
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 4), np.uint8)
    luma = np.einsum("nchw,c->nhw", images.astype(float), [0.299, 0.587, 0.114])

    grey = match_images(images, images_like(1, 5, 4))
    assert np.abs(grey[:, 0] - luma).max() <= 0.51
    np.testing.assert_array_equal(match_images(grey, images_like(3, 5, 4)), np.repeat(grey, 3, axis=1))


def test_other_sizes_are_resized_bilinearly() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 28, 28), np.uint8)

    matched = match_images(images, images_like(1, 32, 16))

    expected = np.asarray(Image.fromarray(images[1, 0]).resize((16, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(matched[1, 0], expected)


def test_halving_is_the_mean_of_a_tent() -> None:
    """By hand: with antialiasing a pixel of half the size weighs its four nearest with 1, 3, 3 and 1."""
    row = np.array([0, 80, 160, 240, 240, 240, 240, 240], np.uint8)
    images = np.tile(row, (1, 1, 8, 1))

    matched = match_images(images, images_like(1, 8, 4))

    assert matched[0, 0, 0, 1] == (80 * 1 + 160 * 3 + 240 * 3 + 240 * 1) / 8


def test_white_becomes_the_white_of_the_data() -> None:
    white = np.full((1, 1, 8, 8), 255, np.uint8)
    digits = load("digits")

    assert match_images(white, digits).max() == 16
    assert match_images(white, replace(digits, name="zoo")).max() == 255
    assert match_images(digits.inputs, images_like(1, 8, 8), white=16.0).max() == 255


def test_what_is_embedded_is_loaded_too_with_its_test_split_alone() -> None:
    assert load_ood("digits", images_like(3, 4, 4)).shape == (1797, 3, 4, 4)
    pairs = load_ood("digit_pairs", images_like(1, 8, 16))
    assert (len(pairs), pairs.max()) == (2000, 255)


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="unknown data set 'svnh': did you mean 'svhn'"):
        load_ood("svnh", images_like(3, 4, 4))


def test_a_table_has_no_images() -> None:
    with pytest.raises(InputError, match="breast_cancer: a table has no images; choose one of cifar10"):
        load_ood("breast_cancer", images_like(3, 4, 4))


@pytest.mark.parametrize("shape", [(4, 5, 5), (2, 5, 5)])
def test_other_channels_are_refused(shape: tuple[int, ...]) -> None:
    images = np.zeros((1, 3, 5, 5), np.uint8)
    with pytest.raises(InputError, match=r"zoo: its inputs must be uint8 of shape \(rows, 1 or 3, height, width\)"):
        match_images(images, images_like(*shape))
    with pytest.raises(InputError, match=r"images must be uint8 of shape .* got uint8 of shape \(1, "):
        match_images(np.zeros((1, *shape), np.uint8), images_like(3, 5, 5))


def test_images_that_are_fractions_are_refused() -> None:
    with pytest.raises(InputError, match=r"zoo: its inputs must be uint8 .* got float32"):
        match_images(np.zeros((1, 3, 5, 5), np.uint8), images_like(3, 5, 5, dtype=np.float32))


def test_a_table_to_match_is_refused() -> None:
    with pytest.raises(InputError, match=r"breast_cancer: its inputs must be uint8 .* of shape \(569, 30\)"):
        match_images(np.zeros((1, 3, 5, 5), np.uint8), load("breast_cancer"))


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InputError, match=r"zoo: reading it needs PIL; pip install 'gence\[lab\]'"):
        match_images(np.zeros((1, 3, 5, 5), np.uint8), images_like(3, 5, 5))
