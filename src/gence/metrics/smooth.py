"""Smooth calibration error: a calibration error without bins, whose bandwidth the data choose."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gence.metrics._predictions import Array, check_predictions, top_label

_GRID = 8192  # cells of [0, 1]; the narrowest bandwidth is then eight cells wide
_NARROWEST = 1e-3


def smooth_calibration_error(probs: Array, target: Array) -> Tensor:
    r"""SmECE of the top label: the fixed point :math:`\sigma = \int_0^1 |r_\sigma(t)|\, dt`.

    :math:`r_\sigma(t) = \frac{1}{N} \sum_i (c_i - a_i) K_\sigma(t, c_i)` smooths the residuals of confidence c and
    correctness a with a Gaussian of width sigma, reflected at 0 and 1. The integral falls as sigma grows, so the fixed
    point is found by bisection; below a width of 0.001 the integral at that width is returned.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A float64 scalar in [0, 1].

    Raises:
        ValueError: If the shapes do not fit, a value lies outside [0, 1] or is NaN, or a class number is out of range.

    Example:
        >>> probs = torch.tensor([[0.75, 0.25]]).repeat(100, 1)
        >>> round(smooth_calibration_error(probs, torch.zeros(100, dtype=torch.long)).item(), 3)
        0.25

    Reference:
        Blasiok and Nakkiran 2023, arXiv 2309.12236, definition 5 and algorithm 1.
    """
    confidence, correct = top_label(*check_predictions(probs, target))
    spectrum = _residual_spectrum(confidence, (confidence - correct) / len(confidence))
    narrow, wide = _NARROWEST, 1.0
    if _smoothed_mass(spectrum, narrow) <= narrow:
        return _smoothed_mass(spectrum, narrow)
    for _ in range(40):
        middle = (narrow + wide) / 2
        narrow, wide = (middle, wide) if _smoothed_mass(spectrum, middle) > middle else (narrow, middle)
    return _smoothed_mass(spectrum, wide)


def _residual_spectrum(place: Tensor, residual: Tensor) -> Tensor:
    """The residuals on a grid over [0, 1], mirrored to a circle of length 2, as Fourier coefficients.

    On that circle a plain Gaussian is the reflected one, and it multiplies the coefficients.
    """
    position = place * _GRID
    left = position.floor().clamp(max=_GRID - 1).long()
    right_share = position - left
    grid = torch.zeros(_GRID + 1, dtype=torch.float64, device=place.device)
    grid = grid.index_add(0, left, residual * (1 - right_share)).index_add(0, left + 1, residual * right_share)
    # An inner grid point gets a mirror image of its own; the two ends are their own images and count once each side.
    grid[0], grid[-1] = 2 * grid[0], 2 * grid[-1]
    return torch.fft.rfft(torch.cat([grid, grid[1:-1].flip(0)]))


def _smoothed_mass(spectrum: Tensor, sigma: float) -> Tensor:
    frequency = math.pi * torch.arange(len(spectrum), dtype=torch.float64, device=spectrum.device)
    smoothed = torch.fft.irfft(spectrum * torch.exp(-0.5 * (sigma * frequency).square()), n=2 * _GRID)
    inner = smoothed[: _GRID + 1].abs()
    return inner.sum() - (inner[0] + inner[-1]) / 2
