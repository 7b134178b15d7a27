"""The kernels as functions that autograd knows: the forward pass looks at the logits once, the backward pass once more.

The two results of a kernel are all that a loss needs of the logits, whatever it then does with weights, reductions,
class masses and ranks. The gradient with respect to the logits is local to the rows, given those of the results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from gence.kernels import composed, eager
from gence.kernels.autocast import without_autocast

Kernel = Literal["composed", "eager", "triton"]


def statistics(
    logits: Tensor, target: Tensor, counts: Tensor | None, weight: Tensor | None, smoothing: float, *, kernel: Kernel
) -> tuple[Tensor, Tensor]:
    """`eager.statistics` without what it keeps, differentiable with respect to the logits, by the kernel of this name.

    Args:
        logits: `(N, C)` or `(N, C, M)`; `(N, C)` for Triton.
        target: Class numbers, int64, the shape of `logits` without its class axis.
        counts: Which rows count, bool, the shape of `target`; None if all do.
        weight: `(C)` class weights.
        smoothing: The share of the target that is spread over the classes.
        kernel: `"composed"`, `"eager"` or `"triton"`.

    Returns:
        The log-likelihoods, the shape of `target`, and the `(C)` logarithms of the class sums.
    """
    labels = (target, counts, weight, smoothing)
    if kernel == "composed":
        return composed.statistics(logits, *labels)
    if torch.compiler.is_compiling():
        return _operator(kernel)(logits, *labels)[:2]
    return _Statistics.apply(logits, *labels, kernel)


class _Statistics(torch.autograd.Function):
    """Outside of a compiled graph: it keeps what the operators, which change nothing, would have to make again."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        counts: Tensor | None,
        weight: Tensor | None,
        smoothing: float,
        kernel: Kernel,
    ) -> tuple[Tensor, Tensor]:
        labels = (target, counts, weight, smoothing)
        saved, ctx.kept = None, None
        if kernel == "triton":
            likelihood, log_sums, saved = _operator(kernel)(logits, *labels)
        else:
            likelihood, log_sums, ctx.kept = eager.statistics(logits, *labels, keep=ctx.needs_input_grad[0])
        ctx.smoothing = smoothing
        ctx.save_for_backward(logits, saved, target, counts, weight, log_sums)
        return likelihood, log_sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(gradients[0]):
            return _Statistics._to_logits(ctx, *gradients), None, None, None, None, None

    @staticmethod
    def _to_logits(ctx: Any, *gradients: Tensor) -> Tensor:
        logits, saved, target, counts, weight, log_sums = ctx.saved_tensors
        labels = (target, counts, weight, ctx.smoothing)
        of_likelihood, of_sums = gradients
        terms = _terms(of_likelihood, of_sums, log_sums)
        if torch.is_grad_enabled():  # somebody wants the second derivative
            again = composed.statistics(logits, *labels)
            return torch.autograd.grad(again, logits, gradients, create_graph=True)[0]
        if saved is not None:
            return torch.ops.gence.triton_gradient(logits, saved, *labels, *terms)
        # The kept probabilities are no longer those once they have become the gradient.
        kept, ctx.kept = ctx.kept, None
        return eager.gradient(logits, kept, *labels, *terms)


def _terms(of_likelihood: Tensor, of_sums: Tensor, log_sums: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `gradient` takes of the rows and of the classes, from the gradients of the two results."""
    return -of_likelihood, torch.ones_like(of_sums[0]), of_sums, log_sums


def _operator(kernel: Kernel) -> Any:
    return torch.ops.gence.triton_statistics if kernel == "triton" else torch.ops.gence.eager_statistics


Gradient = Callable[..., Tensor]


def differentiate(kernel: Kernel, gradient: Gradient) -> None:
    """Give the operator of this kernel, which a compiled graph holds as one node, its gradient."""

    def remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        logits, target, counts, weight, ctx.smoothing = inputs
        _, log_sums, saved = output
        ctx.save_for_backward(logits, saved, target, counts, weight, log_sums)

    def backward(ctx: Any, of_likelihood: Tensor, of_sums: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        logits, saved, *labels, log_sums = ctx.saved_tensors
        terms = _terms(of_likelihood, of_sums, log_sums)
        return gradient(logits, saved, *labels, ctx.smoothing, *terms), None, None, None, None

    torch.library.register_autograd(f"gence::{kernel}_statistics", backward, setup_context=remember)


@torch.library.custom_op("gence::eager_statistics", mutates_args=())
def _eager_statistics(
    logits: Tensor, target: Tensor, counts: Tensor | None, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`eager.statistics` as an operator, as it looks at values, which a graph cannot; and the share of each row in the
    class sums, q / S, from which `composed.gradient` needs no exponential, whatever the logits.
    """
    if counts is not None and eager.can_look(logits) and bool(counts.all()):
        counts = None  # a graph is made before there are labels to look at
    likelihood, log_sums, q = eager.statistics(logits, target, counts, weight, smoothing, keep=True)
    if q is not None:
        return likelihood, log_sums, q.div_(eager.along(log_sums.exp(), q)).contiguous()
    log_q = logits.log_softmax(1, dtype=log_sums.dtype)
    shares = log_q.sub_(eager.along(log_sums, log_q)).exp_().contiguous()
    return likelihood, log_sums, shares if counts is None else shares.masked_fill_(~counts.unsqueeze(1), 0.0)


@_eager_statistics.register_fake
def _(
    logits: Tensor, target: Tensor, counts: Tensor | None, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = eager.computing_dtype(logits)
    shapes = target.shape, logits.shape[1:2], logits.shape  # contiguous, however the logits are laid out
    likelihood, log_sums, shares = (logits.new_empty(shape, dtype=dtype) for shape in shapes)
    return likelihood, log_sums, shares


differentiate("eager", composed.gradient)
