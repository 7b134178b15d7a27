"""Intervals for a mean of few values: Student's t, and the bootstrap-t where there are values enough for one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from scipy.special import stdtrit

from gence.bench.records import Estimate

LEVEL = 0.95
FEWEST_FOR_BOOTSTRAP = 10
"""Below that many values resamples without spread make the bootstrap-t wide, at three without bound."""

RESAMPLES = 1999
"""So that the 2.5 and 97.5 % points are draws themselves: (1999 + 1) * 0.025 is whole."""

_SEED = 20150
_CHUNK = 512


def estimate(values: Sequence[float], *, comparisons: int = 1) -> Estimate:
    """Mean and Student's t interval at 95 %, widened so that `comparisons` of them hold at once (Bonferroni)."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Estimate(mean, None, None, n)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(_quantile(n, comparisons)) * spread / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


@cache
def _quantile(n: int, comparisons: int = 1) -> float:
    return float(stdtrit(n - 1, 1 - (1 - LEVEL) / (2 * comparisons)))


def estimates(values: np.ndarray) -> list[Estimate]:
    """Mean and `mean_interval` of every row of `values` `(rows, n)`; no interval where n is 1."""
    means = values.mean(axis=1)
    n = values.shape[1]
    if n < 2:
        return [Estimate(float(mean), None, None, n) for mean in means]
    low, high = mean_interval(values)
    return [Estimate(float(m), float(a), float(b), n) for m, a, b in zip(means, low, high, strict=True)]


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of the mean of every row of `values` `(rows, n)`, n at least 2.

    It is the bootstrap-t from `FEWEST_FOR_BOOTSTRAP` values on, which follows skew where Student's t does not, and
    Student's t below, or where more than one resample in forty has no spread (most values are equal).
    """
    low, high = student_interval(values)
    if values.shape[1] < FEWEST_FOR_BOOTSTRAP:
        return low, high
    bootstrap_low, bootstrap_high = bootstrap_t_interval(values)
    defined = np.isfinite(bootstrap_low) & np.isfinite(bootstrap_high)
    return np.where(defined, bootstrap_low, low), np.where(defined, bootstrap_high, high)


def student_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Student's mean -+ t(97.5 %, n - 1) sd / sqrt(n) of every row of `values` `(rows, n)`; exact for normal values."""
    n = values.shape[1]
    mean = values.mean(axis=1)
    half = _quantile(n) * values.std(axis=1, ddof=1) / math.sqrt(n)
    return mean - half, mean + half


def within_groups(groups: Sequence[Sequence[float]]) -> Estimate:
    """Mean over the groups of their means, and Student's t interval from the spread inside the groups alone.

    With m values in D groups of n_d each, it is mean -+ t(97.5 %, m - D) s sqrt(sum 1 / n_d) / D, s^2 the squared
    distances to the groups' own means over m - D. It speaks of these groups and no others; `seeds` is m.

    Args:
        groups: At least one of at least two values; one of a single value tells nothing of the spread.
    """
    means = [math.fsum(group) / len(group) for group in groups]
    mean = math.fsum(means) / len(groups)
    count = sum(map(len, groups))
    freedom = count - len(groups)
    squares = math.fsum((value - own) ** 2 for group, own in zip(groups, means, strict=True) for value in group)
    error = math.sqrt(squares / freedom * math.fsum(1 / len(group) for group in groups)) / len(groups)
    half = _quantile(freedom + 1) * error
    return Estimate(mean, mean - half, mean + half, count)


def bootstrap_t_interval(values: np.ndarray, *, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """The bootstrap-t interval of the mean of every row of `values` `(rows, n)`.

    Every resample * gives t* = (mean* - mean) / (sd* / sqrt(n)); with its quantiles in the place of Student's the
    interval is [mean - t*(97.5 %) sd / sqrt(n), mean - t*(2.5 %) sd / sqrt(n)]. All rows are resampled alike, by draws
    that depend on n alone: the same values give the same interval.

    Args:
        values: `(rows, n)`.
        resamples: How many.

    Returns:
        Lower and upper ends, `(rows,)`; infinite where too many resamples have no spread.

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 12.5.
    """
    n = values.shape[1]
    mean = values.mean(axis=1)
    scale = values.std(axis=1, ddof=1) / math.sqrt(n)
    weights = _weights(n, resamples)
    cut = (resamples + 1) * (1 - LEVEL) / 2
    first, last = round(cut) - 1, round(resamples + 1 - cut) - 1
    low, high = np.empty(len(values)), np.empty(len(values))
    for start in range(0, len(values), _CHUNK):
        part = slice(start, start + _CHUNK)
        centred = values[part] - mean[part, None]
        studentized = np.partition(_studentized(centred, weights), (first, last), axis=1)
        with np.errstate(invalid="ignore"):  # no spread at all: 0 * inf
            low[part] = mean[part] - studentized[:, last] * scale[part]
            high[part] = mean[part] - studentized[:, first] * scale[part]
    return low, high


def _studentized(centred: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """t* of every row and resample; infinite for a resample without spread."""
    n = centred.shape[1]
    squares = centred**2
    means = centred @ weights
    variances = (squares @ weights - means**2) * (n / (n - 1))
    # What rounding leaves of a spread of zero is no spread.
    variances[variances <= 1e-12 * squares.mean(axis=1, keepdims=True)] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(means / np.sqrt(variances / n), nan=0.0, posinf=np.inf, neginf=-np.inf)


@lru_cache(maxsize=8)
def _weights(n: int, resamples: int) -> np.ndarray:
    """How often each of n values is in each resample, over n: `(n, resamples)`."""
    draws = np.random.default_rng([_SEED, n]).multinomial(n, np.full(n, 1 / n), size=resamples)
    return draws.T / n
