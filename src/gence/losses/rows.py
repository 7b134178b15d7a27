"""A batch as a matrix, every position a row, so that a loss is its equation and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gence.losses._checks import check_loss_arguments
from gence.losses.cross_entropy import (
    Reduction,
    class_dim,
    counting_logits,
    has_probability_targets,
    result_dtype,
    valid_rows,
)


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a batch, those that do not count among them with logits 0 and label 0.

    Attributes:
        logits: `(R, C)`, in float32 at least.
        labels: `(R)`, int64.
        valid: `(R)`, whether a row counts.
        weight: `(C)` class weights or None.
        reduction: `"none"`, `"mean"` or `"sum"`.
        shape: What `"none"` gives back, the shape of the target.
        dtype: What the loss is returned in.
    """

    logits: Tensor
    labels: Tensor
    valid: Tensor
    weight: Tensor | None
    reduction: Reduction
    shape: torch.Size
    dtype: torch.dtype

    def log_probs(self) -> Tensor:
        """`(R, C)`, log p; the least finite number where a class is ruled out by minus infinity."""
        # 0 times minus infinity would be NaN in every term p log p.
        return self.logits.log_softmax(1).clamp(min=torch.finfo(self.logits.dtype).min)

    def of_label(self, values: Tensor) -> Tensor:
        """`(R)`, the entry of the label in each row of `values` `(R, C)`."""
        return values.gather(1, self.labels[:, None]).squeeze(1)

    def cross_entropy(self) -> Tensor:
        """`(R)`, -log p of the label."""
        return -self.of_label(self.log_probs())

    def one_hot(self) -> Tensor:
        """`(R, C)`, 1 at the label and 0 elsewhere."""
        # Not F.one_hot, which looks at the values and so cannot be under vmap.
        classes = torch.arange(self.logits.shape[1], device=self.labels.device)
        return (self.labels[:, None] == classes).to(self.logits.dtype)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values` `(R)` or `(R, ...)` over the rows that count, unweighted; 0 if there are none."""
        counts = self.valid.to(values.dtype).view(-1, *[1] * (values.dim() - 1))
        # No matrix product: autocast would take it in half precision.
        return (counts * values).sum(0) / counts.sum().clamp(min=1)

    def reduce(self, terms: Tensor) -> Tensor:
        """Reduce the terms `(R)` as `F.cross_entropy` does.

        A term counts as much as the weight of its row's label, `"mean"` divides by the weights of the rows that count.
        What a loss adds to the terms is a part of them: it is weighted with them.
        """
        weights = self.valid.to(terms.dtype)
        if self.weight is not None:
            weights = weights * self.weight.to(terms.dtype)[self.labels]
        terms = terms * weights
        if self.reduction == "none":
            return terms.view(self.shape).to(self.dtype)
        total = terms.sum()
        return (total if self.reduction == "sum" else total / weights.sum()).to(self.dtype)


def rows_of(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: Reduction, loss: str
) -> Rows:
    """The arguments of `F.cross_entropy` as rows, for losses of class numbers.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`.
        loss: The name of the loss, for the message.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together, a class number is out of range, or the target
            holds class probabilities.
    """
    check_loss_arguments(input, target, weight, ignore_index, reduction)
    if has_probability_targets(input, target):
        raise ValueError(
            f"{loss} is defined for class numbers; got class probabilities of shape {tuple(target.shape)}: give "
            "target.argmax(class axis), or use a loss that takes probabilities, such as generative_cross_entropy"
        )
    valid = valid_rows(input, target, ignore_index)
    logits = counting_logits(input, target, ignore_index)
    return Rows(
        logits=logits.movedim(class_dim(input), -1).reshape(-1, input.shape[class_dim(input)]),
        labels=target.long().masked_fill(~valid.squeeze(class_dim(input)), 0).flatten(),
        valid=valid.flatten(),
        weight=weight,
        reduction=reduction,
        shape=target.shape,
        dtype=result_dtype(input, target),
    )


def complement(log_p: Tensor) -> Tensor:
    """1 - p of log p, at least 1e-30.

    It is taken by expm1, as near p = 1 the plain difference has no digits left. A power below 1 has a gradient of
    infinity at 0, so it is kept off 0 by less than any difference a gradient could see.
    """
    return (-log_p.expm1()).clamp(min=1e-30)
