"""Predictions in an .npz file: the array logits or probs, and the arrays labels and class_names if there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gence._errors import InputError
from gence.data.npz_file import load_npz, read_array
from gence.data.predictions.classes import RawLabels
from gence.data.predictions.naming import KINDS, Found, Naming, absent, both_kinds, choose_labels
from gence.data.predictions.record import Kind
from gence.data.wording import listing

_NAMES = "class_names"


def read_npz(path: Path, naming: Naming) -> Found:
    """Read the arrays by name. Nothing is unpickled.

    Raises:
        InputError: If the file is damaged, an array is missing or is no array of its kind.
    """
    # Opened here, because numpy leaves a file that it cannot read open.
    cure = "save it with np.savez(FILE, logits=..., labels=...)"
    with path.open("rb") as stream, load_npz(stream, path, cure) as file:
        return _found(file, naming, path)


def _found(file: np.lib.npyio.NpzFile, naming: Naming, path: Path) -> Found:
    kind, name, notes = _choose(file.files, naming, path)
    scores = _scores(read_array(file, name, path), name, path)
    labels = choose_labels(naming, "labels", "array", file.files, str(path))
    raw = _labels(read_array(file, labels, path), labels, path) if labels else None
    if _NAMES in file.files:
        class_names = _class_names(read_array(file, _NAMES, path), path)
    else:
        class_names = tuple(str(number) for number in range(scores.shape[1] if scores.ndim == 2 else 1))
    return Found(kind, scores, class_names, raw, notes)


def _choose(there: list[str], naming: Naming, path: Path) -> tuple[Kind, str, tuple[str, ...]]:
    if naming.scores is not None:
        kind, name = naming.scores
        if name not in there:
            raise absent("array", name, f"--{kind}", there, str(path))
        return kind, name, ()
    kinds: list[Kind] = [kind for kind in KINDS if kind in there]
    if not kinds:
        raise InputError(
            f"{path}: neither logits nor probs among the arrays {listing(there) or 'none at all'}; name them with "
            f"{naming.options('NAME')}"
        )
    return kinds[0], kinds[0], (both_kinds(*kinds),) if len(kinds) == 2 else ()


def _scores(values: np.ndarray, name: str, path: Path) -> np.ndarray:
    if values.dtype.kind not in "iuf":
        raise InputError(f"{path}: {name} has the type {values.dtype}; numbers are expected")
    is_small = values.dtype in (np.float16, np.float32)
    return np.ascontiguousarray(values, dtype=np.float32 if is_small else np.float64)


def _labels(values: np.ndarray, name: str, path: Path) -> RawLabels:
    if values.ndim != 1:
        cure = f"{name}.argmax(axis=1)" if values.ndim == 2 and values.shape[1] > 1 else f"{name}.ravel()"
        raise InputError(f"{path}: {name} has the shape {values.shape}; one label a row is expected, as {cure} gives")
    if values.dtype.kind not in "biufU":
        raise InputError(
            f"{path}: {name} has the type {values.dtype}; class numbers or text are expected: save "
            f"{name}.astype(int) or {name}.astype(str)"
        )
    different, codes = np.unique(values, return_inverse=True)
    return RawLabels(different.tolist(), codes)


def _class_names(values: np.ndarray, path: Path) -> tuple[str, ...]:
    names = tuple(str(value).strip() for value in values.ravel().tolist())
    if values.ndim != 1 or values.dtype.kind not in "iuU" or len(set(names)) < len(names):
        raise InputError(
            f"{path}: {_NAMES} must be one text a class, all different, such as np.array(['cat', 'dog']); got "
            f"{values.dtype} {values.shape}: {listing(names)}"
        )
    return names
