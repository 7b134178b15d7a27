"""The records of a study by where they stand: setting, loss, seed; and as arrays, one a setting and calibrator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gence.bench.records import CONTRASTED, CalibratorResult, Setting, TrialRecord

BASELINE = "ce"
"""The loss that the others are held against: cross-entropy, written plainly."""

BySeed = dict[int, TrialRecord]
ByLoss = dict[str, BySeed]


def by_setting(records: Iterable[TrialRecord]) -> dict[Setting, ByLoss]:
    """Setting -> loss -> seed -> record.

    Data, regime and model stand in the order of their first appearance, budgets and batch sizes within in their own.
    Two records of one cell, as joined studies may have them, become one with the calibrators of both; what both have
    is taken from the later one.
    """
    found: dict[Setting, ByLoss] = {}
    for record in records:
        by_seed = found.setdefault(record.cell.setting, {}).setdefault(record.cell.loss, {})
        earlier = by_seed.get(record.cell.seed)
        if earlier is not None:
            record = record.model_copy(update={"results": {**earlier.results, **record.results}})
        by_seed[record.cell.seed] = record
    places: dict[tuple[str, str, str], int] = {}
    for setting in found:
        places.setdefault(_place(setting), len(places))
    return {setting: found[setting] for setting in sorted(found, key=lambda one: (places[_place(one)], one.rank))}


def _place(setting: Setting) -> tuple[str, str, str]:
    return setting.data, setting.regime, setting.model


def calibrators_of(records: Iterable[TrialRecord]) -> tuple[str, ...]:
    """Every calibrator that any of the records has, by first appearance."""
    return tuple(dict.fromkeys(name for record in records for name in record.results))


@dataclass(frozen=True)
class Combination:
    """A loss with a calibrator at a setting: its records and results, in the order of the seeds."""

    setting: Setting
    loss: str
    calibrator: str
    records: tuple[TrialRecord, ...]
    results: tuple[CalibratorResult, ...]


def combinations(grid: dict[Setting, ByLoss]) -> Iterator[Combination]:
    """Every loss with every calibrator that any of its records has, at every setting."""
    for setting, by_loss in grid.items():
        for loss, by_seed in by_loss.items():
            for calibrator in calibrators_of(by_seed.values()):
                records = tuple(by_seed[seed] for seed in sorted(by_seed) if calibrator in by_seed[seed].results)
                yield Combination(setting, loss, calibrator, records, tuple(r.results[calibrator] for r in records))


@dataclass(frozen=True)
class Scores:
    """What the losses scored at one setting under one calibrator.

    Attributes:
        values: `CONTRASTED` metrics by losses by seeds; NaN where a loss has no record of a seed.
        overlap: The share of its test rows that a seed expects to find in another seed's test.
    """

    setting: Setting
    calibrator: str
    losses: tuple[str, ...]
    values: np.ndarray
    overlap: float

    def differences(self, first: str, second: str) -> np.ndarray:
        """Metrics by seeds: those of `first` minus those of `second`, at the seeds that both have."""
        apart = self.values[:, self.losses.index(first)] - self.values[:, self.losses.index(second)]
        return apart[:, ~np.isnan(apart[0])]

    def means(self, losses: Sequence[str]) -> np.ndarray:
        """Metrics by losses: means over the seeds that all of them have; each over its own seeds if there is none."""
        values = self.values[:, [self.losses.index(loss) for loss in losses]]
        shared = ~np.isnan(values[0]).any(axis=0)
        return values[:, :, shared].mean(axis=2) if shared.any() else np.nanmean(values, axis=2)


def scores(grid: dict[Setting, ByLoss]) -> list[Scores]:
    """The scores at every setting under every calibrator."""
    found = []
    for setting, by_loss in grid.items():
        records = [record for by_seed in by_loss.values() for record in by_seed.values()]
        seeds = {seed: place for place, seed in enumerate(sorted({record.cell.seed for record in records}))}
        overlap = overlap_of_tests(records)
        for calibrator in calibrators_of(records):
            losses = tuple(
                loss for loss, own in by_loss.items() if any(calibrator in record.results for record in own.values())
            )
            values = np.full((len(CONTRASTED), len(losses), len(seeds)), np.nan)
            for row, loss in enumerate(losses):
                for seed, record in by_loss[loss].items():
                    if calibrator in record.results:
                        metrics = record.results[calibrator].metrics
                        values[:, row, seeds[seed]] = [metrics[name] for name in CONTRASTED]
            found.append(Scores(setting, calibrator, losses, values, overlap))
    return found


def overlap_of_tests(records: Sequence[TrialRecord]) -> float:
    """The share of a trial's test rows that the test of another seed is expected to hold too, at one setting.

    Test rows drawn anew by every seed from one pool share n_test / n_pool of them. `data["pool"]` has n_pool, the rows
    that training and test rows are drawn from; in a record without it they are the rows that were used, which is the
    same where all labels are used. It is 0 where the source has its own test split or one was held out for all seeds,
    as for a tuning that serves them all: the seeds' test rows do not vary.
    """
    split_by = {record.data.get("test_seed") for record in records}
    one_for_all = len(split_by) == 1 and None not in split_by and len({record.cell.seed for record in records}) > 1
    return 0.0 if one_for_all else max(map(_share_of_pool, records))


def _share_of_pool(record: TrialRecord) -> float:
    rows = record.data.get("rows", {})
    pool = record.data.get("pool", sum(rows.values()))
    if record.data.get("test_split", "drawn") == "own" or not pool:
        return 0.0
    return rows.get("test", 0) / pool
