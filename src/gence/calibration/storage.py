"""Fitted calibrators on disk: the name of the calibrator and its fields, as JSON or safetensors. Never a pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gence._errors import InputError
from gence._files import write_atomically
from gence.calibration.calibrator import Calibrator
from gence.calibration.catalogue import CATALOGUE
from gence.calibration.prior_shift import PriorShift

_FORMAT = "gence calibrator"
_VERSION = 1


def save(calibrator: Calibrator, path: str | Path, *, class_names: Sequence[str] | None = None) -> Path:
    """Write a fitted calibrator to `path`; every number comes back to the last bit.

    A name that ends in .safetensors gives such a file, with the tables of numbers as float64 tensors; any other name
    gives JSON. The file is put in place whole: a write that fails leaves an older one as it was.

    Args:
        calibrator: What a `fit_*` function returned.
        path: The file to write, ending in .safetensors or, usually, .json.
        class_names: The classes of the columns it was fitted on, in their order; `class_names_of` reads them back.

    Raises:
        TypeError: If it is not a calibrator of the catalogue or a `PriorShift`.
        ModuleNotFoundError: If safetensors is asked for and not installed.

    Example:
        >>> import tempfile
        >>> from gence.calibration import fit_prior_shift
        >>> shift = fit_prior_shift([0.5, 0.5], [0.9, 0.1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load(save(shift, f"{folder}/shift.json")) == shift
        True
    """
    path = Path(path)
    kind = next((name for name, kind in _kinds().items() if type(calibrator) is kind), None)
    if kind is None or not is_dataclass(calibrator):
        raise TypeError(f"a fitted calibrator of gence is expected; got {type(calibrator).__name__}")
    values = {f.name: getattr(calibrator, f.name) for f in fields(calibrator)}
    names = None if class_names is None else [str(name) for name in class_names]
    write_atomically(path, (_safetensors_of if _is_safetensors(path) else _json_of)(kind, values, names))
    return path


def load(path: str | Path) -> Calibrator:
    """Read back what `save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is not a calibrator, is of another version, or its fields do not fit.
        ModuleNotFoundError: If the name ends in .safetensors and that package is not installed.
    """
    path = Path(path)
    content = (_read_safetensors if _is_safetensors(path) else _read_json)(path)
    kinds, kind = _kinds(), content.get("kind")
    if str(content.get("version")) != str(_VERSION):
        raise InputError(f"{path}: calibrator version {content.get('version')}; this gence reads {_VERSION}: upgrade")
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{path}: unknown calibrator {kind!r}; known: {', '.join(kinds)}")
    try:
        return kinds[kind](**{name: _restored(value) for name, value in content["fields"].items()})
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: the fields of this {kind!r} calibrator do not fit: {error}") from error


def class_names_of(path: str | Path) -> tuple[str, ...] | None:
    """The classes of the columns a saved calibrator was fitted on, in their order; None if they were not saved.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is not a calibrator, or its class names are not a list of different texts.
        ModuleNotFoundError: If the name ends in .safetensors and that package is not installed.

    Example:
        >>> import tempfile
        >>> from gence.calibration import fit_prior_shift
        >>> shift = fit_prior_shift([0.5, 0.5], [0.9, 0.1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     class_names_of(save(shift, f"{folder}/shift.json", class_names=["cat", "dog"]))
        ('cat', 'dog')
    """
    path = Path(path)
    names = (_read_safetensors if _is_safetensors(path) else _read_json)(path).get("class_names")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise InputError(f"{path}: this calibrator is damaged: its class names are no different texts; save it again")
    return tuple(names)


def _kinds() -> dict[str, type[Calibrator]]:
    return {name: entry.fitted_type for name, entry in CATALOGUE.items()} | {"prior_shift": PriorShift}


def _is_safetensors(path: Path) -> bool:
    return path.suffix.lower() == ".safetensors"


def _json_of(kind: str, values: Mapping[str, Any], class_names: list[str] | None) -> bytes:
    plain = {name: _plain(value) for name, value in values.items()}
    content: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "kind": kind, "fields": plain}
    if class_names is not None:
        content["class_names"] = class_names
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: a calibrator saved by gence is expected, this is not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: a calibrator saved by gence is expected, this is other JSON")
    return content


def _safetensors_of(kind: str, values: Mapping[str, Any], class_names: list[str] | None) -> bytes:
    _require_safetensors()
    from safetensors.numpy import save as to_bytes

    tables = {name: np.array(value, dtype=np.float64) for name, value in values.items() if _table_shape(value)}
    plain = {name: _plain(value) for name, value in values.items() if name not in tables}
    metadata = {"format": _FORMAT, "version": str(_VERSION), "kind": kind, "fields": json.dumps(plain, allow_nan=False)}
    if class_names is not None:
        metadata["class_names"] = json.dumps(class_names)
    return to_bytes(tables, metadata=metadata)


def _read_safetensors(path: Path) -> dict[str, Any]:
    _require_safetensors()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as stored:
            metadata = stored.metadata() or {}
            names = stored.keys()
            dtypes = {name: stored.get_slice(name).get_dtype() for name in names}
            if metadata.get("format") != _FORMAT:
                raise InputError(f"{path}: a calibrator saved by gence is expected, this is another safetensors file")
            plain = json.loads(metadata.get("fields", ""))
            if not isinstance(plain, dict) or set(dtypes.values()) - {"F64"} or plain.keys() & dtypes.keys():
                raise InputError(f"{path}: this safetensors file is damaged: its fields and its tensors do not agree")
            names_of_classes = json.loads(metadata.get("class_names", "null"))
            tables = {name: stored.get_tensor(name).tolist() for name in names}
            return metadata | {"class_names": names_of_classes, "fields": plain | tables}
    except SafetensorError as error:
        raise InputError(
            f"{path}: a calibrator saved by gence is expected, this is no safetensors file ({error})"
        ) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: this safetensors file is damaged: its metadata is not JSON ({error})") from error


def _require_safetensors() -> None:
    try:
        import safetensors  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a .safetensors file needs safetensors: pip install 'gence[lab]', or use a name ending in .json",
            name=error.name,
        ) from error


def _table_shape(value: Any) -> tuple[int, ...]:
    """The shape of regular nested tuples of floats; () if `value` is anything else."""
    if not isinstance(value, tuple) or not value:
        return ()
    if all(isinstance(v, float) for v in value):
        return (len(value),)
    shapes = {_table_shape(v) for v in value}
    inner = shapes.pop()
    return (len(value), *inner) if inner and not shapes else ()


def _plain(value: Any) -> Any:
    """`value` in what JSON has: lists for tuples, and a word for a float that is not finite."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_restored(v) for v in value)
    return float(value["float"]) if isinstance(value, dict) else value
