"""Cross-entropy after its softmax: what `F.cross_entropy` does with weight, ignore_index, smoothing and reduction.

`F.cross_entropy` cannot be called on scores that are not normalised without normalising them again, so the part
behind its softmax is here, for every loss that changes log q and nothing else.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gence.kernels.autocast import is_under_autocast
from gence.kernels.eager import computing_dtype

Reduction = Literal["none", "mean", "sum"]


def class_dim(input: Tensor) -> int:
    """The axis of the classes: 0 for one unbatched row, 1 otherwise."""
    return 0 if input.dim() == 1 else 1


def other_axes(input: Tensor) -> list[int]:
    """The axes of the rows: all but that of the classes, none for one unbatched row."""
    return [d for d in range(input.dim()) if d != class_dim(input)]


def along(vector: Tensor, scores: Tensor) -> Tensor:
    """One number a class, `(C)`, shaped to be combined with `scores` along its class axis."""
    return vector.view([-1 if d == class_dim(scores) else 1 for d in range(scores.dim())])


def has_probability_targets(input: Tensor, target: Tensor) -> bool:
    """Whether the targets are class probabilities; PyTorch's rule is that they then have the shape of the input."""
    return input.shape == target.shape


def valid_rows(input: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """A mask with size 1 on the class axis that is True where a row counts. Probability targets are never ignored."""
    if has_probability_targets(input, target):
        return torch.ones_like(input.select(class_dim(input), 0), dtype=torch.bool).unsqueeze(class_dim(input))
    return (target.long() != ignore_index).unsqueeze(class_dim(input))


def counting_logits(input: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """The logits in the dtype to compute in, and 0 in rows that do not count.

    So a NaN in an ignored row reaches neither value nor gradient.
    """
    return input.to(computing_dtype(input)).masked_fill(~valid_rows(input, target, ignore_index), 0.0)


def result_dtype(input: Tensor, target: Tensor) -> torch.dtype:
    """The dtype `F.cross_entropy` would return: the input's, promoted by probability targets.

    Under autocast half precision becomes float32.
    """
    dtype = computing_dtype(input) if is_under_autocast(input) else input.dtype
    return torch.promote_types(dtype, target.dtype) if has_probability_targets(input, target) else dtype


def cross_entropy_of_scores(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Equals `F.cross_entropy(logits, target, ...)` for `scores = logits.log_softmax(class axis)`.

    Args:
        scores: What stands in the place of log q; `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers (`scores` without its class axis) or class probabilities (the shape of `scores`).
        weight: `(C)` class weights.
        ignore_index: Class number whose rows do not count.
        reduction: `"none"`, `"mean"` (over the weights of the rows that count) or `"sum"`.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
    """
    axis = class_dim(scores)
    if weight is not None:
        weight = weight.to(scores.dtype)
    if has_probability_targets(scores, target):
        return _soft(scores, target, weight, reduction, label_smoothing, axis)
    target = target.long()  # a uint8 as index would be taken for a mask
    if scores.dim() > 2 and torch.are_deterministic_algorithms_enabled():
        # PyTorch has no deterministic nll_loss of images on CUDA; of rows it has.
        rows = scores.movedim(axis, -1).flatten(0, -2)
        loss = cross_entropy_of_scores(rows, target.flatten(), weight, ignore_index, reduction, label_smoothing)
        return loss.view(target.shape) if reduction == "none" else loss
    hard = F.nll_loss(scores, target, weight, ignore_index=ignore_index, reduction=reduction)
    if label_smoothing == 0.0:
        return hard
    spread = _spread(scores, target, weight, ignore_index, reduction, axis)
    return (1.0 - label_smoothing) * hard + label_smoothing / scores.shape[axis] * spread


def _soft(
    scores: Tensor, target: Tensor, weight: Tensor | None, reduction: Reduction, label_smoothing: float, axis: int
) -> Tensor:
    num_classes = scores.shape[axis]
    target = target.to(torch.promote_types(scores.dtype, target.dtype))
    if label_smoothing > 0.0:
        target = target * (1.0 - label_smoothing) + label_smoothing / num_classes
    terms = -target * scores if weight is None else -target * scores * along(weight, scores)
    rows = terms.sum(axis)
    if reduction == "none":
        return rows
    # PyTorch divides by the number of rows here, weighted or not.
    return rows.sum() if reduction == "sum" else rows.sum() / rows.numel()


def _spread(
    scores: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: Reduction, axis: int
) -> Tensor:
    """The smoothing term: minus the sum of the scores over the classes, reduced as the hard term is."""
    ignored = target == ignore_index
    terms = -scores if weight is None else -scores * along(weight, scores)
    rows = terms.sum(axis).masked_fill(ignored, 0.0)
    if reduction == "none":
        return rows
    if reduction == "sum":
        return rows.sum()
    if weight is None:
        return rows.sum() / (~ignored).sum()
    return rows.sum() / weight[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0).sum()
