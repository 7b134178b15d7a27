"""GenCE of a linear head for very many classes: from its features and weight, never holding all of its logits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from gence.kernels.autocast import is_under_autocast, without_autocast
from gence.kernels.eager import computing_dtype
from gence.losses._cautions import of_few_rows
from gence.losses._checks import caution_of_ranks_apart, check_strength, value_of
from gence.losses._linear_checks import (
    LinearImplementation,
    check_computation,
    check_layer,
    check_parts,
)
from gence.losses.by_classes import of_batch, of_part, own_mass
from gence.losses.class_mass import ClassMass, sums_of
from gence.losses.cross_entropy import Reduction
from gence.losses.definition import definition
from gence.losses.moving import MovingClassMass

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def linear_generative_cross_entropy(
    features: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    *,
    strength: float = 1.0,
    class_mass: ClassMass | MovingClassMass | None = None,
    process_group: ProcessGroup | None = None,
    impl: LinearImplementation = "auto",
    chunk: int | None = None,
) -> Tensor:
    r"""`generative_cross_entropy(F.linear(features, weight, bias), target, ...)` without all logits at once.

    For hard labels the loss needs of the logits :math:`z_i = W x_i + b` no more than a number a row and one a class,

    .. math:: L = -\frac{1}{|V|} \sum_{i \in V} \log q_{i y_i} +
              \mathrm{strength} \sum_k \frac{n_k}{|V|} \log \frac{S_k}{|V|}, \qquad S_k = \sum_{i \in V} q_{ik},

    with q the softmax of z, V the rows that are not ignored and n the counts of their labels. Both are found chunk by
    chunk, and given S the gradient is local to the rows, so the backward pass makes each chunk anew. With b rows in a
    chunk, that holds about :math:`2 b C` numbers, the gradients and, with features in half precision, the gradient of
    the weight in float32 as well; the logits of all rows and their gradient would be :math:`2 N C`. It costs a fourth
    matrix product where the logits themselves need three.

    Value and gradients are those of the composition up to rounding, all options are those of
    `generative_cross_entropy`, and so is what it says of a batch in parts. Two things are other: an ignored row may
    hold NaN without changing any gradient, its own is 0; and `"none"` is for a whole batch only. The second derivative
    (of a whole batch), the transforms of torch.func and forward-mode derivatives are right, but hold all logits. Under
    autocast the product is in its dtype, as `F.linear` would do it, and the result float32.

    Args:
        features: `(..., D)`; every position is a row, as in a batch of sequences `(N, T, D)`.
        weight: `(C, D)`, as `nn.Linear` has it.
        target: Class numbers, int64, the shape of `features` without its last axis.
        bias: `(C)`.
        class_weight: `(C)`, the `weight` of `generative_cross_entropy`.
        ignore_index: Rows with this class number count neither in the sum nor in the mass.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
        strength: How much of log m is taken off: 0 is cross-entropy, 1 is GenCE.
        class_mass: The sums of the whole that these rows are a part of (see `linear_class_mass`), or an estimate.
        process_group: The ranks that each hold a part of the rows, and all of the weight.
        impl: How a chunk is computed: `"eager"` by PyTorch's operators, `"triton"` by kernels of our own on a GPU
            (`pip install 'gence[kernels]'`). `"auto"` is `"eager"`.
        chunk: How many rows are worked on at once: more take more memory and, up to a point, less time. None: as many
            as make 2^24 logits, or a quarter of D if that is more.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes, devices or settings do not fit together, a class number is out of range,
            `class_mass` is of other classes or settings, `"none"` is asked of a part, or Triton cannot be had.

    Warns:
        UserWarning: Once, if there are several ranks and no process group; and in eager training, if neither argument
            is given and fewer rows count than there are classes.

    Example:
        >>> features, weight = torch.tensor([[2.0], [1.0], [-1.0]]), torch.tensor([[1.0], [0.0]])
        >>> target = torch.tensor([0, 0, 1])
        >>> round(linear_generative_cross_entropy(features, weight, target, chunk=1).item(), 4)
        -0.3888

    Reference:
        Zhan, Zhou and Shen, arXiv 2604.06689, for the loss; its computation by chunks is ours.
    """
    check_strength(strength)
    check_parts(class_mass, process_group, reduction)
    all_count = check_layer(features, weight, target, bias, class_weight, ignore_index, label_smoothing)
    check_computation(features, weight, impl, chunk)
    y = target.flatten().long()
    counts = None if all_count else y != ignore_index
    layer, dtype = _as_multiplied(features, weight, bias)
    settings = (class_weight, ignore_index, reduction, label_smoothing, strength, class_mass, process_group)
    with without_autocast(features):
        if _is_transformed(*layer):
            loss = definition(_logits(*layer, counts), y, *settings)
        else:
            loss = _by_chunks(*layer, y, counts, *settings, impl, chunk)
    if process_group is None and strength != 0.0:
        caution_of_ranks_apart("pass process_group=torch.distributed.group.WORLD")
        if class_mass is None and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            of_few_rows(_count_rows(y, counts), len(weight))
    return (loss.view(target.shape) if reduction == "none" else loss).to(dtype)


@torch.no_grad()
def linear_class_mass(
    features: Tensor,
    weight: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    class_weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    *,
    impl: LinearImplementation = "auto",
    chunk: int | None = None,
) -> ClassMass:
    """`class_mass(F.linear(features, weight, bias), target, ...)` without all logits at once.

    With the sum of these over the parts of a batch, `linear_generative_cross_entropy(..., class_mass=total)` gives each
    part's share of the whole, exactly.

    Args:
        features: As in `linear_generative_cross_entropy`, and so are all others.
        weight: As there.
        target: As there.
        bias: As there.
        class_weight: As there.
        ignore_index: As there.
        label_smoothing: As there.
        impl: As there.
        chunk: As there.

    Returns:
        A frozen `ClassMass`; those of all parts are added with `+` or `sum`.

    Raises:
        ValueError: If shapes, dtypes, devices or settings do not fit together, or a class number is out of range.

    Example:
        >>> features, weight = torch.tensor([[2.0], [1.0], [-1.0]]), torch.tensor([[1.0], [0.0]])
        >>> linear_class_mass(features, weight, torch.tensor([0, 0, 1])).log_mass.exp()
        tensor([0.6269, 0.3731])
    """
    all_count = check_layer(features, weight, target, bias, class_weight, ignore_index, label_smoothing)
    check_computation(features, weight, impl, chunk)
    y = target.flatten().long()
    counts = None if all_count else y != ignore_index
    layer, _ = _as_multiplied(features, weight, bias)
    with without_autocast(features):
        if _is_transformed(*layer):
            log_q = _logits(*layer, counts).log_softmax(1, dtype=computing_dtype(layer[0]))
            return sums_of(log_q, y, class_weight, ignore_index, label_smoothing)
        _, log_sums = _statistics(*layer, y, counts, None, 0.0, impl, chunk)
        return own_mass(log_sums, y, counts, class_weight, ignore_index, label_smoothing)


def _as_multiplied(
    features: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[tuple[Tensor, Tensor, Tensor | None], torch.dtype]:
    """The layer as `F.linear` would multiply it, with its rows on one axis, and the dtype of the loss."""
    rows = features.reshape(math.prod(features.shape[:-1]), features.shape[-1])
    if features.dtype == torch.float64 or not is_under_autocast(features):
        return (rows, weight, bias), features.dtype
    dtype = torch.get_autocast_dtype(features.device.type)
    return (rows.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)), torch.float32


def _is_transformed(*layer: Tensor | None) -> bool:
    """Whether the derivative is asked for by other means than a backward pass, which is all that the chunks have."""
    if torch._C._are_functorch_transforms_active():
        return True
    if torch.compiler.is_compiling():
        return False
    return any(t is not None and torch.autograd.forward_ad.unpack_dual(t).tangent is not None for t in layer)


def _logits(features: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor | None) -> Tensor:
    counting = features if counts is None else features.masked_fill(~counts.unsqueeze(1), 0.0)
    return F.linear(counting, weight, bias)


def _statistics(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    counts: Tensor | None,
    class_weight: Tensor | None,
    label_smoothing: float,
    impl: LinearImplementation,
    chunk: int | None,
) -> tuple[Tensor, Tensor]:
    from gence.kernels import linear

    kernel = "eager" if impl == "auto" else impl
    rows = linear.rows_of_chunk(weight) if chunk is None else chunk
    labels = (target, counts, class_weight, label_smoothing)
    return linear.statistics(features, weight, bias, *labels, kernel=kernel, rows=rows)


def _by_chunks(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    counts: Tensor | None,
    class_weight: Tensor | None,
    ignore_index: int,
    reduction: Reduction,
    label_smoothing: float,
    strength: float,
    class_mass: ClassMass | MovingClassMass | None,
    process_group: ProcessGroup | None,
    impl: LinearImplementation,
    chunk: int | None,
) -> Tensor:
    labels = (target, counts, class_weight)
    likelihood, log_sums = _statistics(features, weight, bias, *labels, label_smoothing, impl, chunk)
    own = own_mass(log_sums, *labels, ignore_index, label_smoothing)
    if class_mass is None and process_group is None:
        return of_batch(likelihood, log_sums, own, target, counts, reduction, strength)
    return of_part(likelihood.sum(), log_sums, own, reduction, strength, class_mass, process_group)


def _count_rows(target: Tensor, counts: Tensor | None) -> int:
    """How many rows count; where a look would stall an accelerator, how many there are."""
    count = None if counts is None else value_of(counts.sum())
    return target.numel() if count is None else int(count)
