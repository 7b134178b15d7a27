"""Correctness ranking loss (CRL): confidences ordered as the rows were right in the past."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gence._epochs import check_epoch
from gence.losses._checks import check_at_least_0, check_reduction, check_tensors, check_whole, value_of
from gence.losses.cross_entropy import Reduction
from gence.losses.rows import rows_of


def correctness_ranking(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    history: Tensor,
    rank_weight: float = 1.0,
) -> Tensor:
    r"""Cross-entropy plus a penalty on each row whose confidence is not as far above the next row's as its history is.

    With c the confidence, the largest probability of a row, h its history, and row j the next one that counts (after
    the last comes the first), the penalty is the mean over the rows of

    .. math:: \left( -\mathrm{sign}(h_i - h_j) (c_i - c_j) + |h_i - h_j| \right)_+

    Rows of equal history have no order, and no penalty. Batches must be shuffled, as a row is compared with its
    neighbour only. The loss is not proper: what a confidence should be depends on the past of other rows.

    Args:
        input: Logits, `(N, C)`.
        target: Class numbers, int64, `(N)`.
        weight: `(C)` class weights of the terms; the penalty itself is unweighted and is added to each term.
        ignore_index: Rows with this class number do not count, and are nobody's neighbour.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        history: `(N)`, how often each row was right in the past, in [0, 1].
        rank_weight: The weight of the penalty, at least 0; 0 is cross-entropy.

    Returns:
        A scalar, or `(N)` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together, or a history lies outside of [0, 1].

    Example:
        >>> logits, target = torch.zeros(2, 2), torch.tensor([0, 1])
        >>> history = torch.tensor([1.0, 0.5])
        >>> round(correctness_ranking(logits, target, history=history).item(), 4)  # log(2) + (1 - 1/2)
        1.1931

    Reference:
        Moon et al. 2020, arXiv 2007.01458.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "correctness_ranking")
    check_at_least_0("0 is cross-entropy", rank_weight=rank_weight)
    _check_history(history, input)
    log_p = rows.log_probs()
    confidence, history = log_p.amax(1).exp(), history.to(log_p)
    after = _next_valid(rows.valid)
    ahead = history - history[after]
    penalty = rows.mean((ahead.abs() - ahead.sign() * (confidence - confidence[after])).relu())
    return rows.reduce(-rows.of_label(log_p) + rank_weight * penalty)


def _next_valid(valid: Tensor) -> Tensor:
    """`(R)`, the number of the next valid row; after the last comes the first."""
    order = torch.argsort((~valid).long(), stable=True)
    places = torch.arange(1, len(valid) + 1, device=valid.device)
    after = order[torch.where(places < valid.sum(), places, 0)]
    return torch.empty_like(order).scatter(0, order, after)


def _check_history(history: Tensor, input: Tensor) -> None:
    if input.dim() != 2:
        raise ValueError(
            "correctness_ranking needs input of shape (N, C), as only a row of the data set has a history; got shape "
            f"{tuple(input.shape)}: give logits of whole rows, or take another loss for positions of an image"
        )
    if history.shape != input.shape[:1] or not history.is_floating_point():
        raise ValueError(
            f"history must have one floating-point number a row, shape ({len(input)},); "
            f"got {history.dtype} of shape {tuple(history.shape)}"
        )
    if value_of((~((history >= 0.0) & (history <= 1.0))).any()):
        raise ValueError(
            "history must lie in [0, 1]; got values from "
            f"{history.min():g} to {history.max():g}: give the share of past answers that were right"
        )


