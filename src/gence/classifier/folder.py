"""The folder of a kept model: what lies in it, whether one may be written there, and putting it there whole."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gence._errors import InputError, nearest
from gence._files import check_place

MODEL, WEIGHTS, CALIBRATOR = "model.json", "model.safetensors", "calibrator.json"
HELD_OUT, ONNX, CARD = "held_out.npz", "model.onnx", "README.md"
FILES = (MODEL, WEIGHTS, CALIBRATOR, HELD_OUT, ONNX, CARD)
"""What lies in the folder; the first three are what it takes to load the model."""

FORMAT = "gence model"
CURE = "copy the folder again, or fit the model again"


def check_model_place(folder: str | Path) -> Path:
    """The folder to write a model to, refused before any long work if something else is there.

    Raises:
        InputError: If it is a file, or a folder that holds something but no model, or one that must not be replaced.
    """
    check_place(folder, folder=True)
    place = Path(folder).expanduser().resolve()
    if place.is_dir() and any(place.iterdir()) and not _is_model(place):
        raise InputError(f"{folder}: this folder holds something else than a model; name a new folder, or empty it")
    if Path.cwd().is_relative_to(place) or os.path.ismount(place):
        raise InputError(
            f"{folder}: you are in this folder, or it is mounted, so that it cannot be replaced as a whole; "
            "give a folder inside it"
        )
    # The folder is put in place of an older one, which asks for more than writing into it.
    if place.parent.is_dir() and not os.access(place.parent, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no permission to write in '{place.parent}'; change that, or give another place")
    return place


def check_apart(out: str | Path, source: str) -> None:
    """Refuse to write into the folder that the rows are read from, which would be read with them the next time.

    Raises:
        InputError: If `out` is that folder, or lies in it.
    """
    given = Path(source).expanduser()
    if given.is_dir() and Path(out).expanduser().resolve().is_relative_to(given.resolve()):
        raise InputError(f"{out}: the rows are read from the folder {source}; give a place outside of it")


def find_model(folder: str | Path) -> Path:
    """The folder of a model to read.

    Raises:
        InputError: If there is none, or a file is missing that it takes.
    """
    path = Path(folder).expanduser()
    if path.is_file() and path.name in FILES:
        raise InputError(f"{folder}: a file of a model; give its folder, {path.parent}")
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
        guess = nearest(path.name, siblings)
        hint = f"did you mean '{path.with_name(guess)}'?" if guess else "make one with gence fit"
        raise InputError(f"'{folder}': there is no such model; {hint}")
    if not (path / MODEL).is_file():
        what = f"a folder, but no model ({MODEL} is missing)" if path.is_dir() else "a file, but no model"
        raise InputError(f"{folder}: {what}; give the --out folder of gence fit")
    for name in (WEIGHTS, CALIBRATOR):
        if not (path / name).is_file():
            raise InputError(f"{folder}: {name} is missing; {CURE}")
    return path


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """A folder beside `place` to write to, which takes its place if nothing goes wrong and else leaves no trace.

    What lies in the old folder and is no file of a model moves along.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_name(f".{place.name}.{secrets.token_hex(4)}.tmp")
    try:
        new.mkdir()
        yield new
        _put(new, place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _put(new: Path, place: Path) -> None:
    if not place.exists():
        os.rename(new, place)
        return
    old = new.with_suffix(".old")
    os.rename(place, old)
    try:
        os.rename(new, place)
    except OSError:
        os.rename(old, place)
        raise
    for entry in list(old.iterdir()):
        if entry.name not in FILES:
            os.rename(entry, place / entry.name)
    shutil.rmtree(old, ignore_errors=True)


def _is_model(folder: Path) -> bool:
    try:
        content = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT
