"""What GenCE needs of the logits of a linear layer, by chunks of rows: the N x C logits never exist at once.

The likelihoods are each row's own and the class sums join, so the forward pass needs one chunk of logits at a time.
Given those sums the gradient, too, is local to the rows, so the backward pass makes each chunk anew. It cannot be made
in the forward pass, as that of cross-entropy can: a row's gradient needs the sums over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gence.kernels import composed, eager
from gence.kernels.autocast import is_under_autocast, without_autocast

Kernel = Literal["eager", "triton"]

_CHUNK = 2**24
"""How many logits a chunk has at most, unless the weight is larger: 64 megabytes in float32."""


def rows_of_chunk(weight: Tensor) -> int:
    """How many rows a chunk has by default.

    Each chunk reads the weight and adds to its gradient, which is held in any case; where these are large, a chunk of
    a quarter of their size costs little beside them, and fewer rows would not repay what they move.
    """
    num_classes, num_features = weight.shape
    return max(1, _CHUNK // num_classes, num_features // 4)


def statistics(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    counts: Tensor | None,
    class_weight: Tensor | None,
    smoothing: float,
    *,
    kernel: Kernel,
    rows: int,
) -> tuple[Tensor, Tensor]:
    """`eager.statistics` of `features @ weight.T + bias` without what it keeps, differentiable in all three.

    The second derivative is that of PyTorch's operators, and holds all logits at once.

    Args:
        features: `(N, D)`.
        weight: `(C, D)`, in the dtype of `features`, as is the bias.
        bias: `(C)`, or None.
        target: Class numbers, int64, `(N)`; of rows that do not count, any number.
        counts: Which rows count, bool, `(N)`; None if all do. The others may hold NaN, and get gradient 0.
        class_weight: `(C)` class weights.
        smoothing: The share of the target that is spread over the classes.
        kernel: `"eager"` or `"triton"`, for each chunk.
        rows: How many of them make a chunk.

    Returns:
        The `(N)` log-likelihoods, and the `(C)` logarithms of the class sums.
    """
    arguments = (features, weight, bias, target, counts, class_weight, smoothing, kernel, rows)
    if torch.compiler.is_compiling():
        return torch.ops.gence.linear_statistics(*arguments)[:2]
    return _Statistics.apply(*arguments)


class _Statistics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        counts: Tensor | None,
        class_weight: Tensor | None,
        smoothing: float,
        kernel: Kernel,
        rows: int,
    ) -> tuple[Tensor, Tensor]:
        arguments = (features, weight, bias, target, counts, class_weight, smoothing, kernel, rows)
        output = _forward(*arguments)
        _remember(ctx, arguments, output)
        return output[:2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if not torch.is_grad_enabled():
            return _returned(ctx, *_backward(*_terms(ctx, *gradients)))
        # Somebody wants the second derivative. The layer is taken by views of its own: of the tensors themselves one
        # may be made from another, as features from a weight that is also the embedding, and would count twice.
        features, weight, bias, target, counts, class_weight, *_ = ctx.saved_tensors
        features, weight = features.view_as(features), weight.view_as(weight)
        bias = None if bias is None else bias.view_as(bias)
        with without_autocast(features):
            logits = F.linear(_counting(features, counts), weight, bias)
            again = composed.statistics(logits, target, counts, class_weight, ctx.settings[0])
            wanted = zip((features, weight, bias), ctx.needs_input_grad, strict=False)
            inputs = [one for one, of_it in wanted if one is not None and of_it]
            found = iter(torch.autograd.grad(again, inputs, gradients, create_graph=True))
        return *(next(found) if of_it else None for of_it in ctx.needs_input_grad[:3]), *(None,) * 6


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, smoothing, kernel, rows = inputs
    ctx.settings = smoothing, kernel, rows
    ctx.save_for_backward(*tensors, *output[1:])


def _terms(ctx: Any, of_likelihood: Tensor, of_sums: Tensor) -> tuple[Any, ...]:
    """The arguments of `_backward`."""
    *tensors, log_sums, saved = ctx.saved_tensors
    return *tensors, *ctx.settings, of_likelihood, of_sums, log_sums, saved, list(ctx.needs_input_grad[:3])


def _returned(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
    needed = zip(gradients, ctx.needs_input_grad, strict=False)
    return *(gradient if of_it else None for gradient, of_it in needed), *(None,) * 6


def _forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    counts: Tensor | None,
    class_weight: Tensor | None,
    smoothing: float,
    kernel: str,
    rows: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The two results, and what the backward pass of Triton wants to see again, `(2, N)`; nothing for eager."""
    likelihood, log_sums, saved = _results(features, weight, kernel)
    for at in _chunks(features, rows):
        of_count = None if counts is None else counts[at]
        logits = F.linear(_counting(features[at], of_count), weight, bias)
        likelihood[at], sums, kept = _kernel(kernel).statistics(logits, target[at], of_count, class_weight, smoothing)
        torch.logaddexp(log_sums, sums, out=log_sums)
        if kept is not None:
            saved[:, at] = kept
    return likelihood, log_sums, saved


