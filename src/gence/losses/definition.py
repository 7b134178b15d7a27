"""GenCE to the letter of its definition: cross-entropy with log q - strength * log m in the place of log q.

Every faster way to compute it is tested against this one, which also serves where they do not: class probabilities as
labels, the transforms of torch.func, and rows of a part that are not reduced.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from gence.kernels.eager import computing_dtype
from gence.losses._checks import value_of
from gence.losses.class_mass import ClassMass, log_class_mass
from gence.losses.cross_entropy import Reduction, class_dim, cross_entropy_of_scores, valid_rows
from gence.losses.moving import MovingClassMass
from gence.losses.parts import share_of_whole

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def definition(
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
    all_count: bool = False,
) -> Tensor:
    """`generative_cross_entropy` in the dtype it computes in, without checks; `all_count` if no label is ignored."""
    log_q = input.log_softmax(class_dim(input), dtype=computing_dtype(input))
    settings = (weight, ignore_index, reduction, label_smoothing)
    if class_mass is not None or process_group is not None:
        return share_of_whole(log_q, target, *settings, strength, class_mass, process_group)
    if strength == 0.0:
        return cross_entropy_of_scores(log_q, target, *settings)
    log_mass = log_class_mass(log_q, None if all_count else valid_rows(input, target, ignore_index))
    return cross_entropy_of_scores(log_q.sub(log_mass, alpha=strength), target, *settings)


def of_few_logits(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: Reduction, label_smoothing: float
) -> Tensor | None:
    """GenCE of rows that all count, by the fewest operators: log p(x | y) is a log-softmax over the rows.

    Args:
        input: `(N, C)`, on the CPU.
        target: Class numbers.
        weight: As in the definition.
        reduction: As there.
        label_smoothing: As there.

    Returns:
        The definition's value; None where a class is ruled out, as one that is so in every row would get NaN.
    """
    log_q = input.log_softmax(1, dtype=computing_dtype(input))
    lowest = value_of(log_q.detach().min())
    if lowest is None or lowest == -math.inf:
        return None
    scores = log_q.log_softmax(0) + math.log(len(log_q))
    return cross_entropy_of_scores(scores, target, weight, -100, reduction, label_smoothing)
