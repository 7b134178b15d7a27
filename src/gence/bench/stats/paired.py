"""Tests of paired differences, each on every row of an array at once, and Holm's correction for many of them."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import stdtr

ALPHA = 0.05
"""The share of false claims that is borne."""

_MOST_FLIPPED = 13
_MOST_EXACT = 50


def corrected_t(differences: np.ndarray, *, overlap: np.ndarray | float = 0.0) -> np.ndarray:
    """Two-sided p of the paired t-test with the variance of repeated splits of one pool of rows.

    t = mean / (sd * sqrt(1/n + overlap / (1 - overlap))), with n - 1 degrees of freedom.

    `overlap` is the share of one seed's test rows that another seed's test holds too, and stands for the correlation
    of two seeds' differences. Where every seed splits all rows in two it is n_test / (n_train + n_test), and the added
    term is n_test / n_train, as Nadeau and Bengio have it. That takes all of a difference's spread to come from the
    rows tested on; what comes from the weights and from other training rows makes the test cautious, never rash.

    With an overlap of 0 it is the plain paired t-test. That one speaks of other seeds on the same rows. It is also the
    one for a source with its own test split: all seeds are tested on the same rows there, their spread says nothing of
    other test rows, and no factor can mend it.

    Args:
        differences: `(rows, n)`, n at least 2.
        overlap: A number, or one a row, in [0, 1).

    Returns:
        p, `(rows,)`; 1 where the differences are all equal, for seeds that change nothing are no evidence.

    Raises:
        ValueError: If `differences` has another shape or `overlap` is out of range.

    Reference:
        Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), equation 12.
    """
    _check(differences)
    overlap = np.asarray(overlap, dtype=np.float64)
    if ((overlap < 0) | (overlap >= 1)).any():
        raise ValueError(
            f"overlap: numbers from 0 to below 1 are expected, got {overlap}; 0 is the plain paired t-test"
        )
    n = differences.shape[1]
    mean, spread = differences.mean(axis=1), differences.std(axis=1, ddof=1)
    equal = spread <= 1e-12 * np.abs(differences).max(axis=1)
    error = np.where(equal, 1.0, spread) * np.sqrt(1 / n + overlap / (1 - overlap))
    p = 2 * stdtr(n - 1, -np.abs(mean) / error)
    return np.where(equal, 1.0, p)


def signed_rank(differences: np.ndarray) -> np.ndarray:
    """Two-sided p of Wilcoxon's signed-rank test that the differences are symmetric about zero.

    Zeros are left out, ties have their mean rank. Exact up to 13 differences, and up to 50 without ties or zeros; the
    normal approximation beyond. It can be at most 5 % with six differences or more only. As scipy's `wilcoxon`, whose
    exact test takes a third of a second for one row with ties.

    Args:
        differences: `(rows, n)`, n at least 2.

    Returns:
        p, `(rows,)`.

    Reference:
        Wilcoxon, Individual Comparisons by Ranking Methods, Biometrics Bulletin 1 (1945).
    """
    _check(differences)
    n = differences.shape[1]
    if n <= _MOST_FLIPPED:
        return _signed_rank_by_flipping(differences)
    p = np.ones(len(differences))
    magnitudes = np.sort(np.abs(differences), axis=1)
    tied = (magnitudes[:, 0] == 0) | (magnitudes[:, 1:] == magnitudes[:, :-1]).any(axis=1)
    zero = magnitudes[:, -1] == 0
    for rows, method in ((tied & ~zero, "asymptotic"), (~tied, "exact" if n <= _MOST_EXACT else "asymptotic")):
        if rows.any():
            p[rows] = np.asarray(stats.wilcoxon(differences[rows], axis=1, method=method))[1]
    return p


def _signed_rank_by_flipping(differences: np.ndarray) -> np.ndarray:
    """The share of all 2^n ways to sign the ranks that lie as far from their middle as these do."""
    n = differences.shape[1]
    zeros = (differences == 0).sum(axis=1, keepdims=True)
    ranks = np.where(differences == 0, 0.0, stats.rankdata(np.abs(differences), axis=1) - zeros)
    middle = ranks.sum(axis=1) / 2
    distance = np.abs((ranks * (differences > 0)).sum(axis=1) - middle)
    signs = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)
    p = np.empty(len(differences))
    step = max(1, 2**22 // 2**n)
    for start in range(0, len(differences), step):
        part = slice(start, start + step)
        p[part] = (np.abs(signs @ ranks[part].T - middle[part]) >= distance[part] - 1e-9).mean(axis=0)
    return p


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values of one family: the i-th smallest of m is max over j <= i of min(1, (m - j + 1) p_(j)).

    Calling those at most 5 % real makes one false claim or more in at most 5 % of families, however the tests depend on
    each other.

    Args:
        p: `(m,)`.

    Returns:
        `(m,)`, in the order given.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def _check(differences: np.ndarray) -> None:
    if differences.ndim != 2 or differences.shape[1] < 2:
        raise ValueError(
            f"differences: an array (rows, n) with n at least 2 is expected, got shape {differences.shape}; "
            f"one difference has no spread to be tested by"
        )
