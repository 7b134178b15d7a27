"""What GenCE needs of the logits, composed of PyTorch's operators and differentiated by autograd.

It is what a compiler fuses best, and what can be differentiated twice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gence.kernels import eager


def statistics(
    logits: Tensor, target: Tensor, counts: Tensor | None, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Log-likelihoods and logarithms of the class sums: `eager.statistics`, differentiable, without what it keeps."""
    dtype = eager.computing_dtype(logits)
    log_q = logits.log_softmax(1, dtype=dtype)
    weight = None if weight is None else weight.to(dtype)
    # A number that is no class stands for the rows that do not count.
    labels = target if counts is None else target.masked_fill(~counts, -1)
    if log_q.dim() == 3 and torch.are_deterministic_algorithms_enabled():
        # PyTorch has no deterministic nll_loss of images on CUDA; of rows it has.
        flat = log_q.movedim(1, -1).flatten(0, -2)
        likelihood = -F.nll_loss(flat, labels.flatten(), weight, ignore_index=-1, reduction="none").view(labels.shape)
    else:
        likelihood = -F.nll_loss(log_q, labels, weight, ignore_index=-1, reduction="none")
    if smoothing > 0.0:
        spread = eager.dot(log_q, eager.spread(logits, weight, smoothing))
        likelihood = (1.0 - smoothing) * likelihood + (spread if counts is None else spread.masked_fill(~counts, 0.0))
    return likelihood, _log_sums(log_q, counts)


def gradient(
    logits: Tensor,
    shares: Tensor,
    target: Tensor,
    counts: Tensor | None,
    weight: Tensor | None,
    smoothing: float,
    own: Tensor,
    pull: Tensor,
    amount: Tensor,
    log_sums: Tensor,
) -> Tensor:
    """`eager.gradient` from the share of each row in the class sums, for a compiler to make one loop of.

    Args:
        logits: `(N, C)` or `(N, C, M)`.
        shares: q / S, the shape of `logits`; 0 in rows that do not count.
        target: As in `eager.gradient`, and so are the others.
        counts: As there.
        weight: As there.
        smoothing: As there.
        own: As there.
        pull: As there.
        amount: As there.
        log_sums: `(C)`, log S.
    """
    labels = eager.label_index(target, counts)
    if counts is not None:
        own, pull = torch.where(counts, own, 0.0), torch.where(counts, pull, 0.0)
    own, pull = eager.of_rows(own), eager.of_rows(pull)
    # Numbers of 32 bits are compared as many at a time as logits are multiplied.
    classes = eager.along(torch.arange(logits.shape[1], device=logits.device, dtype=torch.int32), logits)
    asked = torch.where(classes == labels.int(), 1.0 - smoothing, 0.0)
    if smoothing > 0.0:
        asked = asked + smoothing / logits.shape[1]
    if weight is not None:
        asked = asked * eager.along(weight.to(shares.dtype), logits)
    q, t = shares * eager.along(log_sums.exp(), logits), shares * eager.along(amount, logits)
    whole = asked.sum(1, keepdim=True) if smoothing > 0.0 or weight is not None else 1.0
    return (own * (q * whole - asked) + pull * (t - q * t.sum(1, keepdim=True))).to(logits.dtype)


def _log_sums(log_q: Tensor, counts: Tensor | None) -> Tensor:
    # A class that is impossible in every row must get gradient 0, not the NaN of inf - inf.
    bounded = log_q.clamp(min=torch.finfo(log_q.dtype).min)
    total = bounded if counts is None else bounded.masked_fill(~counts.unsqueeze(1), -torch.inf)
    return total.logsumexp(eager.row_axes(log_q)).clamp(min=torch.finfo(log_q.dtype).min)
