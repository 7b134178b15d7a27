"""Metrics as functions of row counts: the form in which a bootstrap asks for them a thousand times.

A resample is a vector that says how often each row was drawn. Where a metric is made of sums over rows, or over rows
sorted by confidence, its value on every resample follows from products with that vector, and no row is copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any, Literal

import torch
from torch import Tensor

from gence.metrics._predictions import top_label
from gence.metrics.accuracy import accuracy
from gence.metrics.calibration import (
    Binning,
    Norm,
    ReliabilityBins,
    classwise_calibration_error,
    equal_width_index,
    expected_calibration_error,
)
from gence.metrics.cumulative import ks_calibration_error
from gence.metrics.debiased import (
    DebiasedNorm,
    bins_with_two_rows,
    debiased_calibration_error,
    debiased_mean_gap,
    debiased_square,
    root,
)
from gence.metrics.proper import brier_of_rows, brier_score, negative_log_likelihood, nll_of_rows
from gence.metrics.selective import aurc
from gence.metrics.smooth import fixed_point, residual_spectrum, smooth_calibration_error

Metric = Callable[[Tensor, Tensor], Any]
OfCounts = Callable[[Tensor], Tensor]
"""Row counts, float64 `(resamples, rows)`, each line adding up to the rows -> values `(resamples,)`."""


@dataclass(frozen=True)
class Counted:
    """A metric of given rows as a function of row counts, and what a bootstrap has to know of it.

    Attributes:
        pivot: The metric before `finish`.
        bounds: What values the metric can take at all.
        finish: From the scale on which the metric has no bias to the metric, where the two differ.
        method: The interval that was measured to cover best.
    """

    pivot: OfCounts
    bounds: tuple[float, float] = (0.0, 1.0)
    finish: Callable[[Tensor], Tensor] | None = None
    method: Literal["basic", "centred"] = "basic"


def counted(metric: Metric, probs: Tensor, target: Tensor) -> Counted:
    """`metric` of checked predictions as a function of row counts: in closed form if there is one, else row by row."""
    function, knobs = (
        (metric.func, metric.keywords) if isinstance(metric, partial) and not metric.args else (metric, {})
    )
    form = _FORMS.get(function) if isinstance(function, FunctionType) else None
    if form is not None:
        return form(probs, target, **knobs)
    return Counted(partial(_row_by_row, metric, probs, target), (-torch.inf, torch.inf))


def _row_by_row(metric: Metric, probs: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    rows = torch.arange(len(target), device=target.device)
    values = []
    for line in counts:
        drawn = rows.repeat_interleave(line.long())
        values.append(torch.as_tensor(metric(probs[drawn], target[drawn]), dtype=torch.float64))
    return torch.stack(values)


def _accuracy(probs: Tensor, target: Tensor) -> Counted:
    return Counted(_mean(top_label(probs, target)[1]))


def _nll(probs: Tensor, target: Tensor) -> Counted:
    return Counted(_mean(nll_of_rows(probs, target)), (0.0, torch.inf))


def _brier(probs: Tensor, target: Tensor) -> Counted:
    return Counted(_mean(brier_of_rows(probs, target)), (0.0, 2.0))


def _mean(rows: Tensor) -> OfCounts:
    return lambda counts: counts @ rows / len(rows)


def _ece(probs: Tensor, target: Tensor, *, bins: int = 15, binning: Binning = "width", norm: Norm = "l1") -> Counted:
    fill = _bins(*top_label(probs, target), bins, binning)
    return Counted(lambda counts: fill(counts).error(norm))


def _debiased(
    probs: Tensor, target: Tensor, *, bins: int = 15, binning: Binning = "mass", norm: DebiasedNorm = "l2"
) -> Counted:
    stated, event = top_label(probs, target)
    fill = _width_bins(stated, event, bins) if binning == "width" else _tied_mass_bins(stated, event, bins)
    if norm == "l1":
        return Counted(lambda counts: debiased_mean_gap(fill(counts)))
    return Counted(lambda counts: debiased_square(fill(counts)), finish=root, method="centred")


def _classwise(
    probs: Tensor, target: Tensor, *, bins: int = 15, binning: Binning = "width", norm: Norm = "l1"
) -> Counted:
    columns = probs.T.contiguous()
    fills = [_bins(column, (target == k).to(torch.float64), bins, binning) for k, column in enumerate(columns)]
    return Counted(lambda counts: torch.stack([fill(counts).error(norm) for fill in fills]).mean(0))


def _bins(stated: Tensor, event: Tensor, bins: int, binning: Binning) -> Callable[[Tensor], ReliabilityBins]:
    """Reliability bins with a leading axis of resamples, from row counts."""
    return (_width_bins if binning == "width" else _mass_bins)(stated, event, bins)


def _width_bins(stated: Tensor, event: Tensor, bins: int) -> Callable[[Tensor], ReliabilityBins]:
    index = equal_width_index(stated, bins)

    def total(weight: Tensor) -> Tensor:
        return weight.new_zeros(len(weight), bins).index_add(1, index, weight)

    return lambda counts: ReliabilityBins(total(counts), total(counts * stated), total(counts * event))


def _mass_bins(stated: Tensor, event: Tensor, bins: int) -> Callable[[Tensor], ReliabilityBins]:
    """Equal mass: a bin ends at a rank, and up to a rank inside a group of equal scores the sums grow linearly."""
    accumulate, rows = _Cumulated(stated, descending=True), len(stated)
    ends = -(-torch.arange(bins + 1, dtype=torch.float64, device=stated.device) * rows // bins)

    def fill(counts: Tensor) -> ReliabilityBins:
        rank = accumulate(counts)
        after = torch.searchsorted(rank, ends.expand(len(counts), -1).contiguous()).clamp(min=1)
        start, stop = rank.gather(1, after - 1), rank.gather(1, after)
        share = (ends - start) / (stop - start).clamp(min=1.0)

        def total(value: Tensor) -> Tensor:
            cumulated = accumulate(counts * value)
            low = cumulated.gather(1, after - 1)
            return (low + share * (cumulated.gather(1, after) - low)).diff(dim=1)

        return ReliabilityBins(ends.diff().expand(len(counts), -1), total(stated), total(event))

    return fill


def _tied_mass_bins(stated: Tensor, event: Tensor, bins: int) -> Callable[[Tensor], ReliabilityBins]:
    """Equal mass with ties in one bin: a group of equal scores goes where its middle rank lies."""
    accumulate, rows = _Cumulated(stated, descending=True), len(stated)
    bins = bins_with_two_rows(rows, bins)

    def fill(counts: Tensor) -> ReliabilityBins:
        rank = accumulate(counts)
        middle = rank[:, :-1] + ((rank.diff(dim=1) - 1.0).clamp(min=0.0) / 2.0).floor()
        index = torch.div(middle * bins, rows, rounding_mode="floor").long().clamp(max=bins - 1)

        def total(value: Tensor) -> Tensor:
            return value.new_zeros(len(counts), bins).scatter_add(1, index, accumulate(value).diff(dim=1))

        return ReliabilityBins(total(counts), total(counts * stated), total(counts * event))

    return fill


def _aurc(probs: Tensor, target: Tensor) -> Counted:
    confidence, correct = top_label(probs, target)
    accumulate, rows = _Cumulated(confidence, descending=True), len(correct)
    harmonic = torch.zeros(rows + 1, dtype=torch.float64, device=correct.device)
    harmonic[1:] = (1.0 / torch.arange(1, rows + 1, dtype=torch.float64, device=correct.device)).cumsum(0)

    def area(counts: Tensor) -> Tensor:
        # Errors grow linearly with the rank i inside a group of equal confidence: (e + m (i - r)) / i, summed over i.
        rank, error = accumulate(counts), accumulate(counts * (1.0 - correct))
        size = rank.diff(dim=1)
        slope = error.diff(dim=1) / size.clamp(min=1.0)
        over_rank = harmonic[rank.long()].diff(dim=1)
        return ((error[:, :-1] - slope * rank[:, :-1]) * over_rank + slope * size).sum(1) / rows

    return Counted(area)


def _ks(probs: Tensor, target: Tensor) -> Counted:
    confidence, correct = top_label(probs, target)
    accumulate = _Cumulated(confidence, descending=False)
    return Counted(lambda counts: accumulate(counts * (confidence - correct)).abs().amax(1) / len(correct))


def _smooth(probs: Tensor, target: Tensor) -> Counted:
    confidence, correct = top_label(probs, target)
    residual = (confidence - correct) / len(correct)

    def value(counts: Tensor) -> Tensor:
        # One spectrum is as long as 16,000 rows, so a few resamples at a time.
        return torch.cat([fixed_point(residual_spectrum(confidence, some * residual)) for some in counts.split(64)])

    return Counted(value)


class _Cumulated:
    """Sums of row values up to each distinct score, in the order of the scores, with a 0 in front."""

    def __init__(self, score: Tensor, *, descending: bool) -> None:
        ordered, self.order = score.sort(descending=descending)
        changes = torch.ones_like(ordered, dtype=torch.bool)
        changes[:-1] = ordered[1:] != ordered[:-1]
        self.last = None if bool(changes.all()) else changes.nonzero().squeeze(1)

    def __call__(self, values: Tensor) -> Tensor:
        sums = values.new_zeros(len(values), len(self.order) + 1)
        torch.cumsum(values.index_select(1, self.order), 1, out=sums[:, 1:])
        return sums if self.last is None else torch.cat([sums[:, :1], sums[:, 1:].index_select(1, self.last)], 1)


_FORMS: dict[Callable[..., Any], Callable[..., Counted]] = {
    accuracy: _accuracy,
    negative_log_likelihood: _nll,
    brier_score: _brier,
    expected_calibration_error: _ece,
    classwise_calibration_error: _classwise,
    debiased_calibration_error: _debiased,
    ks_calibration_error: _ks,
    smooth_calibration_error: _smooth,
    aurc: _aurc,
}
