"""Calibration errors over bins: how far stated confidence is from the frequency with which it comes true."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

import torch
from torch import Tensor

from gence.metrics._predictions import Array, averaged_over_ties, check_predictions, top_label

Binning = Literal["width", "mass"]
Norm = Literal["l1", "l2", "max"]


@dataclass(frozen=True)
class ReliabilityBins:
    """Sums over bins of confidence: what a reliability diagram draws and a binned calibration error adds up.

    Attributes:
        counts: `(..., bins)` rows in each bin, float64.
        confidence_sums: `(..., bins)` sums of the stated probabilities.
        event_sums: `(..., bins)` how often the event came true.
    """

    counts: Tensor
    confidence_sums: Tensor
    event_sums: Tensor

    def error(self, norm: Norm) -> Tensor:
        """The gaps |event frequency - mean confidence|: their weighted mean, weighted root mean square, or maximum."""
        gap = (self.event_sums - self.confidence_sums).abs() / self.counts.clamp(min=1.0)
        share = self.counts / self.counts.sum(-1, keepdim=True)
        if norm == "l1":
            return (share * gap).sum(-1)
        return (share * gap.square()).sum(-1).sqrt() if norm == "l2" else gap.amax(-1)


def reliability_bins(probs: Array, target: Array, *, bins: int = 15, binning: Binning = "width") -> ReliabilityBins:
    """Top-label confidence against correctness in bins.

    With `binning="width"` the bins are (l, u] of equal width: confidence exactly 1 is in the last one, 0 in the first.
    With `"mass"` the rows, sorted by confidence, are dealt into bins whose sizes differ by one at most; rows of equal
    confidence share their mean correctness, so the order of storage does not matter.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.
        bins: Number of bins, at least 1.
        binning: `"width"` or `"mass"`.

    Raises:
        ValueError: If the predictions or the settings are not as described.
    """
    _check_settings(bins, binning, "l1")
    return _fill(*top_label(*check_predictions(probs, target)), bins, binning)


@dataclass(frozen=True)
class ReliabilityBand:
    """The event frequency of each bin with an interval of what it would be on all the rows there could have been.

    Attributes:
        frequency: `(bins,)` float64; NaN for an empty bin, as are its ends.
        low: `(bins,)` lower ends.
        high: `(bins,)` upper ends.
        level: The share of such intervals that is to hold the truth, for each bin by itself.
    """

    frequency: Tensor
    low: Tensor
    high: Tensor
    level: float


def reliability_band(
    probs: Array, target: Array, *, bins: int = 15, binning: Binning = "width", level: float = 0.95
) -> ReliabilityBand:
    r"""How often the top label of each bin was right, with Wilson intervals.

    For a frequency f of n rows and the normal quantile z:

    .. math:: \frac{f + z^2 / 2n \pm z \sqrt{f (1 - f) / n + z^2 / 4 n^2}}{1 + z^2 / n}

    A bin's frequency is a plain proportion, so no resampling is needed; and unlike a bootstrap's, these intervals have
    a width even where all rows of a bin were right.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.
        bins: Number of bins, at least 1.
        binning: `"width"` or `"mass"` (see `reliability_bins`).
        level: The share of intervals that is to hold the truth, between 0 and 1.

    Raises:
        ValueError: If the predictions or the settings are not as described.

    Example:
        >>> probs = torch.tensor([[0.9, 0.1]]).repeat(10, 1)
        >>> band = reliability_band(probs, torch.arange(10) // 9, bins=1)
        >>> [round(end.item(), 2) for end in (band.frequency, band.low, band.high)]
        [0.9, 0.6, 0.98]

    Reference:
        Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, like 0.95; got {level}")
    filled = reliability_bins(probs, target, bins=bins, binning=binning)
    n, z = filled.counts, NormalDist().inv_cdf((1.0 + level) / 2.0)
    frequency = filled.event_sums / n
    centre = (frequency + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * (frequency * (1 - frequency) / n + z**2 / (4 * n**2)).clamp(min=0.0).sqrt() / (1 + z**2 / n)
    return ReliabilityBand(frequency, centre - half, centre + half, level)


def expected_calibration_error(
    probs: Array, target: Array, *, bins: int = 15, binning: Binning = "width", norm: Norm = "l1"
) -> Tensor:
    r"""ECE: :math:`\sum_b \frac{n_b}{N} |\mathrm{acc}_b - \mathrm{conf}_b|` over bins of top-label confidence.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.
        bins: Number of bins, at least 1.
        binning: Equal `"width"`, bins (l, u] with 1 in the last; or equal `"mass"` (see `reliability_bins`).
        norm: `"l1"` the mean gap, `"l2"` its root mean square, `"max"` the largest gap of a bin (MCE).

    Returns:
        A float64 scalar in [0, 1]. Empty bins count for nothing.

    Raises:
        ValueError: If the predictions or the settings are not as described.

    Example:
        >>> probs = torch.tensor([[0.75, 0.25], [0.75, 0.25]], dtype=torch.float64)
        >>> expected_calibration_error(probs, torch.tensor([0, 0])).item()
        0.25

    Reference:
        Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    _check_settings(bins, binning, norm)
    return _fill(*top_label(*check_predictions(probs, target)), bins, binning).error(norm)


def classwise_calibration_error(
    probs: Array, target: Array, *, bins: int = 15, binning: Binning = "width", norm: Norm = "l1"
) -> Tensor:
    r"""The calibration error of each class's column over all rows, averaged over the classes.

    For class k every row is an event "the class is k" stated with probability :math:`p_k`. With many classes most
    probabilities are near 0, so the value shrinks like one over the number of classes.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1. Columns of absent classes count too.
        target: Class numbers, integers `(rows,)`.
        bins: Number of bins, at least 1.
        binning: Equal `"width"`, bins (l, u] with 0 in the first; or equal `"mass"`.
        norm: Within a class: `"l1"`, `"l2"` or `"max"`.

    Returns:
        A float64 scalar in [0, 1].

    Raises:
        ValueError: If the predictions or the settings are not as described.

    Example:
        >>> probs = torch.tensor([[0.75, 0.25], [0.75, 0.25]], dtype=torch.float64)
        >>> classwise_calibration_error(probs, torch.tensor([0, 0])).item()
        0.25

    Reference:
        Kull et al. 2019, arXiv 1910.12656, section 2.
    """
    _check_settings(bins, binning, norm)
    probs, target = check_predictions(probs, target)
    return calibration_error_of_classes(probs, target, bins, binning, norm).mean()


def calibration_error_of_classes(probs: Tensor, target: Tensor, bins: int, binning: Binning, norm: Norm) -> Tensor:
    """The calibration error of each class's column of checked predictions, `(classes,)`."""
    errors = [
        _fill(column, (target == k).to(torch.float64), bins, binning).error(norm)
        for k, column in enumerate(probs.T.contiguous())
    ]
    return torch.stack(errors)


def _fill(stated: Tensor, event: Tensor, bins: int, binning: Binning) -> ReliabilityBins:
    if binning == "width":
        index = equal_width_index(stated, bins)
    else:
        stated, event = averaged_over_ties(stated, event)
        index = torch.arange(len(stated), device=stated.device) * bins // len(stated)

    def total(value: Tensor) -> Tensor:
        return torch.zeros(bins, dtype=torch.float64, device=stated.device).index_add(0, index, value)

    return ReliabilityBins(total(torch.ones_like(stated)), total(stated), total(event))


def equal_width_index(stated: Tensor, bins: int) -> Tensor:
    """The bin (l, u] of each stated probability, 0 in the first."""
    inner_edges = torch.linspace(0.0, 1.0, bins + 1, dtype=torch.float64, device=stated.device)[1:-1]
    return torch.bucketize(stated, inner_edges)


def _check_settings(bins: int, binning: str, norm: str) -> None:
    check_binning(bins, binning)
    if norm not in get_args(Norm):
        raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}; got {norm!r}")


def check_binning(bins: int, binning: str) -> None:
    """ValueError if there is no such binning."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1; got {bins}")
    if binning not in get_args(Binning):
        raise ValueError(f"binning must be one of {', '.join(get_args(Binning))}; got {binning!r}")
