"""From records to a summary: the rows, the answer at every setting, and what the tests, ranks and groups say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gence.bench.records import METRICS, Answer, Difference, Reliability, Setting, Study, Summary, SummaryRow
from gence.bench.stats.contrasts import contrasts
from gence.bench.stats.grid import BASELINE, ByLoss, BySeed, Combination, by_setting, combinations, scores
from gence.bench.stats.groups import group_rows
from gence.bench.stats.intervals import estimate
from gence.bench.stats.shifts import ood_rows, shift_rows
from gence.bench.stats.standings import standings

_PLAIN = (BASELINE, "none")
_ANSWER_METRICS = ("nll", "accuracy", "ece")


def summarize(study: Study) -> Summary:
    """Every loss with every calibrator at every setting, the answer at every setting, and what holds over settings.

    The best combination is the one with the lowest mean test negative log-likelihood over the seeds that all losses
    have finished at that setting. Tests and contrasts use the seeds that the two losses they compare have both
    finished.
    """
    grid = by_setting(study.records)
    found = tuple(combinations(grid))
    by_place: dict[Setting, list[Combination]] = {}
    for one in found:
        by_place.setdefault(one.setting, []).append(one)
    rows: list[SummaryRow] = []
    answers: list[Answer] = []
    for setting, by_loss in grid.items():
        here = _rows(by_place[setting])
        rows += here
        answers.append(_answer(setting, by_loss, here))
    scored = scores(grid)
    contrasted = contrasts(scored)
    return Summary(
        rows=tuple(rows),
        answers=tuple(answers),
        contrasts=contrasted,
        standings=standings(scored, contrasted),
        groups=group_rows(found),
        shifts=shift_rows(found),
        ood=ood_rows(found),
    )


def paired_difference(
    metric: str, first: tuple[str, str], second: tuple[str, str], records: ByLoss, *, comparisons: int = 1
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


def _rows(found: Sequence[Combination]) -> list[SummaryRow]:
    """A row each, the lowest mean NLL first."""
    rows = [
        SummaryRow(
            data=one.setting.data,
            model=one.setting.model,
            loss=one.loss,
            calibrator=one.calibrator,
            setting=one.setting,
            seeds=len(one.records),
            metrics={name: estimate([result.metrics[name] for result in one.results]) for name in METRICS},
            seconds=estimate([record.seconds["train"] for record in one.records]),
            reliability=_pool([result.reliability for result in one.results]),
        )
        for one in found
    ]
    return sorted(rows, key=lambda row: row.metrics["nll"].mean)


def _answer(setting: Setting, by_loss: ByLoss, all_rows: list[SummaryRow]) -> Answer:
    """The winner over the seeds that all losses share; with no such seed, over all seeds and without differences.

    A seed is shared where every loss has it under every calibrator that the loss has anywhere at this setting.
    """
    common, whole = _on_common_seeds(by_loss)
    rows = all_rows if whole or not common else _rows(list(combinations({setting: common})))
    best = rows[0]
    winner = (best.loss, best.calibrator)
    baseline = next((row for row in rows if (row.loss, row.calibrator) == _PLAIN), None)
    rival = next((row for row in rows if row.loss != best.loss), None)

    def against(other: SummaryRow | None) -> tuple[Difference, ...]:
        if other is None or other is best or not common:
            return ()
        pair = (other.loss, other.calibrator)
        return tuple(paired_difference(m, winner, pair, common, comparisons=len(rows) - 1) for m in _ANSWER_METRICS)

    return Answer(setting, tuple(rows), against(baseline), against(rival))


def _on_common_seeds(by_loss: ByLoss) -> tuple[ByLoss, bool]:
    """The records of the seeds that all losses share, none if there are none; and whether these are all records."""
    complete = {loss: _complete(by_seed) for loss, by_seed in by_loss.items()}
    common = sorted(set.intersection(*(set(by_seed) for by_seed in complete.values())))
    if not common:
        return {}, False
    whole = all(len(by_seed) == len(common) for by_seed in by_loss.values())
    return {loss: {seed: by_seed[seed] for seed in common} for loss, by_seed in complete.items()}, whole


def _complete(by_seed: BySeed) -> BySeed:
    """The seeds that have every calibrator which any seed has."""
    names = {name for record in by_seed.values() for name in record.results}
    return {seed: record for seed, record in by_seed.items() if names == set(record.results)}


def _pool(parts: Sequence[Reliability]) -> Reliability:
    return Reliability(
        counts=tuple(map(sum, zip(*(part.counts for part in parts), strict=True))),
        confidence_sums=tuple(map(math.fsum, zip(*(part.confidence_sums for part in parts), strict=True))),
        correct_counts=tuple(map(sum, zip(*(part.correct_counts for part in parts), strict=True))),
    )
