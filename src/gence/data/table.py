"""A data frame with a label column into labelled data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gence._errors import InputError, unknown_name
from gence.data.columns import encode_columns
from gence.data.dataset import LabelledData
from gence.data.form import InputForm
from gence.data.labels import encode_labels
from gence.data.request import Request
from gence.data.wording import counted, listing

if TYPE_CHECKING:
    import pandas as pd


def demand_target(target: str | None, columns: Iterable[str], where: str) -> str:
    """The label column's name, if it was given and there is such a column.

    Raises:
        InputError: If it was not given, or there is no such column; the message lists the columns.
    """
    columns = list(columns)
    if target is None:
        raise InputError(f"{where}: which column holds the label? give --target; columns: {listing(columns, most=40)}")
    if target not in columns:
        raise unknown_name("column", target, columns)
    return target


def no_labels(target: str, where: str) -> InputError:
    """The error for a label column that is empty wherever one could learn from it."""
    return InputError(f"{where}: no training row has a value in {target!r}; at least two classes are needed")


def table_data(
    frame: pd.DataFrame,
    target: str,
    request: Request,
    test_count: int = 0,
    declared: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> LabelledData:
    """Split `frame` into inputs and labels; rows without a label are dropped.

    Args:
        frame: The rows, numbered from 0, those of the test split last.
        target: The label column.
        request: What was asked for.
        test_count: How many of the last rows are the test split.
        declared: Names of the classes, if the source declares what the numbers in `target` stand for.
        notes: What was noted so far.

    Raises:
        InputError: If the target holds no class labels, or a column cannot be used.
    """
    where = request.source
    missing = frame[target].isna().to_numpy()
    is_test = np.arange(len(frame)) >= len(frame) - test_count
    if (missing | is_test).all():
        raise no_labels(target, where)
    frame = frame.loc[~missing]
    labels = encode_labels(frame[target].to_numpy(), f"{where}: column {target!r}", declared)
    features = encode_columns(frame.drop(columns=target), where)
    dropped = (f"dropped {counted(int(missing.sum()), 'row')} without a value in {target}",) if missing.any() else ()
    test_rows = np.flatnonzero(is_test[~missing])
    return LabelledData(
        name=request.name,
        kind="table",
        inputs=features.values,
        labels=labels.numbers,
        class_names=labels.names,
        test_rows=test_rows if len(test_rows) else None,
        notes=(*notes, *dropped, *labels.notes, *features.notes),
        form=InputForm("table", features.values.shape[1:], features.values.dtype.name, features.encoder, target),
    )
