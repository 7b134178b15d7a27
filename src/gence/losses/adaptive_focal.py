"""AdaFocal: a focal loss whose exponents follow the calibration of validation rows, bin by bin."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gence._epochs import check_epoch
from gence.losses._checks import check_at_least_0, check_reduction, check_whole, value_of
from gence.losses.cross_entropy import Reduction
from gence.losses.rows import complement, rows_of


def adaptive_focal(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    gammas: Tensor,
    edges: Tensor,
) -> Tensor:
    r"""Focal loss with an exponent for each bin of :math:`p_y`, and inverse-focal loss where that is negative.

    With :math:`\gamma` the exponent of the bin that :math:`p_y` is in, the term of a row is

    .. math:: -(1 - p_y)^\gamma \log p_y \text{ for } \gamma \ge 0, \qquad
              -(1 + p_y)^{|\gamma|} \log p_y \text{ for } \gamma < 0.

    It jumps from bin to bin. It is no proper score: for two classes, or where one class is likely, a positive exponent
    makes the minimiser less confident than the true posterior and a negative one more; with many classes of which none
    is likely it can be the other way round.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        gammas: `(B)`, the exponent of each bin.
        edges: `(B - 1)`, rising, the edges between the bins; a probability at an edge is in the upper bin.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([0])
        >>> gammas, edges = torch.tensor([2.0, -1.0]), torch.tensor([0.5])
        >>> round(adaptive_focal(logits, target, gammas=gammas, edges=edges).item(), 4)  # -(1 + 0.8) log(0.8)
        0.4017

    Reference:
        Ghosh et al. 2022, arXiv 2211.11838.
    """
    if gammas.dim() != 1 or edges.shape != (len(gammas) - 1,):
        raise ValueError(
            "gammas must hold one exponent a bin, shape (B), and edges what lies between the bins, shape (B - 1); got "
            f"shapes {tuple(gammas.shape)} and {tuple(edges.shape)}"
        )
    if value_of((edges.diff() < 0).any()):
        raise ValueError(f"edges must rise; got {edges.tolist()}: sort them")
    rows = rows_of(input, target, weight, ignore_index, reduction, "adaptive_focal")
    log_p = rows.of_label(rows.log_probs())
    p = log_p.exp()
    gamma = gammas.to(p.dtype)[_bin_of(p.detach(), edges)]
    focus = torch.where(gamma < 0.0, 1.0 + p, complement(log_p)) ** gamma.abs()
    return rows.reduce(-focus * log_p)


def updated_gammas(
    gammas: Tensor,
    gaps: Tensor,
    *,
    rate: float = 1.0,
    gamma_max: float = 20.0,
    gamma_min: float = -2.0,
    switch: float = 0.2,
) -> Tensor:
    r"""The exponents of the next epoch: larger where validation rows are overconfident, smaller where they are not.

    With :math:`E_b` the gap of bin b and :math:`\lambda` the rate,
    :math:`\gamma_b \leftarrow \gamma_b \exp(\pm \lambda E_b)`, plus where :math:`\gamma_b > 0`. An exponent that comes
    nearer to 0 than `switch` goes over to the other sign, to `-switch` or `switch`.

    Args:
        gammas: `(B)`, the exponent of each bin.
        gaps: `(B)`, mean confidence less accuracy of each bin, 0 for a bin without rows.
        rate: :math:`\lambda`.
        gamma_max: No exponent becomes larger.
        gamma_min: No exponent becomes smaller.
        switch: Where the sign changes.

    Returns:
        `(B)`, the new exponents.

    Example:
        >>> gammas, gaps = torch.tensor([1.0, 0.21, -1.0]), torch.tensor([0.1, -0.1, 0.1])
        >>> [round(gamma, 4) for gamma in updated_gammas(gammas, gaps).tolist()]  # e^0.1, switched, -e^-0.1
        [1.1052, -0.2, -0.9048]

    Reference:
        Ghosh et al. 2022, arXiv 2211.11838.
    """
    moved = gammas * (rate * torch.where(gammas > 0.0, gaps, -gaps)).exp()
    other_side = torch.full_like(moved, switch) * torch.where(moved > 0.0, -1.0, 1.0)
    return torch.where(moved.abs() < switch, other_side, moved).clamp(gamma_min, gamma_max)


class AdaFocalLoss(nn.Module):
    """`adaptive_focal` with exponents that are brought up to date after every epoch; an `EpochLoss`.

    Until the first `end_epoch` every bin has the exponent `gamma`. Each `end_epoch` sorts the validation rows by their
    confidence into bins of equal mass, takes the gap of mean confidence and accuracy in each, and moves the exponents
    by `updated_gammas`. As in the paper, the gaps are those of the predicted class, while a training row finds its bin
    by the probability of its label.

    Rows of one confidence share a bin, the upper one, so that their order does not matter. Bins may thus be empty, and
    are when there are fewer rows than bins; an empty bin has gap 0 and keeps its exponent.

    The validation rows teach: do not fit a calibrator on them, nor report on them. With several ranks, each must be
    given the same ones.

    Args:
        weight: `(C)` class weights, kept as a buffer.
        ignore_index: Rows with this class number do not count, in training or in validation.
        reduction: `"none"`, `"mean"` or `"sum"`.
        gamma: The exponent of every bin before the first `end_epoch`, in [`gamma_min`, `gamma_max`].
        rate: How fast the exponents move, at least 0, the paper's lambda.
        bins: How many bins.
        gamma_max: No exponent becomes larger.
        gamma_min: No exponent becomes smaller.
        switch: An exponent nearer to 0 goes over to the other sign; at least 0, and at most as far from 0 as
            `gamma_max` and `gamma_min`.

    Attributes:
        gammas: `(bins)`, buffer: the exponents.
        edges: `(bins - 1)`, buffer: the edges between the bins.
        weight: `(C)` or None, buffer.

    Raises:
        ValueError: If a setting is out of range, or shapes, dtypes or settings do not fit together.

    Example:
        >>> loss = AdaFocalLoss(bins=2)
        >>> logits, target = torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log(), torch.tensor([0, 1])
        >>> loss.end_epoch(1, 10, validation=(logits, target))
        >>> [round(gamma, 4) for gamma in loss.gammas.tolist()]  # e^-0.4 and e^0.9: the second row is surely wrong
        [0.6703, 2.4596]

    Reference:
        Ghosh et al. 2022, arXiv 2211.11838.
    """

    uses_validation = True
    gammas: Tensor
    edges: Tensor
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        *,
        gamma: float = 1.0,
        rate: float = 1.0,
        bins: int = 15,
        gamma_max: float = 20.0,
        gamma_min: float = -2.0,
        switch: float = 0.2,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        if not -math.inf < gamma_min <= gamma <= gamma_max < math.inf:
            raise ValueError(
                f"gamma must lie between gamma_min={gamma_min} and gamma_max={gamma_max}, all finite; got {gamma}"
            )
        check_at_least_0("0 is a fixed gamma", rate=rate)
        check_whole(bins=bins)
        check_at_least_0("0 is no change of sign", switch=switch)
        if gamma_min < 0.0 < gamma_max and switch > min(gamma_max, -gamma_min):
            raise ValueError(
                f"switch must be at most {min(gamma_max, -gamma_min)}, so that an exponent of either sign fits between "
                f"gamma_min={gamma_min} and gamma_max={gamma_max}; got {switch}"
            )
        if gamma == 0.0 and switch == 0.0:
            raise ValueError(
                "gamma must not be 0 with a switch of 0, as it would stay 0 for ever; got both: use F.cross_entropy, "
                "or give one of them another value"
            )
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.rate = rate
        self.gamma_max = gamma_max
        self.gamma_min = gamma_min
        self.switch = switch
        self.register_buffer("weight", weight)
        self.register_buffer("gammas", torch.full((bins,), float(gamma)))
        self.register_buffer("edges", torch.arange(1, bins) / bins)

    def forward(self, input: Tensor, target: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """The loss of a batch; it has no use for `rows`."""
        return adaptive_focal(
            input, target, self.weight, self.ignore_index, self.reduction, gammas=self.gammas, edges=self.edges
        )

    @torch.no_grad()
    def end_epoch(self, epoch: int, epochs: int, validation: tuple[Tensor, Tensor] | None = None) -> None:
        """Move the exponents by the gaps of `validation`, (logits `(V, C)`, class numbers `(V)`)."""
        check_epoch(epoch, epochs)
        if validation is None:
            raise ValueError(
                "AdaFocalLoss learns from rows that are not trained on; got no validation: give end_epoch(epoch, "
                "epochs, validation=(logits, class numbers)), or use focal, whose gamma is fixed"
            )
        logits, target = (values.detach().cpu() for values in validation)
        rows = rows_of(logits.double(), target, None, self.ignore_index, "none", "AdaFocalLoss")
        confidence, predicted = (values[rows.valid] for values in rows.log_probs().exp().max(1))
        if len(confidence) == 0:
            raise ValueError("validation must have at least one row that counts; got none: hold some rows out")
        if confidence.isnan().any():
            raise ValueError("validation logits must not be NaN; got some: has the training diverged?")
        excess = confidence - (predicted == rows.labels[rows.valid]).double()
        edges = _equal_mass_edges(confidence, len(self.gammas))
        gaps = _mean_of_bins(excess, _bin_of(confidence, edges), len(self.gammas))
        gammas = updated_gammas(
            self.gammas,
            gaps.to(self.gammas),
            rate=self.rate,
            gamma_max=self.gamma_max,
            gamma_min=self.gamma_min,
            switch=self.switch,
        )
        self.gammas.copy_(gammas)
        self.edges.copy_(edges)

    def extra_repr(self) -> str:
        return (
            f"bins={len(self.gammas)}, rate={self.rate}, gamma_max={self.gamma_max}, gamma_min={self.gamma_min}, "
            f"switch={self.switch}"
        )


def _bin_of(p: Tensor, edges: Tensor) -> Tensor:
    """The number of the bin of each p: how many edges it has reached."""
    return torch.bucketize(p, edges.to(p.dtype), right=True)


def _equal_mass_edges(confidence: Tensor, bins: int) -> Tensor:
    """`(bins - 1)`, the confidences at which the b-th share of the rows begins."""
    first = torch.arange(1, bins) * len(confidence) // bins
    return confidence.sort().values[first]


def _mean_of_bins(values: Tensor, index: Tensor, bins: int) -> Tensor:
    """`(bins)`, the mean of `values` in each bin, 0 where there are none."""
    count = torch.bincount(index, minlength=bins)
    return torch.bincount(index, values, minlength=bins) / count.clamp(min=1)
