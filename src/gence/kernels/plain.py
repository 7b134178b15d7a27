"""The loss of a batch without weights, smoothing or ignored rows as one function: the common case, for the CPU.

It is `eager` with nothing but what this case needs: at a thousand rows of a thousand classes, operators still count.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gence.kernels import composed, eager
from gence.kernels.autocast import without_autocast

RULED_OUT = -1e30
"""In the place of the log mass of a class that no row allows: sums of it stay finite, so that a row with that label has
the infinite loss it has in cross-entropy, and not the NaN of inf - inf."""


def generative_cross_entropy_of_batch(logits: Tensor, target: Tensor, strength: float, *, mean: bool) -> Tensor:
    r"""GenCE of rows that all count, their sum over d: N for the mean, else 1.

    .. math:: L = \frac{1}{d} \Big( -\sum_i \log q_{i y_i} + \mathrm{strength} \sum_k n_k \log \frac{S_k}{N} \Big),
              \quad
              \frac{\partial L}{\partial z_{ik}} = \frac{1}{d}
              \Big( q_{ik} \big( 1 + r_k - \sum_c r_c q_{ic} \big) - 1\{k = y_i\} \Big), \quad
              r_k = \mathrm{strength} \frac{n_k}{S_k}

    Args:
        logits: `(N, C)` on the CPU, float32 or float64, not empty.
        target: Class numbers, int64, `(N)`.
        strength: How much of log m is taken off.
        mean: Whether it is the mean; else it is the sum.
    """
    return _Loss.apply(logits, target, strength, len(logits) if mean else 1)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, strength: float, divisor: float) -> Tensor:
        rows, classes = logits.shape
        labels = torch.bincount(target, minlength=classes).to(logits.dtype)
        q = logits.softmax(1)
        sums = q.sum(0)
        if eager.is_at_least(torch.where(labels > 0.0, sums, 1.0).min(), eager.SAFE):
            sums.clamp_(min=torch.finfo(q.dtype).tiny)  # of a class without label it may be 0
            picked = q.gather(1, target.unsqueeze(1)).squeeze(1)
            likelihood = eager.log_of_labels(logits, picked, target).sum()
            log_sums, ratio = sums.log(), (strength * labels).div_(sums)
        else:
            each, log_sums, _ = eager.statistics(logits, target, None, None, 0.0)
            likelihood, q, ratio = each.sum(), None, None
            log_sums.clamp_(min=RULED_OUT)
        ctx.kept, ctx.strength, ctx.divisor = q, strength, divisor
        ctx.save_for_backward(logits, target, labels, log_sums, ratio)
        class_term = labels.dot(log_sums) - rows * math.log(rows)
        return (strength * class_term - likelihood) / divisor

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(gradients[0]):
            return _Loss._to_logits(ctx, *gradients), None, None, None

    @staticmethod
    def _to_logits(ctx: Any, *gradients: Tensor) -> Tensor:
        of_loss = gradients[0] / ctx.divisor
        logits, target, labels, log_sums, ratio = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants the second derivative
            likelihood, log_sums = composed.statistics(logits, target, None, None, 0.0)
            again = ctx.strength * (labels @ log_sums.clamp(min=RULED_OUT)) - likelihood.sum()
            return torch.autograd.grad(again, logits, of_loss, create_graph=True)[0]
        # The kept probabilities are no longer those once they have become the gradient.
        q, ctx.kept = ctx.kept, None
        if ratio is None:
            terms = (of_loss, torch.ones_like(of_loss), (ctx.strength * of_loss) * labels, log_sums)
            return eager.gradient(logits, None, target, None, None, 0.0, *terms)
        q = logits.softmax(1) if q is None else q
        ratio = ratio * of_loss
        eager.scale(q, of_loss - q.mv(ratio), ratio)
        q.scatter_add_(1, target.unsqueeze(1), (-of_loss).expand(len(q), 1))
        return q
