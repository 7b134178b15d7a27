"""Metrics of predicted probabilities: functions of (probs, target) over all rows at once, in float64.

Those called `ood_*` are functions of the scores of two sets of rows, (id_scores, ood_scores).
"""

from gence.metrics.accuracy import accuracy, balanced_accuracy
from gence.metrics.bootstrap import Interval, bootstrap_difference, bootstrap_interval, bootstrap_intervals
from gence.metrics.breakdown import ClassBreakdown, by_group, per_class, shot_groups
from gence.metrics.calibration import (
    ReliabilityBand,
    ReliabilityBins,
    classwise_calibration_error,
    expected_calibration_error,
    reliability_band,
    reliability_bins,
)
from gence.metrics.cumulative import ks_calibration_error
from gence.metrics.debiased import debiased_calibration_error
from gence.metrics.ood import ood_aupr, ood_auroc, ood_fpr95
from gence.metrics.proper import brier_score, negative_log_likelihood
from gence.metrics.selective import aurc
from gence.metrics.smooth import smooth_calibration_error

__all__ = [
    "ClassBreakdown",
    "Interval",
    "ReliabilityBand",
    "ReliabilityBins",
    "accuracy",
    "aurc",
    "balanced_accuracy",
    "bootstrap_difference",
    "bootstrap_interval",
    "bootstrap_intervals",
    "brier_score",
    "by_group",
    "classwise_calibration_error",
    "debiased_calibration_error",
    "expected_calibration_error",
    "ks_calibration_error",
    "negative_log_likelihood",
    "ood_aupr",
    "ood_auroc",
    "ood_fpr95",
    "per_class",
    "reliability_band",
    "reliability_bins",
    "shot_groups",
    "smooth_calibration_error",
]
