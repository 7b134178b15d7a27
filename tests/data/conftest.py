"""Small sources in the true formats, and the one line a person reads when a source is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gence._errors import InputError
from gence.data import load

PNG = Callable[[np.ndarray], bytes]
Refusal = Callable[..., str]
WriteParquet = Callable[..., Path]


IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _as_images(values: Sequence[Any] | pa.Array) -> Sequence[Any] | pa.Array:
    looks_so = isinstance(values, list) and any(isinstance(value, dict) and "bytes" in value for value in values)
    return pa.array(values, IMAGE_TYPE) if looks_so else values


@pytest.fixture
def refusal() -> Refusal:
    """Load a source that must be refused, and give the message, which must be one line."""

    def of(source: object, **options: Any) -> str:
        with pytest.raises(InputError) as caught:
            load(str(source), **options)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return of


@pytest.fixture
def png() -> PNG:
    """An array `(height, width)` or `(height, width, 3 or 4)` as the bytes of a PNG file."""

    def encode(pixels: np.ndarray) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return stream.getvalue()

    return encode


@pytest.fixture
def write_parquet() -> WriteParquet:
    """Write columns to a file; `features` become the metadata that the datasets library writes."""

    def write(
        path: Path,
        columns: Mapping[str, Sequence[Any] | pa.Array],
        features: Mapping[str, Any] | None = None,
        row_group_size: int = 2,
    ) -> Path:
        table = pa.table({name: _as_images(values) for name, values in columns.items()})
        if features is not None:
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": dict(features)}})})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=row_group_size)
        return path

    return write
