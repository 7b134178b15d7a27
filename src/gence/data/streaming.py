"""New rows for a kept model: any source, a batch at a time, read as the model's training rows were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gence._errors import InputError
from gence.data.arrow_rows import stream_arrow
from gence.data.csv_rows import stream_csv
from gence.data.form import InputForm, other_kind
from gence.data.hub import PREFIX, hub_splits
from gence.data.image_folder import has_images
from gence.data.image_rows import stream_image_file, stream_image_folder
from gence.data.images import ENDINGS
from gence.data.npz_rows import stream_npz
from gence.data.parquet import find_parquet_files, parquet_splits
from gence.data.recipes import RECIPES
from gence.data.request import Request
from gence.data.rows import RowBatch, Stream
from gence.data.sources import (
    FILES,
    OF_ONE_SIZE,
    checked_ending,
    find_source,
    load,
    reading,
    root_folder,
    two_kinds,
    unknown_folder,
)


def stream(source: str, form: InputForm, *, batch_rows: int = 512, data_root: Path | str | None = None) -> Stream:
    """Read the rows of a source as the rows of the form were read, a few batches in memory at a time.

    Every row comes, in the order of the source, whether it has a label or not: labels are not looked at. Of a source
    with splits those come that `load` reads, the training split first. A folder of parquet files or of folders of
    images whose names tell no split to train on is read whole, in the order of the names.

    Args:
        source: What `load` takes; also a folder with images directly in it, a single image file, and tables without
            the label column. Named data sets are read whole, into memory.
        form: `LabelledData.input_form` of the training rows.
        batch_rows: At most so many rows come at a time.
        data_root: The folder that named data sets lie in, as for `load`.

    Returns:
        The batches, which can be iterated over once.

    Raises:
        InputError: Now, if the source cannot be found or holds another kind of rows than the form; while it is read,
            if a row does not fit the form, or there is none.
    """
    if batch_rows < 1:
        raise InputError(f"batches of {batch_rows} rows; at least 1 is expected")
    with reading(source):
        opened = _open(source, form, batch_rows, root_folder(data_root))
    return Stream(_all_rows(opened, source), opened.rows, lambda: opened.notes)


def _all_rows(opened: Stream, source: str) -> Iterator[RowBatch]:
    rows = 0
    with reading(source):
        for batch in opened:
            rows += len(batch.inputs)
            yield batch
    if rows == 0:
        raise InputError(f"{source}: there are no rows; at least one is expected")


def _open(source: str, form: InputForm, batch_rows: int, data_root: Path | None) -> Stream:
    if source in RECIPES:
        return _stream_named(source, form, batch_rows, data_root)
    path = find_source(source, data_root)
    if path is None:
        splits, notes = hub_splits(Request(source, source.removeprefix(PREFIX)))
        return stream_arrow(splits, form, batch_rows, source, notes)
    if path.is_dir():
        return _stream_folder(path, form, batch_rows, source)
    ending = checked_ending(path, source, (*FILES, *ENDINGS))
    if ending == ".csv":
        return stream_csv(path, form, batch_rows, source)
    if ending == ".npz":
        return stream_npz(path, form, batch_rows, source)
    if ending == ".parquet":
        splits, notes = parquet_splits([path], Request(source, source))
        return stream_arrow(splits, form, batch_rows, source, notes)
    return stream_image_file(path, form, source)


def _stream_folder(path: Path, form: InputForm, batch_rows: int, source: str) -> Stream:
    parquet_files = find_parquet_files(path)
    images = has_images(path)
    if parquet_files and images:
        raise two_kinds(source)
    if parquet_files:
        splits, notes = parquet_splits(parquet_files, Request(source, source))
        return stream_arrow(splits, form, batch_rows, source, notes)
    if images:
        return stream_image_folder(path, form, batch_rows, source)
    raise unknown_folder(path, source)


def _stream_named(name: str, form: InputForm, batch_rows: int, data_root: Path | None) -> Stream:
    resizable = form.kind == "image" and form.resized and name not in OF_ONE_SIZE and form.shape[1] == form.shape[2]
    data = load(name, image_size=form.shape[1] if resizable else None, data_root=data_root)
    if form.columns is not None or (data.kind, data.inputs.shape[1:], data.inputs.dtype.name) != (
        form.kind,
        form.shape,
        form.dtype,
    ):
        raise other_kind(f"it is {data.input_form.described}", form, name)
    starts = range(0, len(data.inputs), batch_rows)
    batches = (RowBatch(data.inputs[start : start + batch_rows]) for start in starts)
    return Stream(batches, len(data.inputs), lambda: data.notes)
