"""Long-tailed training sets: class k has fewer rows than class k - 1, by the profiles of Cao et al."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np

from gence._errors import InputError
from gence.data.regimes._draw import sorted_rows

Profile = Literal["exp", "step"]


def long_tail_counts(num_classes: int, largest: int, imbalance: float, profile: Profile = "exp") -> np.ndarray:
    r"""How many rows each class of a long-tailed set has.

    With :math:`K` classes, :math:`n` rows in the largest and the imbalance factor :math:`\rho`,

    .. math:: n_k = \lfloor n\, \rho^{-k/(K-1)} \rfloor \;\text{(exp)}, \qquad
        n_k = n \;\text{for}\; k < \lfloor K/2 \rfloor, \;\text{else}\; \lfloor n / \rho \rfloor \;\text{(step)},
        \qquad k = 0, \dots, K - 1.

    Class 0 is the largest. A count may be 0; `long_tail` refuses that.

    Args:
        num_classes: K, at least 2.
        largest: n, at least 1.
        imbalance: The largest class over the smallest, at least 1: 100, not 0.01.
        profile: `"exp"` or `"step"`.

    Returns:
        `(num_classes,)` int64.

    Raises:
        InputError: If the imbalance is below 1.
        ValueError: If another argument is out of range.

    Example:
        >>> long_tail_counts(10, 5000, 100).tolist()  # CIFAR-10-LT
        [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]

    Reference:
        Cao et al. 2019, arXiv 1906.07413, section 4; exp is from Cui et al. 2019, arXiv 1901.05555, section 5.1.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2; got {num_classes}")
    if largest < 1:
        raise ValueError(f"largest must be at least 1 row; got {largest}")
    check_imbalance(imbalance)
    check_profile(profile)
    k = np.arange(num_classes)
    depth = k / (num_classes - 1.0) if profile == "exp" else (k >= num_classes // 2).astype(np.float64)
    # The small constant keeps a product such as 49 * (1 / 49) = 1 - 1e-16 from losing its row.
    return np.floor(largest * (1.0 / imbalance) ** depth + 1e-9).astype(np.int64)


def long_tail(
    labels: np.ndarray,
    rows: np.ndarray,
    imbalance: float,
    *,
    profile: Profile = "exp",
    largest: int | None = None,
    seed: int,
) -> list[np.ndarray]:
    """Choose a long-tailed set among the `rows`; the classes present are `long_tail_counts`' 0, 1, ..., in label order.

    The largest class gets as many rows as the scarcest one has, or fewer, so every count can be met. The draw is the
    one in the code of Cao et al.: numpy's legacy generator, started once, shuffles the sorted rows of each class in
    label order, and the first n_k are taken. So on all training rows of CIFAR-10 or CIFAR-100 in their original order,
    seed 0 gives their data set. With one seed a larger imbalance takes, class by class, a beginning of what a smaller
    one takes, and a smaller `largest` a beginning of what a larger one takes.

    Args:
        labels: Class numbers of all rows, `(all rows,)`.
        rows: Row numbers to choose from.
        imbalance: The largest class over the smallest, at least 1: 100, not 0.01.
        profile: `"exp"` or `"step"`.
        largest: Rows of the largest class; without it as many as can be.
        seed: Two calls with one seed give the same order; 0 to 2^32 - 1.

    Returns:
        One array of row numbers a class present in `rows`, in class order, each in the order drawn.

    Raises:
        InputError: If the imbalance is below 1, or so large that a class would be empty; or the scarcest class has
            fewer rows than `largest`.
        ValueError: If labels or rows are none, fewer than two classes are present, or the profile is another.

    Example:
        >>> labels = np.arange(30) % 3
        >>> [len(drawn) for drawn in long_tail(labels, np.arange(30), 10, seed=0)]
        [10, 3, 1]

    Reference:
        Cao et al. 2019, arXiv 1906.07413, section 4.
    """
    rows = sorted_rows(labels, rows)
    present = np.unique(labels[rows])
    by_class = [rows[labels[rows] == k] for k in present]
    largest = most_of_a_tail(min(map(len, by_class)), largest)
    counts = long_tail_counts(len(present), largest, imbalance, profile)
    if counts.min() < 1:
        raise InputError(
            f"an imbalance of {imbalance:g} leaves class number {present[counts.argmin()]} without a row, as the "
            f"largest class of the long tail has {largest} rows; ask for at most {largest}"
        )
    legacy = np.random.RandomState(seed)
    for one in by_class:
        legacy.shuffle(one)
    return [one[:count] for one, count in zip(by_class, counts, strict=True)]


def most_of_a_tail(scarcest: int, largest: int | None) -> int:
    """The rows of the largest class: as many as the scarcest has, or so many as are asked for if there are.

    Raises:
        InputError: If there are not.
    """
    if largest is not None and not 1 <= largest <= scarcest:
        raise InputError(
            f"the largest class of a long tail is to have {largest} rows, but the scarcest class has {scarcest}, and "
            f"every class may be the largest; ask for 1 to {scarcest}, or leave the number out"
        )
    return scarcest if largest is None else largest


def check_imbalance(imbalance: float) -> None:
    """Refuse an imbalance that is no ratio of the largest class to the smallest."""
    if not (math.isfinite(imbalance) and imbalance >= 1):
        cure = f": give {1 / imbalance:.6g}" if 0 < imbalance < 1 else ""
        raise InputError(
            f"an imbalance is the largest class over the smallest, a finite number of at least 1; got "
            f"{imbalance:g}{cure}"
        )


def check_profile(profile: str) -> None:
    """Refuse a profile that is neither exp nor step."""
    if profile not in get_args(Profile):
        raise ValueError(f"profile must be 'exp' or 'step'; got {profile!r}")
