"""Cheap checks at the door of every loss: shapes and settings, never values (those would stall an accelerator)."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from gence.losses.cross_entropy import Reduction, class_dim


def check_loss_arguments(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float = 0.0,
) -> None:
    """Raise ValueError, naming argument, expectation, value and cure, where `F.cross_entropy` could not go on."""
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of {', '.join(get_args(Reduction))}; got {reduction!r}")
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1]; got {label_smoothing}")
    if input.dim() == 0 or not input.is_floating_point():
        raise ValueError(
            "input must be floating-point logits of shape (C), (N, C) or (N, C, d1, ..., dK); "
            f"got {input.dtype} of shape {tuple(input.shape)}"
        )
    axis = class_dim(input)
    rows = (*input.shape[:axis], *input.shape[axis + 1 :])
    if target.shape == input.shape:
        if not target.is_floating_point():
            raise ValueError(
                f"target of the shape of input {tuple(input.shape)} must be floating-point class probabilities; "
                f"got {target.dtype}: give probabilities, or class numbers of shape {rows}"
            )
        if ignore_index >= 0:
            raise ValueError(
                f"ignore_index is for class numbers, target holds class probabilities; got ignore_index={ignore_index}"
            )
    elif tuple(target.shape) != rows:
        raise ValueError(
            f"target must be class numbers of shape {rows} or class probabilities of shape {tuple(input.shape)}, "
            f"to go with input of shape {tuple(input.shape)}; got shape {tuple(target.shape)}"
        )
    elif target.dtype not in (torch.int64, torch.uint8):
        raise ValueError(f"target must hold class numbers as int64; got {target.dtype}: use target.long()")
    if weight is not None and weight.shape != (input.shape[axis],):
        raise ValueError(
            f"weight must have one entry a class, shape ({input.shape[axis]},); got shape {tuple(weight.shape)}"
        )
