"""Any loss function of this package as a module."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from gence._errors import unknown_name
from gence.losses._checks import check_reduction
from gence.losses.cross_entropy import Reduction


class Criterion(nn.Module):
    """A loss function with its settings, to stand where `torch.nn.CrossEntropyLoss` stands.

    Args:
        function: A loss function of `gence.losses`, or `F.cross_entropy`.
        weight: `(C)` class weights, a copy of which is kept as a buffer.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`.
        **knobs: The function's own keywords; of tensors among them copies are kept as buffers, so that they move
            with the module.

    Raises:
        InputError: If the function has no such keyword.
        ValueError: If there is no such reduction.

    Example:
        >>> import torch
        >>> from gence.losses import focal
        >>> loss = Criterion(focal, gamma=3.0)
        >>> round(loss(torch.zeros(4, 2), torch.tensor([0, 1, 1, 0])).item(), 4)  # log(2) / 8
        0.0866
        >>> loss
        Criterion(focal, gamma=3.0)
    """

    weight: Tensor | None

    def __init__(
        self,
        function: Callable[..., Tensor],
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        **knobs: Any,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.function = function
        # Copies, as load_state_dict writes into a buffer, and the caller's tensor is not ours to write.
        self.register_buffer("weight", None if weight is None else weight.detach().clone())
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        known = list(inspect.signature(function).parameters)
        for name, value in knobs.items():
            if name not in known:
                raise unknown_name(f"knob of {function.__name__}", name, known)
            if isinstance(value, Tensor):
                self.register_buffer(name, value.detach().clone())
            else:
                setattr(self, name, value)
        self._knobs = tuple(knobs)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        knobs = {name: getattr(self, name) for name in self._knobs}
        return self.function(
            input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction, **knobs
        )

    def extra_repr(self) -> str:
        knobs = {name: getattr(self, name) for name in self._knobs}
        shown = {name: tuple(v.shape) if isinstance(v, Tensor) else v for name, v in knobs.items()}
        if self.ignore_index != -100:
            shown["ignore_index"] = self.ignore_index
        if self.reduction != "mean":
            shown["reduction"] = repr(self.reduction)
        return ", ".join([self.function.__name__, *(f"{name}={value}" for name, value in shown.items())])
