from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from gence import InputError
from gence.data import label_noise


def labels(*counts: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


@settings(max_examples=50, deadline=None)
@given(rate=st.just(0.0) | st.floats(0.03, 0.99), kind=st.sampled_from(["symmetric", "pair"]), seed=st.integers(0, 99))
def test_exactly_that_share_of_the_rows_of_each_class_is_wrong(rate: float, kind: str, seed: int) -> None:
    y, rows = labels(40, 25, 7, 1), np.arange(0, 73, 2)
    noisy = label_noise(y, rows, rate, kind=kind, seed=seed, num_classes=4)
    wrong = np.flatnonzero(noisy != y)
    assert set(wrong) <= set(rows)
    for k in range(4):
        assert (y[wrong] == k).sum() == round(rate * (y[rows] == k).sum())
    assert noisy.min() >= 0
    assert noisy.max() < 4


def test_the_true_labels_are_left_alone_and_the_dtype_is_kept() -> None:
    y = labels(20, 20).astype(np.int32)
    before = y.copy()
    noisy = label_noise(y, np.arange(40), 0.5, seed=0, num_classes=2)
    assert np.array_equal(y, before)
    assert noisy.dtype == np.int32
    assert not np.array_equal(noisy, y)


def test_no_noise_is_the_true_labels() -> None:
    y = labels(20, 20)
    assert np.array_equal(label_noise(y, np.arange(40), 0, seed=0, num_classes=2), y)


@settings(max_examples=50, deadline=None)
@given(
    small=st.just(0.0) | st.floats(0.02, 0.5),
    more=st.floats(0.02, 0.49),
    kind=st.sampled_from(["symmetric", "pair"]),
    seed=st.integers(0, 99),
)
def test_a_larger_rate_keeps_the_wrong_labels_of_a_smaller_one(small: float, more: float, kind: str, seed: int) -> None:
    y, rows = labels(30, 20, 10), np.arange(60)
    less, noisier = (label_noise(y, rows, rate, kind=kind, seed=seed, num_classes=3) for rate in (small, small + more))
    wrong = less != y
    assert np.array_equal(less[wrong], noisier[wrong])


def test_symmetric_noise_is_even_over_the_other_classes() -> None:
    y = np.full(6000, 2)
    noisy = label_noise(y, np.arange(6000), 0.9, seed=0, num_classes=5)
    counts = np.bincount(noisy, minlength=5)
    assert counts[2] == 600
    assert chisquare(counts[[0, 1, 3, 4]]).pvalue > 1e-3


def test_pair_noise_is_the_next_class_and_the_first_after_the_last() -> None:
    y = labels(10, 10, 10)
    noisy = label_noise(y, np.arange(30), 0.4, kind="pair", seed=0, num_classes=3)
    pairs = {(int(a), int(b)) for a, b in zip(y, noisy, strict=True) if a != b}
    assert pairs == {(0, 1), (1, 2), (2, 0)}


def test_with_two_classes_both_kinds_swap_the_same_labels() -> None:
    y = labels(50, 30)
    one, other = (
        label_noise(y, np.arange(80), 0.3, kind=kind, seed=5, num_classes=2) for kind in ("symmetric", "pair")
    )
    assert np.array_equal(one, other)


def test_the_seed_decides_which_labels_are_wrong() -> None:
    y = labels(50, 50)
    first, again, other = (label_noise(y, np.arange(100), 0.3, seed=seed, num_classes=2) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (40, "a noise rate is the share of wrong labels, at least 0 and below 1; got 40: give 0.4 for 40 %$"),
        (99, "got 99: give 0.99 for 99 %$"),
        (1.5, r"below 1; got 1\.5$"),
        (99.5, r"below 1; got 99\.5$"),
        (1, "below 1; got 1$"),
        (-0.1, r"below 1; got -0\.1$"),
        (float("nan"), "below 1; got nan$"),
    ],
)
def test_an_impossible_rate_is_refused(rate: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_noise(labels(5, 5), np.arange(10), rate, seed=0, num_classes=2)


@pytest.mark.parametrize("rate", [0.2, 0.25])
def test_a_rate_that_makes_no_label_wrong_is_refused(rate: float) -> None:
    y = labels(2, 2, 2)
    told = f"^a rate of {rate} of at most 2 labels a class makes none wrong; ask for more labels or a higher rate$"
    with pytest.raises(InputError, match=told):
        label_noise(y, np.arange(6), rate, seed=0, num_classes=3)
    assert (label_noise(y, np.arange(6), 0.3, seed=0, num_classes=3) != y).sum() == 3


def test_one_class_with_a_wrong_label_is_enough() -> None:
    y = labels(2, 5)
    assert (label_noise(y, np.arange(7), 0.2, seed=0, num_classes=2) != y).sum() == 1


def test_other_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="above every class number; got 2 and the class number 2"):
        label_noise(labels(5, 5, 5), np.arange(15), 0.2, seed=0, num_classes=2)
    with pytest.raises(ValueError, match=r"num_classes must be at least 2 .* got 1"):
        label_noise(np.zeros(5, int), np.arange(5), 0.2, seed=0, num_classes=1)
    with pytest.raises(ValueError, match="kind must be 'symmetric' or 'pair'; got 'flip'"):
        label_noise(labels(5, 5), np.arange(10), 0.2, kind="flip", seed=0, num_classes=2)  # pyright: ignore
