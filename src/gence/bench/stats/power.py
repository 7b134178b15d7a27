"""What a study could have found: the smallest true difference that so many values show with a given probability."""

from __future__ import annotations

from functools import cache

from scipy.special import nctdtrinc, stdtrit

from gence.bench.stats.paired import ALPHA

POWER = 0.8


@cache
def detectable_effect(n: int, *, comparisons: int = 1, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true mean, in standard errors, that a two-sided t-test of n values finds with probability `power`.

    It is the d with P(T > t(1 - alpha / (2 comparisons), n - 1)) = power, T noncentral t with n - 1 degrees of freedom
    and noncentrality d: to find it is to claim it with its right sign. With `comparisons` tests under Holm's
    correction it is the one that the first of them needs, so it is enough for every one.

    Args:
        n: At least 2.
        comparisons: Tests in the family.
        alpha: Of the family.
        power: Probability of finding it.

    Returns:
        d; times the standard error of the mean it is a difference.

    Raises:
        ValueError: If n is less than 2.

    Reference:
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition (1988), chapter 2.
    """
    if n < 2:
        raise ValueError(f"n: at least 2 values are expected, got {n}; one value finds no difference of any size")
    bound = stdtrit(n - 1, 1 - alpha / (2 * comparisons))
    return float(nctdtrinc(n - 1, 1 - power, bound))
