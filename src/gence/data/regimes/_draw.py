"""What every regime draws from: the rows of each class, checked, in an order that a seed decides."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Beside the seed it starts a generator, so that with one seed no choice depends on another one."""

    HOLD_OUT = 1
    FEW_LABELS = 2
    NOISY_ROWS = 3
    NOISY_LABELS = 4
    PRIOR_SHIFT = 5


def generator(seed: int, purpose: Purpose) -> np.random.Generator:
    return np.random.default_rng([seed, int(purpose)])


def shuffled_by_class(labels: np.ndarray, rows: np.ndarray, seed: int, purpose: Purpose) -> list[np.ndarray]:
    """The rows of each class that is present, in class order, each in a seeded order."""
    random = generator(seed, purpose)
    return [random.permutation(rows[labels[rows] == k]) for k in np.unique(labels[rows])]


def sorted_rows(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows in ascending order, so that a choice depends on which rows there are and not on how they came.

    Raises:
        ValueError: If labels are no class numbers, or rows are no row numbers of theirs, or one is there twice.
    """
    for name, values in (("labels", labels), ("rows", rows)):
        if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"{name} must be integers of shape ({name},); got {values.dtype} of shape {values.shape}")
    if not len(rows):
        raise ValueError("rows must hold at least one row number; got none")
    if rows.min() < 0 or rows.max() >= len(labels):
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise ValueError(f"rows must lie in 0..{len(labels) - 1}, as there are {len(labels)} labels; got {wrong}")
    if labels[rows].min() < 0:
        raise ValueError(
            f"labels of the rows must be class numbers from 0; got {labels[rows].min()}: leave those rows out"
        )
    ordered = np.unique(rows)
    if len(ordered) < len(rows):
        raise ValueError(f"rows must name each row once; {len(rows) - len(ordered)} of {len(rows)} are repeated")
    return ordered.astype(np.int64)
