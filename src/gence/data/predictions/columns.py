"""Predictions in a .csv or .parquet table: one column of scores a class, found by a pattern, and a label column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gence._errors import InputError
from gence.data.csv_file import read_header
from gence.data.predictions.classes import RawLabels, in_order
from gence.data.predictions.naming import Found, Naming, both_kinds, choose_labels
from gence.data.predictions.record import Kind
from gence.data.wording import listing, one_line

if TYPE_CHECKING:
    import pyarrow as pa

_PATTERNS: dict[str, Kind] = {"logit_*": "logits", "prob_*": "probs", "probability_*": "probs"}


def read_csv(path: Path, naming: Naming) -> Found:
    """Read the columns of a comma-separated file; a header without commas may separate by semicolons or tabs.

    Raises:
        InputError: If the file is not such a table, or a column is missing or holds something else.
    """
    separator, names = read_header(path, str(path))
    chosen = _choose(names, naming, path)
    table = _csv_columns(path, separator, names, chosen)
    # A semicolon often means that the comma is the decimal point.
    if separator == ";" and any(_is_text(table.column(name)) for name in chosen.columns):
        table = _csv_columns(path, separator, names, chosen, decimal=",")
    return _found(table, chosen, path)


def read_parquet(path: Path, naming: Naming) -> Found:
    """Read the columns of a parquet file.

    Raises:
        InputError: If the file is damaged, or a column is missing or holds something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Opened here, because Arrow's errors of missing rights do not name the file.
    with path.open("rb") as stream:
        try:
            file = pq.ParquetFile(stream)
            chosen = _choose(file.schema_arrow.names, naming, path)
            table = file.read(columns=chosen.used)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path}: not a parquet file, or damaged ({one_line(error)}); copy or download it again"
            ) from error
    return _found(table, chosen, path)


@dataclass(frozen=True)
class _Chosen:
    """The columns to read, those of the scores in the order of the classes."""

    kind: Kind
    class_names: tuple[str, ...]
    columns: tuple[str, ...]
    label: str | None
    notes: tuple[str, ...]

    @property
    def used(self) -> list[str]:
        return [*self.columns, *([self.label] if self.label else [])]


def _choose(there: Sequence[str], naming: Naming, path: Path) -> _Chosen:
    twice = sorted({name for name in there if there.count(name) > 1})
    if twice:
        raise InputError(f"{path}: several columns have the same name ({listing(twice)}); rename them")
    label = choose_labels(naming, "label", "column", there, str(path))
    kind, found, notes = _find([name for name in there if name != label], naming, path)
    names = [name.strip() for name in found]
    if len(set(names)) < len(names):
        clashing = [repr(column) for name, column in found.items() if names.count(name.strip()) > 1]
        raise InputError(f"{path}: several columns are of the same class ({listing(clashing)}); rename them")
    columns, order = list(found.values()), in_order(names)
    return _Chosen(kind, tuple(names[i] for i in order), tuple(columns[i] for i in order), label, notes)


def _find(there: Sequence[str], naming: Naming, path: Path) -> tuple[Kind, dict[str, str], tuple[str, ...]]:
    """The kind of the scores, class name -> column, and notes."""
    if naming.scores is not None:
        kind, pattern = naming.scores
        found = _matches(pattern, f"--{kind}", there)
        if not found:
            raise InputError(
                f"{path}: no column fits --{kind} {pattern!r} among {listing(there, most=40)}; the star stands for the "
                "class"
            )
        return kind, found, ()
    by_pattern = {pattern: _matches(pattern, f"--{kind}", there) for pattern, kind in _PATTERNS.items()}
    used, *left = [pattern for pattern, found in by_pattern.items() if found] or [None]
    if used is None:
        options = naming.options("'PATTERN_*'")
        raise InputError(
            f"{path}: no columns {listing(_PATTERNS)} among {listing(there, most=40)}; name them with {options}, "
            "where the star stands for the class"
        )
    if _PATTERNS[used] == "probs" and left and not naming.logits_only:
        raise InputError(f"{path}: both {used} and {listing(left)} are there; choose one with --probs")
    return _PATTERNS[used], by_pattern[used], (both_kinds(used, listing(left)),) if left else ()


def _matches(pattern: str, option: str, columns: Iterable[str]) -> dict[str, str]:
    """Class name -> column, for the columns in which the star of the pattern stands for at least one letter."""
    if pattern.count("*") != 1:
        raise InputError(
            f"{option} {pattern!r}: the columns of a table are named by a pattern with one star for the class, such as "
            f"{option} 'z_*'"
        )
    before, _, after = pattern.partition("*")
    return {
        column[len(before) : len(column) - len(after)]: column
        for column in columns
        if len(column) > len(before) + len(after) and column.startswith(before) and column.endswith(after)
    }


def _csv_columns(path: Path, separator: str, names: list[str], chosen: _Chosen, decimal: str = ".") -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv

    try:
        return pyarrow.csv.read_csv(
            path,
            # The names are given, because Arrow would keep the spaces around those in the file.
            read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows_after_names=1),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=chosen.used,
                # As text, so that a class called 007 or NA stays one.
                column_types={chosen.label: pa.string()} if chosen.label else None,
                decimal_point=decimal,
            ),
        )
    except pa.ArrowInvalid as error:
        reason = one_line(error).removeprefix("CSV parse error: ")
        if _is_one_line(path):
            raise InputError(f"{path}: there are no rows; at least one is expected") from error
        if "invalid UTF8" in reason:
            raise InputError(f"{path}: the text is not UTF-8 ({reason}); save it as UTF-8") from error
        raise InputError(f"{path}: not a table of comma-separated values ({reason}); mend it") from error


def _is_one_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.readline()
        return not stream.read(1)


def _found(table: pa.Table, chosen: _Chosen, path: Path) -> Found:
    columns = [table.column(name) for name in chosen.columns]
    for name, column in zip(chosen.columns, columns, strict=True):
        _demand_numbers(column, name, path)
    is_small = all(str(column.type) in ("halffloat", "float") for column in columns)
    scores = np.empty((table.num_rows, len(columns)), np.float32 if is_small else np.float64)
    for i, column in enumerate(columns):
        scores[:, i] = column.cast("float32" if is_small else "float64", safe=False).to_numpy()
    raw = _raw_labels(table.column(chosen.label), chosen.label, path) if chosen.label else None
    return Found(chosen.kind, scores, chosen.class_names, raw, chosen.notes)


def _demand_numbers(column: pa.ChunkedArray, name: str, path: Path) -> None:
    import pyarrow as pa

    kind = column.type
    if _is_text(column):
        rows = enumerate(column.to_pylist())
        row, text = next(((row, text) for row, text in rows if not _is_number(text)), (None, None))
        if row is None:
            raise InputError(f"{path}: column {name!r} holds numbers as text; save it as numbers")
        what = f"the text {one_line(text)!r} in row {row} (counted from 0)"
    elif any(test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)):
        return
    else:
        what = f"values of the type {kind}"
    raise InputError(f"{path}: column {name!r} holds {what}; numbers are expected, one column a class")


def _is_text(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def _is_number(text: str | None) -> bool:
    try:
        return text is None or np.isfinite(float(text))
    except ValueError:
        return False


def _raw_labels(column: pa.ChunkedArray, name: str, path: Path) -> RawLabels:
    import pyarrow as pa

    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        encoded = column.combine_chunks().dictionary_encode()
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: column {name!r} holds values of the type {column.type}; a class name or number is expected"
        ) from error
    return RawLabels(encoded.dictionary.to_pylist(), encoded.indices.fill_null(-1).to_numpy().astype(np.int64))
