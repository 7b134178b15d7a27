"""Rows dealt into folds by what they hold, so that a copy of a row is never on both sides."""

from __future__ import annotations

import hashlib

import numpy as np

ALWAYS_TRAINED = -1
"""The fold of rows that no fold holds out: the only one of their class."""


def deal(inputs: np.ndarray, labels: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """The fold of every row, from 0, or `ALWAYS_TRAINED`.

    Every class is spread over the folds as evenly as may be. Equal rows share a fold: a model that was trained on one
    of them has seen the other. The order of the rows does not matter, and a row that comes twice is dealt as if it came
    once.

    Args:
        inputs: `(rows, ...)`.
        labels: Class numbers, `(rows,)`.
        folds: How many, at least 2; fewer are used where there are fewer different rows.
        seed: Of the dealing.

    Returns:
        int64 `(rows,)`.

    Example:
        >>> rows = np.array([[1.0], [2.0], [3.0], [4.0], [1.0]])
        >>> fold = deal(rows, np.array([0, 0, 1, 1, 0]), 2, seed=0)
        >>> bool(fold[0] == fold[4]), sorted(fold[:4].tolist())
        (True, [0, 0, 1, 1])
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2; got {folds}")
    salt = seed.to_bytes(8, "little", signed=True)
    content, first_of = np.unique(contents(inputs, salt), return_inverse=True)
    owner = np.full(len(content), np.iinfo(np.int64).max)
    np.minimum.at(owner, first_of, labels)
    order = np.argsort(owner, kind="stable")
    dealt = np.empty(len(content), np.int64)
    dealt[order] = np.arange(len(content)) % folds
    alone = np.bincount(owner)[owner] == 1
    return np.where(alone, ALWAYS_TRAINED, dealt)[first_of]


def contents(inputs: np.ndarray, salt: bytes = b"") -> np.ndarray:
    """Something for every row, `(rows,)`, that only equal rows share."""
    # Adding zero turns -0.0 into 0.0, which is equal to it.
    rows = np.ascontiguousarray(inputs + inputs.dtype.type(0))
    # numpy strips the zero bytes at the end of a text, which leaves different digests different but for 1 in 2^120.
    return np.array([hashlib.blake2b(row.tobytes(), digest_size=16, salt=salt).digest() for row in rows], "S16")
