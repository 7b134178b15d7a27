"""Selective prediction: how often the most confident rows are right, over how many of them are kept."""

from __future__ import annotations

import math

import numpy as np
import torch

from gence.audit.intervals import share_interval
from gence.audit.records import Coverage, CoveragePoint, Estimate
from gence.metrics._predictions import averaged_over_ties

SHOWN = (0.5, 0.8, 0.9, 0.95, 1.0)
_CURVE_POINTS = 200


def coverage_of(confidence: np.ndarray, correct: np.ndarray) -> Coverage:
    """Accuracy of the most confident rows, for every share of the rows that is kept.

    Rows of equal confidence share their mean correctness, so the order of storage does not matter.

    Args:
        confidence: Top confidences, `(rows,)`.
        correct: Whether the predicted class was right, `(rows,)`, 1.0 or 0.0.
    """
    ordered, shared = averaged_over_ties(torch.from_numpy(confidence), torch.from_numpy(correct))
    rows = len(ordered)
    hits = shared.cumsum(0).numpy()
    kept = np.unique(np.linspace(1, rows, min(rows, _CURVE_POINTS)).round().astype(np.int64))
    points: list[CoveragePoint] = []
    for coverage in SHOWN:
        # 0.95 of 20 rows are 19, though the floating-point product lies a little above.
        count = max(1, math.ceil(coverage * rows - 1e-9))
        right = min(float(hits[count - 1]), float(count))
        low, high = share_interval(right, count)
        estimate = Estimate(right / count, float(low), float(high))
        points.append(CoveragePoint(coverage, count, float(ordered[count - 1]), estimate))
    curve = tuple((float(n / rows), float(min(hits[n - 1] / n, 1.0))) for n in kept)
    return Coverage(curve, tuple(points))
