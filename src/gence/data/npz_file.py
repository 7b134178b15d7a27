"""An .npz file of numpy arrays: X and y, perhaps X_test and y_test."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gence._errors import InputError
from gence.data.dataset import LabelledData
from gence.data.labels import encode_labels
from gence.data.request import Request
from gence.data.wording import listing, one_line

_CHANNELS = (1, 3, 4)
_EXPECTED = "X and y are expected, and perhaps X_test and y_test"


def read_npz(path: Path, request: Request) -> LabelledData:
    """Read X `(rows, columns)` as a table, `(rows, height, width)` as grey images, with four axes as images.

    Of images, whole numbers from 0 to 255 become uint8; all other numbers of images become float32,
    of tables float64. Nothing is unpickled.

    Raises:
        InputError: If the file is damaged, an array is missing or of another shape, or X holds NaN or infinity.
    """
    # Opened here, because numpy leaves a file that it cannot read open.
    with path.open("rb") as stream:
        arrays = _arrays(stream, path)
    inputs, values = _split(arrays, "", path)
    test_rows = None
    if "X_test" in arrays:
        test, test_values = _split(arrays, "_test", path)
        if _kind(inputs, values) != _kind(test, test_values):
            raise InputError(
                f"{path}: X, y hold {_kind(inputs, values)}, but X_test, y_test hold {_kind(test, test_values)}; "
                "give both splits the same"
            )
        test_rows = np.arange(len(inputs), len(inputs) + len(test))
        inputs, values = np.concatenate([inputs, test]), np.concatenate([values, test_values])
    labels = encode_labels(values, f"{path}: y")
    return LabelledData(
        name=request.name,
        kind="table" if inputs.ndim == 2 else "image",
        inputs=inputs,
        labels=labels.numbers,
        class_names=labels.names,
        test_rows=test_rows if test_rows is not None and len(test_rows) else None,
        notes=labels.notes,
    )


def load_npz(stream: BinaryIO, path: Path, cure: str) -> np.lib.npyio.NpzFile:
    """The arrays of an .npz file by name, never unpickled; `cure` is what to do about a single one without a name."""
    try:
        file = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not an .npz file, or cut short; save the arrays again with np.savez") from error
    if isinstance(file, np.ndarray):
        raise InputError(f"{path}: one array without a name; {cure}")
    return file


def _arrays(stream: BinaryIO, path: Path) -> dict[str, np.ndarray]:
    with load_npz(stream, path, f"{_EXPECTED}: save them with np.savez") as file:
        wanted = ["X", "y", "X_test", "y_test"] if {"X_test", "y_test"} & set(file.files) else ["X", "y"]
        absent = [name for name in wanted if name not in file.files]
        if absent:
            raise InputError(
                f"{path}: no {listing(absent)} among {listing(file.files) or 'no arrays at all'}; {_EXPECTED}"
            )
        return {name: read_array(file, name, path) for name in wanted}


def read_array(file: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    """One array of an open file, never unpickled; InputError if it holds objects or is damaged."""
    try:
        return np.asarray(file[name])
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise holds_objects(name, path) from error
        raise InputError(f"{path}: {name} is damaged or cut short ({one_line(error)}); save it again") from error


def holds_objects(name: str, path: Path) -> InputError:
    """The error for an array that could only be unpickled."""
    return InputError(
        f"{path}: {name} holds Python objects, which are never loaded; save numbers, or text as {name}.astype(str)"
    )


def _split(arrays: dict[str, np.ndarray], split: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    inputs, labels = arrays[f"X{split}"], arrays[f"y{split}"]
    if labels.ndim != 1:
        cure = f"y{split}.argmax(axis=1)" if labels.ndim == 2 and labels.shape[1] > 1 else f"y{split}.ravel()"
        raise InputError(f"{path}: y{split} has the shape {labels.shape}; one label a row is expected, as {cure} gives")
    if labels.dtype.kind not in "biuU":
        raise InputError(
            f"{path}: y{split} has the type {labels.dtype}; whole numbers or text are expected: save "
            f"y{split}.astype(int) or y{split}.astype(str)"
        )
    inputs = checked_inputs(inputs, f"X{split}", path)
    if len(inputs) != len(labels):
        raise InputError(
            f"{path}: X{split} has {len(inputs)} rows, y{split} has {len(labels)}; one label for every row is expected"
        )
    return inputs, labels


def checked_inputs(values: np.ndarray, name: str, path: Path, first: int = 0) -> np.ndarray:
    """The rows of an array as `read_npz` gives them; `first` is the number of their first one in the array.

    Raises:
        InputError: If they are not numbers, of no known shape, or not finite.
    """
    demand_rows(values.shape, values.dtype, name, path)
    if values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4 and _channels_last(values.shape, name, path):
        values = values.transpose(0, 3, 1, 2)
    if values.ndim == 4 and values.dtype.kind in "biu":
        return _as_uint8(values, name, path)
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, dtype=np.float64 if values.ndim == 2 else np.float32)
    usable = np.abs(values) <= np.finfo(np.float32).max
    bad = np.flatnonzero(~usable.all(axis=tuple(range(1, values.ndim))))
    if len(bad):
        raise InputError(
            f"{path}: {name} holds NaN, infinity or a number beyond 3.4e38 in {len(bad)} of {len(values)} rows, the "
            f"first is row {bad[0] + first} (counted from 0); finite numbers are expected: mend those rows or take "
            "them out"
        )
    return values


def demand_rows(shape: tuple[int, ...], dtype: np.dtype, name: str, path: Path) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type of a row as `read_npz` gives it.

    Raises:
        InputError: If an array of that shape and type is neither a table nor images.
    """
    if dtype.kind not in "biuf":
        raise InputError(f"{path}: {name} has the type {dtype}; numbers are expected")
    if len(shape) not in (2, 3, 4) or 0 in shape[1:]:
        raise InputError(
            f"{path}: {name} has the shape {shape}; (rows, columns) is expected for a table, (rows, height, "
            "width) or (rows, height, width, channels) for images"
        )
    if len(shape) == 2:
        return shape[1:], np.dtype(np.float64)
    row = (1, *shape[1:])
    if len(shape) == 4:
        row = (shape[3], *shape[1:3]) if _channels_last(shape, name, path) else shape[1:]
    return row, np.dtype(np.uint8 if dtype.kind in "biu" else np.float32)


