"""A folder of image files: one subfolder a class, perhaps under train/ and test/."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gence._errors import InputError, nearest
from gence.data.dataset import LabelledData
from gence.data.form import InputForm
from gence.data.images import ENDINGS, Item, decode_images
from gence.data.request import Request
from gence.data.splits import TEST_NAMES, TRAIN, choose_splits
from gence.data.wording import counted, listing


@dataclass
class _Found:
    """The images of one split by class name, in the order of their file names, and what was passed over."""

    classes: dict[str, list[Path]] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    foreign: int = 0


def is_image_folder(path: Path) -> bool:
    """Whether `path` has class folders with images in them, or train/ or test/ folders that do."""
    folders = _folders(path)
    return any(_images(folder) for folder in folders) or any(
        _images(class_folder)
        for folder in folders
        if folder.name.lower() in (TRAIN, *TEST_NAMES)
        for class_folder in _folders(folder)
    )


def find_unlabelled(path: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The images of a folder, whether their classes are known or not, and notes on what is passed over.

    First the images directly in it, then those of its subfolders in the order of `read_image_folder`, which below
    `train/` and `test/` are looked for in the same way. Folders deeper than that are not read.
    """
    if not _has_splits(path):
        return _images_in_order(path), _foreign_notes([path, *_folders(path)])
    names = [folder.name for folder in _folders(path)]
    # What is new need not have a split to train on; then every folder is read.
    chosen = choose_splits(names, str(path)) if _is_laid_out(names) else None
    splits = names if chosen is None else chosen.used
    files = [*_images(path), *(file for split in splits for file in _images_in_order(path / split))]
    below = [folder for split in splits for folder in (path / split, *_folders(path / split))]
    unused = () if chosen is None else chosen.notes[: bool(chosen.unused)]
    return files, (*unused, *_foreign_notes([path, *below]))


def _is_laid_out(names: Iterable[str]) -> bool:
    names = list(names)
    return len(names) == 1 or TRAIN in map(str.lower, names)


def _images_in_order(path: Path) -> list[Path]:
    return [file for folder in (path, *_folders(path)) for file in _images(folder)]


def _foreign_notes(folders: Iterable[Path]) -> tuple[str, ...]:
    foreign = sum(
        not entry.is_dir() and entry.suffix.lower() not in ENDINGS for folder in folders for entry in _visible(folder)
    )
    return (_foreign_note(foreign, "an image"),) if foreign else ()


def _foreign_note(count: int, expected: str) -> str:
    return f"passed over {counted(count, 'file')} that {'is' if count == 1 else 'are'} not {expected}"


def has_images(path: Path) -> bool:
    """Whether `path` has images in it, directly or as `is_image_folder` says."""
    return bool(_images(path)) or is_image_folder(path)


def read_image_folder(path: Path, request: Request) -> LabelledData:
    """Read FOLDER/class/image.png, or FOLDER/train/class/image.png with an optional test/ beside train/.

    Class numbers follow the sorted names of the class folders. Hidden files are passed over, foreign ones
    counted in a note.

    Raises:
        InputError: If an image cannot be read, a test class is unknown in train, or a split has no class folders.
    """
    notes: list[str] = []
    if _has_splits(path):
        splits = choose_splits([folder.name for folder in _folders(path)], str(path))
        notes += splits.notes
        parts = [_find(path / split) for split in splits.used]
        parts[0].foreign += sum(1 for entry in _visible(path) if not entry.is_dir())
    else:
        parts = [_find(path)]
    class_names = sorted(parts[0].classes)
    for part in parts[1:]:
        _demand_known(part, class_names, path)

    files = [file for part in parts for folder in sorted(part.classes) for file in part.classes[folder]]
    numbers = [
        class_names.index(folder) for part in parts for folder in sorted(part.classes) for _ in part.classes[folder]
    ]
    train_count = sum(len(images) for images in parts[0].classes.values())

    def items() -> Iterator[Item]:
        return ((str(file), file) for file in files)

    decoded = decode_images(len(files), items, request.image_size)
    empty = [folder for part in parts for folder in part.empty]
    if empty:
        notes.append(f"passed over {counted(len(empty), 'folder')} without images: {listing(empty)}")
    foreign = sum(part.foreign for part in parts)
    if foreign:
        notes.append(_foreign_note(foreign, "an image of a class"))
    return LabelledData(
        name=request.name,
        kind="image",
        inputs=decoded.images,
        labels=np.array(numbers, np.int64),
        class_names=tuple(class_names),
        test_rows=np.arange(train_count, len(files)) if len(parts) > 1 else None,
        notes=(*notes, *decoded.notes),
        form=InputForm("image", decoded.images.shape[1:], "uint8", resized=decoded.resized),
    )


def _has_splits(path: Path) -> bool:
    by_lower = {folder.name.lower(): folder for folder in _folders(path)}
    if TRAIN not in by_lower:
        return any(name in by_lower and _folders(by_lower[name]) for name in TEST_NAMES)
    # A class may be called "train"; it then holds images and has no test split beside it.
    return len(by_lower) == 1 or any(name in by_lower for name in TEST_NAMES) or bool(_folders(by_lower[TRAIN]))


def _find(path: Path) -> _Found:
    found = _Found()
    for entry in _visible(path):
        if not entry.is_dir():
            found.foreign += 1
            continue
        images = _images(entry)
        if images:
            found.classes[entry.name] = images
        else:
            found.empty.append(str(entry.relative_to(path.parent)))
        found.foreign += sum(1 for file in _visible(entry) if not file.is_dir()) - len(images)
        found.empty += [str(folder.relative_to(path.parent)) for folder in _folders(entry) if images]
    if not found.classes:
        raise InputError(
            f"{path}: no class folders with images in them; {path}/CLASS/IMAGE is expected, with one of the endings "
            f"{listing(ENDINGS)}: sort the images into class folders, or take this folder away"
        )
    return found


def _demand_known(part: _Found, class_names: list[str], path: Path) -> None:
    unknown = [name for name in sorted(part.classes) if name not in class_names]
    if unknown:
        guess = nearest(unknown[0], class_names)
        raise InputError(
            f"{path}: the test split has {counted(len(unknown), 'class')} that train lacks: {listing(unknown)}; "
            + (f"did you mean {guess!r}? " if guess else "")
            + f"classes of train: {listing(class_names)}"
        )


def _visible(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))


def _folders(path: Path) -> list[Path]:
    return [entry for entry in _visible(path) if entry.is_dir()]


def _images(path: Path) -> list[Path]:
    return [entry for entry in _visible(path) if entry.suffix.lower() in ENDINGS and entry.is_file()]
