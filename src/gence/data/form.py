"""What one row of a model's input looks like, kept beside the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gence._errors import InputError
from gence.data.encoder import ColumnEncoder
from gence.data.wording import listing, one_line

_AXES = {"image": 3, "table": 1}
_DTYPES = {"image": ("uint8", "float32"), "table": ("float64", "float32")}
_KEYS = ("kind", "shape", "dtype", "columns", "target", "resized")


@dataclass(frozen=True)
class InputForm:
    """One row of inputs, before the preprocessing.

    Attributes:
        kind: `"image"` or `"table"`.
        shape: Of a row: `(channels, height, width)` or `(columns,)`.
        dtype: `"uint8"` or `"float32"` for images, `"float64"` or `"float32"` for tables.
        columns: How the columns of a source become numbers, for tables that were read from named columns.
        target: The column that held the label; new rows need none, and it is ignored if they have it.
        resized: Whether image files of any size are resized to the shape; otherwise they all must have that size, as
            the training files had.

    Raises:
        InputError: If these do not fit together.
    """

    kind: Literal["image", "table"]
    shape: tuple[int, ...]
    dtype: str
    columns: ColumnEncoder | None = None
    target: str | None = None
    resized: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _AXES:
            raise InputError(f"inputs of the kind {self.kind!r}; known: {listing(_AXES)}")
        if len(self.shape) != _AXES[self.kind] or not all(_is_count(length) for length in self.shape):
            axes = "(channels, height, width)" if self.kind == "image" else "(columns,)"
            raise InputError(f"{self.kind} rows of the shape {self.shape}; {axes} is expected, each at least 1")
        if self.dtype not in _DTYPES[self.kind]:
            raise InputError(f"{self.kind} rows of the type {self.dtype}; known: {listing(_DTYPES[self.kind])}")
        width = None if self.columns is None else len(self.columns.names)
        if width is not None and self.shape != (width,):
            raise InputError(f"{self.kind} rows of the shape {self.shape}, but the columns become {width} numbers")

    @property
    def described(self) -> str:
        """In words, for messages: what the model was trained on."""
        sizes = " x ".join(map(str, self.shape))
        if self.kind == "image":
            return f"images of {sizes} {self.dtype} (channels x height x width)"
        if self.columns is not None:
            return f"a table with the columns {listing(column.name for column in self.columns.used)}"
        return f"a table of {sizes} numbers a row without column names"

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes: dictionaries, lists, text, whole numbers, booleans and None."""
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "columns": None if self.columns is None else self.columns.as_json(),
            "target": self.target,
            "resized": self.resized,
        }

    @classmethod
    def from_json(cls, content: object) -> InputForm:
        """The form that `as_json` wrote.

        Raises:
            InputError: If the content is damaged.
        """
        if not isinstance(content, dict) or set(content) != set(_KEYS):
            raise _damaged(f"a dictionary of {listing(_KEYS)} is expected, got {one_line(repr(content))[:80]}")
        kind, shape, dtype, columns, target, resized = (content[key] for key in _KEYS)
        if not isinstance(shape, list) or not isinstance(kind, str) or not isinstance(dtype, str):
            raise _damaged(f"kind {kind!r}, shape {shape!r}, dtype {dtype!r}")
        if not isinstance(target, str | None) or not isinstance(resized, bool):
            raise _damaged(f"target {target!r}, resized {resized!r}")
        encoder = None if columns is None else ColumnEncoder.from_json(columns)
        try:
            return cls(kind, tuple(shape), dtype, encoder, target, resized)  # type: ignore[arg-type]
        except InputError as error:
            raise _damaged(str(error)) from error


def form_of(kind: Literal["image", "table"], inputs: np.ndarray) -> InputForm:
    """The form of rows of which nothing is known but the rows `(rows, ...)`."""
    return InputForm(kind, inputs.shape[1:], inputs.dtype.name)


def other_kind(given: str, form: InputForm, where: str) -> InputError:
    """The error for rows of another kind than the model's; `given` is what they are, in words."""
    return InputError(f"{where}: {given}, but the model was trained on {form.described}; give it such rows")


def _is_count(length: object) -> bool:
    return isinstance(length, int) and not isinstance(length, bool) and length > 0


def _damaged(reason: str) -> InputError:
    return InputError(f"the input form is damaged: {reason}; save the model again")