def _backward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    counts: Tensor | None,
    class_weight: Tensor | None,
    smoothing: float,
    kernel: str,
    rows: int,
    of_likelihood: Tensor,
    of_sums: Tensor,
    log_sums: Tensor,
    saved: Tensor,
    needed: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients with respect to features, weight and bias; those not needed are empty."""
    if is_under_autocast(features):
        given = (features, weight, bias, target, counts, class_weight, smoothing, kernel, rows)
        with without_autocast(features):
            return _backward(*given, of_likelihood, of_sums, log_sums, saved, needed)
    to_features, to_weight, to_bias = _gradients(features, weight, needed)
    one = torch.ones_like(of_sums[0])
    for at in _chunks(features, rows):
        of_count = None if counts is None else counts[at]
        x = _counting(features[at], of_count)
        logits = F.linear(x, weight, bias)
        kept = saved[:, at] if kernel == "triton" else None
        labels = (target[at], of_count, class_weight, smoothing)
        of_logits = _kernel(kernel).gradient(logits, kept, *labels, -of_likelihood[at], one, of_sums, log_sums)
        del logits
        if needed[0]:
            torch.mm(of_logits, weight, out=to_features[at])
        if needed[1] and to_weight.dtype == x.dtype:
            to_weight.addmm_(of_logits.T, x)
        elif needed[1]:
            to_weight += of_logits.T @ x
        if needed[2]:
            to_bias += of_logits.sum(0, dtype=to_bias.dtype)
        del of_logits  # else it would be there while the next chunk is made
    return to_features, to_weight.to(features.dtype), to_bias.to(features.dtype)


def _kernel(name: str) -> ModuleType:
    if name == "eager":
        return eager
    from gence.kernels import triton_ops

    return triton_ops


def _chunks(features: Tensor, rows: int) -> Iterator[slice]:
    return (slice(start, start + rows) for start in range(0, len(features), rows))


def _counting(features: Tensor, counts: Tensor | None) -> Tensor:
    """The features, and 0 in rows that do not count: a NaN there would reach the weight as 0 times NaN."""
    return features if counts is None else features.masked_fill(~counts.unsqueeze(1), 0.0)


def _results(features: Tensor, weight: Tensor, kernel: str) -> tuple[Tensor, Tensor, Tensor]:
    dtype, num_rows = eager.computing_dtype(features), len(features)
    log_sums = features.new_full((len(weight),), torch.finfo(dtype).min, dtype=dtype)
    saved = features.new_empty((2, num_rows if kernel == "triton" else 0), dtype=dtype)
    return features.new_empty(num_rows, dtype=dtype), log_sums, saved


def _gradients(features: Tensor, weight: Tensor, needed: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    # In half precision a sum over many chunks would lose what each adds to it, so it is taken in float32.
    dtype, (num_classes, num_features) = eager.computing_dtype(features), weight.shape
    to_features = features.new_empty((len(features) if needed[0] else 0, num_features))
    to_weight = features.new_zeros((num_classes if needed[1] else 0, num_features), dtype=dtype)
    return to_features, to_weight, features.new_zeros(num_classes if needed[2] else 0, dtype=dtype)


_linear_statistics = torch.library.custom_op("gence::linear_statistics", _forward, mutates_args=())
_linear_gradient = torch.library.custom_op("gence::linear_gradient", _backward, mutates_args=())


@_linear_statistics.register_fake
def _(features: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _results(features, weight, others[-2])


@_linear_gradient.register_fake
def _(features: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, ...]:
    return tuple(one.to(features.dtype) for one in _gradients(features, weight, others[-1]))


def _differentiated(ctx: Any, of_likelihood: Tensor, of_sums: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return _returned(ctx, *torch.ops.gence.linear_gradient(*_terms(ctx, of_likelihood, of_sums)))


torch.library.register_autograd("gence::linear_statistics", _differentiated, setup_context=_remember)
