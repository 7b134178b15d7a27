"""Predictions of a kept model for a source of any size, written to a file a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gence._errors import InputError
from gence._files import check_place, whole_or_nothing
from gence.classifier.folder import check_apart
from gence.classifier.kept import KeptModel
from gence.classifier.storage import load
from gence.data import RowBatch, Stream, stream
from gence.data.wording import counted, listing, one_line

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".parquet", ".csv")

_BATCH_ROWS = {"image": 512, "table": 8192}
_GROUP_CELLS = 1 << 21  # numbers that wait to be written: 16 MiB
_SHOWN_CLASSES = 12


@dataclass(frozen=True)
class PredictResult:
    """Predictions that were written to `out`.

    Attributes:
        out: The file.
        rows: How many rows.
        counts: How many of them were given each class.
        class_names: The classes.
        confidence: Mean probability of the predicted class.
        notes: What was done to the rows on the way in.
    """

    out: Path
    rows: int
    counts: tuple[int, ...]
    class_names: tuple[str, ...]
    confidence: float
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """What the command line prints."""
        often = sorted(zip(self.counts, self.class_names, strict=True), key=lambda one: -one[0])
        given = listing((f"{one_line(name)} {count}" for count, name in often if count), most=_SHOWN_CLASSES)
        return [
            f"{counted(self.rows, 'row')}, with a mean confidence of {100 * self.confidence:.1f} %: {given}",
            *(f"note: {note}" for note in self.notes),
            f"predictions: {self.out}",
        ]


def predict_source(
    model: str | Path,
    source: str,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    device: torch.device | str = "cpu",
    batch_rows: int | None = None,
    on_rows: Callable[[int, int | None], None] = lambda done, total: None,
) -> PredictResult:
    """Write the prediction and the calibrated probabilities of every row of a source, in its order.

    The columns are `prediction`, the name of the most probable class, and `probability_<class>` for each class; for
    image files a column `file` comes first. Only a few batches are in memory at a time.

    Args:
        model: The folder of a kept model.
        source: As for `gence.data.stream`; labels are not looked at.
        out: The file, ending in .parquet or .csv; it appears when it is whole.
        data_root: As for `gence.data.stream`.
        device: Where the network computes.
        batch_rows: Rows at a time; by default 512 images or 8192 rows of a table.
        on_rows: Told how many rows are done, and of how many if that is known.

    Raises:
        InputError: If the model, the source or the file cannot be used, or a row does not fit the model.
    """
    path = _check_out(out, source)
    if batch_rows is not None and batch_rows < 1:
        raise InputError(f"batches of {batch_rows} rows; at least 1 is expected")
    kept = load(model, device=device)
    rows = stream(source, kept.form, batch_rows=batch_rows or _BATCH_ROWS[kept.form.kind], data_root=data_root)
    counts, confidence = np.zeros(len(kept.class_names), np.int64), 0.0
    with whole_or_nothing(path) as temporary, _writer(temporary, path.suffix.lower()) as write:
        for batch, probabilities in _predicted(kept, rows, source):
            predicted = probabilities.argmax(1)
            counts += np.bincount(predicted, minlength=len(counts))
            confidence += float(probabilities.max(1).sum())
            write(_table(batch, probabilities, predicted, kept.class_names))
            on_rows(int(counts.sum()), rows.rows)
    total = int(counts.sum())
    return PredictResult(Path(out), total, tuple(counts.tolist()), kept.class_names, confidence / total, rows.notes)


def _check_out(out: str | Path, source: str) -> Path:
    path, given = Path(out).expanduser(), Path(source).expanduser()
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{out}: predictions are written to files that end in {' or '.join(ENDINGS)}; give one such")
    check_place(out)
    if path.resolve() == given.resolve():
        raise InputError(f"{out}: the rows are read from this file; give another one to write to")
    check_apart(out, source)
    return path


def _predicted(kept: KeptModel, rows: Stream, source: str) -> Iterator[tuple[RowBatch, np.ndarray]]:
    done = 0
    for batch in rows:
        probabilities = kept.probabilities(batch.inputs)
        broken = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
        if len(broken):
            raise InputError(
                f"{source}: no probabilities come out for row {done + broken[0]} (the first row is 0): its numbers are "
                "far beyond those of the training rows; mend it or take it out"
            )
        done += len(batch.inputs)
        yield batch, probabilities


def _table(batch: RowBatch, probabilities: np.ndarray, predicted: np.ndarray, class_names: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, Any] = {} if batch.files is None else {"file": pa.array(batch.files, pa.string())}
    columns["prediction"] = pa.array(class_names, pa.string()).take(pa.array(predicted))
    for number, name in enumerate(class_names):
        columns[f"probability_{name}"] = pa.array(np.ascontiguousarray(probabilities[:, number]))
    return pa.table(columns)


@contextmanager
def _writer(path: Path, ending: str) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends rows to the file; they are written in groups, which a reader of parquet takes at once."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    waiting: list[pa.Table] = []
    writer: Any = None

    def flush() -> None:
        nonlocal writer
        group = pa.concat_tables(waiting)
        if writer is None:
            opened = pyarrow.parquet.ParquetWriter if ending == ".parquet" else pyarrow.csv.CSVWriter
            writer = opened(path, group.schema)
        writer.write_table(group.combine_chunks())
        waiting.clear()

    def write(table: pa.Table) -> None:
        waiting.append(table)
        if sum(one.num_rows * one.num_columns for one in waiting) >= _GROUP_CELLS:
            flush()

    try:
        yield write
        if waiting:
            flush()
    finally:
        if writer is not None:
            writer.close()
