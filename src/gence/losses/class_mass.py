"""The class mass: the sums over a batch that GenCE needs, and how those of its parts become those of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gence.kernels.eager import computing_dtype
from gence.losses._checks import check_loss_arguments, check_process_group
from gence.losses.cross_entropy import class_dim, has_probability_targets, other_axes, valid_rows

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@dataclass(frozen=True, eq=False)
class ClassMass:
    r"""The sums that GenCE needs of a batch, or of a part of one; parts are added with `+` or `sum`.

    Attributes:
        log_sums: `(C)`, :math:`\log \sum_{i \in V} q_{ik}`: the logarithm of how many rows the model gives class k.
        label_sums: `(C)`, how many rows the labels give class k.
        rows: `()`, how many rows count.
        weight: The class weights of the loss these sums are for; a loss with others refuses them.
        ignore_index: Of that loss.
        label_smoothing: Of that loss. Neither this nor the weights enter the sums: the loss applies them.
    """

    log_sums: Tensor
    label_sums: Tensor
    rows: Tensor
    weight: Tensor | None = None
    ignore_index: int = -100
    label_smoothing: float = 0.0

    @property
    def num_classes(self) -> int:
        return self.log_sums.shape[0]

    @property
    def log_mass(self) -> Tensor:
        """`(C)`, log m: the logarithm of the model's marginal; 0 where there is no row."""
        return torch.where(self.rows > 0, self.log_sums - self.rows.log(), 0.0)

    @property
    def label_share(self) -> Tensor:
        """`(C)`, the marginal of the labels; 0 where there is no row."""
        return self.label_sums / self.rows.clamp(min=1)

    def to(self, other: Tensor) -> ClassMass:
        """With the dtype and on the device of `other`."""
        # The least float64 is minus infinity in float32, and a sum of zero rows' worth must stay a number.
        log_sums = self.log_sums.to(other).clamp(min=torch.finfo(other.dtype).min)
        return replace(self, log_sums=log_sums, label_sums=self.label_sums.to(other), rows=self.rows.to(other))

    def __add__(self, other: ClassMass) -> ClassMass:
        if not isinstance(other, ClassMass):
            return NotImplemented
        other.check_is_for(self.num_classes, self.weight, self.ignore_index, self.label_smoothing)
        return replace(
            self,
            log_sums=torch.logaddexp(self.log_sums, other.log_sums),
            label_sums=self.label_sums + other.label_sums,
            rows=self.rows + other.rows,
        )

    def __radd__(self, other: int) -> ClassMass:
        return self if other == 0 else NotImplemented  # `sum` starts with 0

    def all_reduce(self, process_group: ProcessGroup) -> ClassMass:
        """The sums over all ranks of `process_group`, by one all_reduce; every rank must call this.

        A class of whose probability less than the exponential of -1950 is left on all ranks (of -82550 up to 1,024
        classes) counts as having that much.

        Raises:
            ValueError: If `process_group` is none, or this process is not in it.
        """
        check_process_group(process_group)
        return self.all_reduce_with(self.rows.new_zeros(()), process_group)[0]

    def all_reduce_with(self, number: Tensor, process_group: ProcessGroup) -> tuple[ClassMass, Tensor]:
        """`all_reduce` without its check, and the sum of one more number over the ranks, for the price of one."""
        # Sums of exponentials that neither overflow nor vanish, in one sum: each class travels in several bands, scaled
        # by exp(1300 b). Below the band that fits, its number is too small to be read; above, it is cut off.
        bands = max(2, min(64, 2**16 // self.num_classes))
        shifts = 1300.0 * torch.arange(bands, dtype=torch.float64, device=self.log_sums.device)[:, None]
        scaled = (self.log_sums.double() + shifts).clamp(max=690.0).exp()
        parts = [scaled.flatten(), self.label_sums.double(), self.rows.double()[None], number.detach().double()[None]]
        packed = torch.cat(parts)
        dist.all_reduce(packed, group=process_group)
        scaled, label_sums, rows, number = packed.split([bands * self.num_classes, self.num_classes, 1, 1])
        log_scaled = scaled.view(bands, self.num_classes).log()
        log_sums = torch.where(log_scaled < -650.0, -650.0 - shifts[-1], log_scaled - shifts).amax(0)
        total = replace(self, log_sums=log_sums, label_sums=label_sums, rows=rows[0]).to(self.log_sums)
        return total, number[0].to(self.log_sums)

    def check_is_for(self, num_classes: int, weight: Tensor | None, ignore_index: int, label_smoothing: float) -> None:
        """Raise ValueError if these are sums for a loss with other settings."""
        if self.num_classes != num_classes:
            raise ValueError(
                f"class_mass must be of {num_classes} classes, as input is; got one of {self.num_classes}: add up the "
                "class_mass of the logits that the loss is given"
            )
        for name, mine, wanted in (
            ("ignore_index", self.ignore_index, ignore_index),
            ("label_smoothing", self.label_smoothing, label_smoothing),
        ):
            if mine != wanted:
                raise ValueError(
                    f"class_mass must be made with the {name} of the loss, {wanted}; got one made with {mine}: give "
                    f"{name}={wanted} to both"
                )
        if not _same_weight(self.weight, weight):
            raise ValueError(
                f"class_mass must be made with the weight of the loss, {_in_words(weight)}; got one made with "
                f"{_in_words(self.weight)}: give the same weight to both"
            )


@torch.no_grad()
def class_mass(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> ClassMass:
    r"""The sums over a part of a batch that `generative_cross_entropy` needs of the whole, without gradient.

    Given the sums of the whole batch, the gradient of GenCE is local to the rows. So a batch that comes in parts is
    trained on exactly by one pass that adds these sums up, and a second one with `class_mass=` their total.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers or class probabilities, as in `generative_cross_entropy`.
        weight: `(C)` class weights of the loss.
        ignore_index: Rows with this class number do not count.
        label_smoothing: Of the loss.

    Returns:
        A frozen `ClassMass`; those of all parts are added with `+` or `sum`.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together, or a class number is out of range.

    Example:
        >>> logits, target = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
        >>> total = sum(class_mass(z, y) for z, y in zip(logits.split(1), target.split(1)))
        >>> total.log_mass.exp()
        tensor([0.6269, 0.3731])
        >>> total.label_share
        tensor([0.6667, 0.3333])
    """
    check_loss_arguments(input, target, weight, ignore_index, "mean", label_smoothing)
    log_q = input.log_softmax(class_dim(input), dtype=computing_dtype(input))
    return sums_of(log_q, target, weight, ignore_index, label_smoothing)


@torch.no_grad()
def sums_of(
    log_q: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, label_smoothing: float
) -> ClassMass:
    """`class_mass` from log-probabilities, without checks."""
    valid = valid_rows(log_q, target, ignore_index)
    axis = class_dim(log_q)
    if has_probability_targets(log_q, target):
        rows = other_axes(log_q)
        label_sums = target.to(log_q.dtype).sum(rows) if rows else target.to(log_q.dtype)
    else:
        label_sums = label_counts(target.long(), valid.squeeze(axis), log_q.shape[axis]).to(log_q.dtype)
    return ClassMass(
        log_sums=log_sum_over_rows(log_q, ~valid).flatten(),
        label_sums=label_sums,
        rows=valid.sum().to(log_q.dtype),
        weight=weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def label_counts(target: Tensor, valid: Tensor | None, num_classes: int) -> Tensor:
    """How many of the rows that count have each label, `(C)`; in integers, as float32 stops counting at 2^24."""
    labels = (target if valid is None else target.masked_fill(~valid, 0)).flatten()
    ones = torch.ones_like(labels) if valid is None else valid.flatten().long()
    return torch.zeros(num_classes, dtype=torch.long, device=target.device).scatter_add(0, labels, ones)


def log_class_mass(log_q: Tensor, valid: Tensor | None) -> Tensor:
    """Log m: the logarithm of the mean of q over the rows that count, taken in log space.

    Args:
        log_q: Log-probabilities, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        valid: Mask of the rows that count, the shape of `log_q` with size 1 on the class axis; None if all do.

    Returns:
        log m with the number of axes of `log_q`, size 1 on all but the class axis. Where no row counts it is that of
        all rows, so that a sum over no rows stays 0 and its gradient finite.
    """
    if valid is None:
        return log_sum_over_rows(log_q, None) - math.log(log_q.numel() // log_q.shape[class_dim(log_q)])
    left_out = ~valid & valid.any()
    count = (~left_out).sum().clamp(min=1)
    return log_sum_over_rows(log_q, left_out) - count.to(log_q.dtype).log()


def log_sum_over_rows(log_q: Tensor, left_out: Tensor | None) -> Tensor:
    """The logarithm of the sum of q over the rows that are not left out, size 1 on all but the class axis."""
    # A class that is impossible in every row (logits of minus infinity) must get gradient 0, not the NaN of inf - inf.
    total = log_q.clamp(min=torch.finfo(log_q.dtype).min)
    if left_out is not None:
        total = total.masked_fill(left_out, -math.inf)
    rows = other_axes(log_q)
    return total.logsumexp(rows, keepdim=True) if rows else total


@torch.no_grad()
def total_class_mass(
    model: nn.Module,
    batches: Sequence[tuple[Any, Tensor]],
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> ClassMass:
    """The class mass of a batch that is given in parts: one forward pass over them, without gradient.

    The model is left as it was found: buffers (the running statistics of batch norm) are put back, and so is the state
    of PyTorch's default random generators, so that dropout draws the same masks when the parts are passed again in the
    same order. Batch norm in training mode normalises each part by itself, here as in the second pass; the gradient is
    then exactly that of the model as it is run, in parts, which no accumulation makes equal to the model run on the
    whole.

    Args:
        model: Maps inputs to logits. It is called in the mode and under the autocast it is in.
        batches: The parts, (inputs, target) each; they are needed again for the gradient, so a list, no loader. A rank
            without rows gives one part without rows.
        weight: `(C)` class weights of the loss.
        ignore_index: Rows with this class number do not count.
        label_smoothing: Of the loss.

    Returns:
        The frozen total. Under data parallelism each rank goes on with `total.all_reduce(process_group)`.

    Raises:
        ValueError: If `model` is no module, `batches` is no list or is empty, or a part is refused by `class_mass`.

    Example:
        >>> model = nn.Linear(2, 3)
        >>> parts = [(torch.randn(4, 2), torch.tensor([0, 1, 2, 0])), (torch.randn(4, 2), torch.tensor([1, 1, 2, 0]))]
        >>> total_class_mass(model, parts).label_sums
        tensor([3., 3., 2.])
    """
    if not isinstance(model, nn.Module):
        raise ValueError(
            "model must be a torch.nn.Module that maps inputs to logits, so that its buffers can be put back; got "
            f"{type(model).__name__}: wrap the call in a module, or add up gence.class_mass yourself"
        )
    if not isinstance(batches, Sequence):
        raise ValueError(
            "batches must be a list of (inputs, target), the same for the class mass now and for the gradient later; "
            f"got {type(batches).__name__}: use list(batches)"
        )
    with _left_as_found(model):
        parts = [class_mass(model(x), y, weight, ignore_index, label_smoothing) for x, y in batches]
    if not parts:
        raise ValueError(
            "batches must hold at least one (inputs, target); got none: without rows, give one part without rows"
        )
    return sum(parts[1:], parts[0])


@contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    tensors = [*model.parameters(), *model.buffers()]
    devices = {tensor.device for tensor in tensors if tensor.device.type not in ("cpu", "meta")}
    kind = next(iter(devices)).type if devices else "cuda"
    with torch.random.fork_rng([device for device in devices if device.type == kind], device_type=kind):
        try:
            yield
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)


def _same_weight(mine: Tensor | None, other: Tensor | None) -> bool:
    if mine is None or other is None:
        return mine is other
    if mine is other or mine.shape != other.shape:
        return mine is other
    if not (mine.device.type == other.device.type == "cpu") or torch.compiler.is_compiling():
        return True  # to look would stall the accelerator; the loss applies the weight it is given
    return bool((mine == other).all())


def _in_words(weight: Tensor | None) -> str:
    if weight is None:
        return "None"
    return (
        str(weight.tolist()) if weight.numel() <= 10 else f"{weight.numel()} weights from {weight[0]} to {weight[-1]}"
    )
