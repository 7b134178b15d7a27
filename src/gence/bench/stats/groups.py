"""Accuracy, likelihood and overconfidence by class and by groups of classes with many, some and few training rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gence.bench.records import GroupRow, TrialRecord
from gence.bench.stats.grid import Combination
from gence.bench.stats.intervals import estimate

HEAD_ABOVE, TAIL_BELOW = 100, 20
"""More training rows than the first make a class head, fewer than the second tail; medium is between.

Reference:
    Liu, Miao, Zhan, Wang, Gong and Yu, Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, section 4.
"""

GROUPS = ("head", "medium", "tail")
MOST_CLASSES = 20
"""Up to so many classes each has a row by itself."""


def group_of(counts: np.ndarray) -> np.ndarray:
    """The place in `GROUPS` of classes with `counts` training rows each."""
    return np.where(counts > HEAD_ABOVE, 0, np.where(counts < TAIL_BELOW, 2, 1))


def group_rows(found: Sequence[Combination]) -> tuple[GroupRow, ...]:
    """Head, medium and tail at the settings whose classes are not all of one group, then class by class.

    Which group a class is in is a matter of each trial's own training rows.
    """
    mixed = {one.setting for one in found if any(_is_mixed(record) for record in one.records)}
    return tuple(row for one in found for row in _rows(one, one.setting in mixed))


def _counts(record: TrialRecord) -> np.ndarray:
    return np.asarray(record.data.get("train_class_counts", []))


def _is_mixed(record: TrialRecord) -> bool:
    return len(set(group_of(_counts(record)).tolist())) > 1


def _sums(one: Combination) -> np.ndarray:
    """Rows, correct, NLL and confidence by trials by classes."""
    parts = [result.per_class for result in one.results]
    return np.array(
        [[getattr(part, name) for part in parts] for name in ("rows", "correct", "nll", "confidence")], float
    )


def _rows(one: Combination, mixed: bool) -> Iterator[GroupRow]:
    """Its groups if they are `mixed`, then its classes, each over the trials that have test rows of it, if any."""
    sums = _sums(one)
    names, members = _members(one, mixed, sums.shape[2])
    present = members & (sums[0] > 0)
    classes = present.sum(axis=2)
    rows, correct, nll, confidence = (np.where(present, part, 0.0).sum(axis=2) for part in sums)
    with np.errstate(invalid="ignore", divide="ignore"):  # a trial without test rows of a group is left out below
        recall = np.where(present, sums[1] / sums[0], 0.0).sum(axis=2) / classes
        measures = np.stack([recall, nll / rows, (confidence - correct) / rows])
    for place, name in enumerate(names):
        kept = classes[place] > 0
        if kept.any():
            accuracy, mean_nll, gap = (estimate(values) for values in measures[:, place, kept].tolist())
            largest = int(classes[place].max())
            yield GroupRow(one.loss, one.calibrator, one.setting, name, largest, accuracy, mean_nll, gap)


def _members(one: Combination, mixed: bool, classes: int) -> tuple[list[str], np.ndarray]:
    """The groups by name, and their classes: groups by trials by classes."""
    names: list[str] = []
    members = np.zeros((0, len(one.records), classes), dtype=bool)
    if mixed:
        names += GROUPS
        places = np.stack([group_of(_counts(record)) for record in one.records])
        members = places == np.arange(len(GROUPS))[:, None, None]
    if classes <= MOST_CLASSES:
        names += [f"class {k}" for k in range(classes)]
        single = np.repeat(np.eye(classes, dtype=bool)[:, None], len(one.records), axis=1)
        members = np.concatenate([members, single])
    return names, members
