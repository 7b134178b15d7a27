from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import foldnorm
from torch import Tensor

from gence.metrics import debiased_calibration_error, expected_calibration_error, ks_calibration_error
from gence.metrics.calibration import reliability_bins
from gence.metrics.debiased import debiased_square


def predictions(rows: int, *, seed: int = 0, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Two classes; the first is stated with 0.6 to 0.95 and comes true `shift` less often."""
    generator = torch.Generator().manual_seed(seed)
    stated = 0.6 + 0.35 * torch.rand(rows, dtype=torch.float64, generator=generator)
    target = (torch.rand(rows, dtype=torch.float64, generator=generator) > stated - shift).long()
    return torch.stack([stated, 1 - stated], 1), target


def naive(probs: Tensor, target: Tensor, bins: int, norm: str) -> float:
    """Rows dealt into bins by rank; the folded normal's mean from scipy."""
    order = sorted(range(len(probs)), key=lambda i: -probs[i].max().item())
    bins, total = min(bins, len(order) // 2), 0.0
    for b in range(bins):
        inside = [i for rank, i in enumerate(order) if rank * bins // len(order) == b]
        n = len(inside)
        if n == 0:
            continue
        acc = sum(int(probs[i].argmax() == target[i]) for i in inside) / n
        gap = abs(acc - sum(probs[i].max().item() for i in inside) / n)
        if norm == "l2":
            total += n / len(order) * (gap**2 - acc * (1 - acc) / (n - 1)) if n > 1 else 0.0
        else:
            sd = math.sqrt(acc * (1 - acc) / n)
            again = foldnorm.mean(gap / sd, scale=sd) if sd else gap
            total += n / len(order) * (2 * gap - again)
    return math.sqrt(max(total, 0.0)) if norm == "l2" else max(total, 0.0)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("bins", [1, 7, 15, 70, 101])
@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_it_equals_the_naive_loop(norm: Any, bins: int, shift: float) -> None:
    probs, target = predictions(101, shift=shift)
    value = debiased_calibration_error(probs, target, bins=bins, norm=norm).item()
    assert value == pytest.approx(naive(probs, target, bins, norm), abs=1e-10)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_rows_of_equal_confidence_share_a_bin_and_so_their_noise(norm: Any) -> None:
    probs, target = predictions(600, shift=0.1)
    three = torch.tensor([0.6, 0.7, 0.9], dtype=torch.float64)[torch.arange(600) % 3]
    probs = torch.stack([three, 1 - three], 1)
    total = 0.0
    for value in (0.6, 0.7, 0.9):
        inside = three == value
        n, acc = int(inside.sum()), (target[inside] == 0).double().mean().item()
        gap, sd = abs(acc - value), math.sqrt(acc * (1 - acc) / n)
        again = foldnorm.mean(gap / sd, scale=sd)
        total += n / 600 * (gap**2 - acc * (1 - acc) / (n - 1) if norm == "l2" else 2 * gap - again)
    expected = math.sqrt(max(total, 0.0)) if norm == "l2" else max(total, 0.0)
    assert debiased_calibration_error(probs, target, norm=norm).item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("rows", [1, 2, 5, 15, 16, 29])
@pytest.mark.parametrize("binning", ["mass", "width"])
def test_a_model_that_is_always_wrong_is_seen_however_few_the_rows(rows: int, binning: Any) -> None:
    stated = torch.linspace(0.97, 0.99, rows, dtype=torch.float64)
    probs, target = torch.stack([stated, 1 - stated], 1), torch.ones(rows, dtype=torch.long)
    assert debiased_calibration_error(probs, target, binning=binning).item() == pytest.approx(0.98, abs=0.011)


def test_four_rows_worked_out_by_hand() -> None:
    # Stated 0.9, right twice of four: gap 0.4, noise 0.25 / 3.
    probs = torch.tensor([[0.9, 0.1]], dtype=torch.float64).repeat(4, 1)
    target = torch.tensor([0, 0, 1, 1])
    value = debiased_calibration_error(probs, target, bins=1).item()
    assert value == pytest.approx(math.sqrt(0.16 - 0.25 / 3), abs=1e-12)
    again = 0.25 * math.sqrt(2 / math.pi) * math.exp(-0.5 * 1.6**2) + 0.4 * math.erf(1.6 / math.sqrt(2))
    value = debiased_calibration_error(probs, target, bins=1, norm="l1").item()
    assert value == pytest.approx(0.8 - again, abs=1e-12)


def test_without_noise_it_is_the_plain_error() -> None:
    """Collapse: where every row of a bin was right, or every row wrong, chance has no part in the gap."""
    probs, _ = predictions(60)
    for target in (torch.zeros(60, dtype=torch.long), torch.ones(60, dtype=torch.long)):
        for norm in ("l1", "l2"):
            plain = expected_calibration_error(probs, target, binning="mass", norm=norm)
            assert debiased_calibration_error(probs, target, norm=norm).item() == pytest.approx(plain.item(), abs=1e-10)


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_its_square_is_unbiased_where_the_plain_square_is_not(shift: float) -> None:
    squares, plain, l1, plain_l1 = [], [], [], []
    for seed in range(300):
        probs, target = predictions(150, seed=seed, shift=shift)
        squares.append(debiased_square(reliability_bins(probs, target, binning="mass")).item())
        plain.append(expected_calibration_error(probs, target, binning="mass", norm="l2").item() ** 2)
        l1.append(debiased_calibration_error(probs, target, norm="l1").item())
        plain_l1.append(expected_calibration_error(probs, target, binning="mass").item())
    error = np.std(squares) / math.sqrt(300)
    assert abs(np.mean(squares) - shift**2) < 4 * error < 0.25 * (np.mean(plain) - shift**2)
    assert shift < np.mean(l1) + 0.01
    assert np.mean(l1) - shift < 0.7 * (np.mean(plain_l1) - shift)


def test_bins_of_one_row_count_for_nothing_in_l2_where_others_have_more() -> None:
    stated = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.6], dtype=torch.float64)
    probs, target = torch.stack([stated, 1 - stated], 1), torch.tensor([0, 0, 1, 1, 1])
    value = debiased_calibration_error(probs, target, bins=10, binning="width").item()
    assert value == pytest.approx(math.sqrt(0.16 - 0.25 / 3), abs=1e-12)


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ValueError, match="norm must be one of l1, l2; got 'max'"):
        debiased_calibration_error(*predictions(5), norm="max")  # pyright: ignore
    with pytest.raises(ValueError, match="bins must be at least 1; got 0"):
        debiased_calibration_error(*predictions(5), bins=0)
    with pytest.raises(ValueError, match="binning must be one of width, mass; got 'even'"):
        debiased_calibration_error(*predictions(5), binning="even")  # pyright: ignore


