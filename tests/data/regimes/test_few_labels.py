from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gence import InputError
from gence.data import few_labels, hold_out, split_calibration


def labels(*counts: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


def test_the_test_split_has_the_same_share_of_every_class_and_all_rows_are_in_one_part() -> None:
    y = labels(100, 50, 10, 2)
    kept, held_out = hold_out(y, 0.3, seed=0)
    assert np.bincount(y[held_out]).tolist() == [30, 15, 3, 1]
    assert np.array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(162))


def test_a_budget_takes_that_many_of_every_class_from_the_rows_given() -> None:
    y = labels(40, 30, 20)
    rows, _ = hold_out(y, 0.3, seed=0)
    drawn = few_labels(y, rows, 5, seed=0)
    assert [len(one) for one in drawn] == [5, 5, 5]
    assert [set(y[one]) for one in drawn] == [{0}, {1}, {2}]
    assert set(np.concatenate(drawn)) <= set(rows)


@settings(max_examples=50, deadline=None)
@given(small=st.integers(2, 20), more=st.integers(0, 20), fraction=st.floats(0.05, 0.9), seed=st.integers(0, 99))
def test_budgets_nest_in_both_parts(small: int, more: int, fraction: float, seed: int) -> None:
    y = labels(40, 45)
    rows = np.arange(len(y))
    parts = [split_calibration(few_labels(y, rows, n, seed=seed), fraction) for n in (small, small + more)]
    for few, many in zip(*parts, strict=True):
        assert set(few) <= set(many)
    train, calibration = parts[0]
    assert not set(train) & set(calibration)
    assert len(train) + len(calibration) == 2 * small
    assert np.bincount(y[calibration]).tolist() == [1 + int(fraction * (small - 2) + 1e-9)] * 2
    assert min(np.bincount(y[train])) >= 1


def test_a_fifth_of_the_default_budgets_is_for_calibration() -> None:
    y = labels(60, 60)
    for n, expected in ((10, 2), (50, 10), (2, 1)):
        train, calibration = split_calibration(few_labels(y, np.arange(120), n, seed=0), 0.2)
        assert (len(train), len(calibration)) == (2 * (n - expected), 2 * expected)


def test_the_seed_decides_and_different_seeds_differ() -> None:
    y = labels(50, 50)
    same = [np.concatenate(few_labels(y, np.arange(100), 10, seed=3)) for _ in range(2)]
    other = np.concatenate(few_labels(y, np.arange(100), 10, seed=4))
    assert np.array_equal(*same)
    assert set(other) != set(same[0])


def test_all_takes_every_row() -> None:
    y = labels(7, 3)
    drawn = few_labels(y, np.arange(10), "all", seed=0)
    assert sorted(np.concatenate(drawn)) == list(range(10))


def test_impossible_wishes_are_refused() -> None:
    y = labels(7, 3)
    with pytest.raises(InputError, match="4 labels per class are asked for, but class number 1 has only 3 rows"):
        few_labels(y, np.arange(10), 4, seed=0)
    with pytest.raises(InputError, match="every class needs at least 2 labelled rows"):
        split_calibration(few_labels(y, np.arange(10), 1, seed=0), 0.2)
