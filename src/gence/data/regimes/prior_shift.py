"""Class-prior shift: a test set in which the classes are as common as they are said to be where the model is used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gence._errors import InputError
from gence.data.regimes._draw import Purpose, shuffled_by_class, sorted_rows
from gence.data.regimes.long_tail import check_imbalance


def prior_shift(
    labels: np.ndarray,
    rows: np.ndarray,
    prior: Sequence[float] | np.ndarray | None = None,
    *,
    imbalance: float | None = None,
    reverse: bool = False,
    seed: int,
) -> np.ndarray:
    r"""The largest choice of test rows, none of them twice, whose class shares follow a prior.

    Of class k, which has :math:`n_k` rows, :math:`\lfloor \pi_k \min_j n_j / \pi_j \rfloor` are chosen, where j runs
    over the classes with a positive share. The shares are therefore those of the prior but for less than a row a class;
    `class_prior` says what they are. Only the shares change: which rows of a class are chosen is up to the seed alone.

    Args:
        labels: Class numbers of all rows, `(all rows,)`.
        rows: Row numbers of the test set.
        prior: The wanted share of each class, `(classes,)`, with sum 1; 0 leaves a class out.
        imbalance: Instead of a prior: that of `long_tail_prior` over the classes present, with this largest share over
            the smallest.
        reverse: With an imbalance, whether the last class is the largest.
        seed: Two calls with one seed give the same rows; with one seed a smaller share of a class takes fewer of the
            same rows.

    Returns:
        Sorted row numbers, int64.

    Raises:
        InputError: If a class with a positive share has no row, or would get none, or the imbalance is below 1.
        ValueError: If labels or rows are none, or the prior is no row of shares with sum 1, one for every class, or
            both or none of prior and imbalance are given.

    Example:
        >>> labels = np.repeat([0, 1], 100)
        >>> chosen = prior_shift(labels, np.arange(200), [0.8, 0.2], seed=0)
        >>> np.bincount(labels[chosen]).tolist()
        [100, 25]

    Reference:
        The shift: Saerens, Latinne and Decaestecker 2002, Neural Computation 14(1). Test sets with a long tail in
        either direction: Hong et al. 2021, arXiv 2012.00321.
    """
    rows = sorted_rows(labels, rows)
    shares = _wanted_shares(np.unique(labels[rows]), prior, imbalance, reverse)
    if labels[rows].max() >= len(shares):
        raise ValueError(
            f"prior must hold one share a class; got {len(shares)}, and a row of class number {labels[rows].max()}"
        )
    available = np.bincount(labels[rows], minlength=len(shares))
    wanted = np.flatnonzero(shares)
    if available[wanted].min() == 0:
        missing = wanted[available[wanted].argmin()]
        raise InputError(
            f"class number {missing} is to have a share of {shares[missing]:g}, but no test row is of that class; give "
            "it the share 0"
        )
    scarcest = wanted[(available[wanted] / shares[wanted]).argmin()]
    total = available[scarcest] / shares[scarcest]
    # The small constant keeps a product such as 0.1 * (30 / 0.1) = 30 - 4e-15 from losing its row.
    counts = np.floor(shares * total + 1e-9).astype(np.int64)
    if counts[wanted].min() == 0:
        empty = wanted[counts[wanted].argmin()]
        raise InputError(
            f"of at most {int(total)} rows with this prior, class number {empty} with its share of {shares[empty]:.3g} "
            "would get none; give more test rows, or a prior nearer to theirs"
        )
    by_class = shuffled_by_class(labels, rows, seed, Purpose.PRIOR_SHIFT)
    return np.sort(np.concatenate([drawn[: counts[labels[drawn[0]]]] for drawn in by_class]))


def long_tail_prior(num_classes: int, imbalance: float, *, reverse: bool = False) -> np.ndarray:
    r"""The shares of a long tail, :math:`\pi_k \propto \rho^{-k/(K-1)}`, whose counts `long_tail_counts` rounds.

    Args:
        num_classes: K, at least 2.
        imbalance: The largest share over the smallest, at least 1.
        reverse: Whether the last class is the largest: what is rare in a long-tailed training set is then common.

    Returns:
        `(num_classes,)` float64 with sum 1.

    Raises:
        InputError: If the imbalance is below 1.
        ValueError: If there are fewer than two classes.

    Example:
        >>> long_tail_prior(3, 4).round(4).tolist()
        [0.5714, 0.2857, 0.1429]

    Reference:
        Hong et al. 2021, arXiv 2012.00321 (their forward and backward test sets).
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2; got {num_classes}")
    check_imbalance(imbalance)
    sizes = (1.0 / imbalance) ** (np.arange(num_classes) / (num_classes - 1.0))
    prior = sizes / sizes.sum()
    return prior[::-1].copy() if reverse else prior


def class_prior(labels: np.ndarray, rows: np.ndarray, num_classes: int) -> np.ndarray:
    """The share of each class among the rows, as `gence.calibration.fit_prior_shift` takes it.

    Args:
        labels: Class numbers of all rows, `(all rows,)`.
        rows: Row numbers.
        num_classes: K, above every class number.

    Returns:
        `(num_classes,)` float64 with sum 1; 0 for a class that has none of the rows.

    Raises:
        ValueError: If labels or rows are none, or a class number is `num_classes` or above.

    Example:
        >>> class_prior(np.array([0, 0, 1, 0]), np.arange(4), 2).tolist()
        [0.75, 0.25]
    """
    rows = sorted_rows(labels, rows)
    if labels[rows].max() >= num_classes:
        raise ValueError(f"num_classes must be above every class number; got {num_classes} and {labels[rows].max()}")
    return np.bincount(labels[rows], minlength=num_classes) / len(rows)


def _wanted_shares(
    present: np.ndarray, prior: Sequence[float] | np.ndarray | None, imbalance: float | None, reverse: bool
) -> np.ndarray:
    """The share of each class number, from the prior or else from the long tail over the classes present."""
    if (prior is None) == (imbalance is None) or (reverse and imbalance is None):
        raise ValueError("give either prior, or imbalance and perhaps reverse; got both, or neither, or reverse alone")
    if imbalance is None:
        return _checked_prior(np.asarray(prior, dtype=np.float64))
    shares = np.zeros(present.max() + 1)
    shares[present] = long_tail_prior(len(present), imbalance, reverse=reverse)
    return shares


def _checked_prior(shares: np.ndarray) -> np.ndarray:
    if shares.ndim != 1 or len(shares) < 2:
        raise ValueError(f"prior must hold one share a class, shape (classes,), at least 2; got shape {shares.shape}")
    if not bool((shares >= 0).all()):
        raise ValueError(f"prior must hold shares of at least 0, without NaN; got {shares[~(shares >= 0)][0]:g}")
    if not abs(shares.sum() - 1.0) <= 1e-6:
        raise ValueError(f"prior must hold shares with sum 1; got a sum of {shares.sum():.6g}: use counts / sum")
    return shares
