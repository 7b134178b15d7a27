"""A data set by its name: from an installed package, from a folder with such data sets in it, or from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gence._errors import InputError
from gence.data.breast_cancer import read_breast_cancer
from gence.data.dataset import LabelledData
from gence.data.digits import pair_mnist, read_digit_pairs, read_digits
from gence.data.facts import Recipe, check_facts
from gence.data.hub import read_repository
from gence.data.medmnist import HOMEPAGE, read_medmnist
from gence.data.parquet import files_of_splits, find_parquet_files, read_parquet_folder
from gence.data.recipes import RECIPES
from gence.data.request import Request
from gence.data.wording import listing


def read_named(request: Request, data_root: Path | None = None) -> LabelledData:
    """Read `request.source`, one of `RECIPES`, and check what was published of it.

    Args:
        request: What was asked for.
        data_root: The folder to read from instead of the hub; what is embedded needs none.

    Raises:
        InputError: If it cannot be found, or is not as published.
    """
    name = request.source
    _check_root(data_root)
    if name == "digits":
        return read_digits()
    if name == "digit_pairs":
        return read_digit_pairs()
    if name == "breast_cancer":
        return read_breast_cancer()
    if name == "mnist_pairs":
        return pair_mnist(_read_published("mnist", replace(request, name="mnist"), data_root))
    return _read_published(name, request, data_root)


def read_test_images(name: str, data_root: Path | None = None) -> np.ndarray:
    """The inputs of a named data set's test split, or all of them if it has none.

    Of what is downloaded the training rows are not read, which for Tiny ImageNet would be a gigabyte.

    Args:
        name: One of `RECIPES`.
        data_root: As for `read_named`.

    Raises:
        InputError: If it cannot be found, or is not as published.
    """
    _check_root(data_root)
    request = Request(name, name)
    if RECIPES[name].embedded or name == "mnist_pairs":
        data = read_named(request, data_root)
        return data.inputs if data.test_rows is None else data.inputs[data.test_rows]
    return _read_published(name, replace(request, test_only=True), data_root).inputs


def _check_root(data_root: Path | None) -> None:
    if data_root is not None and not data_root.is_dir():
        wrong = "this is a file, a folder is expected" if data_root.exists() else "there is no such folder"
        raise InputError(f"{data_root}: {wrong}; the data root is the folder that named data sets lie in")


def _read_published(name: str, request: Request, data_root: Path | None) -> LabelledData:
    recipe = RECIPES[name]
    files: Sequence[Path] = ()
    if recipe.file:
        place = _find_file(recipe.file, request, data_root)
        data = read_medmnist(place, recipe.class_names, request)
    else:
        request = replace(request, target=recipe.label)
        place = None if data_root is None else _find_folder(name, recipe, request, data_root)
        if place is None:
            data = _read_hub(recipe, request)
        else:
            found = find_parquet_files(place)
            data, files = read_parquet_folder(found, request), files_of_splits(found, request)
    cure = "download it again" if place is None else f"download {place} again, or give its path if it is other data"
    resized = request.image_size is not None
    read = [file.name for file in files]
    check_facts(data, (recipe.facts, *recipe.earlier), cure, read, resized=resized, test_only=request.test_only)
    return replace(data, notes=(*data.notes, recipe.note)) if recipe.note else data


def _read_hub(recipe: Recipe, request: Request) -> LabelledData:
    below = f"{recipe.repository}/{recipe.config}".rstrip("/")
    cure = f"check the network, or download the parquet files to ROOT/{below} and give --data-root ROOT"
    return read_repository(recipe.repository, recipe.config or None, request, cure)


def _find_folder(name: str, recipe: Recipe, request: Request, data_root: Path) -> Path:
    repository = data_root / recipe.repository
    places = (*([repository / recipe.config] if recipe.config else []), repository, data_root / name)
    folders = [place for place in places if place.is_dir()]
    for folder in folders:
        if find_parquet_files(folder):
            return folder
    if folders:
        raise InputError(
            f"{folders[0]}: no parquet files are in it; train-00000-of-00001.parquet is expected, as on the hub"
        )
    *first, last = map(str, places)
    raise InputError(
        f"{request.source}: the data root has no folder {', '.join(first)} or {last}, where the parquet files of the "
        f"hub are expected; it holds {_contents(data_root)}"
    )


def _find_file(file: str, request: Request, data_root: Path | None) -> Path:
    if data_root is None:
        raise InputError(
            f"{request.source}: it is read from a file; download {file} from {HOMEPAGE} to ROOT/medmnist and give "
            "--data-root ROOT"
        )
    for place in (data_root / "medmnist" / file, data_root / file):
        if place.is_file():
            return place
    raise InputError(
        f"{request.source}: the data root has no file {data_root / 'medmnist' / file}; download it from {HOMEPAGE}; "
        f"the root holds {_contents(data_root)}"
    )


def _contents(data_root: Path) -> str:
    """What lies in the root, two levels deep, as repositories do."""
    found: list[str] = []
    for entry in sorted(entry for entry in data_root.iterdir() if not entry.name.startswith(".")):
        inside = sorted(child.name for child in entry.iterdir()) if entry.is_dir() else []
        found += [f"{entry.name}/{child}" for child in inside] or [entry.name]
    return listing(found) or "nothing"
