"""Which rows a trial trains, validates, calibrates and tests on, and with which labels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from gence._errors import InputError
from gence.bench.records import Cell
from gence.data import LabelledData, few_labels, hold_out, split_calibration
from gence.data.regimes import Regime, label_noise, long_tail, long_tail_counts, parse_regime, prior_shift
from gence.data.regimes.long_tail import Profile, most_of_a_tail
from gence.data.wording import counted
from gence.losses import catalogue as losses
from gence.losses.written import parse_loss


@dataclass(frozen=True)
class Rows:
    """Row numbers of one trial; the parts share no row. `validation` is empty unless the loss looks at such rows."""

    train: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray
    test: np.ndarray

    def parts(self) -> dict[str, np.ndarray]:
        """The parts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def choose_rows(
    data: LabelledData, cell: Cell, test_fraction: float, calibration_fraction: float, *, test_seed: int | None = None
) -> Rows:
    """The rows of a trial: they depend on the data, the regime, the budget and the seed.

    A loss that looks at validation rows has them taken out of its training rows, as every label has its price; those
    for calibration and the test are the same for every loss.

    Args:
        data: The data.
        cell: Budget, regime, seed and loss.
        test_fraction: Share of the rows that is tested on, where the source has no test split of its own.
        calibration_fraction: Share of the labelled rows that calibrators are fitted on.
        test_seed: The seed that holds out the test split, where the source has none; by default the cell's.

    Raises:
        InputError: If a class has too few rows for all parts.
    """
    regime = parse_regime(cell.regime)
    pool, test = split_test(data, test_fraction, cell.seed if test_seed is None else test_seed)
    if regime.long_tail is None:
        drawn = few_labels(data.labels, pool, cell.labels_per_class, seed=cell.seed)
    else:
        drawn = _draw_long_tail(data, pool, *regime.long_tail, largest=regime.largest, seed=cell.seed)
    train, calibration = split_calibration(drawn, calibration_fraction)
    validation = np.zeros(0, np.int64)
    if losses.uses_validation(parse_loss(cell.loss).name):
        by_class = [train[data.labels[train] == k] for k in range(data.num_classes)]
        train, validation = split_calibration(by_class, calibration_fraction)
    if regime.test_prior is not None:
        imbalance, reverse = regime.test_prior
        test = prior_shift(data.labels, test, imbalance=imbalance, reverse=reverse, seed=cell.seed)
    return Rows(train, validation, calibration, test)


def _draw_long_tail(
    data: LabelledData, pool: np.ndarray, profile: Profile, imbalance: float, *, largest: int | None, seed: int
) -> list[np.ndarray]:
    present, available = np.unique(data.labels[pool], return_counts=True)
    most = most_of_a_tail(int(available.min()), largest)
    counts = long_tail_counts(len(present), most, imbalance, profile)
    if counts.min() < 2:
        scarce = int(counts.argmin())
        raise InputError(
            f"{Regime(long_tail=(profile, imbalance), largest=largest)} leaves class "
            f"{data.class_names[present[scarce]]!r} {counted(int(counts[scarce]), 'row')}; at least 2 are needed, to "
            "train and to calibrate on; ask for an "
            f"imbalance of at most {most // 2}"
        )
    return long_tail(data.labels, pool, imbalance, profile=profile, largest=largest, seed=seed)


def split_test(data: LabelledData, test_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows outside the test split and those in it: the source's own, or one held out by the seed."""
    if data.test_rows is None:
        return hold_out(data.labels, test_fraction, seed=seed)
    return np.setdiff1d(np.arange(len(data.labels)), data.test_rows), data.test_rows


def rows_for_tuning(data: LabelledData, loss: str, rows: Rows, validation_fraction: float, own_fraction: float) -> Rows:
    """The rows of a tuning's trials: the training rows alone, some of them in the place of the test rows.

    Args:
        data: The data.
        loss: As written. One that looks at validation rows has its own taken out of what is left for training.
        rows: Those of a trial of a plain loss, chosen by `choose_rows`.
        validation_fraction: Share of the training rows that the trials are judged on, the same rows for every loss.
        own_fraction: Share of the rest for a loss that looks at validation rows.

    Raises:
        InputError: If a class has too few training rows.
    """

    def split(part: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        return split_calibration([part[data.labels[part] == k] for k in range(data.num_classes)], fraction)

    by_class = np.bincount(data.labels[rows.train], minlength=data.num_classes)
    watching = losses.uses_validation(parse_loss(loss).name)
    if by_class.min() < 2 + watching:
        own = f" for {loss}, which looks at validation rows itself" if watching else ""
        raise InputError(
            f"tuning needs at least {2 + watching} training rows of every class{own}, one of them to judge a trial on; "
            f"class {data.class_names[int(by_class.argmin())]!r} has {by_class.min()}: give it more labels, or do not "
            "tune"
        )
    train, judged = split(rows.train, validation_fraction)
    none = np.zeros(0, np.int64)
    train, own = split(train, own_fraction) if watching else (train, none)
    return Rows(train, own, none, judged)


def labels_given(data: LabelledData, cell: Cell, rows: Rows) -> np.ndarray:
    """All labels as the trial is given them: with label noise those of every row but the test rows are touched."""
    noise = parse_regime(cell.regime).noise
    if noise is None:
        return data.labels
    kind, rate = noise
    # Sorted, so that a loss with validation rows meets the same wrong labels as the others.
    labelled = np.sort(np.concatenate([rows.train, rows.validation, rows.calibration]))
    return label_noise(data.labels, labelled, rate, kind=kind, seed=cell.seed, num_classes=data.num_classes)
