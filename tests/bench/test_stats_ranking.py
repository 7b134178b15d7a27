from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gence.bench.stats.ranking import cliques, critical_difference, friedman, ranks


def test_the_best_has_rank_one_whichever_way_is_better() -> None:
    scores = np.array([[0.1, 0.3, 0.2], [0.5, 0.5, 0.1]])
    assert ranks(scores, high_is_better=False).tolist() == [[1, 3, 2], [2.5, 2.5, 1]]
    assert ranks(scores, high_is_better=True).tolist() == [[3, 1, 2], [1.5, 1.5, 3]]


def test_ranks_are_the_naive_loop() -> None:
    scores = np.random.default_rng(0).integers(0, 4, (6, 5)).astype(float)
    expected = [[1 + sum(b < a for b in row) + (sum(b == a for b in row) - 1) / 2 for a in row] for row in scores]
    assert ranks(scores, high_is_better=False).tolist() == expected


def test_the_critical_difference_is_demsar_s() -> None:
    # Demsar (2006), section 3.2.3: four classifiers on 14 data sets, 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25.
    assert critical_difference(4, 14) == pytest.approx(2.569 * np.sqrt(20 / 84), abs=1e-3)
    # Two classifiers: the normal quantile.
    assert critical_difference(2, 6) == pytest.approx(1.960 * np.sqrt(1 / 6), abs=1e-3)
    assert critical_difference(4, 14, alpha=0.1) == pytest.approx(2.291 * np.sqrt(20 / 84), abs=1e-3)
    assert critical_difference(4, 1) is None
    assert critical_difference(1, 9) is None


def test_friedman_s_test_is_scipy_s_and_none_where_there_is_too_little() -> None:
    scores = np.random.default_rng(1).normal(size=(8, 4))
    assert friedman(scores) == stats.friedmanchisquare(*scores.T).pvalue
    assert (friedman(scores + np.array([0, 0, 0, 9])) or 1.0) < 0.01
    assert friedman(scores[:1]) is None
    assert friedman(scores[:, :2]) is None
    assert friedman(np.ones((5, 3))) == 1.0


def test_cliques_are_the_largest_groups_within_reach() -> None:
    assert cliques([1.0, 1.5, 2.4, 3.9], 1.0) == ((0, 1), (1, 2))
    assert cliques([1.0, 1.5, 1.9, 3.9], 1.0) == ((0, 1, 2),)
    assert cliques([1.0, 2.0, 3.0], 1.0) == ()
    assert cliques([1.0, 1.1, 1.2], 9.0) == ((0, 1, 2),)
