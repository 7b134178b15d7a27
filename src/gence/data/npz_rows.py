"""The array X of an .npz file as rows of a model's input, read in pieces and never unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from gence._errors import InputError
from gence.data.form import InputForm, other_kind
from gence.data.npz_file import checked_inputs, demand_rows, holds_objects, load_npz, read_array
from gence.data.rows import RowBatch, Stream
from gence.data.wording import listing, one_line

_DAMAGE = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error)
_EXPECTED = "X is expected, and perhaps X_test"


def stream_npz(path: Path, form: InputForm, batch_rows: int, where: str) -> Stream:
    """Read X, then X_test if there is one, so many rows at a time; labels are not looked at.

    An array in Fortran order is read whole, since its rows lie scattered over the file.

    Raises:
        InputError: If the file is damaged, X is missing or of another shape or type than the training rows, or (while
            it is read) a number is not finite.
    """
    if form.columns is not None:
        raise other_kind("an .npz file, whose columns have no names", form, where)
    with path.open("rb") as stream, load_npz(stream, path, f"{_EXPECTED}: save it with np.savez") as file:
        if "X" not in file.files:
            raise InputError(f"{path}: no X among {listing(file.files) or 'no arrays at all'}; {_EXPECTED}")
        names = [name for name in ("X", "X_test") if name in file.files]
        counts = [_demand_fit(file, name, path, form) for name in names]
    return Stream(_batches(path, names, form, batch_rows), sum(counts))


def _demand_fit(file: np.lib.npyio.NpzFile, name: str, path: Path, form: InputForm) -> int:
    """How many rows the array has, once its shape and type are those of the form."""
    with _member(file, name, path) as (_, shape, dtype, _):
        row, read_as = demand_rows(shape, dtype, name, path)
    if (len(row) == 1) != (form.kind == "table"):
        holdings = "a table" if len(row) == 1 else "images"
        raise other_kind(f"{name} of shape {shape} is {holdings}", form, str(path))
    if row != form.shape:
        raise InputError(
            f"{path}: {name} has the shape {shape}, that is rows of {row}; the model was trained on rows of "
            f"{form.shape}: give it rows of that shape"
        )
    if "uint8" in (read_as.name, form.dtype) and read_as != form.dtype:
        raise InputError(
            f"{path}: {name} has the type {dtype}, which is read as {read_as}; the model was trained on "
            f"{form.dtype}, which is scaled otherwise: save it as the training rows were"
        )
    return shape[0]


def _batches(path: Path, names: list[str], form: InputForm, batch_rows: int) -> Iterator[RowBatch]:
    with path.open("rb") as stream, load_npz(stream, path, _EXPECTED) as file:
        for name in names:
            first = 0
            for piece in _pieces(file, name, path, batch_rows):
                inputs = checked_inputs(piece, name, path, first)
                first += len(inputs)
                yield RowBatch(inputs.astype(form.dtype, copy=False))


def _pieces(file: np.lib.npyio.NpzFile, name: str, path: Path, batch_rows: int) -> Iterator[np.ndarray]:
    with _member(file, name, path) as (member, shape, dtype, fortran):
        if fortran:
            whole = read_array(file, name, path)
            yield from (whole[start : start + batch_rows] for start in range(0, len(whole), batch_rows))
            return
        row_bytes = prod(shape[1:]) * dtype.itemsize
        for start in range(0, shape[0], batch_rows):
            wanted = min(batch_rows, shape[0] - start)
            try:
                content = member.read(wanted * row_bytes)
            except _DAMAGE as error:
                raise _damaged(name, path, one_line(error)) from error
            if len(content) < wanted * row_bytes:
                raise _damaged(name, path, f"it ends in row {start + len(content) // row_bytes} of {shape[0]}")
            yield np.frombuffer(content, dtype).reshape(wanted, *shape[1:])


@contextmanager
def _member(
    file: np.lib.npyio.NpzFile, name: str, path: Path
) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype, bool]]:
    """The bytes of an array behind its header, its shape, its type, and whether it is in Fortran order."""
    assert file.zip is not None
    try:
        member = file.zip.open(f"{name}.npy")
    except (KeyError, *_DAMAGE) as error:
        raise _damaged(name, path, one_line(error)) from error
    with member:
        try:
            version = np.lib.format.read_magic(member)
            # Numpy writes the third version only for names of fields, which numbers have not.
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(member)
        except _DAMAGE as error:
            raise _damaged(name, path, one_line(error)) from error
        if dtype.hasobject:
            raise holds_objects(name, path)
        yield member, shape, dtype, fortran


def _damaged(name: str, path: Path, reason: str) -> InputError:
    return InputError(f"{path}: {name} is damaged or cut short ({reason}); save it again")
