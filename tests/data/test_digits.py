from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gence.data import LabelledData, load
from gence.data.digits import pair_mnist


def test_digits_are_the_images_of_scikit_learn() -> None:
    data = load("digits")
    theirs = load_digits()

    assert (data.name, data.kind, data.inputs.shape, data.inputs.dtype) == (
        "digits",
        "image",
        (1797, 1, 8, 8),
        np.uint8,
    )
    np.testing.assert_array_equal(data.inputs[:, 0], theirs.images)
    np.testing.assert_array_equal(data.labels, theirs.target)
    assert data.labels.dtype == np.int64
    assert data.class_names == tuple("0123456789")
    assert data.test_rows is None


@pytest.mark.parametrize("source", ["digits", "digit_pairs"])
@pytest.mark.parametrize("option", [{"target": "label"}, {"image_size": 16}])
def test_digits_take_no_options(source: str, option: dict[str, object], refusal) -> None:
    assert f"{source}: " in refusal(source, **option)
    assert "leave it out" in refusal(source, **option)


@pytest.fixture(scope="module")
def pairs() -> LabelledData:
    return load("digit_pairs")


def halves(data: LabelledData) -> np.ndarray:
    """The rows of scikit-learn's digits whose images lie left and right in every pair, `(pairs, 2)`."""
    numbers = {image.tobytes(): row for row, image in enumerate(load("digits").inputs[:, 0])}
    assert len(numbers) == 1797  # no two digits are the same image, so an image tells its row
    sides = np.split(data.inputs[:, 0], 2, axis=2)
    return np.array([[numbers[image.tobytes()] for image in side] for side in sides]).T


def test_pairs_are_two_digits_side_by_side_in_100_classes(pairs: LabelledData) -> None:
    assert (pairs.name, pairs.kind, pairs.inputs.shape, pairs.inputs.dtype) == (
        "digit_pairs",
        "image",
        (6000, 1, 8, 16),
        np.uint8,
    )
    assert pairs.labels.dtype == np.int64
    assert (len(pairs.class_names), *pairs.class_names[:3], pairs.class_names[99]) == (100, "00", "01", "02", "99")
    assert pairs.test_rows is not None
    train = np.setdiff1d(np.arange(6000), pairs.test_rows)
    assert np.bincount(pairs.labels[train]).tolist() == [40] * 100
    assert np.bincount(pairs.labels[pairs.test_rows]).tolist() == [20] * 100


def test_a_pair_has_the_label_of_its_left_and_its_right_digit(pairs: LabelledData) -> None:
    digits = load("digits").labels[halves(pairs)]
    np.testing.assert_array_equal(pairs.labels, 10 * digits[:, 0] + digits[:, 1])
    for row in (0, 1234, 4321, 5999):
        assert pairs.class_names[pairs.labels[row]] == f"{digits[row, 0]}{digits[row, 1]}"


def test_no_digit_is_on_both_sides_of_the_split_none_with_itself_and_no_pair_is_there_twice(
    pairs: LabelledData,
) -> None:
    found = halves(pairs)
    assert pairs.test_rows is not None
    test = set(found[pairs.test_rows].ravel().tolist())
    train = set(np.delete(found, pairs.test_rows, axis=0).ravel().tolist())
    assert not test & train
    assert min(len(test), len(train)) > 500
    assert (found[:, 0] != found[:, 1]).all()
    assert len(np.unique(found, axis=0)) == 6000


def test_the_pairs_are_the_same_each_time_and_say_what_they_share(pairs: LabelledData) -> None:
    assert load("digit_pairs").fingerprint == pairs.fingerprint
    assert "calibration pairs share digits with training pairs" in pairs.notes[0]


def test_the_pairs_are_those_that_were_published_with() -> None:
    """Fingerprint of the pairs that the studies of batch size were made with."""
    expected = "0afca75fa52e1e2f2fb2cbb27ef5209330d98c4ee4c327bde0d0c6da12719b1c"
    assert load("digit_pairs").fingerprint == expected


@pytest.fixture(scope="module")
def mnist() -> LabelledData:
    """The digits of scikit-learn in the place of MNIST, whose own are larger and more; the last 600 are for testing."""
    return replace(load("digits"), name="mnist", test_rows=np.arange(1197, 1797))


@pytest.fixture(scope="module")
def mnist_pairs(mnist: LabelledData) -> LabelledData:
    return pair_mnist(mnist)


def test_pairs_of_mnist_have_100_classes_of_600_and_100(mnist_pairs: LabelledData) -> None:
    assert (mnist_pairs.name, mnist_pairs.inputs.shape) == ("mnist_pairs", (70_000, 1, 8, 16))
    assert mnist_pairs.inputs.dtype == np.uint8
    assert mnist_pairs.test_rows is not None
    train = np.delete(np.arange(70_000), mnist_pairs.test_rows)
    assert np.bincount(mnist_pairs.labels[train]).tolist() == [600] * 100
    assert np.bincount(mnist_pairs.labels[mnist_pairs.test_rows]).tolist() == [100] * 100


def test_pairs_of_mnist_keep_its_split_and_hold_no_digit_beside_itself(
    mnist: LabelledData, mnist_pairs: LabelledData
) -> None:
    found = halves(mnist_pairs)
    assert mnist_pairs.test_rows is not None
    assert found[mnist_pairs.test_rows].min() >= 1197
    assert np.delete(found, mnist_pairs.test_rows, axis=0).max() < 1197
    assert (found[:, 0] != found[:, 1]).all()
    assert len(np.unique(found, axis=0)) == 70_000
    np.testing.assert_array_equal(mnist_pairs.labels, mnist.labels[found] @ [10, 1])


def test_pairs_of_mnist_are_the_same_each_time(mnist: LabelledData, mnist_pairs: LabelledData) -> None:
    assert pair_mnist(mnist).fingerprint == mnist_pairs.fingerprint
    assert "MNIST's 70,000 digits" in mnist_pairs.notes[0]
