"""Few labels: seeded, stratified, nested choices of row numbers, and the parts they are used in."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from gence._errors import InputError
from gence.data.regimes._draw import Purpose, shuffled_by_class


def hold_out(labels: np.ndarray, fraction: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split all rows in two, with the same share of every class held out.

    Args:
        labels: Class numbers, `(rows,)`.
        fraction: Share to hold out, in (0, 1); at least one row of every class that has two, never all of them.
        seed: Two calls with one seed give the same rows.

    Returns:
        (kept, held out): sorted row numbers, int64.
    """
    kept, held_out = [], []
    for rows in shuffled_by_class(labels, np.arange(len(labels)), seed, Purpose.HOLD_OUT):
        count = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
        held_out.append(rows[:count])
        kept.append(rows[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(held_out))


def few_labels(labels: np.ndarray, rows: np.ndarray, per_class: int | Literal["all"], *, seed: int) -> list[np.ndarray]:
    """Choose `per_class` of the `rows` of every class, in an order that makes budgets nest.

    With one seed the choice for 10 is the beginning of the choice for 50, class by class.

    Args:
        labels: Class numbers of all rows, `(all rows,)`.
        rows: Row numbers to choose from.
        per_class: How many of each class, or `"all"`.
        seed: Two calls with one seed give the same order.

    Returns:
        One array of row numbers a class present in `rows`, in class order, each in the order drawn.

    Raises:
        InputError: If a class has fewer rows than that.
    """
    by_class = shuffled_by_class(labels, rows, seed, Purpose.FEW_LABELS)
    if per_class == "all":
        return by_class
    scarce = min(by_class, key=len)
    if len(scarce) < per_class:
        raise InputError(
            f"{per_class} labels per class are asked for, but class number {labels[scarce[0]]} has only {len(scarce)} "
            f"rows outside the test split; ask for at most {len(scarce)}, or 'all'"
        )
    return [drawn[:per_class] for drawn in by_class]


def split_calibration(drawn: list[np.ndarray], fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Take every so-many-th labelled row of each class for calibration, and the rest for training.

    Whether a row is for calibration depends on its place in the order drawn alone, so both parts nest when the
    budgets do. Of n >= 2 rows of a class, 1 + floor(fraction * (n - 2)) are for calibration.

    Args:
        drawn: One array of row numbers a class, in the order drawn (from `few_labels` or `long_tail`).
        fraction: Share for calibration, in (0, 1).

    Returns:
        (train, calibration): row numbers, int64, class by class.

    Raises:
        InputError: If a class has one row only.
    """
    if min(len(rows) for rows in drawn) < 2:
        raise InputError(
            "every class needs at least 2 labelled rows, one to train on and one to calibrate on; ask for more labels "
            "per class"
        )

    def for_calibration(n: int) -> int:
        # The small constant keeps a product such as 0.2 * 5 = 1.0000000000000002 - 2e-16 from losing its row.
        return 0 if n < 2 else 1 + math.floor(fraction * (n - 2) + 1e-9)

    train, calibration = [], []
    for rows in drawn:
        chosen = np.array([for_calibration(place + 1) > for_calibration(place) for place in range(len(rows))])
        train.append(rows[~chosen])
        calibration.append(rows[chosen])
    return np.concatenate(train), np.concatenate(calibration)
