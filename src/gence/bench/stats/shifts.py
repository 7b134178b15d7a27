"""Means over seeds of what was measured under shift, and out of the distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gence.bench.records import SHIFT_METRICS, CalibratorResult, OODRow, ShiftRow
from gence.bench.stats.grid import Combination
from gence.bench.stats.intervals import estimate


def shift_rows(found: Sequence[Combination]) -> tuple[ShiftRow, ...]:
    """One row a severity: each seed's mean over the shifts of its suite, then the mean over the seeds."""
    rows = []
    for one in found:
        for severity in sorted({shifted.severity for result in one.results for shifted in result.shifted}):
            seeds = [means for result in one.results if (means := _means_over_shifts(result, severity))]
            metrics = {name: estimate([means[name] for means in seeds]) for name in SHIFT_METRICS}
            rows.append(ShiftRow(one.loss, one.calibrator, one.setting, severity, metrics))
    return tuple(rows)


def _means_over_shifts(result: CalibratorResult, severity: int) -> dict[str, float]:
    """By metric; empty where the result has no shift of that severity."""
    found = [shifted.metrics for shifted in result.shifted if shifted.severity == severity]
    return {name: math.fsum(one[name] for one in found) / len(found) for name in SHIFT_METRICS} if found else {}


def ood_rows(found: Sequence[Combination]) -> tuple[OODRow, ...]:
    """One row a set and score, each measure's mean over the seeds that have it."""
    rows = []
    for one in found:
        places = dict.fromkeys(
            (name, score) for result in one.results for name in result.ood for score in result.ood[name]
        )
        for name, score in places:
            seeds = [result.ood[name][score] for result in one.results if score in result.ood.get(name, {})]
            measures = {measure: estimate([seed[measure] for seed in seeds]) for measure in seeds[0]}
            rows.append(OODRow(one.loss, one.calibrator, one.setting, name, score, measures))
    return tuple(rows)
