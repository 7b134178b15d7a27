"""Metrics of predicted probabilities: functions of (probs, target) over all rows at once, in float64."""

from gence.metrics.accuracy import accuracy
from gence.metrics.calibration import (
    ReliabilityBins,
    classwise_calibration_error,
    expected_calibration_error,
    reliability_bins,
)
from gence.metrics.proper import brier_score, negative_log_likelihood
from gence.metrics.selective import aurc
from gence.metrics.smooth import smooth_calibration_error

__all__ = [
    "ReliabilityBins",
    "accuracy",
    "aurc",
    "brier_score",
    "classwise_calibration_error",
    "expected_calibration_error",
    "negative_log_likelihood",
    "reliability_bins",
    "smooth_calibration_error",
]
