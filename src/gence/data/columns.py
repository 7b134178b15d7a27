"""A table's columns as numbers: one column a number, one a missing mark, one a category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gence._errors import InputError
from gence.data.cells import as_days, as_numbers, is_boolean, is_text
from gence.data.encoder import ColumnEncoder, Kind, SourceColumn
from gence.data.wording import counted, listing

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 100
"""How many values of one text column get a column of their own; the rest share "other"."""

_COUNTER_ROWS = 10

_ROW_NUMBERS = "only numbering the rows"
_CONSTANT = "with one value only"
_NOT_TABULAR = "holding neither numbers nor text nor dates"
_NEARLY_DISTINCT = "with a different text in nearly every row"


@dataclass(frozen=True)
class Columns:
    """`values` is `(rows, columns)` float64, NaN where a number is missing; `encoder` made them and makes more."""

    values: np.ndarray
    encoder: ColumnEncoder
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """One entry a column of `values`."""
        return self.encoder.names


def encode_columns(frame: pd.DataFrame, where: str) -> Columns:
    """Turn every column into numbers as `fit_columns` says, or leave it out and say so.

    Args:
        frame: The rows; its index is their number in the source, which tells row numbers from other columns.
        where: The source, for messages.

    Raises:
        InputError: If a number is infinite or beyond float32, or no column is left.
    """
    encoder = fit_columns(frame, where)
    values = encoder.encode(frame, where).values
    return Columns(values, encoder, training_notes(encoder, values))


def fit_columns(frame: pd.DataFrame, where: str) -> ColumnEncoder:
    """Decide what every column is read as.

    Numbers, booleans and dates (ISO 8601, in days) stay one column; one with gaps gets a second,
    "<name> is missing". Text gets a column "<name>=<value>" a value, one "<name>=other" for all beyond the 100
    most frequent, and "<name> is missing" if it has gaps. Left out are row numbers, columns with one value,
    text that is different in nearly every row, and what is neither number, text nor date.

    Args:
        frame: The rows; its index is their number in the source, which tells row numbers from other columns.
        where: The source, for messages.

    Raises:
        InputError: If no column is left, or two have the same name.
    """
    columns = [_source_column(str(name), column) for name, column in frame.items()]
    if all(column.kind == "left out" for column in columns):
        notes = "; ".join(_left_out_notes(columns)) or "there is only the label"
        raise InputError(f"{where}: no column is left to learn from ({notes})")
    return ColumnEncoder(tuple(columns))


def training_notes(encoder: ColumnEncoder, values: np.ndarray) -> tuple[str, ...]:
    """What was done to the rows that the encoder was fitted to; `values` are these rows, encoded."""
    return (*_left_out_notes(encoder.columns), *_notes(encoder, int(np.isnan(values).sum())))


def _source_column(name: str, column: pd.Series) -> SourceColumn:
    days = as_days(column)
    numbers = as_numbers(column) if days is None else days
    reason = _why_not_text(column) if numbers is None else _why_not_numbers(numbers, column.index.to_numpy())
    if reason:
        return SourceColumn(name, "left out", why=reason)
    if numbers is not None:
        kind = "date" if days is not None else _kind_of_number(column)
        return SourceColumn(name, kind, marked=bool(np.isnan(numbers).any()))
    # Ties at the hundredth place go to the first in the alphabet, not to the order of the rows.
    frequencies = column.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return SourceColumn(
        name,
        "category",
        categories=tuple(map(str, sorted(frequencies.index[:MOST_CATEGORIES]))),
        other=len(frequencies) > MOST_CATEGORIES,
        marked=bool(column.isna().any()),
    )


def _kind_of_number(column: pd.Series) -> Kind:
    if column.dtype.kind == "m":
        return "duration"
    return "boolean" if is_boolean(column) else "number"


def _why_not_numbers(numbers: np.ndarray, rows: np.ndarray) -> str | None:
    # A file sorted by class would give every label away through its row numbers.
    counts = len(rows) >= _COUNTER_ROWS and bool((numbers - rows == numbers[0] - rows[0]).all())
    return _ROW_NUMBERS if counts else _CONSTANT if len(np.unique(numbers)) < 2 else None


def _why_not_text(column: pd.Series) -> str | None:
    if not is_text(column.dropna()):
        return _NOT_TABULAR
    distinct = column.nunique()
    if distinct > max(MOST_CATEGORIES, len(column) / 2):
        return _NEARLY_DISTINCT
    return _CONSTANT if distinct < 2 and not column.isna().any() else None


def _left_out_notes(columns: Iterable[SourceColumn]) -> Iterator[str]:
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    for column in columns:
        if column.kind == "left out":
            left_out[column.why].append(column.name)
    for reason, names in left_out.items():
        yield f"left out {counted(len(names), 'column')} {reason}: {listing(names)}"


def _notes(encoder: ColumnEncoder, gaps: int) -> Iterator[str]:
    filled = [column.name for column in encoder.used if column.marked and column.kind != "category"]
    if filled:
        yield (
            f"{counted(gaps, 'missing value')} in {counted(len(filled), 'column')} ({listing(filled)}) "
            f"{'is' if gaps == 1 else 'are'} filled with the median of the training rows"
        )
    many = [column.name for column in encoder.used if column.other]
    if many:
        yield f"kept the {MOST_CATEGORIES} most frequent values and put the rest into one, 'other': {listing(many)}"
    dates = [column.name for column in encoder.used if column.kind == "date"]
    if dates:
        yield f"counted dates in days since 1970-01-01: {listing(dates)}"
