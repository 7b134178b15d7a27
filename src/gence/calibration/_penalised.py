"""The penalised negative log-likelihood of the scaling calibrators, with the derivatives that Newton's method needs.

Both objectives are NLL + sum(strength * (point - centre)^2) with every strength above 0, hence strictly convex: there
is one minimiser, at a finite place, whatever the rows are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gence.calibration._newton import Local, solve_by_products, solve_dense
from gence.calibration.temperature import mean_nll

# Up to this many numbers the whole Hessian is cheaper than products with it.
_MOST_DENSE = 300


def vector_objective(x: Tensor, target: Tensor, centre: Tensor, strength: Tensor) -> Callable[[Tensor], Local]:
    """The objective of `point` `(2, classes)`, weights w and biases b of the logits w * x + b."""
    onehot = _one_hot(target, x.shape[1])
    rows = len(x)

    def at(point: Tensor) -> Local:
        logits = x * point[0] + point[1]
        probs = logits.softmax(1)
        value = mean_nll(logits, target) + (strength * (point - centre).square()).sum()
        excess = (probs - onehot) / rows
        gradient = torch.stack([(excess * x).sum(0), excess.sum(0)]) + 2.0 * strength * (point - centre)

        def newton_step() -> Tensor:
            stated = torch.cat([probs * x, probs], 1)
            blocks = [[probs * x * x, probs * x], [probs * x, probs]]
            curvature = torch.cat([torch.cat([b.sum(0).diag() for b in row], 1) for row in blocks])
            hessian = (curvature - stated.T @ stated) / rows + (2.0 * strength).flatten().diag()
            return solve_dense(hessian, gradient.flatten()).view_as(point)

        return Local(value, gradient, newton_step)

    return at


def matrix_objective(x: Tensor, target: Tensor, centre: Tensor, strength: Tensor) -> Callable[[Tensor], Local]:
    """The objective of `point` `(classes, columns of x)`, the matrix W of the logits W x; a 1 in x has the bias."""
    onehot = _one_hot(target, len(centre))

    def at(point: Tensor) -> Local:
        logits = x @ point.T
        probs = logits.softmax(1)
        value = mean_nll(logits, target) + (strength * (point - centre).square()).sum()
        gradient = (probs - onehot).T @ x / len(x) + 2.0 * strength * (point - centre)
        solve = _solve_dense if point.numel() <= _MOST_DENSE else _solve_by_products
        return Local(value, gradient, partial(solve, x, probs, strength, gradient))

    return at


def tolerance(inputs: Tensor, strength: Tensor) -> float:
    """The largest gradient entry that counts as none: it rounds as the inputs and the penalties do."""
    return 1e-11 * (1.0 + inputs.abs().mean().item()) + 1e-15 * strength.amax().item()


def _one_hot(target: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(target, classes).to(torch.float64)


def _solve_dense(x: Tensor, probs: Tensor, strength: Tensor, gradient: Tensor) -> Tensor:
    rows, (classes, columns) = len(x), gradient.shape
    stated = (probs[:, :, None] * x[:, None, :]).flatten(1)
    hessian = -stated.T @ stated / rows
    own = torch.arange(classes, device=x.device)
    hessian.view(classes, columns, classes, columns)[own, :, own, :] += (stated.T @ x / rows).view(classes, columns, -1)
    hessian.diagonal().add_(2.0 * strength.flatten())
    return solve_dense(hessian, gradient.flatten()).view_as(gradient)


def _solve_by_products(x: Tensor, probs: Tensor, strength: Tensor, gradient: Tensor) -> Tensor:
    def product(direction: Tensor) -> Tensor:
        moved = probs * (x @ direction.T)
        return (moved - probs * moved.sum(1, keepdim=True)).T @ x / len(x) + 2.0 * strength * direction

    diagonal = (probs * (1.0 - probs)).T @ x.square() / len(x) + 2.0 * strength
    return solve_by_products(product, diagonal, gradient)