class CRLLoss(nn.Module):
    """`correctness_ranking` with a history that it keeps itself.

    It is an `EpochLoss`: in training mode, a call that names its rows counts which of them are right. `end_epoch` makes
    of the counts the share of a row's calls in which it was right; the calls of the next epoch are ranked by it. A row
    that was never seen has history 0. In the first epoch, and without `rows`, the loss is cross-entropy. Each process
    counts the rows it sees itself.

    Args:
        weight: `(C)` class weights, kept as a buffer.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`.
        num_rows: How many training rows there are.
        rank_weight: The weight of the penalty, at least 0; 0 is cross-entropy.

    Attributes:
        right: `(num_rows)`, how often each row was right, a buffer.
        seen: `(num_rows)`, how often each row was seen, a buffer.
        history: `(num_rows)`, the share of past epochs that ranks, a buffer.
        counted: How many rows were seen before this epoch, a buffer.

    Raises:
        ValueError: If a setting is out of its range.

    Example:
        >>> loss = CRLLoss(num_rows=100)
        >>> logits, target = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
        >>> value = loss(logits, target, rows=torch.tensor([7, 30]))
        >>> loss.end_epoch(1, 200)
        >>> loss.history[[7, 30]]
        tensor([1., 0.])

    Reference:
        Moon et al. 2020, arXiv 2007.01458. The authors' code counts within an epoch too, and stretches the
        counts to [0, 1].
    """

    uses_validation: bool = False
    weight: Tensor | None
    right: Tensor
    seen: Tensor
    history: Tensor
    counted: Tensor

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        *,
        num_rows: int,
        rank_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_whole(num_rows=num_rows)
        check_at_least_0("0 is cross-entropy", rank_weight=rank_weight)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.rank_weight = rank_weight
        self.register_buffer("right", torch.zeros(num_rows, dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(num_rows, dtype=torch.int64))
        self.register_buffer("history", torch.zeros(num_rows))
        self.register_buffer("counted", torch.zeros((), dtype=torch.int64))

    def forward(self, input: Tensor, target: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            input: Logits, `(N, C)`.
            target: Class numbers, int64, `(N)`.
            rows: `(N)`, the numbers of these rows among all training rows, from 0.

        Raises:
            ValueError: As `correctness_ranking`, and if the row numbers do not fit.
        """
        check_tensors(input=input, target=target, rows=rows)
        if rows is None:
            history = torch.zeros_like(target, dtype=self.history.dtype)
        else:
            self._check_rows(rows, target)
            rows = rows.to(self.history.device, torch.int64)
            history = self.history[rows].to(input.device)
        loss = correctness_ranking(
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            history=history,
            rank_weight=self.rank_weight,
        )
        if rows is not None and self.training:
            self._count(input, target, rows)
        return loss

    @torch.no_grad()
    def _count(self, input: Tensor, target: Tensor, rows: Tensor) -> None:
        target = target.long()  # a uint8 would wrap the ignore_index around at 256
        valid = target != self.ignore_index
        right = valid & (input.argmax(1) == target)
        self.right.index_add_(0, rows, right.to(self.right))
        self.seen.index_add_(0, rows, valid.to(self.seen))

    def _check_rows(self, rows: Tensor, target: Tensor) -> None:
        if rows.shape != target.shape or rows.is_floating_point() or rows.dtype == torch.bool:
            raise ValueError(
                f"rows must be row numbers, int64, of the shape of target {tuple(target.shape)}; "
                f"got {rows.dtype} of shape {tuple(rows.shape)}"
            )
        if value_of(((rows < 0) | (rows >= len(self.history))).any()):
            raise ValueError(
                f"rows must be numbers from 0 to {len(self.history) - 1}, as num_rows is {len(self.history)}; "
                f"got numbers from {int(rows.min())} to {int(rows.max())}: number the training rows from 0, or give "
                "num_rows the length of the whole training set"
            )

    @torch.no_grad()
    def end_epoch(self, epoch: int, epochs: int, validation: tuple[Tensor, Tensor] | None = None) -> None:
        """Make the history of all epochs so far that the next one uses.

        Raises:
            ValueError: If there is no such epoch, or no row was counted since the last time.
        """
        check_epoch(epoch, epochs)
        seen = self.seen.sum()
        if seen == self.counted:
            raise ValueError(
                f"CRLLoss must be told its rows in training; got no call in epoch {epoch} that named a row that "
                "counts: call loss(logits, target, rows=row_numbers) in training mode"
            )
        self.counted.copy_(seen)
        self.history.copy_(self.right / self.seen.clamp(min=1))

    def extra_repr(self) -> str:
        return f"num_rows={len(self.history)}, rank_weight={self.rank_weight}"
