"""How many labels there are to be had, and how many rows every loss trains on; what cannot be is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from gence._errors import InputError
from gence.bench.records import Budget, Cell
from gence.bench.rows import choose_rows, labels_given, rows_for_tuning, split_test
from gence.bench.spec import Spec
from gence.data import LabelledData
from gence.data.regimes import parse_regime
from gence.losses import catalogue as losses
from gence.losses.written import parse_loss
from gence.training import batches_an_epoch

_DEFAULT_BUDGETS = (10, 50)


def budgets(spec: Spec, data: LabelledData, regime: str) -> tuple[Budget, ...]:
    """The budgets of a spec, smallest first and "all" last; checked against the rows of the smallest class.

    A long tail says itself how many labels each class has: its only budget is "all".

    Raises:
        InputError: If the smallest class has fewer rows outside the test split than a budget asks for, or a number of
            labels is asked for and every regime is a long tail.
    """
    available, name = _smallest_class(data, spec.test_fraction)
    if parse_regime(regime).long_tail is not None:
        tails = all(parse_regime(one).long_tail is not None for one in spec.regime)
        if tails and spec.labels_per_class not in (None, ("all",)):
            raise InputError(
                f"the regime {regime!r} decides how many labels each class has; got labels per class "
                f"{', '.join(map(str, spec.labels_per_class))} as well: leave one of the two out"
            )
        return ("all",)
    if spec.labels_per_class is None:
        fitting = tuple(budget for budget in _DEFAULT_BUDGETS if budget <= available)
        return fitting if fitting == _DEFAULT_BUDGETS else (*fitting, "all")
    for budget in spec.labels_per_class:
        if budget != "all" and budget > available:
            raise InputError(
                f"{budget} labels per class are asked for, but {data.name} has only {available} rows of class {name!r} "
                f"outside the test split; ask for at most {available}, or all"
            )
    return tuple(sorted(spec.labels_per_class, key=lambda budget: np.inf if budget == "all" else budget))


def _smallest_class(data: LabelledData, test_fraction: float) -> tuple[int, str]:
    """How many rows the smallest class has outside the test split, and its name."""
    counts = np.bincount(data.labels, minlength=data.num_classes)
    if data.test_rows is None:
        smallest = int(counts.argmin())
        if counts[smallest] < 3:
            raise InputError(
                f"{data.name}: class {data.class_names[smallest]!r} has {counts[smallest]} rows; at least 3 are "
                "needed, to train, to calibrate and to test on: merge it with another class or leave it out"
            )
    pool, _ = split_test(data, test_fraction, seed=0)
    counts = np.bincount(data.labels[pool], minlength=data.num_classes)
    smallest = int(counts.argmin())
    if counts[smallest] < 2:
        raise InputError(
            f"{data.name}: class {data.class_names[smallest]!r} has {counts[smallest]} rows outside the test split; at "
            "least 2 are needed, to train and to calibrate on: merge it with another class or leave it out"
        )
    return int(counts[smallest]), data.class_names[smallest]


def refuse_same_batches(sizes: Sequence[int], train_rows: int, budget: Budget) -> None:
    """Refuse batch sizes that are one and the same for so many training rows.

    Raises:
        InputError: If two of them give the same number of batches.
    """
    for steps, group in groupby(sorted(sizes), key=lambda size: batches_an_epoch(train_rows, size)):
        *others, largest = group
        if others:
            labels, more = (
                ("all labels", "") if budget == "all" else (f"{budget} labels per class", ", or ask for more labels")
            )
            raise InputError(
                f"batch sizes {', '.join(map(str, others))} and {largest} give the same batches ({steps} an epoch) of "
                f"the {train_rows} training rows with {labels}, which would run the same trials twice; keep one of "
                f"these sizes{more}"
            )


def count_train_rows(spec: Spec, data: LabelledData, place: dict[str, Any]) -> dict[str, int]:
    """How many rows each loss trains on: the seed decides which, never how many.

    Raises:
        InputError: If a class has too few rows for the regime, the losses that look at validation rows, or the tuning;
            or label noise would make no label wrong.
    """
    fractions = (spec.test_fraction, spec.calibration_fraction)
    # Counted for a plain loss first, so that what is wrong with a budget or a regime is not put down to a loss.
    cell = Cell(loss="ce", batch_size=1, seed=0, **place)
    plain = choose_rows(data, cell, *fractions)
    labels_given(data, cell, plain)
    counts = dict.fromkeys(spec.losses, len(plain.train))
    watching = [loss for loss in spec.losses if losses.uses_validation(parse_loss(loss).name)]
    if watching:
        if np.bincount(data.labels[plain.train]).min() < 2:
            raise _no_validation_rows(spec, data, cell, np.concatenate([plain.train, plain.calibration]), watching)
        rows = choose_rows(data, cell.model_copy(update={"loss": watching[0]}), *fractions)
        counts.update(dict.fromkeys(watching, len(rows.train)))
    if spec.tune is not None:
        for loss in watching[:1] or spec.losses[:1]:
            rows_for_tuning(data, loss, plain, spec.tune.validation_fraction, spec.calibration_fraction)
    return counts


def _no_validation_rows(
    spec: Spec, data: LabelledData, cell: Cell, labelled: np.ndarray, watching: Sequence[str]
) -> InputError:
    """The error for losses whose validation rows cannot be taken out of their training rows."""
    by_class = np.bincount(data.labels[labelled])
    scarce = int(by_class.argmin())
    few = f"{by_class[scarce]} labels of class {data.class_names[scarce]!r}"
    if cell.labels_per_class != "all":
        few, cure = f"{cell.labels_per_class} labels a class", "ask for at least 3"
    elif parse_regime(cell.regime).long_tail is not None and by_class.max() >= 3:
        cure = f"ask for an imbalance of at most {by_class.max() // 3}"
    else:
        cure = "add rows to that class"
    others = [loss for loss in spec.losses if loss not in watching]
    if set(spec.losses) == set(losses.names()):
        others = ["all", *(f"-{loss}" for loss in watching)]
    *some, last = watching
    names, look, their, them = (
        (f"{', '.join(some)} and {last}", "look", "their", "them") if some else (last, "looks", "its", "it")
    )
    left_out = f"leave {them} out (--losses {','.join(others)})" if others else "choose other losses"
    return InputError(
        f"{names} {look} at validation rows, taken out of {their} training rows; with {few} there is none to take: "
        f"{cure}, or {left_out}"
    )
