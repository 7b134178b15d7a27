"""What a trial measures on rows whose classes are known: metrics, reliability bins, and sums class by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gence import metrics
from gence.bench.records import METRICS, PerClass, Reliability

_MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "nll": metrics.negative_log_likelihood,
    "brier": metrics.brier_score,
    "ece": metrics.expected_calibration_error,
    "ece_mass": lambda probs, target: metrics.expected_calibration_error(probs, target, binning="mass"),
    "classwise_ece": metrics.classwise_calibration_error,
    "smooth_ece": metrics.smooth_calibration_error,
    "aurc": metrics.aurc,
}


def measure(logits: Tensor, target: Tensor, names: Sequence[str] = METRICS) -> dict[str, float]:
    """The metrics called `names`, in that order, of logits `(rows, classes)` and class numbers `(rows,)`."""
    probs = logits.to(torch.float64).softmax(1)
    return {name: _MEASURES[name](probs, target).item() for name in names}


def reliability(logits: Tensor, target: Tensor) -> Reliability:
    """The bins of a reliability diagram of logits `(rows, classes)`."""
    bins = metrics.reliability_bins(logits.to(torch.float64).softmax(1), target)
    return Reliability(
        counts=tuple(int(n) for n in bins.counts.tolist()),
        confidence_sums=tuple(bins.confidence_sums.tolist()),
        correct_counts=tuple(round(n) for n in bins.event_sums.tolist()),
    )


def per_class(logits: Tensor, target: Tensor) -> PerClass:
    """The sums over the rows of each class that groups of classes are pooled from, of logits `(rows, classes)`."""
    log_probs = logits.to(torch.float64).log_softmax(1)
    confidence, predicted = log_probs.exp().max(1)
    nll = -log_probs.gather(1, target[:, None]).squeeze(1)
    classes = logits.shape[1]

    def total(values: Tensor) -> tuple[float, ...]:
        return tuple(torch.zeros(classes, dtype=torch.float64).index_add_(0, target, values).tolist())

    def count(numbers: Tensor) -> tuple[int, ...]:
        return tuple(numbers.bincount(minlength=classes).tolist())

    return PerClass(
        rows=count(target),
        correct=count(target[predicted == target]),
        nll=total(nll),
        confidence=total(confidence),
        predicted=count(predicted),
    )
