"""What is measured: every metric with its interval, the bins of the reliability diagrams, and the classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gence import metrics
from gence.audit.intervals import mean_estimate, share_interval
from gence.audit.records import METRICS, Bin, ClassRow, Estimate
from gence.metrics._predictions import averaged_over_ties, top_label
from gence.metrics.calibration import Binning, calibration_error_of_classes

LEAST_ROWS = 20
"""With fewer rows no resampled interval is given: it would be far too narrow."""

MOST_RESAMPLED = 100_000
_LEAST_EVENTS = 5
_MOST_CELLS = 200_000_000  # rows x classes x resamples of the one metric that resamples every column


def measure(
    probs: Tensor, target: Tensor, *, bins: int, resamples: int, level: float, seed: int
) -> dict[str, Estimate]:
    """Every metric of an audit with its interval.

    The accuracy has Clopper and Pearson's interval, the mean confidence minus the accuracy Student's, all others the
    bootstrap's over rows. With fewer than 5 rows right, or wrong, the rows do not show how much their number varies;
    the interval of the accuracy then gives that of its difference to the confidence as well.
    """
    confidence, correct = (values.numpy() for values in top_label(probs, target))
    rows, right = len(confidence), float(correct.sum())
    low, high = (float(end) for end in share_interval(right, rows, level=level))
    gap = mean_estimate(confidence - correct, level=level)
    if min(right, rows - right) < _LEAST_EVENTS:
        gap = Estimate(gap.value, float(confidence.mean()) - high, float(confidence.mean()) - low)
    known = {"accuracy": Estimate(right / rows, low, high), "confidence_gap": gap}
    functions = _resampled(bins)
    cells = min(rows, MOST_RESAMPLED) * probs.shape[1] * resamples
    without = set(functions) if rows < LEAST_ROWS else {"classwise_ece"} if cells > _MOST_CELLS else set[str]()
    with_interval = {name: function for name, function in functions.items() if name not in without}
    known |= resampled_estimates(with_interval, probs, target, resamples=resamples, level=level, seed=seed)
    known |= {name: Estimate(float(functions[name](probs, target)), None, None) for name in without}
    return {name: known[name] for name in METRICS}


def resampled_estimates(
    functions: Mapping[str, Any],
    probs: Tensor,
    target: Tensor,
    *,
    resamples: int,
    level: float,
    seed: int,
    most_rows: int = MOST_RESAMPLED,
) -> dict[str, Estimate]:
    r"""Metrics with bootstrap intervals, which are made of part of the rows if there are very many.

    Of more than `most_rows` rows n, that many, m, are drawn and resampled; the distances of the ends from the value
    are then shortened by :math:`\sqrt{m / n}`, as all these metrics vary.

    Reference:
        Bickel, Götze and van Zwet 1997, Resampling fewer than n observations, section 2.
    """
    if not functions:
        return {}
    rows = len(target)
    kept = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:most_rows]
    # Sorted by confidence, rows that share a bin lie side by side in memory, which halves the time.
    kept = kept[probs[kept].amax(1).argsort(stable=True)]
    intervals = metrics.bootstrap_intervals(
        functions, probs[kept], target[kept], resamples=resamples, level=level, seed=seed
    )
    if len(kept) == rows:
        return {name: Estimate(one.value, one.low, one.high) for name, one in intervals.items()}
    shorter = math.sqrt(len(kept) / rows)
    found: dict[str, Estimate] = {}
    for name, one in intervals.items():
        value = float(functions[name](probs, target))
        found[name] = Estimate(value, value + shorter * (one.low - one.value), value + shorter * (one.high - one.value))
    return found


def _resampled(bins: int) -> dict[str, Any]:
    ece = metrics.expected_calibration_error
    debiased = metrics.debiased_calibration_error
    return {
        "ece": partial(ece, bins=bins),
        "ece_mass": partial(ece, bins=bins, binning="mass"),
        "mce": partial(ece, bins=bins, norm="max"),
        "debiased_ece": partial(debiased, bins=bins, norm="l2"),
        "debiased_ece_l1": partial(debiased, bins=bins, norm="l1"),
        "smooth_ece": metrics.smooth_calibration_error,
        "classwise_ece": partial(metrics.classwise_calibration_error, bins=bins),
        "nll": metrics.negative_log_likelihood,
        "brier": metrics.brier_score,
        "aurc": metrics.aurc,
    }


def bins_with_rows(probs: Tensor, target: Tensor, *, bins: int, binning: Binning) -> tuple[Bin, ...]:
    """The bins of a reliability diagram that hold rows, the accuracy of each with Clopper and Pearson's interval.

    A bin of equal mass reaches from its least to its highest confidence.
    """
    sums = metrics.reliability_bins(probs, target, bins=bins, binning=binning)
    counts, stated, right = (part.numpy() for part in (sums.counts, sums.confidence_sums, sums.event_sums))
    if binning == "width":
        edges = np.linspace(0.0, 1.0, bins + 1)
        starts, ends = edges[:-1], edges[1:]
    else:
        ordered = averaged_over_ties(*top_label(probs, target))[0].numpy()
        last = counts.cumsum().astype(np.int64)
        # Sorted from the highest confidence, so a bin's first row has its end.
        ends, starts = ordered[np.minimum(last - counts.astype(np.int64), len(ordered) - 1)], ordered[last - 1]
    held = np.flatnonzero(counts)[:: 1 if binning == "width" else -1]
    right = np.minimum(right, counts)
    low, high = share_interval(right, np.maximum(counts, 1))
    return tuple(
        Bin(
            start=float(starts[b]),
            end=float(ends[b]),
            rows=int(counts[b]),
            confidence=float(stated[b] / counts[b]),
            accuracy=Estimate(float(right[b] / counts[b]), float(low[b]), float(high[b])),
        )
        for b in held
    )


def class_rows(probs: Tensor, target: Tensor, names: Sequence[str], *, bins: int) -> tuple[ClassRow, ...]:
    """Every class with what can be said of it."""
    found = metrics.per_class(probs, target)
    top, guess = probs.max(1)
    confidence = torch.zeros_like(found.predicted).index_add(0, guess, top) / found.predicted
    errors = calibration_error_of_classes(probs, target, bins, "width", "l1")
    return tuple(
        ClassRow(
            name=name,
            rows=int(found.rows[k]),
            predicted=int(found.predicted[k]),
            recall=_known(found.recall[k]),
            precision=_known(found.precision[k]),
            confidence=_known(confidence[k]),
            probability=float(found.mean_probability[k]),
            frequency=float(found.frequency[k]),
            ece=float(errors[k]),
        )
        for k, name in enumerate(names)
    )


def _known(value: Tensor) -> float | None:
    number = float(value)
    return None if math.isnan(number) else number
