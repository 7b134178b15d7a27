"""Cautions, said once: where a batch is too small a part of the whole for its class mass to be what is wanted."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch.distributed as dist

_said: set[object] = set()
_silenced: ContextVar[bool] = ContextVar("_silenced", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """A call on trial inside of this says nothing, and leaves it to be said."""
    token = _silenced.set(True)
    try:
        yield
    finally:
        _silenced.reset(token)


def say_ranks_apart(cure: str) -> int:
    """Warn, once for each cure, if there are several ranks: each then normalises by its own rows.

    Returns how many warnings this is, as a compiler must be able to take the call for a constant.
    """
    if (
        _silenced.get()
        or cure in _said
        or not (dist.is_available() and dist.is_initialized())
        or dist.get_world_size() < 2
    ):
        return 0
    _said.add(cure)
    _say(
        f"torch.distributed runs with {dist.get_world_size()} ranks, and GenCE was given no process_group: each rank "
        f"takes the class mass over its own rows, which is another loss than that of the whole batch; {cure}"
    )
    return 1


def of_few_rows(rows: int, classes: int) -> None:
    """Warn, once for each number of classes, of a batch with fewer rows than classes."""
    if 0 < rows < classes and classes not in _said:
        _said.add(classes)
        say_few_rows(rows, f"an input of {classes} classes", classes)


def say_few_rows(rows: int, against: str, classes: int) -> None:
    """The caution itself; `against` says what the rows are fewer than."""
    _say(
        f"GenCE was given a batch of {rows} rows that count, and {against}: a class mass over so few "
        "rows is no estimate of the model's marginal, and training on it can break accuracy and calibration; use "
        f"larger batches, GenCELoss(class_mass=gence.MovingClassMass({classes})), or exact accumulation with "
        "gence.class_mass"
    )


def _say(text: str) -> None:
    """Warn at the line of whoever called the loss."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("gence", "torch"):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(text, UserWarning, stacklevel=depth + 1)
