"""A choice of rows as a file with a hash, so that two people who name a data set can see that they mean one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gence._errors import InputError
from gence._files import check_place, write_atomically
from gence.data.dataset import LabelledData
from gence.data.regimes.named import Regime

_FORMAT = "gence-indices"
_VERSION = 1
_LARGEST = 2**63 - 1


@dataclass(frozen=True, eq=False)
class IndexFile:
    """A choice of rows, with what it was chosen from and how.

    Attributes:
        data: What the data are called.
        fingerprint: `LabelledData.fingerprint` of them.
        regime: How the rows were chosen, in the words of `parse_regime` where it has them.
        seed: The seed of the choice.
        rows_per_class: How many rows of each class that was drawn from, in class order.
        rows: Row numbers, `(chosen rows,)` int64, class after class, each in the order drawn.
    """

    data: str
    fingerprint: str
    regime: str
    seed: int
    rows_per_class: tuple[int, ...]
    rows: np.ndarray

    @property
    def sha256(self) -> str:
        """`index_hash` of the rows."""
        return index_hash(self.rows)

    @property
    def drawn(self) -> list[np.ndarray]:
        """One array of row numbers a class, as `split_calibration` takes them."""
        return np.split(self.rows, np.cumsum(self.rows_per_class)[:-1])


def index_hash(rows: np.ndarray) -> str:
    """The sha256 of row numbers as 64-bit little-endian integers, in the order given: another order is another choice.

    Args:
        rows: Row numbers, `(rows,)`, of any integer type.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: If they are no integers of one dimension.

    Example:
        >>> index_hash(np.arange(3))[:8]
        'ab25350e'
    """
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"rows must be integers of shape (rows,); got {rows.dtype} of shape {rows.shape}")
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def index_file(data: LabelledData, drawn: list[np.ndarray], regime: Regime | str, *, seed: int) -> IndexFile:
    """The index file of a choice of rows of some data.

    Args:
        data: What the rows are chosen from.
        drawn: One array of row numbers a class, as `long_tail` and `few_labels` give them.
        regime: How they were chosen.
        seed: The seed they were chosen with.

    Returns:
        What `write_indices` takes.

    Raises:
        ValueError: If an array holds rows of several classes, or the data have no such row.

    Example:
        >>> from gence.data import load, long_tail
        >>> digits = load("digits")
        >>> drawn = long_tail(digits.labels, np.arange(len(digits.labels)), 10, seed=0)
        >>> index_file(digits, drawn, "long-tail:10", seed=0).rows_per_class
        (174, 134, 104, 80, 62, 48, 37, 29, 22, 17)
    """
    for one in drawn:
        if len(one) and not 0 <= one.min() <= one.max() < len(data.labels):
            raise ValueError(f"drawn must hold rows of {data.name}, 0..{len(data.labels) - 1}; got {one.max()}")
        classes = np.unique(data.labels[one])
        if len(classes) > 1:
            raise ValueError(
                f"drawn must hold one array a class; got one with rows of the class numbers {classes[0]} and "
                f"{classes[1]}"
            )
    return IndexFile(
        data=data.name,
        fingerprint=data.fingerprint,
        regime=str(regime),
        seed=seed,
        rows_per_class=tuple(map(len, drawn)),
        rows=np.concatenate(drawn).astype(np.int64),
    )


def write_indices(path: str | Path, index: IndexFile) -> Path:
    """Write an index file, a JSON object with a line a field; whatever was there is replaced whole or not at all.

    Label noise is not in it: the seed makes the same noisy labels again.

    Args:
        path: The file to write.
        index: From `index_file`.

    Returns:
        The path.

    Raises:
        InputError: If no file can be written there.

    Example:
        >>> import tempfile
        >>> index = IndexFile("toy", "c0ffee", "long-tail:2", 0, (2, 1), np.array([4, 0, 7]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_indices(write_indices(f"{folder}/toy.json", index)).drawn
        [array([4, 0]), array([7])]
    """
    check_place(path)
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "data": index.data,
        "fingerprint": index.fingerprint,
        "regime": index.regime,
        "seed": index.seed,
        "rows_per_class": list(index.rows_per_class),
        "rows": index.rows.tolist(),
        "sha256": index.sha256,
    }
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in content.items())
    path = Path(path).expanduser()
    write_atomically(path, f"{{\n{lines}\n}}\n".encode())
    return path


def read_indices(path: str | Path, data: LabelledData | None = None) -> IndexFile:
    """Read an index file and check that its rows are those that were written.

    Args:
        path: The file.
        data: What the rows are to be taken from, to check that they are the data the rows were chosen from.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is no index file, is of another version, was damaged, or belongs to other data.
    """
    path = Path(path).expanduser()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: an index file written by gence is expected, this is not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: an index file written by gence is expected, this is other JSON")
    if content.get("version") != _VERSION:
        raise InputError(f"{path}: index file version {content.get('version')}; this gence reads {_VERSION}: upgrade")
    index = _index_of(content, path)
    if content.get("sha256") != index.sha256:
        raise InputError(
            f"{path}: the row numbers do not have the sha256 that the file states; it was damaged or edited: write it "
            "again"
        )
    if data is not None and data.fingerprint != index.fingerprint:
        raise InputError(
            f"{path}: these are rows of {index.data} with the fingerprint {index.fingerprint[:12]}..., but {data.name} "
            f"has {data.fingerprint[:12]}...: load the same source in the same way"
        )
    return index


def _index_of(content: dict[str, Any], path: Path) -> IndexFile:
    for name, kind in (("data", str), ("fingerprint", str), ("regime", str), ("seed", int)):
        if type(content.get(name)) is not kind:
            raise InputError(f"{path}: this index file is damaged: {name!r} is no {kind.__name__}; write it again")
    for name in ("rows_per_class", "rows"):
        values = content.get(name)
        if not isinstance(values, list) or not all(type(one) is int and 0 <= one <= _LARGEST for one in values):
            raise InputError(f"{path}: this index file is damaged: {name!r} is no list of numbers; write it again")
    per_class, rows = tuple(content["rows_per_class"]), np.array(content["rows"], dtype=np.int64)
    if sum(per_class) != len(rows):
        raise InputError(
            f"{path}: this index file is damaged: {sum(per_class)} rows in rows_per_class, {len(rows)} in rows; write "
            "it again"
        )
    return IndexFile(content["data"], content["fingerprint"], content["regime"], content["seed"], per_class, rows)
