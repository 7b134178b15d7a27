"""The 8 x 8 grey digits that come with scikit-learn, alone and in pairs: real data without a download."""

from __future__ import annotations

import numpy as np

from gence.data.dataset import LabelledData
from gence.data.regimes import hold_out

_SEED = 0
_TRAIN_PAIRS = 40
_TEST_PAIRS = 20


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
    generator = np.random.default_rng(_SEED)
    train_pool, test_pool = hold_out(digits, 1 / 3, seed=_SEED)
    train = _draw_pairs(digits, train_pool, _TRAIN_PAIRS, generator)
    pairs = np.concatenate([train, _draw_pairs(digits, test_pool, _TEST_PAIRS, generator)])
    left, right = pairs.T
    return LabelledData(
        name="digit_pairs",
        kind="image",
        inputs=np.concatenate([images[left], images[right]], axis=2)[:, None],
        labels=10 * digits[left] + digits[right],
        class_names=tuple(f"{number:02}" for number in range(100)),
        test_rows=np.arange(len(train), len(pairs)),
        notes=(
            "Pairs of scikit-learn's 1,797 digits. A digit is in several pairs: test pairs share none with the others, "
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
            pairs = np.stack(np.meshgrid(left, right, indexing="ij"), axis=-1).reshape(-1, 2)
            drawn.append(generator.choice(pairs[pairs[:, 0] != pairs[:, 1]], count, replace=False))
    return np.concatenate(drawn)
