"""Frames with more than numbers: which they are, and their rows as numbers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    import pandas as pd


def has_other_than_numbers(X: Any) -> TypeGuard[pd.DataFrame]:
    """Whether X is a pandas frame with a column that holds neither numbers nor booleans."""
    if not is_frame(X):
        return False
    from pandas.api.types import is_numeric_dtype

    return not all(is_numeric_dtype(dtype) for dtype in X.dtypes)


def is_frame(X: Any) -> TypeGuard[pd.DataFrame]:
    """Whether X is a pandas frame; pandas is not imported for it."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(X, pandas.DataFrame)


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with row numbers as its index: its own where they are whole numbers, else from 0."""
    from pandas.api.types import is_integer_dtype

    return frame if is_integer_dtype(frame.index.dtype) else frame.reset_index(drop=True)