def _channels_last(shape: tuple[int, ...], name: str, path: Path) -> bool:
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first and last:
        if shape[2] in _CHANNELS:
            cure = f"so small an image is better saved as a table: {name}.reshape(len({name}), -1)"
        else:
            # Either of these leaves one axis of 1, 3 or 4 at the place of the channels, and none at the other.
            cure = (
                f"save {name}.transpose(0, 2, 3, 1) if axis 1 is the channels, or "
                f"{name}.transpose(0, 3, 1, 2) if axis 3 is"
            )
        raise InputError(
            f"{path}: {name} of shape {shape} may be (rows, channels, height, width) or (rows, height, width, "
            f"channels); {cure}"
        )
    if not first and not last:
        raise InputError(
            f"{path}: {name} has the shape {shape}; 1, 3 or 4 channels are expected, as (rows, height, width, "
            "channels) or (rows, channels, height, width)"
        )
    return last


def _as_uint8(images: np.ndarray, name: str, path: Path) -> np.ndarray:
    if images.size and (images.min() < 0 or images.max() > 255):
        raise InputError(
            f"{path}: {name} holds whole numbers from {images.min()} to {images.max()}; 0 to 255 are expected in "
            "images: scale them, or save them as float32"
        )
    return np.ascontiguousarray(images, dtype=np.uint8)


def _kind(inputs: np.ndarray, labels: np.ndarray) -> str:
    text = "text" if labels.dtype.kind == "U" else "whole numbers"
    return f"rows of {inputs.shape[1:]} {inputs.dtype} with {text} for labels"
