"""Digits, alone and in pairs: the 8 x 8 grey ones that come with scikit-learn, and pairs of those of MNIST."""

from __future__ import annotations

import numpy as np

from gence.data.dataset import LabelledData
from gence.data.regimes import hold_out

_SEED = 0
_TRAIN_PAIRS = 40
_TEST_PAIRS = 20
_MNIST_TRAIN_PAIRS = 600
_MNIST_TEST_PAIRS = 100


def read_digits() -> LabelledData:
    """1,797 images `(1797, 1, 8, 8)` with grey values from 0 to 16, no test split."""
    images, labels = _load()
    return LabelledData(
        name="digits",
        kind="image",
        inputs=images[:, None],
        labels=labels,
        class_names=tuple(str(digit) for digit in range(10)),
    )


def read_digit_pairs() -> LabelledData:
    """6,000 images `(6000, 1, 8, 16)` of two digits side by side, 100 classes from 00 to 99.

    A class has 40 pairs to train on and 20 in the test split, the same ones each time. The digits are split before
    they are paired, so no digit of a test pair is in a training pair, and no pair is there twice.
    """
    images, digits = _load()
    pools = hold_out(digits, 1 / 3, seed=_SEED)
    counts = (_TRAIN_PAIRS, _TEST_PAIRS)
    return _side_by_side("digit_pairs", images, digits, pools, counts, "scikit-learn's 1,797 digits")


def pair_mnist(mnist: LabelledData) -> LabelledData:
    """70,000 images `(70000, 1, 28, 56)` of two digits of MNIST side by side, 100 classes from 00 to 99.

    A class has 600 pairs of training digits to train on and 100 pairs of test digits in the test split, the same ones
    each time; no pair is there twice.

    Args:
        mnist: MNIST with its test split; its class numbers are the digits.
    """
    assert mnist.test_rows is not None
    pools = (np.delete(np.arange(len(mnist.labels)), mnist.test_rows), mnist.test_rows)
    counts = (_MNIST_TRAIN_PAIRS, _MNIST_TEST_PAIRS)
    return _side_by_side("mnist_pairs", mnist.inputs[:, 0], mnist.labels, pools, counts, "MNIST's 70,000 digits")


def _side_by_side(
    name: str,
    images: np.ndarray,
    digits: np.ndarray,
    pools: tuple[np.ndarray, np.ndarray],
    counts: tuple[int, int],
    origin: str,
) -> LabelledData:
    """Pairs from the pool of training digits and from the pool of test digits, so many a class."""
    generator = np.random.default_rng(_SEED)
    train, test = (_draw_pairs(digits, pool, count, generator) for pool, count in zip(pools, counts, strict=True))
    left, right = np.concatenate([train, test]).T
    return LabelledData(
        name=name,
        kind="image",
        inputs=np.concatenate([images[left], images[right]], axis=2)[:, None],
        labels=10 * digits[left] + digits[right],
        class_names=tuple(f"{number:02}" for number in range(100)),
        test_rows=np.arange(len(train), len(left)),
        notes=(
            f"Pairs of {origin}. A digit is in several pairs: test pairs share none with the others, "
            "but calibration pairs share digits with training pairs.",
        ),
    )


def _load() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    return images.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.int64)


def _draw_pairs(digits: np.ndarray, pool: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """`count` pairs a class of different rows of the pool, `(100 * count, 2)`, class by class."""
    by_digit = [pool[digits[pool] == digit] for digit in range(10)]
    drawn = []
    for left in by_digit:
        for right in by_digit:
            # Numbers are drawn and not pairs: all the pairs of one class of MNIST would fill half a gigabyte.
            same = left is right
            others = len(right) - 1 if same else len(right)
            first, second = np.divmod(generator.choice(len(left) * others, count, replace=False), others)
            # Within one digit a row's own place is left out of the count, and those from there on move up.
            drawn.append(np.stack([left[first], right[second + (same & (second >= first))]], axis=1))
    return np.concatenate(drawn)
