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
    residual = (confidence - correct) / len(confidence)
    return fixed_point(residual_spectrum(confidence, residual[None])).squeeze(0)


def residual_spectrum(place: Tensor, residual: Tensor) -> Tensor:
    """The residuals `(..., rows)` on a grid over [0, 1], mirrored to a circle of length 2, as Fourier coefficients.

    On that circle a plain Gaussian is the reflected one, and it multiplies the coefficients.
    """
    position = place * _GRID
    left = position.floor().clamp(max=_GRID - 1).long()
    right_share = position - left
    grid = torch.zeros(*residual.shape[:-1], _GRID + 1, dtype=torch.float64, device=place.device)
    grid = grid.index_add(-1, left, residual * (1 - right_share)).index_add(-1, left + 1, residual * right_share)
    # An inner grid point gets a mirror image of its own; the two ends are their own images and count once each side.
    grid[..., 0], grid[..., -1] = 2 * grid[..., 0], 2 * grid[..., -1]
    return torch.fft.rfft(torch.cat([grid, grid[..., 1:-1].flip(-1)], -1))


def fixed_point(spectrum: Tensor) -> Tensor:
    """Where the smoothed mass equals the width that it was smoothed with, one value for each line of `spectrum`.

    Regula falsi in its Illinois form: it keeps a bracket as bisection does, and needs a fifth of the evaluations.
    """
    low = torch.full(spectrum.shape[:1], _NARROWEST, dtype=torch.float64, device=spectrum.device)
    high = torch.ones_like(low)
    at_narrowest = smoothed_mass(spectrum, low)
    above, below = at_narrowest - low, smoothed_mass(spectrum, high) - high
    already, side = at_narrowest <= _NARROWEST, torch.zeros_like(low)
    sigma, mass = low, at_narrowest
    for _ in range(60):
        sigma = (low * below - high * above) / (below - above).where(~already, 1.0)
        mass = smoothed_mass(spectrum, sigma)
        over = mass - sigma
        if bool((already | (over.abs() < 1e-13)).all()):
            break
        # An end that stays while the other moves twice has its value halved, so that the next secant overshoots.
        moved = torch.where(over > 0, 1.0, -1.0)
        again = torch.where(moved == side, 0.5, 1.0)
        low, high = torch.where(over > 0, sigma, low), torch.where(over > 0, high, sigma)
        above, below = torch.where(over > 0, over, above * again), torch.where(over > 0, below * again, over)
        side = moved
    return torch.where(already, at_narrowest, mass)


def smoothed_mass(spectrum: Tensor, sigma: Tensor) -> Tensor:
    """The integral of |residual| after smoothing line i of `spectrum` with a Gaussian of width `sigma[i]`."""
    frequency = math.pi * torch.arange(spectrum.shape[-1], dtype=torch.float64, device=spectrum.device)
    smoothed = torch.fft.irfft(spectrum * torch.exp(-0.5 * (sigma[:, None] * frequency).square()), n=2 * _GRID)
    inner = smoothed[:, : _GRID + 1].abs()
    return inner.sum(-1) - (inner[:, 0] + inner[:, -1]) / 2
