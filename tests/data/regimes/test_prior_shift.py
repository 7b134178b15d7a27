from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gence import InputError
from gence.data import class_prior, long_tail_counts, long_tail_prior, prior_shift


def labels(*counts: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


def counts_of(y: np.ndarray, rows: np.ndarray) -> list[int]:
    return np.bincount(y[rows]).tolist()


@settings(max_examples=50, deadline=None)
@given(weights=st.lists(st.integers(1, 20), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_it_is_the_largest_choice_with_that_prior_and_takes_no_row_twice(weights: list[int], seed: int) -> None:
    y, available = labels(90, 60, 30), (90, 60, 30)
    chosen = prior_shift(y, np.arange(180), np.array(weights) / sum(weights), seed=seed)
    # In whole numbers, so that no rounding is at play: the class that runs out first decides.
    most = max(
        total
        for total in range(1, 90 * 60)
        if all(total * w <= n * sum(weights) for n, w in zip(available, weights, strict=True))
    )
    scarcest = min(range(3), key=lambda k: Fraction(available[k], weights[k]))
    assert counts_of(y, chosen) == [available[scarcest] * w // weights[scarcest] for w in weights]
    assert most - 2 <= len(chosen) <= most
    assert len(set(chosen)) == len(chosen)
    assert np.array_equal(chosen, np.sort(chosen))


def test_a_balanced_test_set_with_an_imbalance_has_the_counts_of_a_long_tail() -> None:
    y = labels(*[1000] * 10)
    for imbalance in (2, 10, 50, 100):
        expected = long_tail_counts(10, 1000, imbalance).tolist()
        assert counts_of(y, prior_shift(y, np.arange(10_000), imbalance=imbalance, seed=0)) == expected
        reversed_ = prior_shift(y, np.arange(10_000), imbalance=imbalance, reverse=True, seed=0)
        assert counts_of(y, reversed_) == expected[::-1]


def test_the_prior_of_the_test_set_takes_every_row() -> None:
    y, rows = labels(70, 20, 10), np.arange(0, 100)
    assert np.array_equal(prior_shift(y, rows, class_prior(y, rows, 3), seed=0), rows)


def test_an_imbalance_is_over_the_classes_present() -> None:
    y = np.repeat([1, 4, 6], 40)
    assert counts_of(y, prior_shift(y, np.arange(120), imbalance=4, seed=0)) == [0, 40, 0, 0, 20, 0, 10]


def test_a_share_of_zero_leaves_the_class_out() -> None:
    y = labels(10, 10, 10)
    assert counts_of(y, prior_shift(y, np.arange(30), [0.5, 0.0, 0.5], seed=0)) == [10, 0, 10]
    assert counts_of(y, prior_shift(y, np.arange(30)[y != 1], [0.5, 0.0, 0.5], seed=0)) == [10, 0, 10]
    assert counts_of(y, prior_shift(y, np.arange(30), [0.5, 0.5, 0.0, 0.0], seed=0)) == [10, 10]


def test_only_the_rows_given_are_chosen_from_and_the_seed_decides() -> None:
    y, rows = labels(50, 50), np.arange(0, 100, 2)
    first, again, other = (prior_shift(y, rows, [0.2, 0.8], seed=seed) for seed in (0, 0, 1))
    assert set(first) <= set(rows)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_smaller_share_of_a_class_takes_fewer_of_the_same_rows() -> None:
    y, rows = labels(60, 60), np.arange(120)
    small, large = (set(prior_shift(y, rows, imbalance=i, seed=3)) for i in (10, 2))
    assert small < large


def test_the_long_tail_prior_is_geometric_and_sums_to_one() -> None:
    prior = long_tail_prior(5, 16)
    assert prior.sum() == pytest.approx(1, rel=1e-15)
    assert prior[:-1] / prior[1:] == pytest.approx([2.0] * 4, rel=1e-12)
    assert np.array_equal(long_tail_prior(5, 16, reverse=True), prior[::-1])
    assert long_tail_prior(4, 1).tolist() == [0.25] * 4


def test_the_class_prior_is_the_mean_of_one_hot_rows() -> None:
    y, rows = labels(3, 5, 2), np.arange(1, 10)
    assert class_prior(y, rows, 4) == pytest.approx(np.eye(4)[y[rows]].mean(0), rel=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": [0.5, 0.4, 0.0, 0.1]}, "class number 3 is to have a share of 0.1, but no test row .*; give it the"),
        ({"prior": [0.99, 0.001, 0.009]}, "of at most 20 rows with this prior, class number 1 .* 0.001 would get none"),
        ({"imbalance": 0.1}, "at least 1; got 0.1: give 10$"),
    ],
)
def test_an_impossible_prior_is_refused(options: dict[str, Any], message: str) -> None:
    y = labels(20, 20, 20)
    with pytest.raises(InputError, match=message):
        prior_shift(y, np.arange(60), **options, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either prior, or imbalance and perhaps reverse; got both, or neither, or reverse alone"),
        ({"prior": [0.5, 0.5], "imbalance": 2}, "give either prior, or imbalance"),
        ({"prior": [0.5, 0.5], "reverse": True}, "give either prior, or imbalance"),
        ({"prior": [0.5, 0.5]}, "prior must hold one share a class; got 2, and a row of class number 2"),
        ({"prior": [1.0]}, r"shape \(classes,\), at least 2; got shape \(1,\)"),
        ({"prior": [[0.5, 0.5]]}, r"got shape \(1, 2\)"),
        ({"prior": [1.5, -0.5, 0.0]}, r"shares of at least 0, without NaN; got -0\.5"),
        ({"prior": [0.5, float("nan"), 0.5]}, "without NaN; got nan"),
        ({"prior": [5, 3, 2]}, "prior must hold shares with sum 1; got a sum of 10: use counts / sum"),
    ],
)
def test_what_is_no_prior_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prior_shift(labels(20, 20, 20), np.arange(60), **options, seed=0)


def test_too_few_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2; got 1"):
        long_tail_prior(1, 2)
    with pytest.raises(ValueError, match="num_classes must be above every class number; got 2 and 2"):
        class_prior(labels(2, 2, 2), np.arange(6), 2)
