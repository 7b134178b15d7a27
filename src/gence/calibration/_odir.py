"""Off-diagonal and intercept regularisation (ODIR) of an affine map, its two penalties chosen by cross-validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gence.calibration._newton import minimise
from gence.calibration._penalised import matrix_objective, tolerance
from gence.calibration.temperature import best_temperature, mean_nll

# A fit that is only compared with others need not be solved to the last bit.
_CHOOSING_TOLERANCE = 1e-4


@dataclass(frozen=True)
class AffineFit:
    """The matrix `(classes, classes)` and bias `(classes,)` of the chosen penalties, and every candidate's score."""

    weights: Tensor
    bias: Tensor
    off_diagonal: float
    bias_penalty: float
    converged: bool
    scores: tuple[tuple[float, float, float], ...]


def fit_odir(
    x: Tensor, y: Tensor, off_diagonal: Sequence[float], bias: Sequence[float], ridge: float, folds: int, seed: int
) -> AffineFit:
    """Fit the logits W x + b of classes `y` with the candidates of lowest held-out NLL, of equal ones the largest."""
    check_positive("every candidate of off_diagonal", off_diagonal)
    check_positive("every candidate of bias", bias)
    check_positive("ridge", (ridge,))
    if folds < 2:
        raise ValueError(f"folds must be at least 2; got {folds}")
    # From stiff to loose, so that each fit starts near its end.
    candidates = [(float(o), float(b)) for o in sorted(set(off_diagonal)) for b in sorted(set(bias))][::-1]
    choosing = len(candidates) > 1 and len(x) >= folds
    scores = _cross_validate(x, y, candidates, ridge, folds, seed) if choosing else ()
    chosen = min(scores, key=lambda score: score[2])[:2] if scores else candidates[0]
    problem = _Problem(x, y, ridge)
    point, converged = problem.fit(*chosen, start=problem.centre)
    weights, bias_ = point[:, :-1] / problem.temperature, point[:, -1]
    return AffineFit(weights, bias_, *chosen, converged=converged, scores=scores)


def check_positive(what: str, values: Sequence[float]) -> None:
    """ValueError unless there are values and every one is a positive finite number."""
    if not values or any(not (math.isfinite(v) and v > 0.0) for v in values):
        raise ValueError(f"{what} must be a positive finite number; got {', '.join(map(str, values)) or 'none'}")


class _Problem:
    """The fit to some rows: inputs divided by their one temperature T, with a column of ones for the bias."""

    def __init__(self, x: Tensor, y: Tensor, ridge: float) -> None:
        self.y, self.ridge = y, ridge
        self.temperature = best_temperature(x, y)
        self.inputs = torch.cat([x / self.temperature, torch.ones_like(x[:, :1])], 1)
        self.centre = torch.eye(x.shape[1], x.shape[1] + 1, dtype=x.dtype, device=x.device)

    def fit(self, off_diagonal: float, bias: float, *, start: Tensor, coarsest: float = 0.0) -> tuple[Tensor, bool]:
        """The minimiser, with its matrix times T, and whether it was reached to rounding or to `coarsest`."""
        classes = len(self.centre)
        # The penalty is on W, the unknown is T W.
        off_diagonal = off_diagonal / (classes * (classes - 1)) / self.temperature**2
        strength = torch.full_like(self.centre, off_diagonal)
        strength.diagonal().fill_(self.ridge / len(self.y))
        strength[:, -1] = bias / classes
        enough = max(coarsest, tolerance(self.inputs, strength))
        return minimise(matrix_objective(self.inputs, self.y, self.centre, strength), start, tolerance=enough)


def _cross_validate(
    x: Tensor, y: Tensor, candidates: list[tuple[float, float]], ridge: float, folds: int, seed: int
) -> tuple[tuple[float, float, float], ...]:
    """Mean held-out NLL of every candidate, each row held out once."""
    fold = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device) % folds
    sums = dict.fromkeys(candidates, 0.0)
    for held_out in range(folds):
        train, test = fold != held_out, fold == held_out
        problem = _Problem(x[train], y[train], ridge)
        point = problem.centre
        for off_diagonal, bias in candidates:
            point, _ = problem.fit(off_diagonal, bias, start=point, coarsest=_CHOOSING_TOLERANCE)
            logits = x[test] @ (point[:, :-1] / problem.temperature).T + point[:, -1]
            sums[off_diagonal, bias] += mean_nll(logits, y[test]).item() * int(test.sum())
    return tuple((o, b, total / len(x)) for (o, b), total in sums.items())
