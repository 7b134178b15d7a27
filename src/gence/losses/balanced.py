"""GenCE for few and for lopsided labels: the prior in the logits, labels smoothed towards it, a moving class mass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gence.losses._checks import caution_of_ranks_apart, check_label_smoothing, check_reduction, check_strength
from gence.losses.class_mass import sums_of
from gence.losses.cross_entropy import Reduction
from gence.losses.moving import MovingClassMass
from gence.losses.prior import as_class_counts, class_shares, log_prior, smoothed_terms
from gence.losses.rows import Rows, rows_of


class BalancedGenCELoss(nn.Module):
    r"""Prior-aware GenCE with labels smoothed towards the training prior; predict with softmax(z).

    With the class shares pi of the training data, :math:`q = \mathrm{softmax}(z + \tau \log \pi)`, the target
    :math:`t_k = (1 - s)\, 1\{k = y\} + s\, \pi_k` and the moving class mass u of q, a row's term is

    .. math:: -\sum_k t_k \left( \log q_k - \mathrm{strength} \cdot \log u_k \right).

    Under completeness the posterior of the training data, smoothed like the target, is the minimiser as q; so at tau 1
    softmax(z) is close to the posterior under a balanced prior, with confidences held back by s. With equally many rows
    a class it is moving GenCE with label smoothing. **The gradient is not that of the value**: u is a number that lags
    behind, and the rows' part in it is given the share that it has on average, as in `MovingClassMass`.

    Smoothing is towards pi and not even, because an even share would teach every row some of each rare class, which
    softmax(z) then divides by a small pi.

    Args:
        weight: `(C)` class weights, kept as a buffer. A term counts as much as the weight of its row's label.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        class_counts: `(C)`, training rows of each class, all above 0; their scale does not matter.
        tau: How much of log pi is added, at least 0.
        smoothing: The share s of the target that is spread as pi is, in [0, 1].
        strength: How much of log u is taken off; 0 is `logit_adjusted_smoothing`.
        rate: Of the `MovingClassMass`.

    Called with logits `(C)`, `(N, C)` or `(N, C, d1, ..., dK)` and class numbers of that shape without the class axis.

    Raises:
        ValueError: If a setting is out of range, or shapes and dtypes do not fit together.

    Warns:
        UserWarning: Once, if there are several ranks, as each takes the mass of its own rows.

    Example:
        >>> loss = BalancedGenCELoss(class_counts=[3, 1], smoothing=0.0)
        >>> round(loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)  # one row is its own class mass
        0.0
        >>> plain = BalancedGenCELoss(class_counts=[3, 1], smoothing=0.2, strength=0.0)
        >>> round(plain(torch.zeros(1, 2), torch.tensor([1])).item(), 4)  # -(0.15 log(3/4) + 0.85 log(1/4))
        1.2215

    Reference:
        Ours. The prior in the logits is Menon et al. 2021, arXiv 2007.07314, equation 10; label smoothing is Szegedy et
        al. 2016, arXiv 1512.00567.
    """

    weight: Tensor | None
    class_counts: Tensor

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        *,
        class_counts: Tensor | Sequence[float],
        tau: float = 1.0,
        smoothing: float = 0.05,
        strength: float = 1.0,
        rate: float = 0.02,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_label_smoothing(smoothing)
        check_strength(strength)
        counts = as_class_counts(class_counts).detach().to(torch.get_default_dtype(), copy=True)
        log_prior(counts, counts, tau)  # refuses counts of 0, and tau
        self.register_buffer("weight", weight)
        self.register_buffer("class_counts", counts)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.tau, self.smoothing, self.strength = tau, smoothing, strength
        self.class_mass = MovingClassMass(len(counts), rate, prior=counts / counts.sum())

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        rows = rows_of(input, target, self.weight, self.ignore_index, self.reduction, "gence_balanced")
        log_q = (rows.logits + log_prior(rows.logits, self.class_counts, self.tau)).log_softmax(1)
        prior = class_shares(log_q, self.class_counts)
        if self.strength == 0.0:
            return rows.reduce(smoothed_terms(rows, log_q, prior, self.smoothing))
        caution_of_ranks_apart("gence_balanced has no exact form for ranks yet")
        labels = rows.labels.masked_fill(~rows.valid, -100)
        log_mass = self.class_mass(sums_of(log_q.detach(), labels, None, -100, 0.0)).log_mass.to(log_q)
        terms = smoothed_terms(rows, log_q - self.strength * log_mass, prior, self.smoothing)
        return rows.reduce(terms) + self._through_the_mass(rows, log_q, log_mass, prior)

    def _through_the_mass(self, rows: Rows, log_q: Tensor, log_mass: Tensor, prior: Tensor) -> Tensor:
        """0, whose gradient is what the terms owe to the mass: of each row the same, whatever its label and weight."""
        weight = torch.ones_like(prior) if self.weight is None else self.weight.to(log_q)
        expected = weight @ prior
        share = prior * ((1.0 - self.smoothing) * weight / expected + self.smoothing)
        moved = self.strength * (log_q - log_mass).exp() @ share
        counts = rows.valid.to(log_q.dtype)
        parts = counts * (moved - moved.detach()) / counts.sum().clamp(min=1)
        if self.reduction == "mean":
            return parts.sum().to(rows.dtype)
        total = (counts * weight[rows.labels]).sum()
        return (total * (parts.sum() if self.reduction == "sum" else parts.view(rows.shape))).to(rows.dtype)

    def extra_repr(self) -> str:
        return (
            f"ignore_index={self.ignore_index}, reduction={self.reduction!r}, tau={self.tau}, "
            f"smoothing={self.smoothing}, strength={self.strength}"
        )
