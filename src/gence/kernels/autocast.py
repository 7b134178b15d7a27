"""Where autocast must stay out: it would round what the loss is made of, also in a backward pass in its region."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def is_under_autocast(tensor: Tensor) -> bool:
    """Whether PyTorch would cast what is multiplied on the device of this tensor."""
    return tensor.device.type != "meta" and torch.is_autocast_enabled(tensor.device.type)


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which the products on this device are taken in the dtype of their factors."""
    return torch.autocast(tensor.device.type, enabled=False) if is_under_autocast(tensor) else nullcontext()
