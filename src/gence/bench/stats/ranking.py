"""How several losses rank over many settings: mean ranks, Friedman's test, Nemenyi's critical difference, cliques."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import stats

from gence.bench.stats.paired import ALPHA


def ranks(scores: np.ndarray, *, high_is_better: bool) -> np.ndarray:
    """The rank of each loss at each setting, 1 the best, ties their mean rank.

    Args:
        scores: `(settings, losses)`.
        high_is_better: Whether the highest score has rank 1.

    Returns:
        `(settings, losses)`.
    """
    return stats.rankdata(-scores if high_is_better else scores, axis=1)


def friedman(scores: np.ndarray) -> float | None:
    """The p of Friedman's test that all losses rank alike, scores `(settings, losses)`.

    None with fewer than two settings or three losses. The chi-squared approximation: with three losses at fewer than
    ten settings it is rough.

    Reference:
        Friedman, The Use of Ranks, Journal of the American Statistical Association 32 (1937).
    """
    settings, losses = scores.shape
    if settings < 2 or losses < 3:
        return None
    if (scores == scores[:, :1]).all():
        return 1.0
    return float(stats.friedmanchisquare(*scores.T).pvalue)


@cache
def critical_difference(losses: int, settings: int, *, alpha: float = ALPHA) -> float | None:
    """How far two mean ranks must lie apart to be told apart, all pairs at once: q * sqrt(k (k + 1) / (6 N)).

    k is `losses`, N is `settings`, q the studentized range at 1 - alpha with infinite degrees of freedom over sqrt(2).
    None with fewer than two settings or losses.

    Reference:
        Nemenyi (1963) in Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), 3.2.2.
    """
    if settings < 2 or losses < 2:
        return None
    q = float(stats.studentized_range.ppf(1 - alpha, losses, np.inf)) / math.sqrt(2)
    return q * math.sqrt(losses * (losses + 1) / (6 * settings))


def cliques(mean_ranks: Sequence[float], critical: float) -> tuple[tuple[int, ...], ...]:
    """The largest groups whose mean ranks all lie closer than `critical`: the bars of a critical-difference diagram.

    Args:
        mean_ranks: In ascending order.
        critical: From `critical_difference`.

    Returns:
        Positions in `mean_ranks`; groups of one are left out.
    """
    found: list[tuple[int, ...]] = []
    for start, rank in enumerate(mean_ranks):
        stop = start
        while stop < len(mean_ranks) and mean_ranks[stop] - rank < critical:
            stop += 1
        if stop - start > 1 and (not found or stop - 1 > found[-1][-1]):
            found.append(tuple(range(start, stop)))
    return tuple(found)
