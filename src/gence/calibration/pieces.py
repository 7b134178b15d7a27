"""The pieces of ATS: bins of confidence, a temperature for each, and a curve through them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gence.calibration.roots import falling_root
from gence.calibration.temperature import BOUNDS


@dataclass(frozen=True)
class Pieces:
    """One entry a bin, in the order of confidence.

    Attributes:
        knots: `(pieces,)` mean uncalibrated top confidence.
        temperatures: `(pieces,)` what makes the mean top confidence equal to the accuracy.
        rows: `(pieces,)` how many rows the bin has.
        of_row: `(rows,)` the bin of each row.
    """

    knots: Tensor
    temperatures: Tensor
    rows: Tensor
    of_row: Tensor

    def mean(self, value: Tensor) -> Tensor:
        """The mean of `value` `(rows,)` in each bin."""
        return _mean_by(value, self.of_row, len(self.knots))

    def shrunken(self, base: float, shrinkage: float) -> Tensor:
        """Log temperatures, each keeping the share n / (n + shrinkage) of its own and taking the rest from `base`."""
        weight = self.rows / (self.rows + shrinkage)
        return weight * self.temperatures.log() + (1.0 - weight) * math.log(base)


def fit_pieces(logits: Tensor, target: Tensor, bins: int) -> Pieces:
    """Rows sorted by confidence, dealt into `bins` of equal mass, and the temperature that each asks for.

    Bins that share one mean confidence, as saturated rows do, are one piece.
    """
    confidence, order = top_confidence(logits).sort()
    correct = (logits.argmax(1) == target).to(logits.dtype)
    dealt = torch.arange(len(logits), device=logits.device) * bins // len(logits)
    merged = (_mean_by(confidence, dealt, bins).diff() > 1e-12).cumsum(0)
    sorted_index = torch.cat([merged.new_zeros(1), merged])[dealt]
    pieces = int(sorted_index[-1]) + 1
    index = torch.empty_like(sorted_index).scatter(0, order, sorted_index)
    rows = torch.bincount(index, minlength=pieces).to(logits.dtype)
    # Laplace's rule keeps a bin without errors from asking for no temperature at all.
    accuracy = (_mean_by(correct, index, pieces) * rows + 1.0) / (rows + 2.0)
    knots = _mean_by(confidence, sorted_index, pieces)
    return Pieces(knots, _matching_temperatures(logits, index, accuracy), rows, index)


def top_confidence(logits: Tensor) -> Tensor:
    """The highest probability of each row."""
    return 1.0 / (logits - logits.amax(1, keepdim=True)).exp().sum(1)


def interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear through (knots, values), flat outside; one knot makes a constant."""
    if len(knots) == 1:
        return values.expand(len(x))
    # Counting the knots below is a binary search that also exports to ONNX.
    right = (x[:, None] > knots).sum(1).clamp(1, len(knots) - 1)
    left = right - 1
    share = ((x - knots[left]) / (knots[right] - knots[left])).clamp(0.0, 1.0)
    return values[left] + share * (values[right] - values[left])


def _matching_temperatures(logits: Tensor, index: Tensor, accuracy: Tensor) -> Tensor:
    """For each bin the temperature at which its mean top confidence, which falls as T grows, equals its accuracy."""
    gap = logits - logits.amax(1, keepdim=True)

    def excess(log_temperature: Tensor) -> tuple[Tensor, Tensor]:
        scaled = gap / log_temperature.exp()[index][:, None]
        powers = scaled.exp()
        confidence = 1.0 / powers.sum(1)
        slope = confidence.square() * (powers * scaled).sum(1)
        return _mean_by(confidence, index, len(accuracy)) - accuracy, _mean_by(slope, index, len(accuracy))

    low, high = (torch.full_like(accuracy, math.log(bound)) for bound in BOUNDS)
    return falling_root(excess, low, high).exp().clamp(*BOUNDS)


def _mean_by(value: Tensor, index: Tensor, size: int) -> Tensor:
    total = torch.zeros(size, dtype=value.dtype, device=value.device).index_add(0, index, value)
    return total / torch.bincount(index, minlength=size).clamp(min=1)
