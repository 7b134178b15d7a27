"""Calibration errors without the part that chance alone puts into bins."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from gence.metrics._predictions import Array, check_predictions, top_label
from gence.metrics.calibration import Binning, ReliabilityBins, check_binning, equal_width_index

DebiasedNorm = Literal["l1", "l2"]


def debiased_calibration_error(
    probs: Array, target: Array, *, bins: int = 15, binning: Binning = "mass", norm: DebiasedNorm = "l2"
) -> Tensor:
    r"""The calibration error of bins of top-label confidence, less what chance adds to it.

    Even of calibrated rows, a bin's accuracy differs from its confidence by chance, so the plain error is too high, the
    more so the fewer rows a bin has. With g the gap accuracy - confidence of a bin of n rows:

    .. math::
        \ell_2: \sqrt{\max\Big(0, \sum_b \tfrac{n_b}{N}
            \Big[g_b^2 - \tfrac{\mathrm{acc}_b (1 - \mathrm{acc}_b)}{n_b - 1}\Big]\Big)} \qquad
        \ell_1: \max\Big(0, \sum_b \tfrac{n_b}{N} \big[2 |g_b| - E|\mathcal{N}(g_b, s_b^2)|\big]\Big),
        \quad s_b^2 = \tfrac{\mathrm{acc}_b (1 - \mathrm{acc}_b)}{n_b}

    Under the root the l2 error is unbiased for the squared error of the binned probabilities. The l1 error subtracts
    how much a second helping of the same noise would add; near zero error that is less than the first helping did, so
    some of the bias stays (about six tenths for calibrated rows).

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.
        bins: Number of bins, at least 1; no more of equal mass than half the rows, so that each has two.
        binning: Equal `"mass"`, which the noise of a bin is best estimated with, where rows of equal confidence stay in
            one bin; or equal `"width"`.
        norm: `"l2"` the root mean square gap, `"l1"` the mean gap.

    Returns:
        A float64 scalar in [0, 1]. Empty bins count for nothing; neither do bins of one row in l2, whose noise cannot
        be told from their gap, unless there are no others: then nothing is subtracted.

    Raises:
        ValueError: If the predictions or the settings are not as described.

    Example:
        >>> probs = torch.tensor([[0.75, 0.25]], dtype=torch.float64).repeat(8, 1)
        >>> debiased_calibration_error(probs, torch.tensor([0, 0, 0, 0, 0, 0, 1, 1]), bins=1).item()
        0.0
        >>> debiased_calibration_error(probs, torch.tensor([0, 0, 0, 0, 0, 0, 0, 0]), bins=1).item()
        0.25

    Reference:
        Kumar, Liang and Ma 2019, arXiv 1909.10155, section 5 (l2) and its appendix (l1, there by simulation).
    """
    if norm not in get_args(DebiasedNorm):
        raise ValueError(f"norm must be one of {', '.join(get_args(DebiasedNorm))}; got {norm!r}")
    check_binning(bins, binning)
    stated, event = top_label(*check_predictions(probs, target))
    index = bin_of_rows(stated, bins, binning)

    def total(value: Tensor) -> Tensor:
        return value.new_zeros(bins).index_add(0, index, value)

    filled = ReliabilityBins(total(torch.ones_like(stated)), total(stated), total(event))
    return root(debiased_square(filled)) if norm == "l2" else debiased_mean_gap(filled)


def bin_of_rows(stated: Tensor, bins: int, binning: Binning) -> Tensor:
    """The bin of each row; ties stay together, as bins that share a group of ties share its noise."""
    if binning == "width":
        return equal_width_index(stated, bins)
    rows, bins = len(stated), bins_with_two_rows(len(stated), bins)
    ordered, order = stated.sort(descending=True)
    _, group, size = ordered.unique_consecutive(return_inverse=True, return_counts=True)
    middle = size.cumsum(0) - size + (size - 1) // 2
    return torch.empty_like(order).scatter(0, order, (middle * bins // rows)[group])


def bins_with_two_rows(rows: int, bins: int) -> int:
    """`bins`, or as many as can have two rows each."""
    return max(min(bins, rows // 2), 1)


def debiased_square(filled: ReliabilityBins) -> Tensor:
    """The squared l2 error without bias, so that it may be negative; the last axis of `filled` is that of the bins."""
    _, gap, variance, counts = _parts(filled)
    several = filled.counts > 1.0
    weight = filled.counts.where(several | ~several.any(-1, keepdim=True), 0.0)
    noise = (variance / (counts - 1.0).clamp(min=1.0)).where(several, 0.0)
    return (weight * (gap.square() - noise)).sum(-1) / weight.sum(-1)


def root(square: Tensor) -> Tensor:
    """The l2 error of its square: no error where chance explains all of it."""
    return square.clamp(min=0.0).sqrt()


def debiased_mean_gap(filled: ReliabilityBins) -> Tensor:
    """The debiased l1 error; the last axis of `filled` is that of the bins."""
    share, gap, variance, counts = _parts(filled)
    return (share * (2.0 * gap - _folded_normal_mean(gap, variance / counts))).sum(-1).clamp(min=0.0)


def _parts(filled: ReliabilityBins) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    counts = filled.counts.clamp(min=1.0)
    frequency = filled.event_sums / counts
    gap = (filled.event_sums - filled.confidence_sums).abs() / counts
    return filled.counts / filled.counts.sum(-1, keepdim=True), gap, frequency * (1.0 - frequency), counts


def _folded_normal_mean(mean: Tensor, variance: Tensor) -> Tensor:
    """The mean of |X| for X normal; with no variance |mean|."""
    # Rounding may leave a frequency a hair above 1 and its variance below 0.
    sd = variance.clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    ratio = mean / sd
    return sd * math.sqrt(2.0 / math.pi) * torch.exp(-0.5 * ratio.square()) + mean * torch.erf(ratio / math.sqrt(2.0))
