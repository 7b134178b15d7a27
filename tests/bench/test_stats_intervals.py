from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from gence.bench.stats.intervals import (
    bootstrap_t_interval,
    estimate,
    estimates,
    mean_interval,
    student_interval,
    within_groups,
)

Interval = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def percentile_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = stats.bootstrap((values,), np.mean, axis=1, n_resamples=499, method="percentile", rng=0)
    return found.confidence_interval.low, found.confidence_interval.high


def coverage(interval: Interval, samples: np.ndarray) -> float:
    low, high = interval(samples)
    return float(((low <= 0) & (high >= 0)).mean())


def assert_covers(interval: Interval, samples: np.ndarray) -> None:
    """Between 93 and 97 %, give or take three standard errors of the simulation itself."""
    slack = 3 * math.sqrt(0.05 * 0.95 / len(samples))
    found = coverage(interval, samples)
    assert 0.93 - slack < found < 0.97 + slack, found


@pytest.mark.parametrize("n", [3, 5, 10, 20, 30])
def test_the_interval_covers_the_mean_of_normal_differences(n: int) -> None:
    assert_covers(mean_interval, np.random.default_rng(n).normal(size=(1000, n)))


@pytest.mark.parametrize("n", [10, 30])
def test_the_interval_covers_the_mean_of_skewed_and_heavy_tailed_differences(n: int) -> None:
    random = np.random.default_rng(n)
    assert_covers(mean_interval, random.exponential(size=(1000, n)) - 1)
    assert_covers(mean_interval, random.standard_t(5, size=(1000, n)))


def test_the_plain_percentile_bootstrap_does_not_cover_at_five_seeds() -> None:
    samples = np.random.default_rng(5).normal(size=(1000, 5))
    with pytest.raises(AssertionError):
        assert_covers(percentile_interval, samples)
    assert coverage(percentile_interval, samples) < 0.88


def test_below_ten_values_it_is_student_s_t_and_above_the_bootstrap_t() -> None:
    values = np.random.default_rng(1).exponential(size=(4, 10))
    assert np.array_equal(mean_interval(values[:, :9]), student_interval(values[:, :9]))
    assert np.array_equal(mean_interval(values), bootstrap_t_interval(values))


def test_student_s_interval_is_that_of_the_scalar_estimate() -> None:
    values = np.random.default_rng(2).normal(size=(3, 6))
    for row, low, high in zip(values, *student_interval(values), strict=True):
        one = estimate(row.tolist())
        assert (one.low, one.high) == pytest.approx((low, high))


def test_the_bootstrap_t_is_the_naive_loop() -> None:
    values = np.random.default_rng(3).exponential(size=12)
    draws = np.random.default_rng([20150, 12]).multinomial(12, np.full(12, 1 / 12), size=1999)
    studentized = []
    for counts in draws:
        resample = np.repeat(values, counts)
        studentized.append((resample.mean() - values.mean()) / (resample.std(ddof=1) / math.sqrt(12)))
    studentized.sort()
    error = values.std(ddof=1) / math.sqrt(12)
    expected = values.mean() - studentized[1949] * error, values.mean() - studentized[49] * error
    low, high = bootstrap_t_interval(values[None])
    assert (low[0], high[0]) == pytest.approx(expected)


def test_the_same_values_have_the_same_interval_in_any_company() -> None:
    values = np.random.default_rng(4).normal(size=(700, 11))
    together, alone = mean_interval(values), mean_interval(values[650:651])
    assert (together[0][650], together[1][650]) == pytest.approx((alone[0][0], alone[1][0]), rel=1e-12)


def test_values_that_are_nearly_all_equal_fall_back_on_student_s_t() -> None:
    values = np.zeros((2, 10))
    values[0, 0] = 0.1
    assert np.array_equal(mean_interval(values), student_interval(values))
    assert np.array_equal(mean_interval(values)[1][1:], [0.0])


def test_one_value_has_a_mean_and_no_interval() -> None:
    (found,) = estimates(np.array([[0.5]]))
    assert (found.mean, found.low, found.high, found.seeds) == (0.5, None, None, 1)


def test_one_group_is_student_s_interval_and_many_leave_their_distance_out() -> None:
    alone = within_groups([[1.0, 2.0, 4.0]])
    assert (alone.low, alone.high) == pytest.approx((estimate([1.0, 2.0, 4.0]).low, estimate([1.0, 2.0, 4.0]).high))
    near, far = within_groups([[1.0, 2.0], [3.0, 5.0, 4.0]]), within_groups([[1.0, 2.0], [103.0, 105.0, 104.0]])
    assert (near.mean, near.seeds, far.mean) == (2.75, 5, 52.75)
    # By hand: squares 0.5 and 2 over three degrees of freedom; variance of the mean (1/2 + 1/3) / 4 of that.
    half = stats.t.ppf(0.975, 3) * math.sqrt(2.5 / 3 * (1 / 2 + 1 / 3) / 4)
    assert (near.low, far.high) == pytest.approx((2.75 - half, 52.75 + half))
