"""Which column is which class, and which class a label means: by its name, or by its number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gence._errors import InputError, nearest
from gence.data.wording import listing, one_line

_WHOLE = re.compile(r"([+-]?\d+)(\.0*)?")


@dataclass(frozen=True)
class RawLabels:
    """What a label column holds: its different `values`, and for every row the position of its own (-1: missing)."""

    values: Sequence[Any]
    codes: np.ndarray


def in_order(names: Sequence[str]) -> list[int]:
    """The order in which columns are classes: by number if all names are whole numbers, otherwise as they stand.

    >>> in_order(["0", "1", "10", "2"]), in_order(["dog", "cat"])
    ([0, 1, 3, 2], [0, 1])
    """
    numbers = [_whole(name) for name in names]
    positions = list(range(len(names)))
    return positions if None in numbers else sorted(positions, key=lambda position: numbers[position] or 0)


def class_numbers(labels: RawLabels, names: Sequence[str], where: str) -> tuple[np.ndarray, str | None]:
    """Labels as int64 class numbers `(rows,)`, and a note if that took a decision.

    Raises:
        InputError: If a row has no label, a label is no class, or it may be one class's name or another's number.
    """
    texts = [_text(value) for value in labels.values]
    # The code -1 points at the last one.
    unlabelled = np.array([*(text in ("", "nan") and text not in names for text in texts), True])[labels.codes]
    if unlabelled.any():
        raise InputError(
            f"{where}: row {np.flatnonzero(unlabelled)[0]} (counted from 0) has no label; a class name or number is "
            "expected: leave such rows out"
        )
    positions = {name: position for position, name in enumerate(names)}
    by_name = [positions.get(text) for text in texts]
    numbers = [_whole(text) for text in texts]
    by_number = [number if number is not None and 0 <= number < len(names) else None for number in numbers]
    # A number that is the name of one class and the position of another.
    displaced = {number for i, name in enumerate(names) if (number := _whole(name)) is not None and number != i}
    doubtful = [number for number in by_number if number in displaced]
    if doubtful and None not in by_name and None in by_number:
        number = doubtful[0]
        note = f"the labels are names of classes: {number} is the class {str(number)!r}, not the one counted {number}"
        return np.array(by_name, np.int64)[labels.codes], f"{note} from 0"
    if doubtful and (None not in by_name or None not in by_number):
        raise InputError(
            f"{where}: the label {doubtful[0]} could mean two classes of {listing(names)}, the one of that name and "
            f"{names[doubtful[0]]!r}, which is number {doubtful[0]} counted from 0; number the classes from 0 "
            "without a gap, or give them names"
        )
    if None not in by_name:
        return np.array(by_name, np.int64)[labels.codes], None
    if None not in by_number:
        named = all(_whole(name) is None for name in names)
        note = f"the labels are class numbers, in the order of the columns: {listing(names)}" if named else None
        return np.array(by_number, np.int64)[labels.codes], note
    numbered = all(found is None for found in by_name) and any(number is not None for number in numbers)
    meant = by_number if numbered else by_name
    is_class = np.array([found is not None for found in meant])
    row = int(np.flatnonzero(~is_class[labels.codes])[0])
    raise _no_class(texts[labels.codes[row]], row, names, where)


def _no_class(text: str, row: int, names: Sequence[str], where: str) -> InputError:
    guess = nearest(text, names)
    if guess is not None and _whole(guess) is None:
        cure = f"did you mean {guess!r}?"
    elif (_whole(text) or 0) < 0:
        cure = "leave rows without a label out"
    else:
        cure = f"give the name of a class, or its number from 0 to {len(names) - 1}"
    return InputError(
        f"{where}: row {row} (counted from 0) has the label {one_line(text)!r}, which is none of the {len(names)} "
        f"classes ({listing(names)}); {cure}"
    )


def _whole(text: str) -> int | None:
    found = _WHOLE.fullmatch(text)
    return int(found[1]) if found else None


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
