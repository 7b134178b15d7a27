"""Logits kept within a margin of each other: margin-based and adaptive conditional label smoothing."""

from __future__ import annotations

from torch import Tensor

from gence.losses._checks import check_at_least_0
from gence.losses.cross_entropy import Reduction
from gence.losses.rows import rows_of


def margin_penalty(logits: Tensor, margin: float) -> Tensor:
    r"""How far the logits of a row fall behind the largest beyond a margin,
    :math:`\frac{1}{C} \sum_k (\max_j z_j - z_k - m)_+`.

    Args:
        logits: `(R, C)`.
        margin: The distance m that costs nothing.

    Returns:
        `(R)`; infinite where a class is ruled out by minus infinity.

    Example:
        >>> import torch
        >>> margin_penalty(torch.tensor([[5.0, 4.0, 1.0]]), margin=2.0)  # (0 + 0 + 2) / 3
        tensor([0.6667])
    """
    return (logits.amax(1, keepdim=True) - logits - margin).relu().mean(1)


def mbls(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    alpha: float = 0.1,
    margin: float = 10.0,
) -> Tensor:
    r"""Margin-based label smoothing, :math:`-\log p_y + \alpha \frac{1}{C} \sum_k (\max_j z_j - z_k - m)_+`.

    Label smoothing pulls all logits together; this only those that are further behind the largest than the margin.
    It is proper for posteriors whose probabilities lie within a factor of :math:`e^m` of each other, as the penalty
    is 0 at them, and for no others: from those it keeps away.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`. A class ruled out by minus infinity is infinitely far
            behind, so the loss is infinite.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        alpha: The weight of the penalty, at least 0; 0 is cross-entropy.
        margin: The distance m to the largest logit that costs nothing, at least 0.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[20.0, 0.0]]), torch.tensor([0])
        >>> round(mbls(logits, target, alpha=0.1, margin=10.0).item(), 4)  # 0.1 * (20 - 10) / 2, and hardly any more
        0.5

    Reference:
        Liu et al. 2022, arXiv 2111.15430, section 3.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "mbls")
    check_at_least_0("0 is cross-entropy", alpha=alpha)
    check_at_least_0(margin=margin)
    return rows.reduce(rows.cross_entropy() + alpha * margin_penalty(rows.logits, margin))


def acls(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    alpha: float = 0.1,
    lambda1: float = 1.0,
    lambda2: float = 0.1,
    margin: float = 10.0,
) -> Tensor:
    r"""Adaptive and conditional label smoothing: the largest logit is held down, those far behind it are held up.

    With t the class of the largest logit and sg what is taken as a constant, the term of a row is

    .. math:: -\log p_y + \alpha \left( \lambda_1 (z_t - m)_+^2
        + \frac{\lambda_2}{C - 1} \sum_{k \ne t} (\mathrm{sg}(z_t) - z_k - m)_+^2 \right)

    The first part looks at the largest logit itself, not at a distance, so the loss is not invariant to a shift of the
    logits of a row, and the gradient of a row does not sum to 0. It is proper for posteriors whose probabilities lie
    within a factor of :math:`e^m` of each other, as logits of them that cost nothing exist, and for no others. The
    gradient is not that of the value: how far the others are behind moves the others only.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`. A class ruled out by minus infinity is infinitely far
            behind, so the loss is infinite.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        alpha: The weight of both parts, at least 0; 0 is cross-entropy.
        lambda1: The weight of the part of the largest logit, at least 0.
        lambda2: The weight of the part of the other logits, at least 0.
        margin: The size of the largest logit, and its distance to another, that costs nothing, at least 0.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[12.0, -1.0]]), torch.tensor([0])
        >>> round(acls(logits, target).item(), 4)  # 0.1 * ((12 - 10)^2 + 0.1 * (13 - 10)^2)
        0.49

    Reference:
        Park et al. 2023, arXiv 2308.11911. How the regulariser is averaged, and that it looks at the
        largest logit itself, follow what is reported of the authors' code.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "acls")
    check_at_least_0("0 is cross-entropy", alpha=alpha)
    check_at_least_0(margin=margin, lambda1=lambda1, lambda2=lambda2)
    # The first of equal logits: amax would share the gradient among them.
    top = rows.logits.max(1).values
    # The largest itself is no further behind than the margin, so it adds nothing to the sum.
    behind = (top.detach()[:, None] - rows.logits - margin).relu().square().sum(1) / max(rows.logits.shape[1] - 1, 1)
    smoothing = lambda1 * (top - margin).relu().square() + lambda2 * behind
    return rows.reduce(rows.cross_entropy() + alpha * smoothing)
