"""The cells of one column as numbers or as days, or the finding that they are neither."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from gence._errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_ISO_DATE = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?"
_SECONDS_A_DAY = 86_400


def as_days(column: pd.Series) -> np.ndarray | None:
    """Days since 1970-01-01, NaN where a date is missing; None if the cells are not dates (ISO 8601 if text)."""
    import pandas as pd

    if column.dtype.kind == "M":
        seconds = column.to_numpy("datetime64[s]")
        return np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64) / _SECONDS_A_DAY)
    present = column.dropna()
    if not len(present) or not is_text(present) or not present.astype(str).str.fullmatch(_ISO_DATE).all():
        return None
    parsed = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    # The 40th of May looks like a date and is none: such a column stays text.
    return None if parsed.isna().sum() > column.isna().sum() else as_days(parsed)


def as_numbers(column: pd.Series) -> np.ndarray | None:
    """float64, NaN where a number is missing, durations in days; None if a cell is no number."""
    if column.dtype.kind == "m":
        return column.to_numpy() / np.timedelta64(1, "D")
    # Booleans with gaps and decimal numbers arrive as objects.
    plain = column.dtype.kind in "biuf" or all(isinstance(v, bool | int | float | Decimal) for v in column.dropna())
    return column.to_numpy(np.float64, na_value=np.nan) if plain else None


def is_boolean(column: pd.Series) -> bool:
    """Whether every cell that is not missing is true or false."""
    present = column.dropna()
    return column.dtype.kind == "b" or (len(present) > 0 and all(isinstance(value, bool) for value in present))


def is_text(present: pd.Series) -> bool:
    """Whether every cell is text."""
    return all(isinstance(value, str) for value in present)


def demand_finite(numbers: np.ndarray, rows: np.ndarray, where: str) -> np.ndarray:
    """The numbers as they are.

    Args:
        numbers: `(rows,)` float64, NaN where one is missing.
        rows: The numbers of these rows in the source.
        where: The source and the column, for the message.

    Raises:
        InputError: If a number is infinite or beyond float32.
    """
    # float64 until the training rows have shifted and scaled it: a time in seconds has no second left in float32.
    infinite = np.flatnonzero(np.abs(numbers) > np.finfo(np.float32).max)
    if len(infinite):
        raise InputError(
            f"{where} holds {numbers[infinite[0]]:g} in row {rows[infinite[0]]} (the first row is 0); numbers up to "
            "3.4e38 are expected: mend it, or leave it empty if it is not known"
        )
    return numbers
