"""A .csv file: a header, then one row a line."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gence._errors import InputError
from gence.data.dataset import LabelledData
from gence.data.request import Request
from gence.data.table import demand_target, table_data
from gence.data.wording import listing, one_line

if TYPE_CHECKING:
    import pandas as pd

_DIALECT: dict[str, Any] = {
    "keep_default_na": False,
    "encoding": "utf-8-sig",
    "skipinitialspace": True,
    "low_memory": False,
    "index_col": False,
}
_MISSING: tuple[str, ...] = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
# "None" and "NA" are often the name of a class: no disorder, or Namibia.
_MISSING_LABEL: tuple[str, ...] = ("", "NaN", "nan")


def read_csv(path: Path, request: Request) -> LabelledData:
    """Read a comma-separated table; a header without commas may separate by semicolons or tabs.

    Numbers in a semicolon-separated file may have a decimal comma. Spaces after a separator do not count.

    Raises:
        InputError: If the file is not such a table, or the target is missing or not a column of it.
    """
    separator, _ = read_header(path, request.source)
    # The target is looked up before the long reading, so that a slip is told at once.
    columns = csv_columns(path, separator)
    target = demand_target(request.target, columns, request.source)
    missing = {column: list(_MISSING_LABEL if column == target else _MISSING) for column in columns}
    readings = [
        _parse(path, separator, decimal=decimal, missing=missing) for decimal in (".," if separator == ";" else ".")
    ]
    frame = max(readings, key=lambda reading: reading.select_dtypes("number").shape[1])
    return table_data(frame, target, request)


def read_header(path: Path, source: str) -> tuple[str, list[str]]:
    """The separator of a comma-separated file and the names in its first line.

    Raises:
        InputError: If two columns have the same name or the file holds NUL bytes; `source` is what the message calls
            the file.
    """
    with path.open("rb") as raw:
        while chunk := raw.read(1 << 20):
            if b"\0" in chunk:
                raise InputError(
                    f"{source}: the text is not UTF-8 (it holds NUL bytes, as UTF-16 does); save it as UTF-8"
                )
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        header = stream.readline()
        separator = next((mark for mark in ";\t" if mark in header and "," not in header), ",")
        stream.seek(0)
        names = next(csv.reader(stream, delimiter=separator, skipinitialspace=True), [])
    # Pandas would rename the second one, and a second copy of the label would be learnt from.
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(f"{source}: several columns have the same name ({listing(twice)}); rename them")
    return separator, names


def _parse(
    path: Path,
    separator: str,
    *,
    decimal: str = ".",
    missing: dict[str, list[str]] | None = None,
    rows: int | None = None,
) -> pd.DataFrame:
    import pandas as pd

    with parsing(path):
        return pd.read_csv(path, sep=separator, decimal=decimal, na_values=missing, nrows=rows, **_DIALECT)


def csv_columns(path: Path, separator: str) -> list[str]:
    """The names of the columns, as the tables have them.

    Raises:
        InputError: If the file is not a table.
    """
    return [str(column) for column in _parse(path, separator, rows=0).columns]


def csv_chunks(
    path: Path, separator: str, decimal: str, columns: Iterable[str], dtypes: Mapping[str, type], rows: int
) -> Iterator[pd.DataFrame]:
    """The table, so many rows at a time, numbered from 0 through all chunks.

    Args:
        path: The file.
        separator: What its fields are separated by.
        decimal: The decimal mark.
        columns: Those in which question marks and their like are missing values.
        dtypes: The types of columns that must not be guessed.
        rows: How many rows a chunk has.

    Raises:
        InputError: If the file is not a table.
        ValueError: If a cell is not of the type of its column.
    """
    import pandas as pd

    missing = {column: list(_MISSING) for column in columns}
    options: dict[str, Any] = {"na_values": missing, "dtype": dict(dtypes), "chunksize": rows, **_DIALECT}
    with path.open("rb") as stream:
        with parsing(path):
            chunks = pd.read_csv(stream, sep=separator, decimal=decimal, **options)
        while True:
            # Not around the yield: what the caller does in between is none of the file's faults.
            with parsing(path):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """What pandas finds wrong with a file, in the words of this package."""
    import pandas as pd

    try:
        with warnings.catch_warnings():
            # Pandas would cut rows that are longer than the header, and merely warn.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{path}: the file is empty; a header line and rows are expected") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the text is not UTF-8 ({one_line(error)}); save it as UTF-8") from error
    except pd.errors.ParserError as error:
        reason = one_line(error).removeprefix("Error tokenizing data. ").removeprefix("C error: ")
        raise InputError(f"{path}: not a table of comma-separated values ({reason}); mend that line") from error
    except pd.errors.ParserWarning as error:
        raise InputError(
            f"{path}: the rows have more fields than the header has names; name every column in line 1"
        ) from error
