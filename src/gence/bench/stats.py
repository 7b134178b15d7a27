"""From records to what a report may say: means over seeds with intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import stdtrit

from gence.bench.records import (
    METRICS,
    Answer,
    Difference,
    Estimate,
    Reliability,
    Setting,
    Study,
    Summary,
    SummaryRow,
    TrialRecord,
)

LEVEL = 0.95
_BASELINE = ("ce", "none")
_ANSWER_METRICS = ("nll", "accuracy", "ece")

_Combination = tuple[str, str]
_BySeed = dict[int, TrialRecord]


def summarize(study: Study) -> Summary:
    """Every loss with every calibrator at every setting, and the answer at every setting.

    The best combination is the one with the lowest mean test negative log-likelihood over the seeds that all losses
    have finished at that setting.
    """
    settings = sorted({record.cell.setting for record in study.records}, key=lambda setting: setting.rank)
    rows: list[SummaryRow] = []
    answers: list[Answer] = []
    for setting in settings:
        records = [record for record in study.records if record.cell.setting == setting]
        rows += _rows(records)
        answers.append(_answer(setting, records))
    return Summary(tuple(rows), tuple(answers))


def estimate(values: Sequence[float], *, comparisons: int = 1) -> Estimate:
    """Mean and Student's t interval at 95 %, widened so that `comparisons` of them hold at once (Bonferroni)."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Estimate(mean, None, None, n)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    quantile = float(stdtrit(n - 1, 1 - (1 - LEVEL) / (2 * comparisons)))
    half = quantile * spread / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def paired_difference(
    metric: str, first: _Combination, second: _Combination, records: dict[str, _BySeed], *, comparisons: int = 1
) -> Difference:
    """`metric` of `first` minus that of `second`, seed by seed.

    Args:
        metric: One of `METRICS`.
        first: (loss, calibrator).
        second: (loss, calibrator).
        records: Loss -> seed -> record; both losses must have the same seeds.
        comparisons: How many combinations `first` was picked from, besides itself.
    """
    differences = [
        records[first[0]][seed].results[first[1]].metrics[metric]
        - records[second[0]][seed].results[second[1]].metrics[metric]
        for seed in sorted(records[first[0]])
    ]
    found = estimate(differences, comparisons=comparisons)
    excludes = None if found.low is None or found.high is None else not found.low <= 0.0 <= found.high
    return Difference(metric, first, second, found, comparisons, excludes)


def _rows(records: Sequence[TrialRecord]) -> list[SummaryRow]:
    """Every loss with every calibrator, the lowest mean NLL first."""
    rows = []
    for loss, by_seed in _by_loss(records).items():
        group = list(by_seed.values())
        for calibrator in group[0].results:
            results = [record.results[calibrator] for record in group]
            cell = group[0].cell
            rows.append(
                SummaryRow(
                    data=cell.data,
                    model=cell.model,
                    loss=loss,
                    calibrator=calibrator,
                    setting=cell.setting,
                    seeds=len(group),
                    metrics={name: estimate([result.metrics[name] for result in results]) for name in METRICS},
                    seconds=estimate([record.seconds["train"] for record in group]),
                    reliability=_pool([result.reliability for result in results]),
                )
            )
    return sorted(rows, key=lambda row: row.metrics["nll"].mean)


def _answer(setting: Setting, records: Sequence[TrialRecord]) -> Answer:
    """The winner over the seeds that all losses share; with no such seed, over all seeds and without differences."""
    common = _on_common_seeds(records)
    shared = [record for by_seed in common.values() for record in by_seed.values()]
    rows = _rows(shared or records)
    best = rows[0]
    winner = (best.loss, best.calibrator)
    baseline = next((row for row in rows if (row.loss, row.calibrator) == _BASELINE), None)
    rival = next((row for row in rows if row.loss != best.loss), None)

    def against(other: SummaryRow | None) -> tuple[Difference, ...]:
        if other is None or other is best or not shared:
            return ()
        pair = (other.loss, other.calibrator)
        return tuple(paired_difference(m, winner, pair, common, comparisons=len(rows) - 1) for m in _ANSWER_METRICS)

    return Answer(setting, tuple(rows), against(baseline), against(rival))


def _on_common_seeds(records: Sequence[TrialRecord]) -> dict[str, _BySeed]:
    by_loss = _by_loss(records)
    common = set.intersection(*(set(by_seed) for by_seed in by_loss.values()))
    return {loss: {seed: by_seed[seed] for seed in sorted(common)} for loss, by_seed in by_loss.items()}


def _by_loss(records: Sequence[TrialRecord]) -> dict[str, _BySeed]:
    by_loss: dict[str, _BySeed] = {}
    for record in records:
        by_loss.setdefault(record.cell.loss, {})[record.cell.seed] = record
    return by_loss


def _pool(parts: Sequence[Reliability]) -> Reliability:
    return Reliability(
        counts=tuple(map(sum, zip(*(part.counts for part in parts), strict=True))),
        confidence_sums=tuple(map(math.fsum, zip(*(part.confidence_sums for part in parts), strict=True))),
        correct_counts=tuple(map(sum, zip(*(part.correct_counts for part in parts), strict=True))),
    )
