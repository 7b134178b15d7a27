"""GenCE together with another loss: what changes log p, or is added to it, changes log q - log m as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gence.losses._checks import check_at_least_0, check_loss_arguments, check_strength
from gence.losses.class_mass import ClassMass, log_class_mass
from gence.losses.cross_entropy import (
    Reduction,
    class_dim,
    counting_logits,
    cross_entropy_of_scores,
    result_dtype,
    valid_rows,
)
from gence.losses.generative import caution_ranks_apart_and_few_rows, generative_cross_entropy
from gence.losses.margin import margin_penalty
from gence.losses.moving import MovingClassMass
from gence.losses.prior import log_prior
from gence.losses.rows import complement, rows_of

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def gence_focal(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    gamma: float = 2.0,
    strength: float = 1.0,
) -> Tensor:
    r"""GenCE with focal loss's factor, :math:`-(1 - q_y)^\gamma (\log q_y - \mathrm{strength} \cdot \log m_y)`.

    A gamma of 0 is GenCE, a strength of 0 is focal loss. **The gradient is not that of the value**: where the factor
    multiplies log m it is a constant. The value itself is lowest where all classes but one are starved: their rows keep
    q/m, which is all that GenCE looks at, and have a factor of 1. Its own gradient leads there (measured on small
    images of digits at gamma 2: 10 % accuracy, against 95 %).

    It is not proper, as focal loss is not: for two classes, or where one class is likely, it stops short of the true
    posterior, on the side of less confidence; with many classes of which none is likely it can go beyond it.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis; or class probabilities.
        weight: `(C)` class weights. They weigh the terms, not the mass.
        ignore_index: Rows with this class number count neither in the sum nor in the mass.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        gamma: How fast a right answer stops to count, at least 0; 0 is GenCE.
        strength: How much of log m is taken off; 0 is focal loss.

    Returns:
        A scalar, or the shape of the rows for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Warns:
        UserWarning: Once, if there are several ranks, as each takes the mass of its own rows; and in eager training, if
            fewer rows count than there are classes.

    Example:
        >>> logits, target = torch.tensor([[1.0, 1.0], [1.0, 3.0]]).log(), torch.tensor([0, 1])
        >>> gence_focal(logits, target, reduction="none")  # m = (3/8, 5/8): -log(4/3) / 4 and -log(6/5) / 16
        tensor([-0.0719, -0.0114])

    Reference:
        Ours; focal loss is Lin et al. 2017, arXiv 1708.02002.
    """
    check_loss_arguments(input, target, weight, ignore_index, reduction)
    check_strength(strength)
    check_at_least_0("0 is GenCE", gamma=gamma)
    valid = valid_rows(input, target, ignore_index)
    log_q = counting_logits(input, target, ignore_index).log_softmax(class_dim(input))
    # As in focal loss: a class ruled out by minus infinity must get gradient 0, not the NaN of 0 times infinity.
    log_q = log_q.clamp(min=torch.finfo(log_q.dtype).min)
    factor = complement(log_q) ** gamma if gamma > 0.0 else torch.ones_like(log_q)
    scores = factor * log_q
    if strength != 0.0:
        scores = scores - factor.detach() * (strength * log_class_mass(log_q, valid))
        _caution(input, target, ignore_index, "gence_focal")
    return cross_entropy_of_scores(scores, target, weight, ignore_index, reduction).to(result_dtype(input, target))


def gence_smoothing(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    smoothing: float = 0.1,
    strength: float = 1.0,
    class_mass: ClassMass | MovingClassMass | None = None,
    process_group: ProcessGroup | None = None,
) -> Tensor:
    r"""GenCE on smoothed labels: `generative_cross_entropy` with `label_smoothing` by name, and not 0.

    It is not proper: under completeness its minimiser is the smoothed posterior,
    :math:`(1 - \mathrm{smoothing})\, p(y \mid x) + \mathrm{smoothing} / C`.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis; or class probabilities.
        weight: `(C)` class weights. They weigh the terms, not the mass.
        ignore_index: Rows with this class number count neither in the sum nor in the mass.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        smoothing: Share of the target spread evenly over the classes, in [0, 1]; 0 is GenCE.
        strength: How much of log m is taken off; 0 is label smoothing.
        class_mass: As in `generative_cross_entropy`; made with the same label smoothing.
        process_group: As in `generative_cross_entropy`.

    Returns:
        A scalar, or the shape of the rows for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Warns:
        UserWarning: As `generative_cross_entropy` does.

    Example:
        >>> logits, target = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
        >>> round(gence_smoothing(logits, target).item(), 4)
        -0.3308

    Reference:
        Ours, as the definition of GenCE gives it; label smoothing is Szegedy et al. 2016, arXiv 1512.00567.
    """
    return generative_cross_entropy(
        input,
        target,
        weight,
        ignore_index,
        reduction,
        smoothing,
        strength=strength,
        class_mass=class_mass,
        process_group=process_group,
    )


def gence_margin(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    alpha: float = 0.1,
    margin: float = 10.0,
    strength: float = 1.0,
) -> Tensor:
    r"""GenCE plus the margin penalty of `mbls` on the logits.

    .. math:: -\log q_y + \mathrm{strength} \cdot \log m_y + \alpha \frac{1}{C} \sum_k (\max_j z_j - z_k - m)_+

    An alpha of 0 is GenCE, a strength of 0 is `mbls`. It is not proper. Under completeness a posterior whose
    probabilities all lie within a factor of :math:`e^m` of each other is still the only minimiser, as it costs no
    penalty; any other is flattened.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`. A class ruled out by minus infinity is infinitely far
            behind, so the loss is infinite.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights. They weigh the terms, penalty included, not the mass.
        ignore_index: Rows with this class number count neither in the sum nor in the mass.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        alpha: The weight of the penalty, at least 0.
        margin: The distance m to the largest logit that costs nothing, at least 0.
        strength: How much of log m is taken off.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Warns:
        UserWarning: As `gence_focal` does.

    Example:
        >>> logits, target = torch.tensor([[20.0, 0.0], [0.0, 20.0]]), torch.tensor([0, 1])
        >>> gence_margin(logits, target, reduction="none")  # -log 2 + 0.1 * (20 - 10) / 2
        tensor([-0.1931, -0.1931])

    Reference:
        Ours; the penalty is that of Liu et al. 2022, arXiv 2111.15430.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "gence_margin")
    check_strength(strength)
    check_at_least_0("0 is GenCE", alpha=alpha)
    check_at_least_0(margin=margin)
    scores = log_q = rows.log_probs()
    if strength != 0.0:
        scores = log_q - strength * log_class_mass(log_q, rows.valid[:, None])
        _caution(input, target, ignore_index, "gence_margin")
    return rows.reduce(-rows.of_label(scores) + alpha * margin_penalty(rows.logits, margin))


def gence_prior(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    class_counts: Tensor | Sequence[float],
    tau: float = 1.0,
    strength: float = 1.0,
    class_mass: ClassMass | MovingClassMass | None = None,
    process_group: ProcessGroup | None = None,
) -> Tensor:
    r"""GenCE of :math:`z + \tau \log \pi`, pi the class shares of the training data; predict with softmax(z).

    Under completeness it is strictly proper for the posterior of the training data as softmax(z + tau log pi), as GenCE
    is, at whatever class weights. At tau 1 plain softmax(z) is then the posterior under a balanced prior, and
    softmax(z + log pi') that under any other prior pi'. At strength 0 this is `logit_adjusted`.

    **Never smooth the labels evenly here.** Every row would be taught a share of each rare class, and softmax(z)
    divides that by a small pi. Smooth towards the training prior, by class probabilities
    :math:`(1 - s)\, 1\{k = y\} + s\, \pi_k` as target.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis; or class probabilities.
        weight: `(C)` class weights. They weigh the terms, not the mass.
        ignore_index: Rows with this class number count neither in the sum nor in the mass.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        class_counts: `(C)`, training rows of each class, all above 0; their scale does not matter. On an accelerator
            give a tensor that is there, as anything else is copied at every call.
        tau: How much of log pi is added, at least 0; 0 is GenCE.
        strength: How much of log m is taken off.
        class_mass: As in `generative_cross_entropy`; a total must be of z + tau log pi.
        process_group: As in `generative_cross_entropy`.

    Returns:
        A scalar, or the shape of the rows for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Warns:
        UserWarning: As `generative_cross_entropy` does.

    Example:
        >>> logits, target = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
        >>> round(gence_prior(logits, target, class_counts=[2, 1]).item(), 4)
        -0.386

    Reference:
        Ours; the prior in the logits is Menon et al. 2021, arXiv 2007.07314, equation 10, and Ren et al. 2020, arXiv
        2007.10740.
    """
    check_loss_arguments(input, target, weight, ignore_index, reduction)
    axis = class_dim(input)
    logits = counting_logits(input, target, ignore_index)
    adjusted = (logits.movedim(axis, -1) + log_prior(logits.movedim(axis, -1), class_counts, tau)).movedim(-1, axis)
    loss = generative_cross_entropy(
        adjusted,
        target,
        weight,
        ignore_index,
        reduction,
        strength=strength,
        class_mass=class_mass,
        process_group=process_group,
    )
    return loss.to(result_dtype(input, target))


def _caution(input: Tensor, target: Tensor, ignore_index: int, loss: str) -> None:
    cure = f"{loss} has no exact form for ranks yet"
    caution_ranks_apart_and_few_rows(input, target, ignore_index, None, cure=cure)
