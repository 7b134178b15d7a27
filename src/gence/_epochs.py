"""What a loss that learns over epochs is told, and by whom: one small protocol between losses and training loops."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class EpochLoss(Protocol):
    """A loss with a state that moves once an epoch; nothing is hooked, the training loop owes it two things.

    - every call names the rows it is about, `loss(logits, target, rows=row_numbers)`;
    - after every epoch it calls `end_epoch`, with logits of validation rows where `uses_validation` is true.

    Attributes:
        uses_validation: Whether `end_epoch` needs logits and labels of rows that are not trained on. They must not be
            those a calibrator is fitted on or a model is tested on.
    """

    uses_validation: bool

    def __call__(self, input: Tensor, target: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """The loss of a batch; `rows` `(N)` are the numbers of its rows among all training rows, from 0."""
        ...

    def end_epoch(self, epoch: int, epochs: int, validation: tuple[Tensor, Tensor] | None = None) -> None:
        """Bring the state up to date after `epoch` of `epochs` passes (1 after the first).

        `validation` is (logits `(V, C)`, class numbers `(V)`).
        """
        ...


def check_epoch(epoch: int, epochs: int) -> None:
    """Raise ValueError if there is no such epoch."""
    if not 1 <= epoch <= epochs:
        raise ValueError(f"epoch must lie in 1 to epochs={epochs}, 1 after the first epoch; got {epoch}")
