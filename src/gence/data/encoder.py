"""How a table's columns became numbers, kept so that new rows become numbers in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gence._errors import InputError, nearest
from gence.data.cells import as_days, as_numbers, demand_finite, is_text
from gence.data.surprises import Surprise, first_few, gap_note, unknown_note
from gence.data.wording import listing, one_line

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "boolean", "duration", "date", "category", "left out"]

_EXPECTED = {
    "number": "a number",
    "boolean": "true or false",
    "duration": "a duration",
    "date": "a date such as 2024-05-31",
    "category": "text",
}
_WORDS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class SourceColumn:
    """One column as the training rows had it.

    Attributes:
        name: What the source calls it.
        kind: What its cells are read as; `"left out"` if not at all.
        categories: The values that have a column of their own, if it is a category.
        other: Whether one more column stands for all other values.
        marked: Whether one more column tells where a value is missing.
        why: Why it was left out, if it was.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    other: bool = False
    marked: bool = False
    why: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it becomes."""
        if self.kind == "left out":
            return ()
        values = [f"{self.name}={value}" for value in self.categories] if self.kind == "category" else [self.name]
        other = [f"{self.name}=other"] if self.other else []
        return (*values, *other, *([f"{self.name} is missing"] if self.marked else []))


@dataclass(frozen=True)
class EncodedRows:
    """`values` is `(rows, columns)` float64, NaN where a number is missing; `surprises` and `notes` on what is new."""

    values: np.ndarray
    surprises: Mapping[str, Surprise]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ColumnEncoder:
    """Fitted by `fit_columns`: every column of the source in its order, those left out among them.

    Raises:
        InputError: If two columns have the same name, or none is used.
    """

    columns: tuple[SourceColumn, ...]

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"several columns have the same name ({listing(twice)}); rename them")
        if not self.names:
            raise InputError("a column encoder without a column that is used; at least one is expected")

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers of an encoded row are, one name a number."""
        return tuple(name for column in self.columns for name in column.names)

    @property
    def used(self) -> tuple[SourceColumn, ...]:
        """The columns that new rows must have."""
        return tuple(column for column in self.columns if column.kind != "left out")

    def demand(self, present: Iterable[str], where: str) -> None:
        """Check that new rows have every column that is used.

        Raises:
            InputError: If one is missing; the message gives the nearest name that is there.
        """
        present = list(present)
        absent = [column.name for column in self.used if column.name not in present]
        if absent:
            known = [column.name for column in self.columns]
            guess = nearest(absent[0], [name for name in present if name not in known])
            raise InputError(
                f"{where}: no column {listing(map(repr, absent))}, which the model was trained on; "
                + (f"did you mean {one_line(guess)!r}? " if guess else "")
                + f"columns: {listing(present, most=40)}: add what is missing, or rename the column that holds it"
            )

    def ignored(self, present: Iterable[str], target: str | None = None) -> tuple[str, ...]:
        """A note on the columns that training did not have, other than the label; none if there is no such column."""
        known = {target, *(column.name for column in self.columns)}
        extra = [name for name in present if name not in known]
        return (f"not used, as training had no such column: {listing(extra)}",) if extra else ()

    def encode(self, frame: pd.DataFrame, where: str) -> EncodedRows:
        """Turn new rows into the numbers that the training rows became.

        A category that is not among those kept counts as "other" if there is such a column, else as none of them. A
        missing value is marked if training had gaps there, too; otherwise a number is NaN and a category is none of
        the known ones. Numbers and booleans in a column of categories are compared as text.

        Args:
            frame: The rows; its index is their number in the source, for messages. Columns beyond those used are
                ignored.
            where: The source, for messages.

        Raises:
            InputError: If a column is missing, or a cell is not of the kind that training had there, or infinite.
        """
        cells = {str(name): column for name, column in frame.items()}
        self.demand(cells, where)
        values = np.empty((len(frame), len(self.names)))
        surprises: dict[str, Surprise] = {}
        start = 0
        for column in self.used:
            width = len(column.names)
            block = values[:, start : start + width]
            surprise = _fill(block, column, cells[column.name], f"{where}: column {column.name!r}")
            if surprise != Surprise():
                surprises[column.name] = surprise
            start += width
        return EncodedRows(values, surprises, self.notes(surprises))

    def notes(self, surprises: Mapping[str, Surprise]) -> tuple[str, ...]:
        """Sentences on what was counted in `encode`, one or two a column."""
        return tuple(self._notes(surprises))

    def _notes(self, surprises: Mapping[str, Surprise]) -> Iterator[str]:
        for column in self.used:
            surprise = surprises.get(column.name, Surprise())
            if surprise.unknown:
                yield unknown_note(column.name, surprise, len(column.categories), column.other)
            if surprise.gaps:
                yield gap_note(column.name, surprise, column.kind == "category")

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes: dictionaries, lists, text and booleans."""
        return {"columns": [{**asdict(column), "categories": list(column.categories)} for column in self.columns]}

    @classmethod
    def from_json(cls, content: object) -> ColumnEncoder:
        """The encoder that `as_json` wrote.

        Raises:
            InputError: If the content is damaged.
        """
        columns = content.get("columns") if isinstance(content, dict) and len(content) == 1 else None
        if not isinstance(columns, list):
            raise _damaged(f"a dictionary with a list of columns is expected, got {one_line(repr(content))[:80]}")
        return cls(tuple(_column_from_json(entry) for entry in columns))


def _column_from_json(entry: object) -> SourceColumn:
    names = {field.name for field in fields(SourceColumn)}
    if not isinstance(entry, dict) or set(entry) != names:
        raise _damaged(f"a column has {', '.join(sorted(names))}, got {one_line(repr(entry))[:80]}")
    categories = entry["categories"]
    if not isinstance(categories, list) or not all(isinstance(value, str) for value in categories):
        raise _damaged(f"the categories of column {entry['name']!r} are no list of text")
    types = {"name": str, "kind": str, "other": bool, "marked": bool, "why": str}
    wrong = [key for key, kind in types.items() if not isinstance(entry[key], kind)]
    if wrong:
        raise _damaged(f"{wrong[0]} of column {entry['name']!r} is {one_line(repr(entry[wrong[0]]))[:80]}")
    column = SourceColumn(**{**entry, "categories": tuple(categories)})
    if column.kind not in get_args(Kind):
        raise _damaged(f"column {column.name!r} is of the kind {column.kind!r}; known: {listing(get_args(Kind))}")
    is_category, is_out = column.kind == "category", column.kind == "left out"
    if bool(categories) != is_category or len(set(categories)) < len(categories):
        raise _damaged(f"column {column.name!r} is a {column.kind} with {len(categories)} categories, or one is twice")
    if (column.other and not is_category) or (column.marked and is_out) or bool(column.why) != is_out:
        raise _damaged(f"column {column.name!r} is a {column.kind}, which does not fit its other entries")
    return column


def _damaged(reason: str) -> InputError:
    return InputError(f"the column encoder is damaged: {reason}; save the model again")


def _fill(block: np.ndarray, column: SourceColumn, cells: pd.Series, where: str) -> Surprise:
    """Write the numbers of one column into its `(rows, width)` block."""
    block[:] = 0.0
    if column.kind == "category":
        missing, surprise = _fill_categories(block, column, cells, where)
    else:
        numbers = demand_finite(_numbers(column.kind, cells, where), cells.index.to_numpy(), where)
        block[:, 0] = numbers
        missing, surprise = np.isnan(numbers), Surprise()
    if column.marked:
        block[:, -1] = missing
        return surprise
    return surprise + Surprise(gaps=int(missing.sum()))


def _fill_categories(
    block: np.ndarray, column: SourceColumn, cells: pd.Series, where: str
) -> tuple[np.ndarray, Surprise]:
    import pandas as pd

    missing = cells.isna().to_numpy(bool)
    text = _as_text(cells, where)
    places = pd.Index(column.categories, dtype=object).get_indexer(pd.Index(text, dtype=object))
    places[missing] = -1
    known = np.flatnonzero(places >= 0)
    block[known, places[known]] = 1.0
    unknown = (places < 0) & ~missing
    if column.other:
        block[unknown, len(column.categories)] = 1.0
    return missing, Surprise(int(unknown.sum()), first_few(text.to_numpy()[unknown]))


def _as_text(cells: pd.Series, where: str) -> pd.Series:
    present = cells.dropna()
    if is_text(present):
        return cells.astype(object)
    text = cells.astype(object)
    for row, value in zip(np.flatnonzero(cells.notna()).tolist(), present, strict=True):
        if isinstance(value, bool | np.bool_):
            text.iat[row] = str(bool(value))
        elif isinstance(value, int | float | np.number):
            # Whole numbers with gaps arrive as floats.
            text.iat[row] = str(int(value) if float(value).is_integer() else float(value))
        elif not isinstance(value, str):
            raise unlike(value, cells.index[row], "category", where)
    return text


def _numbers(kind: Kind, cells: pd.Series, where: str) -> np.ndarray:
    if cells.isna().all():
        return np.full(len(cells), np.nan)
    numbers = _read_as(kind, cells)
    if numbers is not None:
        return numbers
    import pandas as pd

    present = cells.dropna()
    alone = ((row, value, pd.Series([value], dtype=object).infer_objects()) for row, value in present.items())
    row, value = next(
        ((row, value) for row, value, cell in alone if _read_as(kind, cell) is None),
        (present.index[0], present.iloc[0]),
    )
    raise unlike(value, row, kind, where)


def _read_as(kind: Kind, cells: pd.Series) -> np.ndarray | None:
    if kind == "date":
        return as_days(cells)
    if (cells.dtype.kind == "m") != (kind == "duration"):
        return None
    numbers = as_numbers(cells)
    return _boolean_words(cells) if numbers is None and kind == "boolean" else numbers


def _boolean_words(cells: pd.Series) -> np.ndarray | None:
    numbers, missing = np.full(len(cells), np.nan), cells.isna().to_numpy(bool)
    for place, cell in enumerate(cells.astype(object)):
        if missing[place]:
            continue
        try:
            numbers[place] = word if (word := _WORDS.get(str(cell).lower())) is not None else float(cell)
        except (TypeError, ValueError):
            return None
    return numbers


def unlike(value: object, row: object, kind: Kind, where: str) -> InputError:
    """The error for a cell in the given row of the source that is not of the kind that training had there."""
    return InputError(
        f"{where} holds {one_line(repr(value))[:60]} in row {row} (the first row is 0); {_EXPECTED[kind]} is expected, "
        "as in training: mend it, or leave it empty if it is not known"
    )
