"""Kept models on disk: a folder of JSON, safetensors and arrays. Never a pickle, and reading it runs nothing of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

import gence
from gence._errors import InputError
from gence.calibration import Calibrator
from gence.calibration import load as load_calibrator
from gence.calibration import save as save_calibrator
from gence.calibration.external import ExternalCalibrator
from gence.calibration.storage import class_names_of
from gence.classifier.arrays import read_held_out, read_weights, write_held_out, write_weights
from gence.classifier.card import card
from gence.classifier.evidence import Evidence
from gence.classifier.folder import (
    CALIBRATOR,
    CARD,
    CURE,
    FORMAT,
    HELD_OUT,
    MODEL,
    ONNX,
    WEIGHTS,
    check_model_place,
    find_model,
    whole_folder,
)
from gence.classifier.kept import KeptModel, Origin
from gence.classifier.network import Architecture, Network
from gence.classifier.onnx_file import to_onnx
from gence.data.form import InputForm
from gence.data.wording import listing, one_line
from gence.losses import catalogue as losses
from gence.losses.written import parse_loss
from gence.models import build

_VERSION = 1
_KEYS = ("class_names", "form", "architecture", "dtype", "training", "origin", "evidence", "sha256")

_Record = TypeVar("_Record")


def save(kept: KeptModel, folder: str | Path) -> tuple[str, ...]:
    """Write a model to a folder, whole or not at all; a model that is there is replaced at the end.

    Files of a replaced folder that are not those of a model stay.

    Args:
        kept: The model.
        folder: Where to; it is made if need be.

    Returns:
        Sentences on what was left out, such as `model.onnx` without the packages for it.

    Raises:
        InputError: If something else is there, or the calibrator is one of another package.
    """
    place = check_model_place(folder)
    if isinstance(kept.calibrator, ExternalCalibrator):
        raise InputError(
            f"{folder}: a calibrator of another package holds code and cannot be saved; use one of gence's"
        )
    with whole_folder(place) as new:
        return _write(kept, new)


def load(folder: str | Path, *, device: torch.device | str = "cpu") -> KeptModel:
    """Read back what `save` wrote, to the last bit.

    Args:
        folder: The folder.
        device: Where the network computes.

    Raises:
        InputError: If there is no model in it, or one of its files is missing, damaged, changed, or of a newer version.
    """
    path = find_model(folder)
    content = _read_model(path / MODEL)
    for name in (WEIGHTS, CALIBRATOR):
        _check_unchanged(path / name, content["sha256"])
    class_names, form = _class_names(content["class_names"], path), _form(content["form"], path)
    architecture = _record(Architecture, content["architecture"], path)
    origin = _record(Origin, content["origin"], path)
    evidence = None if content["evidence"] is None else _record(Evidence, content["evidence"], path)
    if content["dtype"] not in ("float32", "float64"):
        raise _damaged(path, f"the type {content['dtype']!r} is neither float32 nor float64")
    empty = _build(architecture, form, len(class_names), origin, path).to(getattr(torch, content["dtype"]))
    model, standardize = read_weights(path / WEIGHTS, empty, form.shape[0], content["dtype"])
    training = content["training"]
    try:
        told = int(training["updates"]), tuple(map(str, training["cautions"])), float(training["seconds"])
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, "the entries of its training do not fit") from error
    calibrator = _calibrator(path, class_names)
    held_out = read_held_out(path / HELD_OUT, len(class_names)) if (path / HELD_OUT).exists() else None
    network = Network(model.to(device), standardize, *told)
    return KeptModel(network, architecture, calibrator, class_names, form, origin, evidence, held_out)


def _write(kept: KeptModel, folder: Path) -> tuple[str, ...]:
    write_weights(kept.network.model, kept.network.standardize, folder / WEIGHTS)
    save_calibrator(kept.calibrator, folder / CALIBRATOR, class_names=kept.class_names)
    if kept.held_out is not None:
        write_held_out(kept.held_out, kept.class_names, folder / HELD_OUT)
    notes: tuple[str, ...] = ()
    try:
        (folder / ONNX).write_bytes(to_onnx(kept))
    except InputError as error:
        notes = (f"{ONNX} was left out: {error}",)
    network = kept.network
    content = {
        "format": FORMAT,
        "version": _VERSION,
        "gence": gence.__version__,
        "class_names": kept.class_names,
        "form": kept.form.as_json(),
        "architecture": asdict(kept.architecture),
        "dtype": network.standardize.dtype,
        "training": {"updates": network.updates, "cautions": network.cautions, "seconds": network.seconds},
        "origin": asdict(kept.origin),
        "evidence": None if kept.evidence is None else asdict(kept.evidence),
        "sha256": {name: _sha256(folder / name) for name in (WEIGHTS, CALIBRATOR)},
    }
    (folder / MODEL).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (folder / CARD).write_text(card(kept, onnx=not notes), encoding="utf-8")
    return notes


def _read_model(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged, this is not JSON ({one_line(error)}); {CURE}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: a model saved by gence is expected, this is other JSON; {CURE}")
    if content.get("version") != _VERSION:
        raise InputError(
            f"{path}: model version {content.get('version')!r}, this gence reads version {_VERSION}; upgrade gence"
        )
    absent = [key for key in _KEYS if key not in content]
    if absent:
        raise _damaged(path.parent, f"it has no {listing(absent)}")
    return content


def _check_unchanged(path: Path, expected: Any) -> None:
    if not isinstance(expected, Mapping) or expected.get(path.name) != _sha256(path):
        raise InputError(f"{path}: damaged or changed, it is not what {MODEL} says was saved; {CURE}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _record(kind: type[_Record], content: Any, path: Path) -> _Record:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (kind.__name__.lower(), *first["loc"])))
        raise _damaged(path, f"{place}: {one_line(first['msg'])}") from error


def _class_names(content: Any, path: Path) -> tuple[str, ...]:
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise _damaged(path, "its class names are no list of texts")
    if len(content) < 2 or len(set(content)) < len(content):
        raise _damaged(path, "two different class names or more are expected")
    return tuple(content)


def _form(content: Any, path: Path) -> InputForm:
    try:
        return InputForm.from_json(content)
    except InputError as error:
        raise InputError(f"{path / MODEL}: {error}") from error


def _build(architecture: Architecture, form: InputForm, num_classes: int, origin: Origin, path: Path) -> nn.Module:
    try:
        head = losses.head(parse_loss(str(origin.settings.get("loss"))).name)
        # Without memory: a damaged file must not ask for more of it than there is.
        with torch.device("meta"):
            return build(architecture.name, form.shape, num_classes, seed=0, head=head, hidden=architecture.hidden)
    except (InputError, RuntimeError, TypeError) as error:
        raise _damaged(path, f"its network cannot be built ({one_line(error)})") from error


def _calibrator(path: Path, class_names: tuple[str, ...]) -> Calibrator:
    calibrator = load_calibrator(path / CALIBRATOR)
    if class_names_of(path / CALIBRATOR) != class_names or calibrator.num_classes not in (None, len(class_names)):
        raise InputError(f"{path / CALIBRATOR}: its classes are not those of {MODEL}; {CURE}")
    return calibrator


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path / MODEL}: damaged, {reason}; {CURE}")
