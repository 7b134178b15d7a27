"""The shifts that a data set is tested under: every corruption of images, two shifts of tables, at five severities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from gence.data.corruptions import CATALOGUE, SEVERITIES, corrupt
from gence.data.dataset import LabelledData
from gence.data.preprocess import fit_standardize
from gence.data.recipes import white_pixel
from gence.data.table_shift import additive_shift, missing_features

MISSING_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Share of the numbers of a table that go missing, at severity 1 to 5."""

ADDITIVE_SIZES = (0.25, 0.5, 1.0, 1.5, 2.0)
"""How far the columns of a table move, in training standard deviations, at severity 1 to 5."""


@dataclass(frozen=True)
class Shift:
    """One shift at one severity.

    Attributes:
        name: Of the corruption, or `missing_features` or `additive_shift`.
        severity: 1 to 5.
        strength: What that severity means, in the unit of the shift.
        apply: (inputs, seed) -> new inputs of the same shape and dtype, before any standardising.
    """

    name: str
    severity: int
    strength: float
    apply: Callable[[np.ndarray, int], np.ndarray]


def shift_names() -> tuple[str, ...]:
    """Every shift there is: the corruptions of images, then the shifts of tables."""
    return (*CATALOGUE, "missing_features", "additive_shift")


def shift_suite(data: LabelledData, *, rows: np.ndarray | None = None, white: float | None = None) -> tuple[Shift, ...]:
    """Every shift that fits the data, by name and then by severity.

    Images get every corruption of `corruptions.names()`; jpeg is left out where they have neither 1 nor 3 channels.
    Tables lose numbers (`missing_features`), and their columns move (`additive_shift`) by standard deviations of the
    training rows. Columns with no more than two values stay where they are: they hold categories or flags.

    Args:
        data: What is shifted; its kind decides.
        rows: The rows of `data` that standard deviations are learnt on, `(training rows,)`. By default every row
            outside the test split; give those trained on where the test rows are drawn from `data` later.
        white: The value of a white pixel of images. By default that of the recipe of a named data set, for others as
            `corrupt` takes it: 255 for uint8 and 1.0 for floating point.

    Example:
        >>> from gence.data import load
        >>> table = load("breast_cancer")
        >>> suite = shift_suite(table)
        >>> len(suite), suite[9].name, suite[9].severity, suite[9].strength
        (10, 'additive_shift', 5, 2.0)
        >>> suite[9].apply(table.inputs, 0).shape
        (569, 30)

    Reference:
        Hendrycks and Dietterich 2019, arXiv 1903.12261, for the corruptions of images.
    """
    if data.kind == "table":
        return _table_shifts(data, rows)
    return _image_shifts(data, white_pixel(data) if white is None else white)


def _image_shifts(data: LabelledData, white: float | None) -> tuple[Shift, ...]:
    fitting = [name for name in CATALOGUE if name != "jpeg" or data.inputs.shape[1] in (1, 3)]
    return tuple(
        Shift(name, severity, strength, partial(_corrupt, name, severity, white))
        for name in fitting
        for severity, strength in zip(SEVERITIES, CATALOGUE[name].strengths, strict=True)
    )


def _table_shifts(data: LabelledData, rows: np.ndarray | None) -> tuple[Shift, ...]:
    if rows is None:
        rows = np.delete(np.arange(len(data.labels)), () if data.test_rows is None else data.test_rows)
    train = data.inputs[rows]
    few = np.array([len(np.unique(column[~np.isnan(column)])) <= 2 for column in train.T])
    scale = np.where(few, 0.0, fit_standardize("table", train).scale)
    return (
        *(
            Shift("missing_features", severity, share, partial(_lose, share))
            for severity, share in enumerate(MISSING_SHARES, 1)
        ),
        *(
            Shift("additive_shift", severity, size, partial(_move, size, scale))
            for severity, size in enumerate(ADDITIVE_SIZES, 1)
        ),
    )


# Functions of a module, so that a shift can be sent to another process.
def _corrupt(name: str, severity: int, white: float | None, images: np.ndarray, seed: int) -> np.ndarray:
    return corrupt(images, name, severity, seed=seed, white=white)


def _lose(share: float, table: np.ndarray, seed: int) -> np.ndarray:
    return missing_features(table, share, seed=seed)


def _move(size: float, scale: np.ndarray, table: np.ndarray, seed: int) -> np.ndarray:
    return additive_shift(table, size, scale=scale, seed=seed)
