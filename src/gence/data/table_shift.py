"""Shifts of tables at test time: columns that moved, and numbers that went missing."""

from __future__ import annotations

import math

import numpy as np

from gence._errors import InputError


def additive_shift(table: np.ndarray, size: float, *, scale: np.ndarray, seed: int) -> np.ndarray:
    r"""Move every column up or down: :math:`x_{ij} + s_j \, \text{size} \cdot \text{scale}_j`, signs :math:`s_j` drawn.

    All rows move together, as after a change of instrument or population, and a larger size with the same seed moves
    further along the same way. Missing numbers stay missing.

    Args:
        table: `(rows, columns)`, floating point.
        size: How far, in training standard deviations, 0 or more.
        scale: `(columns,)`, the standard deviations of the training rows; `fit_standardize("table", train).scale`
            is just that. A column whose scale is 0 or infinite (constant in training) stays where it is: give 0 for
            columns that hold categories.
        seed: Seed of the signs.

    Returns:
        A new table of the same shape and dtype.

    Raises:
        InputError: If the table is no floating-point table, or the size or a scale is negative or NaN.

    Example:
        >>> additive_shift(np.zeros((2, 3)), 0.5, scale=np.array([1.0, 10.0, 0.0]), seed=0).tolist()
        [[0.5, 5.0, 0.0], [0.5, 5.0, 0.0]]
    """
    _check_table(table)
    if not (math.isfinite(size) and size >= 0.0):
        raise InputError(f"size must be a number of standard deviations, 0 or more; got {size}")
    if np.shape(scale) != table.shape[1:]:
        raise InputError(f"scale must hold one number a column, shape {table.shape[1:]}; got shape {np.shape(scale)}")
    if not bool((np.asarray(scale) >= 0.0).all()):
        raise InputError("scale must hold standard deviations of training rows, 0 or more without NaN")
    sign = np.random.default_rng(seed).choice([-1.0, 1.0], table.shape[1])
    return (table + sign * size * np.where(np.isinf(scale), 0.0, scale)).astype(table.dtype)


def missing_features(table: np.ndarray, share: float, *, seed: int) -> np.ndarray:
    """Set numbers to NaN, each with probability `share`, whatever its value (missing completely at random).

    With one seed, what is missing at a share is missing at every larger share.

    Args:
        table: `(rows, columns)`, floating point.
        share: Probability in [0, 1].
        seed: Two calls with one seed lose the same numbers.

    Returns:
        A new table of the same shape and dtype.

    Raises:
        InputError: If the table is no floating-point table, or the share lies outside [0, 1].

    Example:
        >>> missing_features(np.ones((1, 4)), 0.5, seed=0).tolist()
        [[1.0, nan, nan, nan]]
    """
    _check_table(table)
    if not 0.0 <= share <= 1.0:
        raise InputError(f"share must lie in [0, 1]; got {share}")
    lost = np.random.default_rng(seed).random(table.shape) < share
    return np.where(lost, np.array(np.nan, table.dtype), table)


def _check_table(table: np.ndarray) -> None:
    if not isinstance(table, np.ndarray) or table.ndim != 2:
        got = table.shape if isinstance(table, np.ndarray) else type(table).__name__
        raise InputError(f"table must be a numpy array of shape (rows, columns); got {got}")
    if not np.issubdtype(table.dtype, np.floating):
        raise InputError(f"table must be floating point, so that NaN can mark a missing number; got {table.dtype}")
