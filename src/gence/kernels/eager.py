"""What GenCE needs of the logits, and its gradient in closed form, by PyTorch's own operators.

A kernel is a pair of functions: `statistics` looks at the logits once, `gradient` once more. This pair is the one that
runs everywhere; those in Triton take and give the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SAFE = 1e-30
"""Probabilities and their sums from here on have all their digits in float32, and inverses far from overflow."""

LOG_SAFE = math.log(SAFE)

_BLOCK = 2**17
"""How many logits are worked on at once where that needs memory for them: half a megabyte stays in the cache."""


def statistics(
    logits: Tensor,
    target: Tensor,
    counts: Tensor | None,
    weight: Tensor | None,
    smoothing: float,
    *,
    keep: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    r"""The log-likelihood of each row and, in log space, the sum of the probabilities of each class.

    With :math:`P_{ik} = w_k ((1 - \epsilon) 1\{k = y_i\} + \epsilon / C)`, these are
    :math:`\ell_i = \sum_k P_{ik} \log q_{ik}` and :math:`\log S_k = \log \sum_i q_{ik}` over the rows that count.

    Args:
        logits: `(N, C)` or `(N, C, M)`.
        target: Class numbers, int64, `(N)` or `(N, M)`; of rows that do not count, any number.
        counts: Which rows count, bool, the shape of `target`; None if all do. The others may hold NaN.
        weight: `(C)` class weights.
        smoothing: :math:`\epsilon`, the share of the target that is spread over the classes.
        keep: Keep the probabilities for `gradient`.

    Returns:
        The log-likelihoods, 0 where a row does not count; the `(C)` logarithms, no less than the least float; and the
        probabilities, if they were to be kept and are fit for it.
    """
    dtype = computing_dtype(logits)
    if smoothing == 0.0 and can_look(logits):
        q = _probabilities(logits, counts, dtype)
        sums = q.sum(row_axes(q))
        if is_at_least(sums.min(), SAFE):
            index = label_index(target, counts)
            likelihood = log_of_labels(logits, q.gather(1, index).squeeze(1), index.squeeze(1))
            if weight is not None:
                likelihood.mul_(_label_weight(target, counts, weight, smoothing, dtype))
            if counts is not None:
                likelihood.masked_fill_(~counts, 0.0)
            return likelihood, sums.log_(), q if keep else None
        del q
    log_q = logits.log_softmax(1, dtype=dtype)
    likelihood = log_q.gather(1, label_index(target, counts)).squeeze(1)
    likelihood = likelihood * _label_weight(target, counts, weight, smoothing, dtype)
    if smoothing > 0.0:
        likelihood += dot(log_q, spread(logits, weight, smoothing))
    if counts is not None:
        likelihood.masked_fill_(~counts, 0.0)
        log_q.masked_fill_(~counts.unsqueeze(1), -torch.inf)
    return likelihood, log_q.logsumexp(row_axes(log_q)).clamp(min=torch.finfo(dtype).min), None


def gradient(
    logits: Tensor,
    probabilities: Tensor | None,
    target: Tensor,
    counts: Tensor | None,
    weight: Tensor | None,
    smoothing: float,
    own: Tensor,
    pull: Tensor,
    amount: Tensor,
    log_mass: Tensor,
) -> Tensor:
    r"""The gradient, with respect to the logits, of the terms of the rows themselves and of the sums over them.

    .. math:: \mathrm{own}_j (A_j q_{jk} - P_{jk}) + \mathrm{pull}_j (t_{jk} - q_{jk} \sum_c t_{jc}), \quad
              t_{jk} = \mathrm{amount}_k\, q_{jk} / m_k, \quad A_j = \sum_k P_{jk}

    The first part is that of :math:`-\mathrm{own}_j \ell_j`; the second, with pull 1 and m the sums S of the rows, that
    of :math:`\sum_k \mathrm{amount}_k \log S_k`.

    Args:
        logits: `(N, C)` or `(N, C, M)`.
        probabilities: What `statistics` kept: it is used up, as the gradient is made in its place. None: made anew.
        target: As in `statistics`.
        counts: As in `statistics`.
        weight: As in `statistics`.
        smoothing: As in `statistics`.
        own: The shape of `target`, or `()`.
        pull: The shape of `target`, or `()`.
        amount: `(C)`, of any sign.
        log_mass: `(C)`, log m.

    Returns:
        The shape and dtype of `logits`; rows that do not count have 0.
    """
    dtype = computing_dtype(logits)
    # An inverse that could overflow is joined with its probability in log space, at the price of one exponential more.
    used = amount != 0.0
    log_mass = torch.where(used, log_mass, 0.0)
    direct = can_look(logits) and is_at_least(log_mass.min(), LOG_SAFE)
    ratio = torch.where(used, amount * (-log_mass).exp(), 0.0)
    in_place = logits.dtype == dtype
    result = probabilities if in_place and probabilities is not None else torch.empty_like(logits)
    spread_out = spread(logits, weight, smoothing)
    at_once = direct and (in_place or probabilities is not None)
    for rows in [slice(None)] if at_once else _blocks(logits):
        z, y = logits[rows], target[rows]
        of_count = None if counts is None else counts[rows]
        mine, pulled = (g[rows] if g.dim() else g for g in (own, pull))
        if of_count is not None:
            mine, pulled = (torch.where(of_count, g, 0.0) for g in (mine, pulled))
        if probabilities is None:
            q = _probabilities(z, of_count, dtype, out=result[rows] if in_place else None)
        else:
            q = probabilities[rows]
        label = _label_weight(y, of_count, weight, smoothing, dtype)
        whole = label if smoothing == 0.0 else label + spread_out.sum()
        if direct:
            row = mine * whole - pulled * dot(q, ratio)
            scale(q, row, ratio * pulled) if pulled.dim() == 0 else scale(q, row, ratio, pulled)
        else:
            t = (z.log_softmax(1, dtype=dtype) - along(log_mass, q)).exp_().mul_(along(amount, q))
            if of_count is not None:
                t.masked_fill_(~of_count.unsqueeze(1), 0.0)
            q.mul_((mine * whole - pulled * t.sum(1)).unsqueeze(1))
            q.add_(t.mul_(of_rows(pulled)))
        if smoothing > 0.0:
            q.sub_(along(spread_out, q) * of_rows(mine))
        index = label_index(y, of_count)
        q.scatter_(1, index, q.gather(1, index) - (mine * label).expand(y.shape).unsqueeze(1))
        if not in_place:
            result[rows] = q
    return result


def computing_dtype(logits: Tensor) -> torch.dtype:
    """float32 for half precision, else the dtype of the logits: log-probabilities need at least float32."""
    return torch.float32 if logits.dtype in (torch.float16, torch.bfloat16) else logits.dtype


def can_look(logits: Tensor) -> bool:
    """Whether a value can be read at no cost; an accelerator would stall."""
    return logits.device.type == "cpu" and logits.numel() > 0


def log_of_labels(logits: Tensor, picked: Tensor, target: Tensor) -> Tensor:
    """The logarithm of the probabilities of the labels; where those have lost their digits, by log-softmax."""
    low = picked < SAFE
    likelihood = picked.log_()
    if is_at_least(low.any(), 1):
        rows = logits.movedim(1, -1)[low].log_softmax(-1, dtype=picked.dtype)
        likelihood[low] = rows.gather(1, target[low].unsqueeze(1)).squeeze(1)
    return likelihood


def is_at_least(number: Tensor, bound: float) -> bool:
    """Whether this is known; of a tensor without a value, as a fake one, nothing is."""
    try:
        return number.item() >= bound
    except RuntimeError:
        return False


def row_axes(q: Tensor) -> list[int]:
    return [0] if q.dim() == 2 else [0, 2]


def along(vector: Tensor, q: Tensor) -> Tensor:
    return vector if q.dim() == 2 else vector[:, None]


def scale(q: Tensor, row: Tensor, column: Tensor, pull: Tensor | None = None) -> None:
    """Multiply q by row + column, one number a row and one a class, or by row + pull * column, in place."""
    for rows in _blocks(q):
        each = along(column, q) if pull is None else along(column, q) * pull[rows].unsqueeze(1)
        q[rows].mul_(each + row[rows].unsqueeze(1))


def of_rows(number: Tensor) -> Tensor:
    """One number a row, or one for all, shaped to be combined with the logits."""
    return number.unsqueeze(1) if number.dim() else number


def dot(q: Tensor, vector: Tensor) -> Tensor:
    return q @ vector if q.dim() == 2 else vector @ q


def label_index(target: Tensor, counts: Tensor | None) -> Tensor:
    """The labels as an index along the classes, with some class in rows that do not count."""
    return (target if counts is None else target.masked_fill(~counts, 0)).unsqueeze(1)


def _label_weight(
    target: Tensor, counts: Tensor | None, weight: Tensor | None, smoothing: float, dtype: torch.dtype
) -> Tensor:
    """What the label of each row weighs, without its part in what is spread; `()` where all weigh the same."""
    if weight is None:
        return torch.full((), 1.0 - smoothing, dtype=dtype, device=target.device)
    return (1.0 - smoothing) * weight.to(dtype)[label_index(target, counts).squeeze(1)]


def spread(logits: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    """What every row gives to each class, `(C)`."""
    dtype, classes = computing_dtype(logits), logits.shape[1]
    even = torch.full((classes,), smoothing / classes, dtype=dtype, device=logits.device)
    return even if weight is None else even * weight.to(dtype)


def _probabilities(logits: Tensor, counts: Tensor | None, dtype: torch.dtype, out: Tensor | None = None) -> Tensor:
    """Softmax, and 0 in rows that do not count."""
    q = logits.softmax(1, dtype=dtype) if out is None else torch.softmax(logits, 1, out=out)
    return q if counts is None else q.masked_fill_(~counts.unsqueeze(1), 0.0)


def _blocks(logits: Tensor) -> list[slice]:
    rows = max(1, _BLOCK // max(1, logits[0].numel())) if len(logits) else 1
    return [slice(start, start + rows) for start in range(0, len(logits), rows)]
