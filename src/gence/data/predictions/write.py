"""Calibrated probabilities into a file that `read_predictions` reads back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gence._errors import InputError
from gence._files import check_place, whole_or_nothing
from gence.data.wording import listing

if TYPE_CHECKING:
    import pyarrow as pa


def write_probabilities(
    path: str | Path,
    probs: np.ndarray,
    class_names: Sequence[str],
    labels: np.ndarray | None = None,
    *,
    source: str | Path | None = None,
) -> Path:
    """Write probabilities, and the labels if there are any, to an .npz, .csv or .parquet file, whole or not at all.

    An .npz file gets the arrays `probs`, `class_names` and `labels` (class numbers). A table gets the columns
    `prob_CLASS`, and `label`: the name of the class, which is its number where the names are numbers.

    Args:
        path: The file to write; its ending is the format.
        probs: `(rows, classes)`.
        class_names: One name a column.
        labels: True class numbers, `(rows,)` int64.
        source: The file the predictions came from, which is not to be overwritten.

    Raises:
        InputError: If the ending is another one, or `path` is `source`.
    """
    path = Path(path).expanduser()
    check_out(path, source)
    write = _WRITERS[path.suffix.lower()]
    with whole_or_nothing(path) as temporary:
        write(temporary, probs, class_names, labels)
    return path


def check_out(path: str | Path, source: str | Path | None = None) -> None:
    """Refuse a file to write probabilities to, before any long work, if it cannot be one."""
    path = Path(path).expanduser()
    if path.suffix.lower() not in _WRITERS:
        raise InputError(f"{path}: probabilities are written to files that end in {listing(_WRITERS)}; give one such")
    check_place(path)
    if source is not None and path.resolve() == Path(source).expanduser().resolve():
        raise InputError(f"{path}: the predictions are read from this file; give another one to write to")


def _write_npz(path: Path, probs: np.ndarray, class_names: Sequence[str], labels: np.ndarray | None) -> None:
    arrays: dict[str, Any] = {"probs": probs, "class_names": np.array(class_names)}
    if labels is not None:
        arrays["labels"] = labels
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


def _write_csv(path: Path, probs: np.ndarray, class_names: Sequence[str], labels: np.ndarray | None) -> None:
    import pyarrow.csv

    pyarrow.csv.write_csv(_table(probs, class_names, labels), path)


def _write_parquet(path: Path, probs: np.ndarray, class_names: Sequence[str], labels: np.ndarray | None) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(_table(probs, class_names, labels), path)


def _table(probs: np.ndarray, class_names: Sequence[str], labels: np.ndarray | None) -> pa.Table:
    import pyarrow as pa

    columns = {f"prob_{name}": pa.array(np.ascontiguousarray(probs[:, i])) for i, name in enumerate(class_names)}
    if labels is not None:
        numbered = list(class_names) == [str(number) for number in range(len(class_names))]
        columns["label"] = pa.array(labels if numbered else np.array(class_names, object)[labels])
    return pa.table(columns)


_WRITERS: dict[str, Callable[[Path, np.ndarray, Sequence[str], np.ndarray | None], None]] = {
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
