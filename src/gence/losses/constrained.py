"""Class-adaptive label smoothing (CALS): how hard each class is held to the margin is learned on validation rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gence._epochs import check_epoch
from gence.losses._checks import check_above_0, check_reduction, check_whole
from gence.losses.cross_entropy import Reduction
from gence.losses.rows import rows_of

_LARGEST_MULTIPLIER = 1e6
_LARGEST_RHO = 10.0


def margin_constraint(logits: Tensor, margin: float) -> Tensor:
    r"""`(R, C)`, :math:`d_k = (\max_j z_j - z_k) / m - 1`: how far beyond the margin, in margins; at most 0 is well.

    Example:
        >>> margin_constraint(torch.tensor([[6.0, 4.0, 0.0]]), margin=4.0)
        tensor([[-1.0000, -0.5000,  0.5000]])
    """
    return (logits.amax(1, keepdim=True) - logits) / margin - 1.0


def phr_penalty(constraint: Tensor, multipliers: Tensor, rho: Tensor) -> Tensor:
    r"""The penalty of Powell, Hestenes and Rockafellar, :math:`\frac{(\lambda + \rho d)_+^2 - \lambda^2}{2 \rho}`.

    Its derivative :math:`(\lambda + \rho d)_+` is :math:`\lambda` where d is 0, and 0 from :math:`-\lambda/\rho` down.

    Args:
        constraint: `(R, C)`, d.
        multipliers: `(C)`, how hard each class is held.
        rho: `(C)`, how fast that grows with d, above 0.

    Returns:
        `(R, C)`.

    Example:
        >>> phr_penalty(torch.tensor([[1.0, -2.0]]), torch.tensor([2.0, 2.0]), torch.tensor([4.0, 4.0]))
        tensor([[ 4.0000, -0.5000]])
    """
    return ((multipliers + rho * constraint).relu().square() - multipliers.square()) / (2.0 * rho)


def cals(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    multipliers: Tensor,
    rho: Tensor,
    margin: float = 10.0,
) -> Tensor:
    r"""Cross-entropy plus the mean of `phr_penalty` over the classes, :math:`-\log p_y + \frac{1}{C} \sum_k P(d_k)`.

    `margin_constraint` gives d. The loss can be negative. It is proper for posteriors that the penalty does not reach,
    whose logits lie within :math:`m (1 - \lambda_k / \rho_k)` of the largest, and for no others.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`. A class ruled out by minus infinity is infinitely far
            behind, so the loss is infinite.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        multipliers: `(C)`, how hard each class is held within the margin.
        rho: `(C)`, how fast that grows beyond the margin, above 0.
        margin: The distance m to the largest logit that is well, above 0.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.tensor([[30.0, 0.0]]), torch.tensor([0])
        >>> held, free = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0])
        >>> cals(logits, target, multipliers=free, rho=held, margin=10.0).item()  # (20/10)^2 / 2 in one class of two
        1.0

    Reference:
        Liu et al. 2023, arXiv 2211.15088. The mean over the classes is that of the authors' code.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "cals")
    check_above_0(margin=margin)
    num_classes = rows.logits.shape[1]
    for name, value in {"multipliers": multipliers, "rho": rho}.items():
        if value.shape != (num_classes,):
            raise ValueError(
                f"{name} must have one entry a class, shape ({num_classes},); got shape {tuple(value.shape)}"
            )
    penalty = phr_penalty(
        margin_constraint(rows.logits, margin), multipliers.to(rows.logits.dtype), rho.to(rows.logits.dtype)
    )
    return rows.reduce(rows.cross_entropy() + penalty.mean(1))


def next_multipliers(slopes: Tensor, smallest: float) -> Tensor:
    r"""`(C)`, the mean of the slopes :math:`(\lambda + \rho d)_+` over rows, each at least `smallest` and at most 1e6.

    Example:
        >>> next_multipliers(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), smallest=0.5)
        tensor([2.0000, 0.5000])
    """
    return slopes.clamp(smallest, _LARGEST_MULTIPLIER).mean(0)


def next_rho(rho: Tensor, violation: Tensor, previous: Tensor, gamma: float, tau: float) -> Tensor:
    r"""`(C)`, rho times gamma, at most 10, where the mean constraint did not fall below tau times what it was before.

    What was well before, at most 0, must stay well.

    Example:
        >>> violation, previous = torch.tensor([0.95, 0.5, -1.0]), torch.tensor([1.0, 1.0, -0.5])
        >>> next_rho(torch.ones(3), violation, previous, gamma=1.2, tau=0.9)
        tensor([1.2000, 1.0000, 1.0000])
    """
    grown = (gamma * rho).clamp(max=_LARGEST_RHO)
    return torch.where(violation > tau * previous.clamp(min=0.0), grown, rho)


class CALSLoss(nn.Module):
    """`cals` with multipliers and rho that an augmented Lagrangian method learns on validation rows: CALS-ALM.

    It is an `EpochLoss`: `end_epoch` makes the multipliers the slopes of the penalty on the validation rows, and rho
    grows where that does not help.

    Args:
        weight: `(C)` class weights, kept as a buffer.
        ignore_index: Rows with this class number do not count, nor do they among the validation rows.
        reduction: `"none"`, `"mean"` or `"sum"`.
        num_classes: C.
        margin: The distance to the largest logit that is well, above 0.
        multiplier: What all multipliers start from, and do not fall below; above 0.
        rho: What all of rho start from, above 0 and at most 10, which they do not exceed.
        gamma: What rho grows by, at least 1.
        tau: The share of what it was that a violation must fall below, or rho grows; in [0, 1].
        period: The multipliers change after every so many epochs.
        rho_period: rho changes after every so many epochs, by what the last of them brought.

    Attributes:
        multipliers: `(C)`, a buffer.
        rho: `(C)`, a buffer.
        violation: `(C)`, the mean constraint of the validation rows after the last epoch, a buffer; infinite before.

    Raises:
        ValueError: If a setting is out of its range.

    Example:
        >>> loss = CALSLoss(num_classes=2)
        >>> loss.end_epoch(1, 100, validation=(torch.tensor([[30.0, 0.0]]), torch.tensor([0])))
        >>> loss.multipliers  # the second class is two margins too far behind
        tensor([1.0000e-06, 2.0000e+00])

    Reference:
        Liu et al. 2023, arXiv 2211.15088; limits and periods are those of the authors' code.
    """

    uses_validation: bool = True
    weight: Tensor | None
    multipliers: Tensor
    rho: Tensor
    violation: Tensor

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        *,
        num_classes: int,
        margin: float = 10.0,
        multiplier: float = 1e-6,
        rho: float = 1.0,
        gamma: float = 1.2,
        tau: float = 0.9,
        period: int = 1,
        rho_period: int = 10,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_above_0(margin=margin)
        if not 0.0 < multiplier <= _LARGEST_MULTIPLIER:
            raise ValueError(f"multiplier must be above 0 and at most {_LARGEST_MULTIPLIER:g}; got {multiplier}")
        if not 0.0 < rho <= _LARGEST_RHO:
            raise ValueError(f"rho must be above 0 and at most {_LARGEST_RHO:g}; got {rho}")
        if not 1.0 <= gamma < math.inf:
            raise ValueError(f"gamma must be a finite number of at least 1 (1 keeps rho as it is); got {gamma}")
        if not 0.0 <= tau <= 1.0:
            raise ValueError(f"tau must lie in [0, 1]; got {tau}")
        check_whole(num_classes=num_classes, period=period, rho_period=rho_period)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.margin, self.multiplier = margin, multiplier
        self.gamma, self.tau = gamma, tau
        self.period, self.rho_period = period, rho_period
        self.register_buffer("multipliers", torch.full((num_classes,), multiplier))
        self.register_buffer("rho", torch.full((num_classes,), rho))
        self.register_buffer("violation", torch.full((num_classes,), torch.inf))

    def forward(self, input: Tensor, target: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """The loss of a batch; it is the same whichever rows these are."""
        return cals(
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            multipliers=self.multipliers,
            rho=self.rho,
            margin=self.margin,
        )

    @torch.no_grad()
    def end_epoch(self, epoch: int, epochs: int, validation: tuple[Tensor, Tensor] | None = None) -> None:
        """Learn multipliers and rho from (logits `(V, C)`, class numbers `(V)`) of rows that are not trained on.

        Raises:
            ValueError: If there is no such epoch, there are no validation rows, none counts, or their classes are
                others.
        """
        check_epoch(epoch, epochs)
        if validation is None:
            raise ValueError(
                "CALSLoss learns from rows that are not trained on; got validation=None: "
                "give end_epoch(epoch, epochs, validation=(logits, target))"
            )
        rows = rows_of(*validation, None, self.ignore_index, "mean", "CALSLoss")
        if rows.logits.shape[1] != len(self.multipliers):
            raise ValueError(
                f"validation logits must be of {len(self.multipliers)} classes, as num_classes says; "
                f"got {rows.logits.shape[1]}"
            )
        constraint = margin_constraint(rows.logits[rows.valid], self.margin)
        if len(constraint) == 0:
            raise ValueError(
                "validation must have a row that counts; got none among "
                f"{len(rows.valid)}: give rows with labels other than ignore_index={self.ignore_index}"
            )
        multipliers, rho = self.multipliers.to(constraint), self.rho.to(constraint)
        violation = constraint.mean(0)
        if epoch % self.period == 0:
            self.multipliers.copy_(next_multipliers((multipliers + rho * constraint).relu(), self.multiplier))
        if epoch % self.rho_period == 0:
            self.rho.copy_(next_rho(rho, violation, self.violation.to(constraint), self.gamma, self.tau))
        self.violation.copy_(violation)

    def extra_repr(self) -> str:
        return (
            f"num_classes={len(self.multipliers)}, margin={self.margin}, gamma={self.gamma}, tau={self.tau}, "
            f"period={self.period}, rho_period={self.rho_period}"
        )
