from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from gence.metrics import (
    classwise_calibration_error,
    expected_calibration_error,
    reliability_band,
    reliability_bins,
)


def predictions(rows: int = 500, classes: int = 4, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    target = torch.multinomial((logits / 2).softmax(1), 1, generator=generator).squeeze(1)
    return logits.softmax(1), target


def naive(stated: list[float], event: list[float], bins: int, binning: str, norm: str) -> float:
    """Bins filled one row at a time: (l, u] by exact comparison with the edges, or dealt by rank (no ties)."""
    if binning == "width":
        edges = np.linspace(0.0, 1.0, bins + 1)
        place = [max(sum(edges[j] < p for j in range(bins)) - 1, 0) for p in stated]
    else:
        rank = {p: i for i, p in enumerate(sorted(stated, reverse=True))}
        place = [rank[p] * bins // len(stated) for p in stated]
    gaps, shares = [], []
    for b in range(bins):
        inside = [i for i, where in enumerate(place) if where == b]
        if inside:
            gaps.append(abs(sum(event[i] for i in inside) - sum(stated[i] for i in inside)) / len(inside))
            shares.append(len(inside) / len(stated))
    if norm == "max":
        return max(gaps)
    if norm == "l1":
        return sum(s * g for s, g in zip(shares, gaps, strict=True))
    return math.sqrt(sum(s * g * g for s, g in zip(shares, gaps, strict=True)))


def test_three_rows_worked_out_by_hand() -> None:
    # Ten bins: 0.6 twice in (0.5, 0.6], one right of two; 0.9 once in (0.8, 0.9], right.
    probs = torch.tensor([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1]], dtype=torch.float64)
    target = torch.tensor([0, 0, 0])
    assert expected_calibration_error(probs, target, bins=10).item() == pytest.approx((2 * 0.1 + 0.1) / 3)
    assert expected_calibration_error(probs, target, bins=10, norm="max").item() == pytest.approx(0.1)
    assert expected_calibration_error(probs, target, bins=1).item() == pytest.approx(abs(2 / 3 - 2.1 / 3))


@pytest.mark.parametrize("bins", [1, 7, 15])
@pytest.mark.parametrize("binning", ["width", "mass"])
@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_both_errors_equal_the_naive_loop(bins: int, binning: Any, norm: Any) -> None:
    probs, target = predictions()
    confidence, predicted = probs.max(1)
    correct = (predicted == target).double()
    ece = expected_calibration_error(probs, target, bins=bins, binning=binning, norm=norm)
    assert ece.item() == pytest.approx(naive(confidence.tolist(), correct.tolist(), bins, binning, norm), abs=1e-12)
    by_class = [
        naive(probs[:, k].tolist(), (target == k).double().tolist(), bins, binning, norm) for k in range(probs.shape[1])
    ]
    classwise = classwise_calibration_error(probs, target, bins=bins, binning=binning, norm=norm)
    assert classwise.item() == pytest.approx(sum(by_class) / len(by_class), abs=1e-12)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_it_agrees_with_torchmetrics_where_no_confidence_is_1(norm: Any) -> None:
    # torchmetrics gives confidence exactly 1 a bin of its own (its issue 3510); here none is.
    probs, target = predictions()
    theirs = multiclass_calibration_error(probs, target, num_classes=4, n_bins=15, norm=norm)
    assert expected_calibration_error(probs, target, norm=norm).item() == pytest.approx(theirs.item(), abs=1e-6)


def test_every_inner_edge_belongs_to_the_bin_below_it_and_1_to_the_last() -> None:
    for bins in (3, 10, 15):
        edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:]
        edges = edges[edges >= 0.5]
        counts = reliability_bins(
            torch.stack([edges, 1 - edges], 1), torch.zeros(len(edges), dtype=torch.long), bins=bins
        )
        expected = [0.0] * (bins - len(edges)) + [1.0] * len(edges)
        assert counts.counts.tolist() == expected


def test_a_confidence_of_exactly_1_counts_in_the_last_bin_beside_its_neighbours() -> None:
    # torchmetrics issue 3510: with a bin of its own the two would not cancel.
    probs = torch.tensor([[1.0, 0.0], [0.96, 0.04]], dtype=torch.float64)
    assert expected_calibration_error(probs, torch.tensor([1, 0])).item() == pytest.approx(abs(0.5 - 0.98))


def test_the_bins_are_judged_in_float64_even_for_float32_input() -> None:
    # 0.2 in float32 is 0.200000003 in float64, above the edge; compared in float32 it would be on it.
    stated = torch.tensor([[0.8, 0.2]], dtype=torch.float32)
    bins = reliability_bins(stated, torch.tensor([0]), bins=5)
    assert bins.counts.tolist() == [0, 0, 0, 0, 1]
    assert bins.confidence_sums.dtype == torch.float64


def test_bins_of_equal_mass_differ_by_one_row_at_most_and_ties_do_not_depend_on_the_order() -> None:
    probs, target = predictions(101)
    assert set(reliability_bins(probs, target, binning="mass").counts.tolist()) == {6.0, 7.0}
    confidence = torch.tensor([0.7, 0.7, 0.7, 0.9], dtype=torch.float64)
    tied = torch.stack([confidence, 1 - confidence], 1)
    values = {
        round(expected_calibration_error(tied, torch.tensor(y), bins=2, binning="mass").item(), 12)
        for y in ([0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0])
    }
    assert len(values) == 1


def test_the_probabilities_that_made_the_labels_have_an_error_near_zero() -> None:
    probs, target = predictions(20000)
    true = (probs.log() / 2).softmax(1)
    assert expected_calibration_error(true, target) < 0.02 < 0.1 < expected_calibration_error(probs, target)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"bins": 0}, "bins must be at least 1; got 0"), ({"binning": "wide"}, "binning must be one of width, mass"),
     ({"norm": "l3"}, "norm must be one of l1, l2, max; got 'l3'")],
)  # fmt: skip
def test_a_wrong_setting_is_named(change: dict[str, Any], message: str) -> None:
    for metric in (expected_calibration_error, classwise_calibration_error):
        with pytest.raises(ValueError, match=message):
            metric(*predictions(), **change)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_band_is_the_wilson_interval_of_each_bin_and_nothing_for_an_empty_one(level: float) -> None:
    probs, target = predictions(60, seed=3)
    filled, band = reliability_bins(probs, target), reliability_band(probs, target, level=level)
    assert filled.counts.min() == 0 < 1 < filled.counts.max()
    for b, (n, right) in enumerate(zip(filled.counts.int().tolist(), filled.event_sums.int().tolist(), strict=True)):
        ends = [band.frequency[b].item(), band.low[b].item(), band.high[b].item()]
        if n:
            interval = binomtest(right, n).proportion_ci(level, method="wilson")
            assert ends == pytest.approx([right / n, interval.low, interval.high], abs=1e-12)
        else:
            assert all(map(math.isnan, ends))


def test_a_bin_that_was_always_right_still_has_a_band() -> None:
    band = reliability_band(torch.tensor([[0.9, 0.1]]).repeat(10, 1), torch.zeros(10, dtype=torch.long), bins=1)
    assert band.low.item() == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)
    assert band.high.item() == pytest.approx(1.0, abs=1e-12)


def test_a_level_outside_0_to_1_is_named() -> None:
    with pytest.raises(ValueError, match=r"level must lie between 0 and 1, like 0.95; got 95"):
        reliability_band(*predictions(), level=95)
