"""Cheap checks at the door of every loss: shapes and settings, and values where a look at them costs nothing."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from gence.losses._cautions import say_ranks_apart
from gence.losses.cross_entropy import Reduction, class_dim

_REDUCTIONS = get_args(Reduction)


def value_of(number: Tensor) -> float | None:
    """The value of a tensor of one element; None where there is none to be had for nothing.

    That is on an accelerator, which would stall, in a graph being compiled, and under `vmap` or on fake tensors.
    """
    if number.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    try:
        return number.item()
    except RuntimeError:
        return None


def check_tensors(*, input: object, target: object, **optional: object) -> None:
    """Raise ValueError if one of these is no tensor; None is allowed for the optional ones."""
    for name, value in {"input": input, "target": target, **optional}.items():
        if not isinstance(value, Tensor) and not (value is None and name in optional):
            raise ValueError(f"{name} must be a tensor; got {type(value).__name__}: use torch.as_tensor({name})")


def check_reduction(reduction: str) -> None:
    """Raise ValueError if there is no such reduction."""
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(_REDUCTIONS)}; got {reduction!r}")


def check_at_least_0(zero: str = "", **settings: float) -> None:
    """Raise ValueError if one of these is negative or no finite number; `zero` says what 0 means."""
    for name, value in settings.items():
        if not 0.0 <= value < math.inf:
            meaning = f" ({zero})" if zero else ""
            raise ValueError(f"{name} must be a finite number of at least 0{meaning}; got {value}")


def check_above_0(**settings: float) -> None:
    """Raise ValueError if one of these is 0, negative or no finite number."""
    for name, value in settings.items():
        if not 0.0 < value < math.inf:
            raise ValueError(f"{name} must be a finite number above 0; got {value}")


def check_whole(**settings: int) -> None:
    """Raise ValueError if one of these is no whole number of at least 1."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value}")


def check_label_smoothing(label_smoothing: float) -> None:
    """Raise ValueError if it is no share."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1]; got {label_smoothing}")


def check_strength(strength: float) -> None:
    """Raise ValueError if it is no finite number."""
    if not -math.inf < strength < math.inf:
        raise ValueError(f"strength must be a finite number, 1 for GenCE and 0 for cross-entropy; got {strength}")


def check_loss_arguments(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float = 0.0,
) -> tuple[float, float] | None:
    """Raise ValueError, naming argument, expectation, value and cure, where `F.cross_entropy` could not go on.

    Returns:
        The smallest and largest class number, ignored ones included, where they cost nothing to look at.
    """
    check_tensors(input=input, target=target, weight=weight)
    check_reduction(reduction)
    check_label_smoothing(label_smoothing)
    if input.dim() == 0 or not input.is_floating_point():
        raise ValueError(
            "input must be floating-point logits of shape (C), (N, C) or (N, C, d1, ..., dK); "
            f"got {input.dtype} of shape {tuple(input.shape)}"
        )
    shape, axis = input.shape, class_dim(input)
    rows = shape[:axis] + shape[axis + 1 :]
    if target.shape == rows:
        if target.dtype not in (torch.int64, torch.uint8):
            raise ValueError(f"target must hold class numbers as int64; got {target.dtype}: use target.long()")
    elif target.shape == shape:
        if not target.is_floating_point():
            raise ValueError(
                f"target of the shape of input {tuple(shape)} must be floating-point class probabilities; "
                f"got {target.dtype}: give probabilities, or class numbers of shape {tuple(rows)}"
            )
        if ignore_index >= 0:
            raise ValueError(
                f"ignore_index is for class numbers, target holds class probabilities; got ignore_index={ignore_index}"
            )
    else:
        raise ValueError(
            f"target must be class numbers of shape {tuple(rows)} or class probabilities of shape {tuple(shape)}, "
            f"to go with input of shape {tuple(shape)}; got shape {tuple(target.shape)}"
        )
    if weight is not None and weight.shape != (shape[axis],):
        raise ValueError(f"weight must have one entry a class, shape ({shape[axis]},); got shape {tuple(weight.shape)}")
    return check_class_numbers(target, shape[axis], ignore_index) if target.shape == rows else None


def check_class_numbers(
    target: Tensor, num_classes: int, ignore_index: int, *, of: str = "input"
) -> tuple[float, float] | None:
    """Raise ValueError if one is out of range; on an accelerator PyTorch's own assertion on the device catches these.

    Returns:
        The smallest and the largest, where they cost nothing to look at.
    """
    if target.device.type != "cpu" or torch.compiler.is_compiling() or target.numel() == 0:
        return None
    try:
        smallest, largest = (number.item() for number in target.aminmax())
    except RuntimeError:  # under vmap and with fake tensors there are no values
        return None
    if smallest < 0 or largest >= num_classes:
        target = target.long()  # uint8 would wrap around at 256
        wrong = ((target < 0) | (target >= num_classes)) & (target != ignore_index)
        if wrong.any():
            place = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"target must hold class numbers from 0 to {num_classes - 1}, as {of} has {num_classes} classes, or "
                f"ignore_index={ignore_index}; got {int(target[tuple(place)])} at {place}: mend that label, or give "
                "rows that do not count the ignore_index"
            )
    return smallest, largest


def check_process_group(process_group: Any) -> None:
    """Raise ValueError if this is no process group, or one that this process is not in."""
    if process_group == dist.GroupMember.NON_GROUP_MEMBER:  # what new_group gives the others
        raise ValueError(
            "process_group must contain this process; got the answer of new_group to a process outside of the group: "
            "give each rank the group it belongs to"
        )
    if not isinstance(process_group, dist.ProcessGroup):
        raise ValueError(
            "process_group must be a torch.distributed.ProcessGroup, such as torch.distributed.group.WORLD after "
            f"init_process_group; got {process_group!r}"
        )


def caution_of_ranks_apart(cure: str) -> None:
    """Warn once if there are several ranks, also where a loss is compiled."""
    if torch.compiler.is_compiling():
        from gence.losses._traced_cautions import say_ranks_apart as say
    else:
        say = say_ranks_apart
    say(cure)