def ks_naive(probs: Tensor, target: Tensor) -> float:
    confidence, correct = probs.max(1).values.tolist(), (probs.argmax(1) == target).double().tolist()
    gaps = [
        abs(sum(c - a for c, a in zip(confidence, correct, strict=True) if c <= threshold))
        for threshold in set(confidence)
    ]
    return max(gaps) / len(confidence)


@pytest.mark.parametrize("shift", [-0.05, 0.0, 0.2])
@pytest.mark.parametrize("digits", [12, 1])
def test_ks_equals_the_naive_loop_over_thresholds(shift: float, digits: int) -> None:
    probs, target = predictions(200, shift=shift)
    first = probs[:, 0].mul(10**digits).round() / 10**digits
    probs = torch.stack([first, 1 - first], 1)
    assert ks_calibration_error(probs, target).item() == pytest.approx(ks_naive(probs, target), abs=1e-12)


def test_ks_starts_at_the_least_confident_and_is_the_mean_gap_where_all_gaps_have_one_sign() -> None:
    stated = torch.tensor([0.6, 0.7, 0.8, 0.9], dtype=torch.float64)
    probs = torch.stack([stated, 1 - stated], 1)
    # Gaps -0.4, 0.7, -0.2, 0.9 add up to 1 at most; from the most confident down it would be 1.4.
    assert ks_calibration_error(probs, torch.tensor([0, 1, 0, 1])).item() == pytest.approx(0.25)
    assert ks_calibration_error(probs, torch.zeros(4, dtype=torch.long)).item() == pytest.approx(0.25)
    assert ks_calibration_error(probs, torch.ones(4, dtype=torch.long)).item() == pytest.approx(0.75)


def test_ks_is_at_most_the_mean_gap_of_single_rows() -> None:
    for seed in range(5):
        probs, target = predictions(80, seed=seed)
        assert ks_calibration_error(probs, target) <= expected_calibration_error(probs, target, bins=80, binning="mass")
