"""GenCE as cross-entropy plus a sum over the classes: all that it needs of the logits is what a kernel gives.

For hard labels, a row's log-likelihood is its own, and the class mass enters through one logarithm a class. So the
N x C numbers are looked at in one place, `gence.kernels`, and all that weights, reductions, ranks and estimates do is
here, on one number a row or a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from gence.kernels.autocast import is_under_autocast, without_autocast
from gence.kernels.plain import RULED_OUT, generative_cross_entropy_of_batch
from gence.losses._checks import check_process_group
from gence.losses.class_mass import ClassMass, label_counts
from gence.losses.cross_entropy import Reduction, has_probability_targets
from gence.losses.moving import MovingClassMass
from gence.losses.parts import class_term, mass_of_whole, mean_divisor, shared, weighted

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from gence.kernels.autograd import Kernel

Implementation = Literal["auto", "definition", "eager", "compiled", "triton"]

_IMPLEMENTATIONS = get_args(Implementation)

_FEW = 2**15
"""So many logits cost as much as the operators on them, of which the definition, as autograd runs it, has fewest."""


def check_implementation(impl: str) -> None:
    """Raise ValueError if there is no such way to compute the loss."""
    if impl not in _IMPLEMENTATIONS:
        raise ValueError(f"impl must be one of {', '.join(_IMPLEMENTATIONS)}; got {impl!r}")


def kernel_for(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: Reduction,
    class_mass: object,
    process_group: object,
    impl: Implementation,
) -> Kernel | None:
    """The kernel that computes this loss; None where the definition does, for want of one or because it is faster.

    Raises:
        ValueError: If Triton is asked for where it cannot be had.
    """
    few = impl == "auto" and input.numel() <= _FEW and not torch.compiler.is_compiling()
    of_parts = class_mass is not None or process_group is not None
    if impl == "definition" or few or has_probability_targets(input, target) or (reduction == "none" and of_parts):
        return None
    if weight is not None and weight.requires_grad:
        return None  # it says, as F.cross_entropy does, that it has no such gradient
    if input.numel() == 0 or torch._C._are_functorch_transforms_active():
        return None
    if impl == "triton":
        from gence.kernels.triton_support import why_not

        if reason := why_not(input[(..., *[0] * (input.dim() - 2))] if input.dim() > 1 else input[None]):
            raise ValueError(f'impl="triton" cannot be had: {reason}')
        import gence.kernels.triton_ops  # noqa: F401, it registers the operators

        return "triton"
    if impl == "compiled":
        return "composed"
    if impl == "eager":
        return "eager"
    if torch.compiler.is_compiling():
        return "eager" if input.device.type == "cpu" else "composed"
    if input.device.type not in ("cpu", "cuda") or torch.autograd.forward_ad.unpack_dual(input).tangent is not None:
        return "composed"
    return "eager"


def _runs_plain(input: Tensor) -> bool:
    """Whether the shortest way is open: it looks at values, and keeps probabilities in the dtype of the logits."""
    tracing = torch.compiler.is_compiling() or input.device.type != "cpu"
    return input.dim() == 2 and input.dtype in (torch.float32, torch.float64) and not tracing


def by_classes(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: Reduction,
    label_smoothing: float,
    strength: float,
    class_mass: ClassMass | MovingClassMass | None,
    process_group: ProcessGroup | None,
    *,
    kernel: Kernel,
    all_count: bool = False,
) -> Tensor:
    """GenCE by the kernel of this name, in the dtype it computes in, without checks.

    Args:
        input: As in `generative_cross_entropy`, and so are all up to `process_group`; but the rows of a part of a
            whole must be reduced.
        target: Class numbers.
        weight: As there.
        ignore_index: As there.
        reduction: As there.
        label_smoothing: As there.
        strength: As there.
        class_mass: As there.
        process_group: As there.
        kernel: Its name in `gence.kernels.autograd`.
        all_count: Whether no label is known to be the ignored one.
    """
    if is_under_autocast(input):
        with without_autocast(input):  # it would take products of sums in half precision
            settings = (weight, ignore_index, reduction, label_smoothing, strength, class_mass, process_group)
            return by_classes(input, target, *settings, kernel=kernel, all_count=all_count)
    of_parts = class_mass is not None or process_group is not None
    plain = weight is None and label_smoothing == 0.0 and reduction != "none" and all_count and not of_parts
    if plain and kernel == "eager" and _runs_plain(input):
        return generative_cross_entropy_of_batch(input, target.long(), strength, mean=reduction == "mean")
    from gence.kernels.autograd import statistics

    z, y = _as_rows(input, target, flat=kernel == "triton")
    counts = None if all_count else y != ignore_index
    likelihood, log_sums = statistics(z, y, counts, weight, label_smoothing, kernel=kernel)
    own = own_mass(log_sums, y, counts, weight, ignore_index, label_smoothing)
    if of_parts:
        return of_part(likelihood.sum(), log_sums, own, reduction, strength, class_mass, process_group)
    terms = of_batch(likelihood, log_sums, own, y, counts, reduction, strength)
    return terms.view(target.shape) if reduction == "none" else terms


def own_mass(
    log_sums: Tensor,
    target: Tensor,
    counts: Tensor | None,
    weight: Tensor | None,
    ignore_index: int,
    label_smoothing: float,
) -> ClassMass:
    """The class mass of the rows at hand, a constant to autograd."""
    labels = label_counts(target, counts, len(log_sums)).to(log_sums)
    rows = log_sums.new_tensor(target.numel()) if counts is None else counts.sum().to(log_sums)
    return ClassMass(log_sums.detach(), labels, rows, weight, ignore_index, label_smoothing)


def of_batch(
    likelihood: Tensor,
    log_sums: Tensor,
    own: ClassMass,
    target: Tensor,
    counts: Tensor | None,
    reduction: Reduction,
    strength: float,
) -> Tensor:
    """The loss of rows that are all of the batch, from their log-likelihoods and the class sums over them."""
    weight, smoothing = None if own.weight is None else own.weight.to(log_sums), own.label_smoothing
    log_mass = log_sums.clamp(min=RULED_OUT) - own.rows.clamp(min=1).log()
    if reduction == "none":
        each = log_mass if weight is None else weight * log_mass
        terms = (1.0 - smoothing) * each[target if counts is None else target.masked_fill(~counts, 0)]
        terms = terms + smoothing * each.mean()
        return strength * (terms if counts is None else terms.masked_fill(~counts, 0.0)) - likelihood
    of_classes = class_term(own, log_mass, weight)
    if reduction == "sum":
        return strength * of_classes - likelihood.sum()
    divisor = mean_divisor(own, weight)
    # Where no row counts, the value is NaN as that of cross-entropy, and no gradient is.
    return strength * of_classes / torch.where(divisor == 0.0, 1.0, divisor) - likelihood.sum() / divisor


def of_part(
    likelihood: Tensor,
    log_sums: Tensor,
    own: ClassMass,
    reduction: Reduction,
    strength: float,
    class_mass: ClassMass | MovingClassMass | None,
    process_group: ProcessGroup | None,
) -> Tensor:
    """The share of rows that are a part of a whole, from the sum of their log-likelihoods and their class sums.

    With the sums of the whole fixed, the gradient by way of the class mass is that of `strength * sum_k r_k S_k`, r the
    weighted label share over the class mass and S the class sums of these rows; see `parts.share_of_whole`.
    """
    weight = None if own.weight is None else own.weight.to(log_sums)
    if process_group is not None:
        check_process_group(process_group)
    whole, mass, all_terms = mass_of_whole(own, -likelihood.detach(), class_mass, process_group)
    log_mass = mass.log_mass.clamp(min=RULED_OUT)
    log_r = weighted(mass.label_share, weight, own.label_smoothing).log() - mass.log_mass
    pull = (log_sums + log_r).exp().sum()
    # In this order: what joins with value 0 may be many times as large as the rest.
    terms = strength * (class_term(own, log_mass, weight) + (pull - pull.detach())) - likelihood
    divisor = mean_divisor(mass, weight) if reduction == "mean" else torch.ones_like(mass.rows)
    if all_terms is not None:
        all_terms = all_terms + strength * class_term(whole, log_mass, weight)
    return shared(terms / divisor, None if all_terms is None else all_terms / divisor, process_group)


def _as_rows(input: Tensor, target: Tensor, *, flat: bool) -> tuple[Tensor, Tensor]:
    """Logits `(N, C)` or `(N, C, M)` and labels `(N)` or `(N, M)`; the former only, if it is to be flat."""
    target = target.long()  # a uint8 as index would be taken for a mask
    if input.dim() <= 2:
        return (input, target) if input.dim() == 2 else (input[None], target[None])
    if flat:
        return input.movedim(1, -1).flatten(0, -2), target.flatten()
    return input.flatten(2), target.flatten(1)
