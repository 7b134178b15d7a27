"""Generative cross-entropy (GenCE): maximise p(x | y) with a discriminative network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gence.losses._cautions import of_few_rows, say_few_rows
from gence.losses._checks import (
    caution_of_ranks_apart,
    check_label_smoothing,
    check_loss_arguments,
    check_process_group,
    check_reduction,
    check_strength,
    value_of,
)
from gence.losses.by_classes import Implementation, by_classes, check_implementation, kernel_for
from gence.losses.class_mass import ClassMass
from gence.losses.cross_entropy import Reduction, class_dim, has_probability_targets, result_dtype, valid_rows
from gence.losses.definition import definition, of_few_logits
from gence.losses.moving import MovingClassMass

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


_CURE = "pass process_group=torch.distributed.group.WORLD"


def generative_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    *,
    strength: float = 1.0,
    class_mass: ClassMass | MovingClassMass | None = None,
    process_group: ProcessGroup | None = None,
    impl: Implementation = "auto",
) -> Tensor:
    r"""`F.cross_entropy` in every argument, with log q replaced by log q - strength * log m.

    With :math:`q_i = \mathrm{softmax}(z_i)` and V the rows that are not ignored, the class mass
    :math:`m_k = \frac{1}{|V|} \sum_{i \in V} q_{ik}` is the model's own marginal of class k over the batch. By Bayes'
    rule :math:`p(x \mid y) = q_y(x)\, p(x) / m_y`, so for hard labels the loss is

    .. math:: L = -\frac{1}{|V|} \sum_{i \in V} \left( \log q_{i y_i} - \mathrm{strength} \cdot \log m_{y_i} \right)

    It is strictly proper if the class posteriors are linearly independent as functions of x.

    The mass is over all of V, row i included and unweighted, and the gradient flows through it. The value depends on
    the whole batch: it can be negative, it is 0 for a batch of one row, and validation should use the negative
    log-likelihood instead. One row with NaN makes the result NaN; an ignored row may hold NaN without changing the
    value, but its own gradient may then be NaN, as in `F.cross_entropy`.

    Where the rows are a part of the batch that is meant, `class_mass` or `process_group` says so:

    - `class_mass=total`, the sum of `gence.class_mass` over all parts: the result is this part's share of the loss of
      the whole; shares and their gradients add up to it exactly. With `"none"`, the rows add up to that of `"sum"`;
      weigh rows by `weight` only, as the sums know of no other weights.
    - `process_group=g`: every rank gets the loss over the rows of all ranks, by one all_reduce in forward and none in
      backward. The gradient is that of its own rows times the number of ranks, so that the average that
      DistributedDataParallel or FSDP takes is the gradient of one process with all rows. With `"none"` a rank gets the
      terms of its own rows, and their gradient is not multiplied. The group must be the one that averages gradients.
    - both: as the first, with a total over all parts of all ranks (`total.all_reduce(g)`), and the gradient multiplied.
    - `class_mass=MovingClassMass(...)`: an estimate in the place of the mass of the batch, for batches with fewer rows
      than classes. With `weight`, `"mean"` divides by the expected weight of as many rows.

    The second derivative is right without these two arguments only: with them the sums are constants.

    `impl` says how it is computed; the result is the same up to rounding. `"definition"` follows the formula above by
    PyTorch's operators. `"eager"` has the gradient in closed form and looks at the logits twice. `"compiled"` is the
    form that torch.compile fuses, and compiles it where that has not been done. `"triton"` runs kernels of our own on a
    GPU (`pip install 'gence[kernels]'`). `"auto"` takes what is fastest of the first three. Class probabilities as
    labels, the transforms of torch.func, and `"none"` with `class_mass` or `process_group` always go by the definition.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`; with K axes more, every position is a row.
        target: Class numbers, int64, `()`, `(N)` or `(N, d1, ..., dK)`; or class probabilities, the shape of `input`.
        weight: `(C)` class weights. They weigh the terms of the sum, not the mass.
        ignore_index: Rows with this class number count neither in the sum nor in the mass.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
        strength: How much of log m is taken off: 0 is cross-entropy, 1 is GenCE. Other values are for study; above 1
            the loss is no proper score.
        class_mass: The sums of the whole that these rows are a part of, or an estimate of them.
        process_group: The ranks that each hold a part, none or uneven numbers of rows included.
        impl: `"auto"`, `"definition"`, `"eager"`, `"compiled"` or `"triton"`.

    Returns:
        A scalar, or the shape of the rows for `"none"`, in the dtype that `F.cross_entropy` would give. Half precision
        is computed in float32.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together, a class number is out of range, `class_mass` is
            of other classes or settings, or Triton is asked for where it cannot be had.

    Warns:
        UserWarning: Once, if there are several ranks and no process group; and in eager training, if neither argument
            is given and fewer rows count than there are classes.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> target = torch.tensor([0, 0, 1])
        >>> round(generative_cross_entropy(logits, target).item(), 4)
        -0.3888
        >>> round(generative_cross_entropy(logits, target, strength=0.0).item(), 4)
        0.2512

    Reference:
        Zhan, Zhou and Shen, arXiv 2604.06689. The decomposition into cross-entropy plus
        :math:`\sum_k \frac{n_k}{|V|} \log m_k` is its equation 5 (first version).
    """
    settings = (weight, ignore_index, reduction, label_smoothing, strength)
    loss, all_count = _generative(input, target, *settings, class_mass, process_group, impl)
    if process_group is None and strength != 0.0:
        if not all_count or target.numel() < input.shape[class_dim(input)]:
            caution_ranks_apart_and_few_rows(input, target, ignore_index, class_mass, cure=_CURE)
        else:
            caution_of_ranks_apart(_CURE)
    return loss


def caution_ranks_apart_and_few_rows(
    input: Tensor, target: Tensor, ignore_index: int, class_mass: object, *, cure: str
) -> None:
    """Warn of several ranks, each with a mass of its own; and in training of few rows, where there is no other mass."""
    caution_of_ranks_apart(cure)
    if class_mass is None and _in_training():
        of_few_rows(_count_rows(input, target, ignore_index), input.shape[class_dim(input)])


def _in_training() -> bool:
    """Whether a caution about training is in place: not in evaluation, and not in a graph, which cannot warn."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _generative(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: Reduction,
    label_smoothing: float,
    strength: float,
    class_mass: ClassMass | MovingClassMass | None,
    process_group: ProcessGroup | None,
    impl: Implementation,
) -> tuple[Tensor, bool]:
    """The loss, and whether every row is known to count."""
    labels = check_loss_arguments(input, target, weight, ignore_index, reduction, label_smoothing)
    check_strength(strength)
    check_implementation(impl)
    if class_mass is not None and not isinstance(class_mass, ClassMass | MovingClassMass):
        raise ValueError(
            "class_mass must be a ClassMass (the sum of gence.class_mass over the parts of a batch) or a "
            f"gence.MovingClassMass; got {type(class_mass).__name__}"
        )
    all_count = labels is not None and not labels[0] <= ignore_index <= labels[1]
    settings = (weight, ignore_index, reduction, label_smoothing, strength, class_mass, process_group)
    kernel = kernel_for(input, target, weight, reduction, class_mass, process_group, impl)
    if kernel is None:
        of_batch = class_mass is None and process_group is None
        plain = impl == "auto" and all_count and strength == 1.0 and of_batch and input.dim() == 2
        loss = of_few_logits(input, target, weight, reduction, label_smoothing) if plain else None
        if loss is None:
            loss = definition(input, target, *settings, all_count=all_count)
    elif impl == "compiled" and not torch.compiler.is_compiling():
        loss = _compiled()(input, target, *settings, kernel=kernel, all_count=all_count)
    else:
        loss = by_classes(input, target, *settings, kernel=kernel, all_count=all_count)
    dtype = result_dtype(input, target)
    return loss if loss.dtype == dtype else loss.to(dtype), all_count


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(by_classes)


def _count_rows(input: Tensor, target: Tensor, ignore_index: int) -> int:
    """How many rows count; where a look would stall an accelerator, how many there are."""
    valid = valid_rows(input, target, ignore_index)
    count = value_of(valid.sum())
    return valid.numel() if count is None else int(count)


class GenCELoss(nn.Module):
    """`nn.CrossEntropyLoss` with GenCE in the place of cross-entropy; see `generative_cross_entropy` for the terms.

    The two arguments that PyTorch has deprecated, size_average and reduce, are not there: give the others by keyword.

    Args:
        weight: `(C)` class weights, kept as a buffer.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
        strength: 1 for GenCE, 0 for cross-entropy.
        class_mass: A `MovingClassMass`, for batches with fewer rows than classes; it becomes a part of this module.
        process_group: The ranks over which a batch is spread.
        impl: How it is computed.

    Calling it with `class_mass=total` gives a part's share of a batch, for that call.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> loss = GenCELoss(label_smoothing=0.1)
        >>> loss(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])).item()
        0.0
    """

    weight: Tensor | None
    impl: Implementation = "auto"  # also that of a module saved before there was a choice

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
        *,
        strength: float = 1.0,
        class_mass: MovingClassMass | None = None,
        process_group: ProcessGroup | None = None,
        impl: Implementation = "auto",
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_label_smoothing(label_smoothing)
        check_strength(strength)
        check_implementation(impl)
        if class_mass is not None and not isinstance(class_mass, MovingClassMass):
            raise ValueError(
                f"class_mass of the module must be a MovingClassMass; got {type(class_mass).__name__}: give the total "
                "of a batch when you call the loss, loss(logits, target, class_mass=total)"
            )
        if process_group is not None:
            check_process_group(process_group)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.label_smoothing = label_smoothing
        self.strength = strength
        self.class_mass = class_mass
        self.process_group = process_group
        self.impl = impl
        self._seen: set[int] = set()
        self._warned = False

    def forward(self, input: Tensor, target: Tensor, class_mass: ClassMass | None = None) -> Tensor:
        mass = self.class_mass if class_mass is None else class_mass
        settings = (self.weight, self.ignore_index, self.reduction, self.label_smoothing, self.strength)
        loss, all_count = _generative(input, target, *settings, mass, self.process_group, self.impl)
        if self.process_group is None and self.strength != 0.0:
            caution_of_ranks_apart(_CURE)
            if mass is None and not self._warned and _in_training():
                self._look_for_few_rows(input, target, all_count)
        return loss

    def _look_for_few_rows(self, input: Tensor, target: Tensor, all_count: bool) -> None:
        seen = self._classes_seen(input, target)
        rows = target.numel() if all_count else _count_rows(input, target, self.ignore_index)
        if 0 < rows < seen:
            self._warned = True
            say_few_rows(rows, f"labels of {seen} classes", input.shape[class_dim(input)])

    def _classes_seen(self, input: Tensor, target: Tensor) -> int:
        """In all batches so far; the number of columns where the labels are probabilities or cannot be looked at."""
        num_classes = input.shape[class_dim(input)]
        if has_probability_targets(input, target) or target.device.type != "cpu":
            return num_classes
        if len(self._seen) < num_classes:
            labels = target.detach().long().flatten()
            try:
                counts = torch.bincount(labels[labels != self.ignore_index], minlength=num_classes)
                self._seen.update(counts.nonzero().flatten().tolist())
            except RuntimeError:  # under vmap and with fake tensors there are no values
                return 0
        return len(self._seen)

    def __deepcopy__(self, memo: dict[int, Any]) -> GenCELoss:
        memo[id(self.process_group)] = self.process_group  # a copy of a model trains in the same group
        twin = self.__class__.__new__(self.__class__)
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def extra_repr(self) -> str:
        group = "" if self.process_group is None else f", ranks={dist.get_world_size(self.process_group)}"
        return (
            f"ignore_index={self.ignore_index}, reduction={self.reduction!r}, "
            f"label_smoothing={self.label_smoothing}, strength={self.strength}{group}"
            + ("" if self.impl == "auto" else f", impl={self.impl!r}")
        )
