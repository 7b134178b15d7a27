"""Class numbers and class names from whatever a source writes in its label column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gence._errors import InputError
from gence.data.wording import listing, one_line

_ALWAYS_ALLOWED = 20
_ROWS_A_CLASS = 3  # a study needs a row of each class to train, to calibrate and to test on
_LARGEST_WHOLE_FLOAT = 2.0**53


@dataclass(frozen=True)
class Labels:
    """`numbers` is `(rows,)` int64, an index into `names`; every name occurs."""

    numbers: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def encode_labels(values: np.ndarray, where: str, declared: Sequence[str] | None = None) -> Labels:
    """Number the classes: numbers in their order, names in alphabetical order, declared names as declared.

    Args:
        values: `(rows,)` whole numbers (as floats, too), strings or booleans, none missing.
        where: What they are, for the message.
        declared: The class names, if the source says what its whole numbers from 0 stand for.

    Raises:
        InputError: If the values are no class labels: fractions, dates, lists, or too many different ones
            (more than 20 with fewer than three rows each).
    """
    values = _whole_numbers(values, where) if values.dtype.kind == "f" else values
    if declared is not None and values.dtype.kind in "iu":
        return _encode_declared(values.astype(np.int64), declared, where)
    if not (values.dtype.kind in "biuU" or all(isinstance(value, str | bool) for value in values)):
        kinds = listing(sorted({type(value).__name__ for value in values.tolist()}))
        raise InputError(f"{where} holds values of the kind {kinds}; {_EXPECTED}")
    if values.dtype.kind == "O":
        # A column of booleans with gaps arrives as objects, and numpy cannot sort them beside strings.
        values = values.astype(bool) if all(isinstance(value, bool) for value in values) else values.astype(str)
    names, numbers = np.unique(values, return_inverse=True)
    if len(names) > max(_ALWAYS_ALLOWED, len(values) / _ROWS_A_CLASS):
        raise InputError(f"{where} holds {len(names)} different values in {len(values)} rows; {_EXPECTED}")
    return Labels(numbers.astype(np.int64), tuple(str(name) for name in names))


_EXPECTED = "a class label is expected (a name or a whole number): name another one, or sort the values into classes"


def _whole_numbers(values: np.ndarray, where: str) -> np.ndarray:
    whole = np.isfinite(values) & (np.trunc(values) == values) & (np.abs(values) <= _LARGEST_WHOLE_FLOAT)
    if not whole.all():
        raise InputError(f"{where} holds the number {values[~whole][0]:g}; {_EXPECTED}")
    return values.astype(np.int64)


def _encode_declared(values: np.ndarray, declared: Sequence[str], where: str) -> Labels:
    present, numbers = np.unique(values, return_inverse=True)
    beyond = present[(present < 0) | (present >= len(declared))]
    if len(beyond):
        raise InputError(
            f"{where} holds the class number {beyond[0]}, but the source declares {len(declared)} classes "
            f"({listing(declared)}), counted from 0; mend the source"
        )
    names = tuple(str(declared[number]) for number in present)
    absent = [one_line(name) for number, name in enumerate(declared) if number not in set(present.tolist())]
    note = (f"left out classes without a row: {listing(absent)}",) if absent else ()
    return Labels(numbers.astype(np.int64), names, note)
