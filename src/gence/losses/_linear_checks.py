"""The checks at the door of the losses of a linear head; see `_checks` for those of logits."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from gence.kernels.autocast import is_under_autocast
from gence.losses._checks import check_class_numbers, check_label_smoothing, check_reduction, check_whole
from gence.losses.class_mass import ClassMass
from gence.losses.moving import MovingClassMass

LinearImplementation = Literal["auto", "eager", "triton"]


def check_parts(class_mass: object, process_group: object, reduction: str) -> None:
    """Raise ValueError if what the rows are a part of cannot be told so, or not with this reduction."""
    check_reduction(reduction)
    if not isinstance(class_mass, ClassMass | MovingClassMass | None):
        raise ValueError(
            "class_mass must be a ClassMass (the sum of gence.losses.linear_class_mass over the parts of a batch) or a "
            f"gence.MovingClassMass; got {type(class_mass).__name__}"
        )
    if reduction == "none" and (class_mass is not None or process_group is not None):
        given = "process_group" if class_mass is None else "class_mass"
        raise ValueError(
            f"reduction='none' is for a whole batch; got it with {given}: use 'mean' or 'sum', or "
            "gence.generative_cross_entropy of the logits"
        )


def check_layer(
    features: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None,
    class_weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> bool:
    """Raise ValueError where `F.linear` or `F.cross_entropy` could not go on; whether all rows are known to count."""
    check_label_smoothing(label_smoothing)
    optional = {"bias": bias, "class_weight": class_weight}
    given = {"features": features, "weight": weight, "target": target}
    given |= {name: value for name, value in optional.items() if value is not None}
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a tensor; got {type(value).__name__}: use torch.as_tensor({name})")
    if features.dim() == 0 or not features.is_floating_point():
        raise ValueError(
            "features must be floating-point numbers of shape (..., D), what the linear layer is given; "
            f"got {features.dtype} of shape {tuple(features.shape)}"
        )
    num_features = features.shape[-1]
    if weight.dim() != 2 or weight.shape[1] != num_features or weight.shape[0] == 0:
        raise ValueError(
            f"weight must have shape (C, {num_features}), a row a class, as features have {num_features} columns; got "
            f"shape {tuple(weight.shape)}: give the weight of the nn.Linear"
        )
    num_classes = weight.shape[0]
    rows = tuple(features.shape[:-1])
    if target.is_floating_point() or target.shape == (*rows, num_classes):
        raise ValueError(
            f"target must hold class numbers; got {target.dtype} of shape {tuple(target.shape)}: give class numbers of "
            f"shape {rows}, or class probabilities to gence.generative_cross_entropy of the logits"
        )
    if tuple(target.shape) != rows:
        raise ValueError(
            f"target must have shape {rows}, that of features without their last axis; got {tuple(target.shape)}"
        )
    if target.dtype not in (torch.int64, torch.uint8):
        raise ValueError(f"target must hold class numbers as int64; got {target.dtype}: use target.long()")
    for name, value in optional.items():
        if value is not None and value.shape != (num_classes,):
            raise ValueError(
                f"{name} must have one entry a class, shape ({num_classes},); got shape {tuple(value.shape)}"
            )
    if class_weight is not None and class_weight.requires_grad and torch.is_grad_enabled():
        raise ValueError("class_weight must be constant, it has no gradient; got one: use class_weight.detach()")
    _check_alike(features, given)
    seen = check_class_numbers(target, num_classes, ignore_index, of="weight")
    return seen is not None and not seen[0] <= ignore_index <= seen[1]


def _check_alike(features: Tensor, given: dict[str, Tensor]) -> None:
    autocast = is_under_autocast(features)
    for name, value in given.items():
        if value.device != features.device:
            raise ValueError(
                f"{name} must be on the device of features, {features.device}; got it on {value.device}: use "
                f"{name}.to(features.device)"
            )
        cast = autocast and torch.float64 not in (value.dtype, features.dtype)
        if name in ("weight", "bias") and value.dtype != features.dtype and not cast:
            raise ValueError(
                f"{name} must have the dtype of features, {features.dtype}; got {value.dtype}: cast one of them, or "
                "use torch.autocast"
            )


def check_computation(features: Tensor, weight: Tensor, impl: str, chunk: int | None) -> None:
    """Raise ValueError if the chunks cannot be made or computed in this way."""
    if impl not in get_args(LinearImplementation):
        raise ValueError(f"impl must be one of {', '.join(get_args(LinearImplementation))}; got {impl!r}")
    if chunk is not None:
        check_whole(chunk=chunk)
    if impl == "triton":
        from gence.kernels import triton_support

        if reason := triton_support.why_not(features.new_empty((1, len(weight)))):
            raise ValueError(f'impl="triton" cannot be had: {reason}')
