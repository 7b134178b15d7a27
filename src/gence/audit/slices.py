"""The worst-calibrated slices: where confidence and accuracy part, as far as that is no chance among many slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gence.audit.intervals import share_interval
from gence.audit.records import Estimate, Slice, SliceSearch

CONFIDENCE_RANGES = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.99), (0.99, 1.0))
"""Ranges (low, high] of confidence, finer where confidences crowd."""

LEAST_ROWS = 30
_LISTED = 20


def worst_slices(
    confidence: np.ndarray,
    predicted: np.ndarray,
    correct: np.ndarray,
    class_names: Sequence[str],
    *,
    level: float = 0.95,
) -> SliceSearch:
    r"""Search the slices by predicted class, by range of confidence, and by both.

    Within a slice of n rows with mean confidence c and accuracy a, the gap is c - a. Its standard error under honest
    probabilities is :math:`\sqrt{\sum_i c_i (1 - c_i)} / n`, and z is the gap over that. The interval of the gap is
    c minus Clopper and Pearson's interval of a at level 1 - (1 - level) / m for m slices (Bonferroni), so that with
    probability `level` all of them hold at once. Slices are ordered by how far that interval stays from zero: a large
    gap of few rows does not lead.

    There are no slices by true class: among the rows of a class even honest probabilities are wrong in a way (what
    is looked at is then chosen by the outcome), so a gap there shows nothing.

    Args:
        confidence: Top confidences, `(rows,)`.
        predicted: Predicted class numbers, `(rows,)`.
        correct: Whether the predicted class was right, `(rows,)`, 1.0 or 0.0.
        class_names: One name a class.
        level: How often no interval of them all misses.
    """
    classes, ranges = len(class_names), len(CONFIDENCE_RANGES)
    place = np.searchsorted([high for _, high in CONFIDENCE_RANGES[:-1]], confidence)

    def total(values: np.ndarray) -> np.ndarray:
        """Sums of values over every slice: a table (classes, ranges), then its two margins."""
        table = np.bincount(predicted * ranges + place, values, classes * ranges).reshape(classes, ranges)
        return np.concatenate([table.ravel(), table.sum(1), table.sum(0)])

    rows, stated, right = total(np.ones_like(confidence)), total(confidence), total(correct)
    variance = total(confidence * (1.0 - confidence))
    keys = [
        *((name, span) for name in class_names for span in CONFIDENCE_RANGES),
        *((name, None) for name in class_names),
        *((None, span) for span in CONFIDENCE_RANGES),
    ]
    cells, by_class = rows[: classes * ranges].reshape(classes, ranges), rows[classes * ranges : -ranges]
    # A class with all its rows in one range, or the other way round, is one slice and not two.
    same = ((cells == by_class[:, None]) | (cells == rows[-ranges:])).ravel()
    rows[: classes * ranges][same] = 0
    chosen = np.flatnonzero(rows >= LEAST_ROWS)
    low, high = share_interval(right[chosen], rows[chosen], level=1.0 - (1.0 - level) / max(len(chosen), 1))
    found: list[Slice] = []
    for i, least, most in zip(chosen, low, high, strict=True):
        mean, accuracy = float(stated[i] / rows[i]), float(right[i] / rows[i])
        deviation = math.sqrt(max(float(variance[i]), 0.0))
        found.append(
            Slice(
                predicted=keys[i][0],
                confidence_range=keys[i][1],
                rows=int(rows[i]),
                confidence=mean,
                accuracy=accuracy,
                gap=Estimate(mean - accuracy, mean - float(most), mean - float(least)),
                z=float(stated[i] - right[i]) / deviation if deviation > 0 else None,
            )
        )
    found.sort(key=lambda one: (-one.certain_gap, -abs(one.z or 0.0)))
    return SliceSearch(
        looked_at=len(found),
        too_small=int(((rows > 0) & (rows < LEAST_ROWS)).sum()),
        least_rows=LEAST_ROWS,
        beyond_chance=sum(one.certain_gap > 0 for one in found),
        worst=tuple(found[:_LISTED]),
    )
