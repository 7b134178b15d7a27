"""From arrays as they were read to arrays a network likes; everything learnt is learnt on the training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Standardize:
    """Fitted preprocessing: missing numbers filled, then every channel or column shifted and scaled.

    Attributes:
        fill: What stands in for NaN, one number a column (tables) or empty (images).
        mean: Subtracted, one number a channel or column, after uint8 images were scaled to [0, 1].
        scale: Divided by; infinite where the training rows were constant, which makes every row 0 there: in new rows
            such a column could be any number of any size, and nothing was learnt about it.
        dtype: What comes out.
    """

    fill: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    dtype: Literal["float32", "float64"] = "float32"

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs of the same shape in `dtype`, `(rows, channels, height, width)` or `(rows, columns)`."""
        values = _as_float(inputs)
        if self.fill.size:
            values = np.where(np.isnan(values), self.fill, values)
        shape = (1, -1) + (1,) * (values.ndim - 2)
        return ((values - self.mean.reshape(shape)) / self.scale.reshape(shape)).astype(self.dtype)


def fit_standardize(
    kind: Literal["image", "table"], inputs: np.ndarray, dtype: Literal["float32", "float64"] = "float32"
) -> Standardize:
    """Learn the medians, means and standard deviations of training rows.

    Args:
        kind: Images have one mean and scale a channel; tables one a column, and their NaN are filled with the
            column's median (0 where the column is missing in every row).
        inputs: The training rows alone: `(rows, channels, height, width)` or `(rows, columns)`.
        dtype: What it gives.
    """
    values = _as_float(inputs)
    fill = np.zeros(0)
    if kind == "table":
        known = ~np.isnan(values)
        whole = known.all(0)
        fill = np.zeros(values.shape[1], values.dtype)
        fill[whole] = np.median(values[:, whole], axis=0)
        for j in np.flatnonzero(~whole & known.any(0)):
            fill[j] = np.median(values[known[:, j], j])
        values = np.where(known, values, fill)
    axes = tuple(axis for axis in range(values.ndim) if axis != 1)
    varies = values.min(axes) < values.max(axes)
    scale = np.where(varies, values.std(axes, dtype=np.float64), np.inf)
    mean = values.mean(axes, dtype=np.float64)
    return Standardize(fill, mean.astype(values.dtype), scale.astype(values.dtype), dtype)


def _as_float(inputs: np.ndarray) -> np.ndarray:
    """uint8 images as float32 in [0, 1]; what is floating point stays as exact as it is."""
    return inputs.astype(np.float32) / np.float32(255.0) if inputs.dtype == np.uint8 else inputs
