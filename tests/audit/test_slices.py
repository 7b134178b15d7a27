"""The worst slices: a planted one is found, noise is not, and the numbers are those of the rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from gence.audit.records import Slice, SliceSearch
from gence.audit.slices import CONFIDENCE_RANGES, worst_slices

NAMES = ("ant", "bee", "cat", "dog", "elk")


def rows(seed: int, number: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, predicted class and correctness of an honest model."""
    generator = np.random.default_rng(seed)
    confidence = 0.2 + 0.8 * generator.beta(3, 1, number)
    return confidence, generator.integers(5, size=number), (generator.random(number) < confidence).astype(np.float64)


def test_a_planted_slice_leads_and_the_honest_ones_are_not_accused() -> None:
    confidence, predicted, correct = rows(0)
    bad = (predicted == 3) & (confidence > 0.9) & (confidence <= 0.99)
    correct[bad] = (np.random.default_rng(1).random(bad.sum()) < 0.6).astype(np.float64)
    found = worst_slices(confidence, predicted, correct, NAMES)
    worst = found.worst[0]
    assert (worst.predicted, worst.confidence_range) == ("dog", (0.9, 0.99))
    assert worst.rows == bad.sum()
    assert worst.gap.value == pytest.approx(confidence[bad].mean() - correct[bad].mean())
    assert all(one.predicted == "dog" or one.confidence_range == (0.9, 0.99) for one in found.worst if one.certain_gap)


def test_among_honest_slices_one_is_accused_in_a_twentieth_of_the_samples_at_most() -> None:
    accused = [worst_slices(*rows(seed, 1500), NAMES).beyond_chance > 0 for seed in range(2, 202)]
    assert sum(accused) <= 16  # 10 are expected of intervals that cover exactly, and these cover more often


def test_the_numbers_of_every_slice_are_those_of_its_rows() -> None:
    confidence, predicted, correct = rows(3, 700)
    found = worst_slices(confidence, predicted, correct, NAMES)
    assert len(found.worst) > 10
    for one in found.worst:
        inside = np.ones(700, bool) if one.predicted is None else predicted == NAMES.index(one.predicted)
        if one.confidence_range is not None:
            inside &= (confidence > one.confidence_range[0]) & (confidence <= one.confidence_range[1])
        c, n = confidence[inside], int(inside.sum())
        assert n == one.rows >= found.least_rows
        gap = c.mean() - correct[inside].mean()
        assert (one.confidence, one.accuracy, one.gap.value) == pytest.approx((c.mean(), correct[inside].mean(), gap))
        assert one.z == pytest.approx(gap / (math.sqrt((c * (1 - c)).sum()) / n))
        exact = binomtest(int(correct[inside].sum()), n).proportion_ci(1 - 0.05 / found.looked_at, method="exact")
        assert (one.gap.low, one.gap.high) == pytest.approx((c.mean() - exact.high, c.mean() - exact.low))
    sizes = [_sizes(confidence, predicted)[i] for i in range(35)]
    assert found.looked_at == sum(size >= 30 for size in sizes)
    assert found.too_small == sum(0 < size < 30 for size in sizes)


def _sizes(confidence: np.ndarray, predicted: np.ndarray) -> list[int]:
    spans = [(confidence > low) & (confidence <= high) for low, high in CONFIDENCE_RANGES]
    classes = [predicted == k for k in range(5)]
    return [int(m.sum()) for m in (*spans, *classes, *(s & c for s in spans for c in classes))]


def test_a_large_gap_of_few_rows_does_not_lead() -> None:
    confidence = np.concatenate([np.full(30, 0.8), np.full(3000, 0.8)])
    predicted = np.concatenate([np.zeros(30, int), np.ones(3000, int)])
    correct = np.concatenate([np.arange(30) < 19, np.arange(3000) < 2000]).astype(np.float64)
    found = worst_slices(confidence, predicted, correct, NAMES[:2])
    few = _named(found, "ant")
    assert few.gap.value > 0.15 > _named(found, "bee").gap.value
    assert few.certain_gap == 0
    assert found.worst[0].predicted in (None, "bee")


def _named(found: SliceSearch, name: str) -> Slice:
    return next(one for one in found.worst if one.predicted == name)


def test_the_same_rows_are_one_slice_and_not_two() -> None:
    confidence, predicted = np.full(100, 0.95), np.arange(100) % 2
    found = worst_slices(confidence, predicted, np.ones(100), NAMES[:2])
    assert found.looked_at == 3
    assert [one.confidence_range for one in found.worst if one.predicted] == [None, None]


def test_certain_rows_have_no_standard_error_and_few_rows_no_slice() -> None:
    found = worst_slices(np.ones(40), np.zeros(40, int), np.zeros(40), NAMES[:2])
    assert found.worst[0].z is None
    assert found.worst[0].gap.value == 1.0
    few = worst_slices(np.ones(29), np.arange(29) % 2, np.zeros(29), NAMES[:2])
    assert (few.looked_at, few.too_small, few.worst) == (0, 3, ())
