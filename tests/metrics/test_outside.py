"""Agreement with other libraries, and where they differ from the definition and from us."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from gence.metrics import (
    accuracy,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    reliability_bins,
    smooth_calibration_error,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what they import in their turn
    import relplot
    from netcal.metrics import ACE, ECE, MCE


def random(seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(1500, 5, dtype=torch.float64, generator=generator)
    target = torch.multinomial((logits / 2).softmax(1), 1, generator=generator).squeeze(1)
    return logits.softmax(1), target


def tied() -> tuple[Tensor, Tensor]:
    """Thirteen distinct confidences, none on an edge of 15 bins."""
    probs, target = random(1)
    confidence = 0.31 + 0.05 * (probs.amax(1) * 13).floor()
    rest = ((1 - confidence) / 4)[:, None].repeat(1, 5)
    return rest.scatter(1, probs.argmax(1, keepdim=True), confidence[:, None]), target


def saturated() -> tuple[Tensor, Tensor]:
    """Logits so large that a third of the rows has confidence exactly 1."""
    probs, target = random(2, scale=40.0)
    assert (probs.amax(1) == 1.0).double().mean() > 0.2
    return probs, target


def on_edges() -> tuple[Tensor, Tensor]:
    """Confidence on the edges of 10 bins."""
    confidence = torch.arange(600) % 5 / 10.0 + 0.5
    probs = torch.stack([confidence, 1 - confidence], 1).double()
    probs[:, 0] = torch.linspace(0, 1, 11, dtype=torch.float64)[5 + torch.arange(600) % 5]
    probs[:, 1] = 1 - probs[:, 0]
    return probs, (torch.arange(600) % 7 < 3).long()


EASY = {"random": random(), "sharp": random(3, scale=5.0), "tied": tied()}
easy = pytest.mark.parametrize("case", EASY.values(), ids=EASY)
every = pytest.mark.parametrize("case", [*EASY.values(), saturated(), on_edges()], ids=[*EASY, "saturated", "on edges"])


def top(probs: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return probs.amax(1).numpy(), (probs.argmax(1) == target).double().numpy()


def naive(stated: np.ndarray, event: np.ndarray, bins: int, norm: str, last: int | None = None) -> float:
    """Bins (l, u]; with `last`, bins [l, u) of which 1.0 belongs to the one of that number."""
    edges = np.linspace(0, 1, bins + 1)
    if last is None:
        place = [max(sum(edge < p for edge in edges) - 1, 0) for p in stated]
    else:
        place = [last if p == 1.0 else sum(edge <= p for edge in edges) - 1 for p in stated]
    gaps = np.bincount(place, event - stated, bins + 1)
    counts = np.bincount(place, minlength=bins + 1)
    gaps, share = np.abs(gaps) / np.maximum(counts, 1), counts / len(stated)
    return float({"l1": share @ gaps, "l2": np.sqrt(share @ gaps**2), "max": gaps.max()}[norm])


def theirs_torchmetrics(probs: Tensor, target: Tensor, norm: Any, bins: int = 15) -> float:
    return multiclass_calibration_error(probs, target, probs.shape[1], n_bins=bins, norm=norm).item()


@every
def test_scikit_learn_agrees_on_accuracy_nll_brier_and_the_reliability_curve(case: tuple[Tensor, Tensor]) -> None:
    probs, target = case
    classes = range(probs.shape[1])
    assert accuracy(probs, target).item() == pytest.approx(accuracy_score(target, probs.argmax(1)), abs=1e-12)
    floored = probs.clamp(min=1e-12)  # scikit-learn floors at its own epsilon
    floored = floored / floored.sum(1, keepdim=True)
    assert negative_log_likelihood(floored, target).item() == pytest.approx(log_loss(target, floored, labels=classes))
    per_column = [brier_score_loss(target == k, probs[:, k]) for k in classes]
    assert brier_score(probs, target).item() == pytest.approx(sum(per_column), abs=1e-12)
    for bins in (10, 15):
        filled = reliability_bins(probs, target, bins=bins)
        full = filled.counts > 0
        stated, event = top(probs, target)
        frequency, confidence = calibration_curve(event, stated, n_bins=bins)
        np.testing.assert_allclose((filled.event_sums / filled.counts)[full], frequency, atol=1e-12)
        np.testing.assert_allclose((filled.confidence_sums / filled.counts)[full], confidence, atol=1e-12)


@easy
def test_torchmetrics_agrees_where_no_confidence_is_on_an_edge(case: tuple[Tensor, Tensor]) -> None:
    for norm in ("l1", "l2", "max"):
        ours = expected_calibration_error(*case, norm=norm).item()
        assert ours == pytest.approx(theirs_torchmetrics(*case, norm), abs=1e-6)


def test_torchmetrics_3510_gives_confidence_1_a_bin_of_its_own() -> None:
    probs = torch.tensor([[1.0, 0.0], [0.96, 0.04]], dtype=torch.float64)
    for case in ((probs, torch.tensor([1, 0])), saturated()):
        ours = expected_calibration_error(*case, norm="l2").item()
        theirs = theirs_torchmetrics(*case, "l2")
        assert ours == pytest.approx(naive(*top(*case), 15, "l2"), abs=1e-12)
        stated, event = top(*case)
        rounded = stated.astype(np.float32).astype(np.float64)  # they bin in float32, where more is 1
        assert theirs == pytest.approx(naive(rounded, event, 15, "l2", last=15), abs=1e-6)
        assert abs(ours - theirs) > 1e-4


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_on_an_edge_ours_is_the_upper_end_of_a_bin_and_theirs_the_lower(norm: Any) -> None:
    """Guo et al. 2017 and scikit-learn bin by (l, u]; torchmetrics, netcal and relplot by [l, u)."""
    probs, target = on_edges()
    # One row of each, so that rows on an edge meet rows from inside the bin below.
    inside, labels = random(4)
    inside = inside[:, :2] / inside[:, :2].sum(1, keepdim=True)
    case = torch.cat([probs, inside]), torch.cat([target, labels.clamp(max=1)])
    ours = expected_calibration_error(*case, bins=10, norm=norm).item()
    lower = naive(*top(*case), 10, norm, last=10)
    assert ours == pytest.approx(naive(*top(*case), 10, norm), abs=1e-12)
    assert abs(ours - lower) > 1e-4
    if norm == "l1":
        stated, event = top(*case)
        assert ECE(10).measure(stated, event) == pytest.approx(naive(stated, event, 10, "l1", last=9), abs=1e-9)


@easy
def test_netcal_agrees_where_no_confidence_is_on_an_edge(case: tuple[Tensor, Tensor]) -> None:
    probs, target = case[0].numpy(), case[1].numpy()
    for norm, theirs in (("l1", ECE(15)), ("max", MCE(15))):
        ours = expected_calibration_error(*case, norm=norm).item()  # pyright: ignore
        assert ours == pytest.approx(theirs.measure(probs, target), abs=1e-6)


def test_netcal_puts_confidence_1_in_the_last_bin_as_we_do() -> None:
    case = saturated()
    assert expected_calibration_error(*case).item() == pytest.approx(
        ECE(15).measure(case[0].numpy(), case[1].numpy()), abs=1e-6
    )


def test_the_ace_of_netcal_is_the_unweighted_mean_over_bins_that_have_rows() -> None:
    probs, target = random()
    filled = reliability_bins(probs, target)
    full = filled.counts > 0
    gaps = ((filled.event_sums - filled.confidence_sums).abs() / filled.counts)[full]
    theirs = ACE(15).measure(probs.numpy(), target.numpy())
    assert theirs == pytest.approx(gaps.mean().item(), abs=1e-6)
    assert abs(expected_calibration_error(probs, target).item() - theirs) > 1e-3


def test_the_equal_mass_of_netcal_has_edges_at_quantiles_and_breaks_on_ties() -> None:
    """Ours deals ranks: bins differ by a row at most whatever the ties, and without ties both are nearly the same."""
    probs, target = random()
    ours = expected_calibration_error(probs, target, binning="mass").item()
    theirs = ECE(15, equal_intervals=False).measure(probs.numpy(), target.numpy())
    assert ours == pytest.approx(theirs, abs=2e-3)
    stated, event = top(probs, target)
    place = np.empty(len(stated), int)
    place[np.argsort(-stated)] = np.arange(len(stated)) * 15 // len(stated)
    gaps = np.abs(np.bincount(place, event - stated)).sum() / len(stated)
    assert ours == pytest.approx(gaps, abs=1e-12)
    edges = np.quantile(saturated()[0].amax(1).numpy(), np.linspace(0, 1, 16))
    assert (np.diff(edges) == 0).any()  # ties at 1 collapse the top bins of edges at quantiles
    counts = reliability_bins(*saturated(), binning="mass").counts
    assert counts.max() - counts.min() <= 1


@easy
def test_relplot_agrees_on_the_binned_error(case: tuple[Tensor, Tensor]) -> None:
    ours = expected_calibration_error(*case, bins=15).item()
    assert ours == pytest.approx(relplot.metrics.binnedECE(*top(*case), nbins=15), abs=1e-6)


@pytest.mark.parametrize("case", [EASY["random"], EASY["tied"]], ids=["random", "tied"])
def test_relplot_agrees_on_the_smooth_error_where_few_rows_are_at_1(case: tuple[Tensor, Tensor]) -> None:
    # relplot stops its bisection at a step of 1e-3, and the value is as far off.
    assert smooth_calibration_error(*case).item() == pytest.approx(relplot.smECE(*top(*case)), abs=1.5e-3)


def test_relplot_halves_the_rows_at_confidence_1_in_the_smooth_error() -> None:
    """Its mirroring leaves out the image of the end point, so rows there weigh half, and the rest too much."""
    probs = torch.tensor([[1.0, 0.0], [0.75, 0.25]], dtype=torch.float64).repeat(500, 1)
    case = probs, torch.zeros(1000, dtype=torch.long)  # all right, so the gap is 0.25 in half of the rows
    assert smooth_calibration_error(*case).item() == pytest.approx(0.25 * 1 / 2, abs=1e-6)
    assert relplot.smECE(*top(*case)) == pytest.approx(0.25 * 2 / 3, abs=3e-3)
    stated, event = top(*EASY["sharp"])
    ours = smooth_calibration_error(*EASY["sharp"]).item()
    t = np.linspace(0, 1, 501)
    mirrored = np.concatenate([sign * stated + 2 * k for sign in (1, -1) for k in (-1, 0, 1)])
    kernel = np.exp(-0.5 * ((t[:, None] - mirrored) / ours) ** 2) / (ours * math.sqrt(2 * math.pi))
    smoothed = kernel @ np.tile((stated - event) / len(stated), 6)
    assert ours == pytest.approx(np.trapezoid(np.abs(smoothed), t), abs=1e-6)
    assert relplot.smECE(stated, event) - ours > 4e-3


def test_the_binned_error_of_relplot_gives_confidence_1_a_bin_of_its_own() -> None:
    stated, event = np.array([1.0, 0.96]), np.array([0.0, 1.0])
    case = torch.tensor([[1.0, 0.0], [0.96, 0.04]], dtype=torch.float64), torch.tensor([1, 0])
    assert relplot.metrics.binnedECE(stated, event, nbins=15) == pytest.approx((1.0 + 0.04) / 2)
    assert expected_calibration_error(*case).item() == pytest.approx((1.0 - 0.04) / 2)
