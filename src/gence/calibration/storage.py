"""Fitted calibrators on disk: JSON with the name of the calibrator and its fields. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from gence._errors import InputError
from gence.calibration.calibrator import Calibrator
from gence.calibration.catalogue import CATALOGUE

_FORMAT = "gence calibrator"
_VERSION = 1


def save(calibrator: Calibrator, path: str | Path) -> Path:
    """Write a fitted calibrator to `path` as JSON; every number comes back to the last bit.

    Args:
        calibrator: What a `fit_*` function returned.
        path: The file to write, usually ending in .json.

    Raises:
        TypeError: If it is not a calibrator of the catalogue.
    """
    kinds = [name for name, entry in CATALOGUE.items() if type(calibrator) is entry.fitted_type]
    if not kinds:
        raise TypeError(f"a fitted calibrator of gence is expected; got {type(calibrator).__name__}")
    fields = {f.name: getattr(calibrator, f.name) for f in dataclasses.fields(CATALOGUE[kinds[0]].fitted_type)}
    content = {"format": _FORMAT, "version": _VERSION, "kind": kinds[0], "fields": fields}
    path = Path(path)
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def load(path: str | Path) -> Calibrator:
    """Read back what `save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is not a calibrator, is of a newer version, or its fields do not fit.
    """
    try:
        content = json.loads(Path(path).read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: a calibrator saved by gence is expected, this is not JSON ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: a calibrator saved by gence is expected, this is other JSON")
    if content.get("version") != _VERSION:
        raise InputError(f"{path}: calibrator version {content.get('version')!r}; this gence reads {_VERSION}: upgrade")
    if content.get("kind") not in tuple(CATALOGUE):
        raise InputError(f"{path}: unknown calibrator {content.get('kind')!r}; known: {', '.join(CATALOGUE)}")
    try:
        return CATALOGUE[content["kind"]].fitted_type(**{k: _tupled(v) for k, v in content["fields"].items()})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: the fields of this {content['kind']!r} calibrator do not fit: {error}") from error


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value
