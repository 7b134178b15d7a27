"""GenCE of rows that are a part of a whole: of an accumulated batch, of one spread over ranks, or of all the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from gence.losses._checks import check_process_group
from gence.losses.class_mass import ClassMass, sums_of
from gence.losses.cross_entropy import (
    Reduction,
    along,
    class_dim,
    cross_entropy_of_scores,
    has_probability_targets,
    valid_rows,
)
from gence.losses.moving import MovingClassMass

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def share_of_whole(
    log_q: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: Reduction,
    label_smoothing: float,
    strength: float,
    class_mass: ClassMass | MovingClassMass | None,
    process_group: ProcessGroup | None,
) -> Tensor:
    """The loss of rows that are a part of a whole, given the sums of the whole, which are constants to autograd.

    The gradient of the whole with respect to one row holds, besides that of the row's own term, that of
    `strength * sum_k w_k log S_k` (w the weighted label sums and S the sums of q, over the whole). With S fixed it is
    that of `strength * sum_k r_k q_ik` with r = w / S, here called the pull: it joins the row with value 0.
    """
    settings = (weight, ignore_index, label_smoothing)
    weight = None if weight is None else weight.to(log_q.dtype)
    if process_group is not None:
        check_process_group(process_group)
    own_terms = cross_entropy_of_scores(log_q.detach(), target, weight, ignore_index, "sum", label_smoothing)
    own = sums_of(log_q, target, *settings)
    whole, mass, all_terms = mass_of_whole(own, own_terms, class_mass, process_group)

    scores = log_q - strength * along(mass.log_mass, log_q)
    terms = cross_entropy_of_scores(scores, target, weight, ignore_index, "none", label_smoothing)
    log_r = weighted(mass.label_share, weight, label_smoothing).log() - mass.log_mass
    # Left out before the exponential: where that overflows, the gradient of what is left out after it is NaN.
    left_out = ~valid_rows(log_q, target, ignore_index)
    pull = (log_q + along(log_r, log_q)).masked_fill(left_out, -math.inf).exp().sum(class_dim(log_q))
    terms = terms + strength * (pull - pull.detach())
    if reduction == "none":
        return terms
    # PyTorch divides the mean over class probabilities by the number of rows, weighted or not.
    divided = None if has_probability_targets(log_q, target) else weight
    divisor = mean_divisor(mass, divided) if reduction == "mean" else torch.ones_like(mass.rows)
    if all_terms is not None:
        all_terms = all_terms + strength * class_term(whole, mass.log_mass, weight)
    return shared(terms.sum() / divisor, None if all_terms is None else all_terms / divisor, process_group)


def shared(share: Tensor, value: Tensor | None, process_group: ProcessGroup | None) -> Tensor:
    """The share of a part as a rank gives it: with the value of all ranks, and the gradient that they average."""
    if process_group is None:
        return share
    of_all_ranks = dist.get_world_size(process_group) * share
    return (share if value is None else value).detach() + (of_all_ranks - of_all_ranks.detach())


def class_term(rows: ClassMass, log_mass: Tensor, weight: Tensor | None) -> Tensor:
    """What the class mass takes off, summed over the rows that these are the sums of."""
    return rows.rows * (weighted(rows.label_share, weight, rows.label_smoothing) * log_mass).sum()


def mean_divisor(mass: ClassMass, weight: Tensor | None) -> Tensor:
    """What the mean divides by: the rows, or their weights."""
    return mass.rows if weight is None else (weight * mass.label_sums).sum()


def mass_of_whole(
    own: ClassMass,
    own_terms: Tensor,
    class_mass: ClassMass | MovingClassMass | None,
    process_group: ProcessGroup | None,
) -> tuple[ClassMass, ClassMass, Tensor | None]:
    """The sums of the whole, those to normalise by, and the terms of all ranks where they were added up.

    Args:
        own: The sums of the rows at hand.
        own_terms: The sum of the cross-entropies of these rows.
        class_mass: The sums of the whole, or an estimate of them.
        process_group: The ranks that each hold a part.
    """
    if isinstance(class_mass, ClassMass):
        class_mass.check_is_for(own.num_classes, own.weight, own.ignore_index, own.label_smoothing)
        given = class_mass.to(own.log_sums)
        return given, given, None
    whole, all_terms = (own, None) if process_group is None else own.all_reduce_with(own_terms, process_group)
    return whole, whole if class_mass is None else class_mass(whole), all_terms


def weighted(label_share: Tensor, weight: Tensor | None, label_smoothing: float) -> Tensor:
    """What a class counts for in the sum of the terms, per row."""
    smoothed = (1.0 - label_smoothing) * label_share + label_smoothing / len(label_share)
    return smoothed if weight is None else weight * smoothed
