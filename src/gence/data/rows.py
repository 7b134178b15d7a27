"""New rows a batch at a time: the batches, and the notes on them that are complete once all were read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gence.data.form import InputForm
from gence.data.surprises import Surprise, added

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RowBatch:
    """Some rows.

    Attributes:
        inputs: `(rows, *shape)` of the form that was asked for, not yet preprocessed.
        files: The file that each row was read from, relative to the folder, or None if rows are not files.
    """

    inputs: np.ndarray
    files: tuple[str, ...] | None = None


class Stream:
    """The rows of a source in its order, read while one iterates, once.

    Attributes:
        rows: How many there are, or None if only reading tells.
    """

    def __init__(
        self, batches: Iterator[RowBatch], rows: int | None = None, notes: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self.rows = rows
        self._batches = batches
        self._notes = notes

    def __iter__(self) -> Iterator[RowBatch]:
        return self._batches

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was done to the rows, complete once all were read."""
        return tuple(self._notes())


def stream_frames(
    frames: Iterable[pd.DataFrame], form: InputForm, where: str, rows: int | None = None, notes: Iterable[str] = ()
) -> Stream:
    """Encode tables piece by piece with `form.columns`, which must be there.

    Args:
        frames: The pieces; each one's index is its rows' number in the source.
        form: What a row is to look like.
        where: The source, for messages.
        rows: How many there are, if known.
        notes: What was noted so far.
    """
    encoder = form.columns
    assert encoder is not None
    surprises: dict[str, Surprise] = {}

    def batches() -> Iterator[RowBatch]:
        for frame in frames:
            encoded = encoder.encode(frame, where)
            surprises.update(added(surprises, encoded.surprises))
            yield RowBatch(encoded.values.astype(form.dtype, copy=False))

    return Stream(batches(), rows, lambda: (*notes, *encoder.notes(surprises)))
