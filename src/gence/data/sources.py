"""Which reader a source gets: a name, a file by its ending, a folder by what lies in it, or a hub name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gence._errors import InputError, nearest
from gence.data.csv_file import read_csv
from gence.data.dataset import LabelledData
from gence.data.hub import PREFIX, read_hub
from gence.data.image_folder import is_image_folder, read_image_folder
from gence.data.images import ENDINGS
from gence.data.medmnist import MEDMNIST, MULTI_LABEL
from gence.data.named import read_named
from gence.data.npz_file import read_npz
from gence.data.parquet import find_parquet_files, read_parquet_file, read_parquet_folder
from gence.data.recipes import RECIPES
from gence.data.request import Request
from gence.data.wording import counted, listing, one_line

FILES = (".csv", ".parquet", ".npz")
"""The files that are read, by the ending of their name."""

_KNOWN = (
    "a named data set such as digits or cifar10, a folder of images or parquet files, a .csv, .parquet or .npz file, "
    "or hf:ORG/NAME"
)
OF_ONE_SIZE = ("mnist_pairs", *(name for name, recipe in RECIPES.items() if not recipe.repository))
"""The named data sets whose images cannot be resized."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def load(
    source: str, *, target: str | None = None, image_size: int | None = None, data_root: Path | str | None = None
) -> LabelledData:
    """Read labelled data, once, into memory.

    Args:
        source: A named data set, one of `recipes.names()`, whose published sizes are checked; a folder of images with
            one subfolder a class, perhaps below `train/` and `test/`; a folder of parquet files in the Hugging Face
            layout; a `.csv`, `.parquet` or `.npz` file; or `hf:ORG/NAME[:CONFIG]`. A folder called digits is
            `./digits`.
        target: The column that holds the label, for sources with columns.
        image_size: Resize image files to this many pixels a side. Without it images of one size up to 64 pixels
            keep it, and others become 64 x 64.
        data_root: The folder that named data sets lie in: parquet files in `ROOT/ORG/NAME/CONFIG`, named as on the
            Hugging Face hub, or in `ROOT/NAME`; those of MedMNIST as `ROOT/medmnist/SUBSET.npz`. Without it they come
            from the hub. Embedded data sets need neither, but it must be a folder all the same.

    Returns:
        Images `(rows, channels, height, width)` or a table `(rows, columns)` with `(rows,)` labels, and notes on
        what was done to them.

    Raises:
        InputError: If the source cannot be found, read or understood; the message says what to do about it.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image size {image_size}: at least 1 pixel is expected")
    with reading(source):
        return _read(source, target, image_size, root_folder(data_root))


def root_folder(data_root: Path | str | None) -> Path | None:
    """The data root as a path, if it was given; InputError if it is empty."""
    if data_root == "":
        raise InputError("the data root is empty; give the folder that named data sets lie in, or leave it out")
    return None if data_root is None else Path(data_root)


@contextmanager
def reading(source: str) -> Iterator[None]:
    """What goes wrong while `source` is read, in the words of this package: missing packages, rights and files."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "gence").partition(".")[0]
        if package == "gence":
            raise
        raise InputError(f"{source}: reading it needs {package}; pip install 'gence[lab]'") from error
    except PermissionError as error:
        raise InputError(
            f"{error.filename or source}: no permission to read it; change that, or give a copy"
        ) from error
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({one_line(error)}); check the path, or give a copy") from error


def _read(source: str, target: str | None, image_size: int | None, data_root: Path | None) -> LabelledData:
    if source in RECIPES:
        request = Request(source, source, target, image_size)
        _refuse(request, "a named source", target=True, image_size=source in OF_ONE_SIZE)
        return read_named(request, data_root)
    path = find_source(source, data_root)
    if path is None:
        return read_hub(Request(source, source.removeprefix(PREFIX), target, image_size))
    if path.is_dir():
        return _read_folder(path, Request(source, path.resolve().name or source, target, image_size))
    return _read_file(path, Request(source, path.resolve().stem, target, image_size))


