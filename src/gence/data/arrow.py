"""Splits as Arrow columns, wherever they come from: images if one column holds images, otherwise a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gence._errors import InputError
from gence.data.dataset import LabelledData
from gence.data.form import InputForm
from gence.data.images import Item, decode_images
from gence.data.labels import encode_labels
from gence.data.request import Request
from gence.data.table import demand_target, no_labels, table_data
from gence.data.wording import counted, listing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BATCH_ROWS = 256
"""Rows in memory at a time while images are decoded."""

_LABEL_COLUMNS = ("label", "labels")
_PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True)
class ArrowSplit:
    """One split: its name, its schema, its length, and a fresh pass over some of its columns, so many rows a batch."""

    name: str
    schema: pa.Schema
    rows: int
    batches: Callable[[list[str], int], Iterator[pa.RecordBatch]]

    def table(self, columns: list[str]) -> pa.Table:
        """Some of the columns, whole."""
        import pyarrow as pa

        schema = pa.schema([self.schema.field(name) for name in columns])
        return pa.Table.from_batches(list(self.batches(columns, BATCH_ROWS)), schema)


@dataclass(frozen=True)
class SchemaColumns:
    """The columns of a source, and what its schema declares in the way of the datasets library."""

    names: tuple[str, ...]
    images: tuple[str, ...]
    class_names: Mapping[str, tuple[str, ...]]


def arrow_data(splits: Sequence[ArrowSplit], request: Request, notes: Sequence[str] = ()) -> LabelledData:
    """Read the training split and, if there is a second one, the test split.

    The label column is `target`, or the only one that the source declares as class labels; beside images, also
    the only one called label or labels. Of several image columns the first is read.

    Args:
        splits: The training split, then perhaps the test split.
        request: What was asked for.
        notes: What was noted so far.

    Raises:
        InputError: If there is no or more than one candidate for the label, or a value cannot be used.
    """
    where = request.source
    columns = schema_columns(splits[0].schema, where)
    label = _label_column(columns, request.target, where)
    used = [columns.images[0], label] if columns.images else list(columns.names)
    for split in splits[1:]:
        absent = [column for column in used if column not in split.schema.names]
        if absent:
            raise InputError(
                f"{where}: the split {split.name} has no column {listing(absent)}, which {splits[0].name} has; "
                "the same columns are expected in both: mend it or take that split away"
            )
    if columns.images:
        ignored = [column for column in columns.names if column not in used]
        notes = (*notes, *([f"not used, beside {listing(used)}: {listing(ignored)}"] if ignored else []))
        return _image_data(splits, columns, label, request, notes)
    if request.image_size is not None:
        raise InputError(f"{where}: an image size was given, but there are no images; leave it out")
    return _table_data(splits, columns, label, request, notes)


def schema_columns(schema: pa.Schema, where: str) -> SchemaColumns:
    """What the schema says of the columns; InputError if two have the same name."""
    import pyarrow as pa

    twice = [column for column in set(schema.names) if schema.names.count(column) > 1]
    if twice:
        raise InputError(f"{where}: several columns have the same name ({listing(sorted(twice))}); rename them")
    features = _declared_features(schema)
    kinds = {column: feature.get("_type") for column, feature in features.items()}

    def holds_images(field: pa.Field) -> bool:
        # Sound is stored in the same shape, so that what is declared goes before what it looks like.
        looks_so = pa.types.is_struct(field.type) and {inner.name for inner in field.type} == {"bytes", "path"}
        return (kinds.get(field.name) or ("Image" if looks_so else None)) == "Image"

    return SchemaColumns(
        names=tuple(column for column in schema.names if not column.startswith(_PANDAS_INDEX)),
        images=tuple(field.name for field in schema if holds_images(field)),
        class_names={
            column: tuple(map(str, features[column]["names"]))
            for column in schema.names
            if kinds.get(column) == "ClassLabel" and features[column].get("names")
        },
    )


def _declared_features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {column: feature for column, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}


def _label_column(columns: SchemaColumns, target: str | None, where: str) -> str:
    candidates = list(columns.class_names)
    if columns.images and not candidates:
        candidates = [column for column in columns.names if column.lower() in _LABEL_COLUMNS]
    if target is None and len(candidates) > 1:
        raise InputError(
            f"{where}: several columns may hold the label ({listing(candidates)}); choose one with --target"
        )
    return demand_target(target or next(iter(candidates), None), columns.names, where)


def _image_data(
    splits: Sequence[ArrowSplit], columns: SchemaColumns, label: str, request: Request, notes: Sequence[str]
) -> LabelledData:
    where, declared = request.source, columns.class_names.get(label)
    values = [_label_values(split, label) for split in splits]
    missing = [_missing(part, declared) for part in values]
    dropped = int(sum(part.sum() for part in missing))
    kept = [part[~gaps] for part, gaps in zip(values, missing, strict=True)]
    if not len(kept[0]):
        raise no_labels(label, where)
    labels = encode_labels(np.concatenate(kept), f"{where}: column {label!r}", declared)

    def items() -> Iterator[Item]:
        for split, gaps in zip(splits, missing, strict=True):
            row = -1
            for batch in split.batches([columns.images[0]], BATCH_ROWS):
                for cell in batch.column(0).to_pylist():
                    row += 1
                    if not gaps[row]:
                        yield image_item(cell, f"{where}: row {row} of {split.name}")

    decoded = decode_images(len(labels.numbers), items, request.image_size)
    return LabelledData(
        name=request.name,
        kind="image",
        inputs=decoded.images,
        labels=labels.numbers,
        class_names=labels.names,
        test_rows=np.arange(len(kept[0]), len(decoded.images)) if len(decoded.images) > len(kept[0]) else None,
        notes=(
            *notes,
            *([f"dropped {counted(dropped, 'row')} without a value in {label}"] if dropped else []),
            *labels.notes,
            *decoded.notes,
        ),
        form=InputForm("image", decoded.images.shape[1:], "uint8", target=label, resized=decoded.resized),
    )


def _label_values(split: ArrowSplit, label: str) -> np.ndarray:
    return _plain(split.table([label])).column(0).to_numpy()


def _missing(values: np.ndarray, declared: Sequence[str] | None) -> np.ndarray:
    if values.dtype.kind == "O":
        return np.array([value is None for value in values], bool)
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
    # Hidden labels of a test split are written as -1.
    return missing | (values == -1) if declared is not None else missing


def image_item(cell: Any, shown: str) -> Item:
    """The image in a cell, which messages call `shown`; InputError if there is none."""
    content = (cell.get("bytes") or cell.get("path")) if isinstance(cell, dict) else cell
    if not content:
        raise InputError(f"{shown}: the image is missing; take that row out")
    return shown, content if isinstance(content, bytes) else Path(content)


def _table_data(
    splits: Sequence[ArrowSplit], columns: SchemaColumns, label: str, request: Request, notes: Sequence[str]
) -> LabelledData:
    import pandas as pd

    named = {column: names for column, names in columns.class_names.items() if column != label}
    frames = [table_frame(split.table(list(columns.names)), named) for split in splits]
    if label in columns.class_names:
        for frame in frames:
            frame[label] = frame[label].where(frame[label] != -1)
    joined = pd.concat(frames, ignore_index=True)
    test_count = len(joined) - len(frames[0])
    return table_data(joined, label, request, test_count, columns.class_names.get(label), notes)


def table_frame(table: pa.Table, class_names: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The table for pandas, class numbers as the names that the source declares for them."""
    frame = _plain(table).to_pandas(date_as_object=False, ignore_metadata=True)
    for column, names in class_names.items():
        frame[column] = frame[column].map(dict(enumerate(names)))
    return frame


def _plain(table: pa.Table) -> pa.Table:
    """Dictionaries as their values and decimal numbers as floats, which numpy and pandas know."""
    import pyarrow as pa

    def plain(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_dictionary(kind):
            return plain(kind.value_type)
        return pa.float64() if pa.types.is_decimal(kind) else kind

    return table.cast(pa.schema([field.with_type(plain(field.type)) for field in table.schema]))
