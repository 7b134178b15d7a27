"""A table's columns as numbers: one column a number, one a missing mark, one a category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from gence._errors import InputError
from gence.data.wording import counted, listing

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 100
"""How many values of one text column get a column of their own; the rest share "other"."""

_COUNTER_ROWS = 10
_ISO_DATE = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?"
_SECONDS_A_DAY = 86_400

_ROW_NUMBERS = "only numbering the rows"
_CONSTANT = "with one value only"
_NOT_TABULAR = "holding neither numbers nor text nor dates"
_NEARLY_DISTINCT = "with a different text in nearly every row"


@dataclass(frozen=True)
class Columns:
    """`values` is `(rows, columns)` float64, NaN where a number is missing; `names` has one entry a column."""

    values: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...]


def encode_columns(frame: pd.DataFrame, where: str) -> Columns:
    """Turn every column into numbers, or leave it out and say so.

    Numbers, booleans and dates (ISO 8601, in days) stay one column; one with gaps gets a second,
    "<name> is missing". Text gets a column "<name>=<value>" a value, one "<name>=other" for all beyond the 100
    most frequent, and "<name> is missing" if it has gaps. Left out are row numbers, columns with one value,
    text that is different in nearly every row, and what is neither number, text nor date.

    Args:
        frame: The rows; its index is their number in the source, which tells row numbers from other columns.
        where: The source, for messages.

    Raises:
        InputError: If a number is infinite or beyond float32, or no column is left.
    """
    encoded: list[tuple[str, np.ndarray]] = []
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    dates: list[str] = []
    many: list[str] = []
    gaps: dict[str, int] = {}
    for name, column in frame.items():
        days = _as_days(column)
        numbers = _as_numbers(column) if days is None else days
        rows = column.index.to_numpy()
        reason = _why_not_text(column) if numbers is None else _why_not_numbers(numbers, rows)
        if reason:
            left_out[reason].append(str(name))
        elif numbers is None:
            encoded += _one_hot(str(name), column)
            many += [str(name)] if column.nunique() > MOST_CATEGORIES else []
        else:
            encoded += _with_gaps_marked(str(name), _checked(numbers, rows, f"{where}: column {str(name)!r}"))
            dates += [str(name)] if days is not None else []
            gaps |= {str(name): int(missing)} if (missing := np.isnan(numbers).sum()) else {}
    notes = (
        *(f"left out {counted(len(names), 'column')} {reason}: {listing(names)}" for reason, names in left_out.items()),
        *_notes(gaps, many, dates),
    )
    if not encoded:
        raise InputError(f"{where}: no column is left to learn from ({'; '.join(notes) or 'there is only the label'})")
    return Columns(np.stack([values for _, values in encoded], axis=1), tuple(name for name, _ in encoded), notes)


def _as_days(column: pd.Series) -> np.ndarray | None:
    import pandas as pd

    if column.dtype.kind == "M":
        seconds = column.to_numpy("datetime64[s]")
        return np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64) / _SECONDS_A_DAY)
    present = column.dropna()
    if not len(present) or not _is_text(present) or not present.astype(str).str.fullmatch(_ISO_DATE).all():
        return None
    parsed = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    # The 40th of May looks like a date and is none: such a column stays text.
    return None if parsed.isna().sum() > column.isna().sum() else _as_days(parsed)


def _as_numbers(column: pd.Series) -> np.ndarray | None:
    if column.dtype.kind == "m":
        return column.to_numpy() / np.timedelta64(1, "D")
    # Booleans with gaps and decimal numbers arrive as objects.
    plain = column.dtype.kind in "biuf" or all(isinstance(v, bool | int | float | Decimal) for v in column.dropna())
    return column.to_numpy(np.float64, na_value=np.nan) if plain else None


def _is_text(present: pd.Series) -> bool:
    return all(isinstance(value, str) for value in present)


def _why_not_numbers(numbers: np.ndarray, rows: np.ndarray) -> str | None:
    # A file sorted by class would give every label away through its row numbers.
    counts = len(rows) >= _COUNTER_ROWS and bool((numbers - rows == numbers[0] - rows[0]).all())
    return _ROW_NUMBERS if counts else _CONSTANT if len(np.unique(numbers)) < 2 else None


def _why_not_text(column: pd.Series) -> str | None:
    if not _is_text(column.dropna()):
        return _NOT_TABULAR
    distinct = column.nunique()
    if distinct > max(MOST_CATEGORIES, len(column) / 2):
        return _NEARLY_DISTINCT
    return _CONSTANT if distinct < 2 and not column.isna().any() else None


def _checked(numbers: np.ndarray, rows: np.ndarray, where: str) -> np.ndarray:
    # float64 until the training rows have shifted and scaled it: a time in seconds has no second left in float32.
    infinite = np.flatnonzero(np.abs(numbers) > np.finfo(np.float32).max)
    if len(infinite):
        raise InputError(
            f"{where} holds {numbers[infinite[0]]:g} in row {rows[infinite[0]]} (the first row is 0); numbers up to "
            "3.4e38 are expected: mend it, or leave it empty if it is not known"
        )
    return numbers


def _with_gaps_marked(name: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    missing = np.isnan(values)
    marks = [(f"{name} is missing", missing.astype(np.float64))] if missing.any() else []
    return [(name, values), *marks]


def _one_hot(name: str, column: pd.Series) -> Iterator[tuple[str, np.ndarray]]:
    # Ties at the hundredth place go to the first in the alphabet, not to the order of the rows.
    frequencies = column.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    kept = sorted(frequencies.index[:MOST_CATEGORIES])
    for value in kept:
        yield f"{name}={value}", (column == value).to_numpy(np.float64, na_value=0)
    missing = column.isna()
    if len(frequencies) > MOST_CATEGORIES:
        yield f"{name}=other", (~column.isin(kept) & ~missing).to_numpy(np.float64)
    if missing.any():
        yield f"{name} is missing", missing.to_numpy(np.float64)


def _notes(gaps: Mapping[str, int], many: list[str], dates: list[str]) -> Iterator[str]:
    if gaps:
        total = sum(gaps.values())
        yield (
            f"{counted(total, 'missing value')} in {counted(len(gaps), 'column')} ({listing(gaps)}) "
            f"{'is' if total == 1 else 'are'} filled with the median of the training rows"
        )
    if many:
        yield f"kept the {MOST_CATEGORIES} most frequent values and put the rest into one, 'other': {listing(many)}"
    if dates:
        yield f"counted dates in days since 1970-01-01: {listing(dates)}"
