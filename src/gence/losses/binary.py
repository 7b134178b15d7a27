"""GenCE for binary and multi-label tasks: every label is a two-class problem of its own, present or absent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gence.kernels.eager import computing_dtype
from gence.losses._checks import caution_of_ranks_apart, check_reduction, check_strength, check_tensors
from gence.losses.cross_entropy import Reduction, result_dtype


def generative_binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: Reduction = "mean",
    *,
    strength: float = 1.0,
) -> Tensor:
    r"""`F.binary_cross_entropy_with_logits` with log p replaced by log p - strength * log m, per label and side.

    The mass of label l is the model's own marginal of "present" and of "absent" over the n rows of the batch:
    :math:`m^+_l = \frac{1}{n} \sum_i \sigma(z_{il})` and :math:`m^-_l = \frac{1}{n} \sum_i \sigma(-z_{il})`, in sum 1.
    With :math:`w_{il}` from `weight` and :math:`v_{il}` from `pos_weight` the term of one label of one row is

    .. math:: L_{il} = -w_{il} \left[
        v_{il}\, y_{il} \left( \log \sigma(z_{il}) - \mathrm{strength} \cdot \log m^+_l \right)
        + (1 - y_{il}) \left( \log \sigma(-z_{il}) - \mathrm{strength} \cdot \log m^-_l \right) \right]

    **Labels lie on axis 1** wherever there are two axes or more, and every other position is a row: a mask of shape
    (N, H, W) has no label axis and needs `unsqueeze(1)`, input and target alike, or its H image rows are taken for
    labels. The mass is unweighted and the gradient flows through it. An entry with weight 0 leaves the sum but not the
    mass, for want of an ignore_index; a NaN reaches every row of its label.

    Under data parallelism each rank takes the mass of its own rows; this is said once.

    The value depends on the whole batch, so validation should use the negative log-likelihood instead. At strength 1 a
    batch of one row gives 0. Unweighted, with targets in [0, 1] of mean f over the rows and strength in [0, 1], the
    mean of a label's terms is at least f log f + (1 - f) log(1 - f), minus the entropy of f. So a label that is present
    in every row, or in none, adds at least 0; at strength 1 it adds 0 as soon as its logits are all equal, at whatever
    level. A `pos_weight` per label moves the best prediction of binary cross-entropy; at strength 1 the true
    probabilities stay best.

    Args:
        input: Logits, `(N, L)` or `(N, L, d1, ..., dK)`; `()` and `(N)` are one label.
        target: 1 for present, 0 for absent or any number between, floating point, the shape of `input`.
        weight: Weights of the terms, broadcast to the shape of `input`: `(L)`, `(N, 1)`, `(L, 1, 1)` and so on.
        pos_weight: Weights of the present sides, broadcast likewise. PyTorch's own signature has two deprecated
            arguments before reduction and pos_weight: give these two by keyword.
        reduction: `"none"`, `"mean"` (over all entries, weighted or not) or `"sum"`.
        strength: How much of log m is taken off: 0 is binary cross-entropy, 1 is GenCE. Other values are for study.

    Returns:
        A scalar, or the shape of `input` for `"none"`, in the dtype that `F.binary_cross_entropy_with_logits` would
        give: that of `target`, under autocast at least float32. Half precision is computed in float32.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits = torch.tensor([[2.0, -1.0], [-1.0, 0.0], [0.0, 1.0]])
        >>> target = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
        >>> round(generative_binary_cross_entropy_with_logits(logits, target).item(), 4)
        -0.2701
        >>> round(generative_binary_cross_entropy_with_logits(logits, target, strength=0.0).item(), 4)
        0.4088

    Reference:
        The binary form of the loss of Zhan, Zhou and Shen, arXiv 2604.06689; ours, not in the paper.
    """
    _check_arguments(input, target, weight, pos_weight, reduction, strength)
    if strength != 0.0:
        caution_of_ranks_apart("the binary loss has no exact form for ranks yet")
    dtype = torch.promote_types(computing_dtype(input), computing_dtype(target))
    logits, present = input.to(dtype), target.to(dtype)
    absent = 1.0 - present
    if pos_weight is not None:
        present = pos_weight.to(dtype) * present
    if weight is not None:
        present, absent = weight.to(dtype) * present, weight.to(dtype) * absent
    terms = -_product(present, _scores(logits, strength)) - _product(absent, _scores(-logits, strength))
    if reduction != "none":
        terms = terms.mean() if reduction == "mean" else terms.sum()
    return terms.to(result_dtype(target, target))  # PyTorch does not look at the dtype of the input here


def _scores(logits: Tensor, strength: float) -> Tensor:
    """Log sigmoid(z) - strength * log m, with m the mean of sigmoid(z) over the rows, taken in log space."""
    log_p = F.logsigmoid(logits)
    rows = [d for d in range(logits.dim()) if d != 1]
    if strength == 0.0:
        return log_p
    # A label ruled out by infinities in every row must get gradient 0, not the NaN of inf - inf.
    total = log_p.clamp(min=torch.finfo(log_p.dtype).min)
    if rows:
        total = total.logsumexp(rows, keepdim=True)
    # The logarithm is a tensor's: torch.compile would compile anew for every value of a Python one.
    count = max(1, log_p.numel()) / max(1, total.numel())
    return log_p - strength * (total - torch.full_like(total, count).log())


def _product(share: Tensor, score: Tensor) -> Tensor:
    """Share * score, with 0 for 0 times infinity: the side of a label that its target rules out costs nothing."""
    return share * torch.where(share == 0.0, score.clamp(min=torch.finfo(score.dtype).min), score)


def _check_arguments(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    reduction: str,
    strength: float,
) -> None:
    check_tensors(input=input, target=target, weight=weight, pos_weight=pos_weight)
    check_reduction(reduction)
    check_strength(strength)
    shape = tuple(input.shape)
    if not input.is_floating_point():
        raise ValueError(f"input must be floating-point logits; got {input.dtype}: use input.float()")
    if target.shape != input.shape:
        raise ValueError(
            f"target must have the shape of input, {shape}; got shape {tuple(target.shape)}: give one number in [0, 1] "
            "for every logit, and turn class numbers into columns by F.one_hot"
        )
    if not target.is_floating_point():
        raise ValueError(f"target must be floating-point, 1 for present; got {target.dtype}: use target.float()")
    for name, tensor in (("weight", weight), ("pos_weight", pos_weight)):
        if tensor is not None and not _broadcasts(tuple(tensor.shape), shape):
            per_label = (*shape[1:2], *(1 for _ in shape[2:]))
            raise ValueError(
                f"{name} must broadcast to the shape of input, {shape}; got shape {tuple(tensor.shape)}: "
                f"one entry a label has shape {per_label}"
            )


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))
