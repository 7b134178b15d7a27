"""Splits as Arrow columns into rows of a model's input: images if it was trained on images, otherwise a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gence.data.arrow import BATCH_ROWS, ArrowSplit, SchemaColumns, image_item, schema_columns, table_frame
from gence.data.encoder import ColumnEncoder
from gence.data.form import InputForm, other_kind
from gence.data.image_rows import demand_image_files, stream_images
from gence.data.images import Item
from gence.data.rows import Stream, stream_frames
from gence.data.wording import listing

if TYPE_CHECKING:
    import pandas as pd


def stream_arrow(
    splits: Sequence[ArrowSplit], form: InputForm, batch_rows: int, where: str, notes: Iterable[str] = ()
) -> Stream:
    """Read split after split; of several image columns the first is read, as in training.

    Args:
        splits: What to read.
        form: What a row is to look like.
        batch_rows: How many rows are read at a time.
        where: The source, for messages.
        notes: What was noted so far.

    Raises:
        InputError: If the splits hold another kind of rows, or have not the columns of the training rows.
    """
    rows = sum(split.rows for split in splits)
    all_columns = [schema_columns(split.schema, where) for split in splits]
    pairs = list(zip(splits, all_columns, strict=True))
    if form.kind == "image":
        for split, columns in pairs:
            demand_image_files(form, f"{_named(split, splits)}{_holdings(columns)}", where)
            if not columns.images:
                raise other_kind(f"{_named(split, splits)}{_holdings(columns)}", form, where)
        return stream_images(_items(pairs, min(batch_rows, BATCH_ROWS), where), form, batch_rows, rows, notes=notes)
    encoder = form.columns
    present = all_columns[0].names
    for split, columns in pairs:
        if encoder is None or (columns.images and not {column.name for column in encoder.used} <= {*columns.names}):
            raise other_kind(f"{_named(split, splits)}{_holdings(columns)}", form, where)
        encoder.demand(columns.names, where if len(splits) == 1 else f"{where}: {split.name}")
    assert encoder is not None
    notes = (*notes, *encoder.ignored(present, form.target))
    return stream_frames(_frames(pairs, encoder, batch_rows), form, where, rows, notes)


def _named(split: ArrowSplit, splits: Sequence[ArrowSplit]) -> str:
    return f"{split.name}: " if len(splits) > 1 else ""


def _holdings(columns: SchemaColumns) -> str:
    if columns.images:
        return f"images (column {columns.images[0]!r})"
    return f"a table with the columns {listing(columns.names)}"


def _items(pairs: Sequence[tuple[ArrowSplit, SchemaColumns]], batch_rows: int, where: str) -> Iterator[Item]:
    for split, columns in pairs:
        row = 0
        for batch in split.batches([columns.images[0]], batch_rows):
            # One cell at a time: a batch of photographs may be larger than what it becomes.
            for cell in batch.column(0):
                yield image_item(cell.as_py(), f"{where}: row {row} of {split.name}")
                row += 1


def _frames(
    pairs: Sequence[tuple[ArrowSplit, SchemaColumns]], encoder: ColumnEncoder, batch_rows: int
) -> Iterator[pd.DataFrame]:
    import pyarrow as pa

    used = [column.name for column in encoder.used]
    start = 0
    for split, columns in pairs:
        named = {column: names for column, names in columns.class_names.items() if column in used}
        for batch in split.batches(used, batch_rows):
            if len(batch):
                frame = table_frame(pa.Table.from_batches([batch]), named)
                frame.index = np.arange(start, start + len(frame))
                start += len(frame)
                yield frame
