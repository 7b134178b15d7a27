"""Intervals against scipy and by how often they cover; honest draws against draws made one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, ttest_1samp

from gence.audit.chance import honest_draws
from gence.audit.coverage import coverage_of
from gence.audit.intervals import mean_estimate, share_interval
from gence.metrics import expected_calibration_error


@pytest.mark.parametrize("level", [0.95, 0.999])
@pytest.mark.parametrize(("hits", "rows"), [(0, 1), (1, 1), (0, 30), (30, 30), (3, 17), (999, 1000)])
def test_the_interval_of_a_share_is_that_of_scipy(hits: int, rows: int, level: float) -> None:
    expected = binomtest(hits, rows).proportion_ci(level, method="exact")
    low, high = share_interval(hits, rows, level=level)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-10)


def test_the_interval_of_a_mean_is_that_of_scipy_and_one_row_has_none() -> None:
    terms = np.random.default_rng(0).standard_normal(12)
    found, expected = mean_estimate(terms, level=0.9), ttest_1samp(terms, 0).confidence_interval(0.9)
    assert (found.value, found.low, found.high) == pytest.approx((terms.mean(), expected.low, expected.high))
    assert mean_estimate(terms[:1]).low is None


def test_honest_draws_are_what_a_plain_loop_over_draws_gives() -> None:
    generator = np.random.default_rng(1)
    confidence = generator.uniform(0.5, 1.0, 400)
    correct = (generator.random(400) < confidence - 0.04).astype(np.float64)
    found = honest_draws(confidence, correct, bins=10, draws=2000, seed=3)
    ece, gap = [], []
    for _ in range(1000):
        drawn = generator.random(400) < confidence
        ece.append(_ece(confidence, drawn))
        gap.append(abs((confidence - drawn).mean()))
    assert found.ece == pytest.approx(np.mean(ece), rel=0.03)
    assert found.ece_high == pytest.approx(np.quantile(ece, 0.95), rel=0.05)
    assert found.ece_share == pytest.approx(np.mean(np.array(ece) >= _ece(confidence, correct)), abs=0.04)
    assert found.gap_share == pytest.approx(np.mean(np.array(gap) >= abs((confidence - correct).mean())), abs=0.04)


def _ece(confidence: np.ndarray, correct: np.ndarray) -> float:
    # Two columns in which the first is the predicted class.
    probs = torch.from_numpy(np.column_stack([confidence, 1 - confidence]))
    return expected_calibration_error(probs, torch.from_numpy(1 - correct.astype(np.int64)), bins=10).item()


def test_honest_probabilities_are_accused_as_often_as_the_level_says() -> None:
    generator = np.random.default_rng(2)
    accused = 0
    for trial in range(200):
        confidence = generator.uniform(0.4, 1.0, 150)
        correct = (generator.random(150) < confidence).astype(np.float64)
        accused += honest_draws(confidence, correct, bins=15, draws=200, seed=trial).ece_share <= 0.05
    assert 2 <= accused <= 20


def test_certain_rows_that_are_right_are_honest_and_one_wrong_one_is_not() -> None:
    confidence, correct = np.ones(50), np.ones(50)
    found = honest_draws(confidence, correct, bins=15, draws=99, seed=0)
    assert (found.ece, found.ece_high, found.ece_share, found.gap_share) == (0.0, 0.0, 1.0, 1.0)
    correct[7] = 0.0
    found = honest_draws(confidence, correct, bins=15, draws=99, seed=0)
    assert (found.ece_share, found.gap_share) == (0.01, 0.01)


def test_coverage_is_the_accuracy_of_the_rows_one_would_keep() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.95, 0.85, 0.75, 0.65, 0.55])
    correct = np.array([1.0, 1, 0, 0, 0, 1, 1, 1, 0, 1])
    found = coverage_of(confidence, correct)
    ranked = correct[np.argsort(-confidence)]
    for point, kept in zip(found.points, (5, 8, 9, 10, 10), strict=True):
        assert point.rows == kept
        assert point.accuracy.value == pytest.approx(ranked[:kept].mean())
        assert point.threshold == np.sort(confidence)[::-1][kept - 1]
    assert found.curve == tuple(((n + 1) / 10, pytest.approx(ranked[: n + 1].mean())) for n in range(10))


def test_coverage_does_not_depend_on_the_order_of_rows_of_equal_confidence() -> None:
    confidence, correct = np.full(1000, 0.7), (np.arange(1000) < 300).astype(np.float64)
    found = coverage_of(confidence, correct)
    assert found == coverage_of(confidence, correct[::-1].copy())
    assert len(found.curve) == 200
    assert all(y == pytest.approx(0.3) for _, y in found.curve)
