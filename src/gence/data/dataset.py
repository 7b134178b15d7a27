"""Labelled data in memory: what every source returns and everything after it receives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from gence._errors import InputError
from gence.data.form import InputForm, form_of


@dataclass(frozen=True)
class LabelledData:
    """Rows with labels, read once and never changed.

    Attributes:
        name: What the report calls the data.
        kind: `"image"` or `"table"`; the model and the preprocessing follow from it.
        inputs: Images as `(rows, channels, height, width)`, uint8 or float32, finite. Tables as `(rows, columns)`
            float64 or float32, where NaN marks a missing number (categories are already one column each).
        labels: `(rows,)` int64, class numbers from 0 to `len(class_names) - 1`.
        class_names: One name a class, in the order of the class numbers.
        test_rows: `(test rows,)` int64 row numbers of the source's own test split, or None if it has none.
        notes: Sentences about what was done to the data on the way in (columns left out, images resized,
            missing values); the report prints them.
        form: What the reader knows of how a row came about, None if nothing; see `input_form`.
    """

    name: str
    kind: Literal["image", "table"]
    inputs: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    test_rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    form: InputForm | None = None

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels):
            raise InputError(
                f"{self.name}: {len(self.inputs)} rows but {len(self.labels)} labels; give one label for every row"
            )
        if len(self.labels) == 0:
            raise InputError(f"{self.name}: there are no rows; at least two classes with a few rows each are needed")
        present = np.unique(self.labels)
        if len(present) < 2:
            raise InputError(
                f"{self.name}: every row has the class {self.class_names[int(present[0])]!r}; "
                "a classifier needs at least two classes"
            )
        if self.kind == "image" or not np.issubdtype(self.inputs.dtype, np.floating):
            bad = np.zeros(0, int) if self.inputs.dtype == np.uint8 else _rows_where(~np.isfinite(self.inputs))
        else:
            bad = _rows_where(np.isinf(self.inputs))
        if len(bad):
            raise InputError(
                f"{self.name}: {len(bad)} of {len(self.inputs)} rows hold NaN or infinity, the first is row {bad[0]}; "
                "finite numbers are expected: remove or mend those rows"
            )
        if self.form is not None and not self._fits(self.form):
            raise InputError(
                f"{self.name}: the form says {self.form.described}, but the rows are a {self.kind} of "
                f"{self.inputs.shape[1:]} {self.inputs.dtype}; give the form of these rows, or none"
            )

    def _fits(self, form: InputForm) -> bool:
        return (form.kind, form.shape, form.dtype) == (self.kind, self.inputs.shape[1:], self.inputs.dtype.name)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_form(self) -> InputForm:
        """What a row looks like: `form`, or what the inputs themselves tell."""
        return form_of(self.kind, self.inputs) if self.form is None else self.form

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 over the inputs, labels, class names and test split: two equal ones are the same data."""
        digest = hashlib.sha256()
        test = np.zeros(0, np.int64) if self.test_rows is None else self.test_rows
        for part in (self.inputs, self.labels, test):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        digest.update("\0".join((self.kind, *self.class_names)).encode())
        return digest.hexdigest()


def _rows_where(mask: np.ndarray) -> np.ndarray:
    return np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
