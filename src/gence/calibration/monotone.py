"""ATS that keeps the order of the rows: calibrated confidence never falls where uncalibrated confidence rises."""

from __future__ import annotations

import torch
from torch import Tensor

from gence.calibration.pieces import interpolate

_HALVINGS = 60


def log_odds(logits: Tensor) -> Tensor:
    """log(c / (1 - c)) of each row's top confidence c, finite also where c rounds to 1."""
    first = torch.arange(logits.shape[1], device=logits.device) == logits.argmax(1, keepdim=True)
    return logits.amax(1) - logits.masked_fill(first, -torch.inf).logsumexp(1)


def rising(values: Tensor, weights: Tensor) -> Tensor:
    """The non-decreasing values nearest to `values` in weighted squares: neighbours out of order are averaged."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, u, m), (b, v, n) = blocks[-2:]
            blocks[-2:] = [((a * u + b * v) / (u + v), u + v, m + n)]
    return torch.tensor([value for value, _, size in blocks for _ in range(size)], dtype=values.dtype)


def wanted_log_odds(uncalibrated: Tensor, knots: Tensor, values: Tensor, slope: Tensor) -> Tensor:
    """The calibrated log-odds of uncalibrated ones: linear between the knots, beyond the last one with `slope`."""
    beyond = (uncalibrated - knots[-1]).clamp(min=0.0)
    return interpolate(uncalibrated, knots, values) + slope * beyond


def scaled_to_log_odds(logits: Tensor, wanted: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """Each row divided by the temperature at which its log-odds are `wanted` `(rows,)`, or the nearest one allowed.

    A row whose two top logits are nearly equal may not reach what is wanted of it at any sane temperature.
    """
    low, high = lowest.log().expand(len(wanted)), highest.log().expand(len(wanted))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        too_sure = log_odds(logits / middle.exp()[:, None]) > wanted
        low, high = torch.where(too_sure, middle, low), torch.where(too_sure, high, middle)
    return logits / ((low + high) / 2).exp()[:, None]
