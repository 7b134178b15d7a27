"""Intervals in closed form: of a share of rows, and of a mean over rows."""

from __future__ import annotations

import math

import numpy as np

from gence.audit.records import Estimate


def share_interval(
    hits: np.ndarray | float, rows: np.ndarray | float, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    r"""Clopper and Pearson's interval of a probability of which `hits` of `rows` came true, elementwise.

    Its ends are :math:`B^{-1}(\alpha/2; k, n-k+1)` and :math:`B^{-1}(1-\alpha/2; k+1, n-k)`. It never covers less
    often than it says, also where few or all rows were hits, and also where every row has a probability of its own
    (Hoeffding 1956, theorem 4): it is only wider then than it need be.

    Args:
        hits: `k`, between 0 and `rows`; a fraction where rows are tied and share their mean.
        rows: `n`, at least 1.
        level: How often the interval covers.

    Returns:
        The lower and the upper ends.

    Example:
        >>> low, high = share_interval(0, 10)
        >>> float(low), round(float(high), 4)
        (0.0, 0.3085)

    Reference:
        Clopper and Pearson 1934, The use of confidence or fiducial limits illustrated in the case of the binomial.
    """
    # Here and below, so that a program which only uses a model that was measured need not have scipy.
    from scipy.special import betaincinv

    k, n = np.asarray(hits, np.float64), np.asarray(rows, np.float64)
    tail = (1.0 - level) / 2.0
    # Where a parameter of the beta distribution would be zero the end is 0 or 1; `maximum` only keeps it defined.
    low = np.where(k > 0, betaincinv(np.maximum(k, 1e-9), n - k + 1.0, tail), 0.0)
    high = np.where(k < n, betaincinv(k + 1.0, np.maximum(n - k, 1e-9), 1.0 - tail), 1.0)
    return low, high


def mean_estimate(terms: np.ndarray, *, level: float = 0.95) -> Estimate:
    """The mean of a term a row with Student's interval; no interval for a single row.

    Of differences between two predictions for the same row this is the paired interval.
    """
    from scipy.special import stdtrit

    rows, mean = len(terms), float(terms.mean())
    if rows < 2:
        return Estimate(mean, None, None)
    half = float(stdtrit(rows - 1, 0.5 + level / 2.0)) * float(terms.std(ddof=1)) / math.sqrt(rows)
    return Estimate(mean, mean - half, mean + half)
