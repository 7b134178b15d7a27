"""LDAM: a margin for every class, the wider the rarer it is, and weights for the last epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gence._epochs import check_epoch
from gence.losses._checks import check_at_least_0, check_reduction, check_tensors
from gence.losses.cross_entropy import Reduction
from gence.losses.prior import adjusted_cross_entropy, check_class_counts, counts_for, effective_number_weights
from gence.losses.rows import rows_of


def ldam(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    class_counts: Tensor | Sequence[float],
    max_margin: float = 0.5,
    scale: float = 30.0,
) -> Tensor:
    r"""Label-distribution-aware margin loss: cross-entropy after the label's logit is lowered by its class's margin.

    With n the training rows of each class the margin of class k is
    :math:`m_k = \mathrm{max\_margin} \cdot n_k^{-1/4} / \max_j n_j^{-1/4}`, and the term of a row is

    .. math:: -\log \frac{e^{z_y - \mathrm{scale} \cdot m_y}}
        {e^{z_y - \mathrm{scale} \cdot m_y} + \sum_{k \ne y} e^{z_k}}

    Margins are distances between cosines, and **the logits are cosines times scale already**, as
    `gence.models.heads.CosineHead` gives them. So softmax(z) is what to predict with, without margins; the softmax of
    bare cosines would be nearly flat.

    It is not proper: the margin goes off the logit of whichever class is the label, so no one softmax is fitted.

    Args:
        input: Logits of a cosine head, scale included: `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        class_counts: `(C)`, training rows of each class, all above 0; on an accelerator a tensor that is there.
        max_margin: The margin of the rarest class, at least 0; 0 is cross-entropy.
        scale: That of the head, above 0.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.zeros(2, 2), torch.tensor([0, 1])
        >>> ldam(logits, target, reduction="none", class_counts=[16, 1], scale=2.0)  # margins 1/4 and 1/2
        tensor([0.9741, 1.3133])

    Reference:
        Cao et al. 2019, arXiv 1906.07413, Section 3.2.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "ldam")
    _check_margins(max_margin, scale)
    counts = counts_for(rows.logits, class_counts)
    margins = max_margin * (counts.amin() / counts) ** 0.25
    logits = rows.logits - scale * margins[rows.labels][:, None] * rows.one_hot()
    return adjusted_cross_entropy(rows, logits)


class LDAMLoss(nn.Module):
    """LDAM-DRW: `ldam` whose classes are weighed by `effective_number_weights`, but only in the last epochs.

    The training loop calls `end_epoch` after each epoch. Once the share `deferral` of all epochs is done the weights
    apply, and `"mean"` divides by them as in `F.cross_entropy`. They are kept as a buffer, so that a state dict resumes
    where it was.

    Args:
        weight: `(C)` class weights that apply from the start, kept as a buffer; the deferred ones multiply them.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`.
        class_counts: `(C)`, training rows of each class, all above 0.
        max_margin: The margin of the rarest class, at least 0.
        scale: That of the cosine head, above 0.
        deferral: Share of the epochs without the deferred weights, in [0, 1]; 0 has them from the start, 1 never.
        beta: Of the weights, in [0, 1).

    Attributes:
        class_counts: `(C)`, buffer.
        deferred_weight: `(C)`, buffer: ones before, the weights by effective number after; float64 for counts that
            are integers.
        uses_validation: False.

    Raises:
        ValueError: If a setting is out of range or shapes do not fit together.

    Example:
        >>> loss = LDAMLoss(class_counts=[1000, 10], deferral=0.5, beta=0.99)
        >>> loss.end_epoch(1, 4)
        >>> loss.deferred_weight.tolist()
        [1.0, 1.0]
        >>> loss.end_epoch(2, 4)
        >>> [round(weight, 4) for weight in loss.deferred_weight.tolist()]
        [0.1746, 1.8254]

    Reference:
        Cao et al. 2019, arXiv 1906.07413, Algorithm 1; the weights are those of Cui et al. 2019, arXiv 1901.05555.
    """

    uses_validation = False
    weight: Tensor | None
    class_counts: Tensor
    deferred_weight: Tensor

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        *,
        class_counts: Tensor | Sequence[float],
        max_margin: float = 0.5,
        scale: float = 30.0,
        deferral: float = 0.8,
        beta: float = 0.9999,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        _check_margins(max_margin, scale)
        if not 0.0 <= deferral <= 1.0:
            raise ValueError(f"deferral must be a share of the epochs, in [0, 1]; got {deferral}")
        counts = check_class_counts(class_counts)
        if weight is not None:
            check_tensors(input=counts, target=counts, weight=weight)
            if weight.shape != counts.shape:
                raise ValueError(
                    f"weight must have one entry a class, shape {tuple(counts.shape)} as class_counts has; got shape "
                    f"{tuple(weight.shape)}"
                )
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.max_margin = max_margin
        self.scale = scale
        self.deferral = deferral
        self.beta = beta
        self.register_buffer("weight", weight)
        self.register_buffer("class_counts", counts.detach().clone())
        deferred = _weights(counts, beta)
        self.register_buffer("deferred_weight", deferred if deferral == 0.0 else torch.ones_like(deferred))

    def forward(self, input: Tensor, target: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """The loss of a batch; the numbers of its rows do not matter to it."""
        weight = self.deferred_weight if self.weight is None else self.weight * self.deferred_weight
        settings = (weight, self.ignore_index, self.reduction)
        return ldam(
            input, target, *settings, class_counts=self.class_counts, max_margin=self.max_margin, scale=self.scale
        )

    def end_epoch(self, epoch: int, epochs: int, validation: tuple[Tensor, Tensor] | None = None) -> None:
        """Bring in the weights, if the epochs without them are over; `validation` is not looked at."""
        check_epoch(epoch, epochs)
        # The quotient, as 0.55 * 100 is more than 55 in floating point.
        over = self.deferral < 1.0 and epoch / epochs >= self.deferral
        weights = _weights(self.class_counts, self.beta)
        self.deferred_weight.copy_(weights if over else torch.ones_like(weights))

    def extra_repr(self) -> str:
        return (
            f"num_classes={len(self.class_counts)}, max_margin={self.max_margin}, scale={self.scale}, "
            f"deferral={self.deferral}, beta={self.beta}, ignore_index={self.ignore_index}, "
            f"reduction={self.reduction!r}"
        )


def _weights(counts: Tensor, beta: float) -> Tensor:
    # Integers carry no precision of their own, and logits may be of float64.
    return effective_number_weights(counts if counts.is_floating_point() else counts.double(), beta=beta)


def _check_margins(max_margin: float, scale: float) -> None:
    check_at_least_0("0 is cross-entropy", max_margin=max_margin)
    if not 0.0 < scale < math.inf:
        raise ValueError(f"scale must be that of the cosine head, a finite number above 0; got {scale}")
