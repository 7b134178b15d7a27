"""A .csv file as rows of a model's input, every cell read as the training rows were and not as its chunk suggests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gence._errors import InputError
from gence.data.csv_file import csv_chunks, csv_columns, read_header
from gence.data.encoder import ColumnEncoder, unlike
from gence.data.form import InputForm, other_kind
from gence.data.rows import Stream, stream_frames
from gence.data.wording import listing, one_line

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = {mark: rf"[+-]?(\d+(\{mark}\d*)?|\{mark}\d+)([eE][+-]?\d+)?" for mark in ".,"}


def stream_csv(path: Path, form: InputForm, batch_rows: int, where: str) -> Stream:
    """Read so many rows at a time.

    A semicolon-separated file may have a decimal comma, in all numbers or in none.

    Raises:
        InputError: If the file is not a table, has not the columns of the training rows, or (while it is read) a cell
            is not of the kind that they had.
    """
    separator, _ = read_header(path, where)
    names = csv_columns(path, separator)
    if form.columns is None:
        raise other_kind(f"a table with the columns {listing(names)}", form, where)
    form.columns.demand(names, where)
    frames = _frames(path, separator, form.columns, batch_rows, where)
    return stream_frames(frames, form, where, notes=form.columns.ignored(names, form.target))


def _frames(path: Path, separator: str, encoder: ColumnEncoder, batch_rows: int, where: str) -> Iterator[pd.DataFrame]:
    # Types guessed chunk by chunk would make 7 of the zip code 0007 where a chunk holds digits only.
    dtypes = {column.name: str for column in encoder.used if column.kind != "number"}
    needed = [column.name for column in encoder.used]
    numbers = [name for name in needed if name not in dtypes]
    decimals = ".," if separator == ";" else "."
    done = 0
    reason = None
    for decimal in decimals:
        try:
            for frame in csv_chunks(path, separator, decimal, needed, dtypes, batch_rows):
                read = _with_numbers(frame, numbers, decimal)
                # Where the comma has to take over from the point, what is done held neither.
                if len(frame) and frame.index[0] >= done:
                    yield read
                    done += len(frame)
            return
        except InputError:
            raise
        except ValueError as error:
            reason = error
    raise _text_among_numbers(path, separator, encoder, decimals, batch_rows, where, str(reason))


def _with_numbers(frame: pd.DataFrame, names: list[str], decimal: str) -> pd.DataFrame:
    """The frame with numbers in these columns; ValueError if a cell is none."""
    guessed = {str(name): column for name, column in frame.items() if name in names and column.dtype.kind not in "iuf"}
    return frame.assign(**{name: _as_floats(column, decimal) for name, column in guessed.items()}) if guessed else frame


def _as_floats(column: pd.Series, decimal: str) -> pd.Series:
    # Text or Python's own integers are what pandas makes of whole numbers beyond 64 bits. Otherwise a cell is no
    # number, be it True, which pandas takes for text beside numbers but not alone in a chunk.
    present = column.dropna().map(lambda cell: str(cell) if type(cell) is int else cell)
    if not all(isinstance(cell, str) and _is_number(cell, decimal) for cell in present):
        raise ValueError(f"{column.name} does not hold numbers only")
    return present.map(lambda cell: float(cell.replace(decimal, "."))).reindex(column.index).astype(float)


def _text_among_numbers(
    path: Path, separator: str, encoder: ColumnEncoder, decimals: str, batch_rows: int, where: str, reason: str
) -> InputError:
    """The error that names the first cell that is no number, by whichever decimal mark gets further."""
    numbers = [column.name for column in encoder.used if column.kind == "number"]
    culprits: list[tuple[int, str, str]] = []
    for decimal in decimals:
        for chunk in csv_chunks(path, separator, decimal, numbers, dict.fromkeys(numbers, str), batch_rows):
            if found := _first_text(chunk.loc[:, numbers], decimal):
                culprits.append(found)
                break
    if not culprits:
        return InputError(f"{where}: not all cells of {listing(numbers)} are numbers ({one_line(reason)}); mend them")
    row, name, cell = max(culprits, key=lambda found: found[0])
    return unlike(cell, row, "number", f"{where}: column {name!r}")


def _first_text(texts: pd.DataFrame, decimal: str) -> tuple[int, str, str] | None:
    found = [
        (row, str(name), cell)
        for name, column in texts.items()
        for row, cell in zip(texts.index.tolist(), column, strict=True)
        if isinstance(cell, str) and not _is_number(cell, decimal)
    ]
    return min(found, default=None)


def _is_number(cell: str, decimal: str) -> bool:
    return re.fullmatch(_NUMBER[decimal], cell.strip()) is not None