def find_source(source: str, data_root: Path | None) -> Path | None:
    """The file or folder that a source other than a named data set is, or None if it is on the hub.

    Raises:
        InputError: If there is none, or a data root was given, which only named data sets need.
    """
    if source == MULTI_LABEL:
        raise InputError(
            f"{source}: its images have several labels each, and one class a row is expected; choose one of "
            f"{listing(MEDMNIST)}"
        )
    path = Path(source).expanduser()
    on_hub = source.startswith(PREFIX)
    if not on_hub and (not source.strip() or not path.exists()):
        raise _not_found(source, path)
    if data_root is not None:
        raise InputError(
            f"{source}: a data root was given, but this is no named data set ({listing(RECIPES)}); leave it out"
        )
    return None if on_hub else path


def _read_file(path: Path, request: Request) -> LabelledData:
    ending = checked_ending(path, request.source, FILES)
    if ending == ".parquet":
        return read_parquet_file(path, request)
    if ending == ".csv":
        _refuse(request, "a .csv file", image_size=True)
        return read_csv(path, request)
    _refuse(request, "an .npz file", target=True, image_size=True)
    return read_npz(path, request)


def checked_ending(path: Path, source: str, known: Sequence[str]) -> str:
    """How the name of a file ends, in lower case; InputError if it is none of the known endings, or the file empty."""
    ending = path.suffix.lower()
    if not path.is_file() or ending not in known:
        raise InputError(f"{source}: this kind of file is not read; known endings: {listing(known)}")
    if path.stat().st_size == 0:
        raise InputError(f"{source}: the file is empty; copy or download it again")
    return ending


def _read_folder(path: Path, request: Request) -> LabelledData:
    parquet_files = find_parquet_files(path)
    has_images = is_image_folder(path)
    if parquet_files and has_images:
        raise two_kinds(request.source)
    if parquet_files:
        return read_parquet_folder(parquet_files, request)
    if has_images:
        _refuse(request, "a folder of images", target=True)
        return read_image_folder(path, request)
    raise unknown_folder(path, request.source)


def two_kinds(source: str) -> InputError:
    """The error for a folder of which it cannot be told what is to be read."""
    return InputError(
        f"{source}: the folder holds both parquet files and class folders with images; move one of the two elsewhere"
    )


def _refuse(request: Request, kind: str, *, target: bool = False, image_size: bool = False) -> None:
    if target and request.target is not None:
        raise InputError(
            f"{request.source}: the target {request.target!r} was given, but {kind} has no columns to choose from; "
            "leave it out"
        )
    if image_size and request.image_size is not None:
        raise InputError(f"{request.source}: an image size was given, but {kind} holds no image files; leave it out")


def _not_found(source: str, path: Path) -> InputError:
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    siblings = {entry.name: str(entry) for entry in missing.parent.iterdir()} if missing.parent.is_dir() else {}
    named = dict.fromkeys(RECIPES, "") if missing == path else {}
    if source.startswith("medmnist/"):
        missing, named = path, {name.removeprefix("medmnist/"): name for name in MEDMNIST}
    names = {**siblings, **named}
    guess = nearest(missing.name, names)
    if guess is not None:
        hint = f"did you mean {names[guess] or guess!r}?"
    elif _HUB_NAME.fullmatch(source):
        hint = f"did you mean {PREFIX + source!r}?"
    else:
        hint = f"expected {_KNOWN}"
    return InputError(f"{source!r}: there is no such file or folder; {hint}")


def unknown_folder(path: Path, source: str) -> InputError:
    """The error for a folder in which nothing is that can be read."""
    files = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    if not files:
        return InputError(f"{source}: the folder is empty; class folders with images or parquet files are expected")
    readable = [entry for entry in files if entry.suffix.lower() in FILES]
    images = [entry for entry in files if entry.suffix.lower() in ENDINGS]
    if readable:
        return InputError(
            f"{source}: a folder with {listing(f.name for f in readable)}; give the file, such as {readable[0]}"
        )
    if images:
        lie = "lies" if len(images) == 1 else "lie"
        cure = f"{counted(len(images), 'image')} {lie} directly in it: images belong into one subfolder a class"
    else:
        cure = f"{source}/CLASS/IMAGE or {source}/train-00000-of-00001.parquet is expected"
    return InputError(f"{source}: neither class folders with images nor parquet files are in it; {cure}")
