"""Image files as rows of a model's input, decoded one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from gence.data.form import InputForm, other_kind
from gence.data.image_folder import find_unlabelled
from gence.data.images import Item, decode_image, on_white_note
from gence.data.rows import RowBatch, Stream
from gence.data.wording import counted


def demand_image_files(form: InputForm, given: str, where: str) -> None:
    """Check that the model takes what image files hold: 8 bits a channel, grey or colour.

    Raises:
        InputError: If it does not; `given` says what the source is.
    """
    if form.kind != "image" or form.dtype != "uint8" or form.shape[0] not in (1, 3):
        raise other_kind(given, form, where)


def stream_images(
    items: Iterable[Item],
    form: InputForm,
    batch_rows: int,
    rows: int | None = None,
    files: Sequence[str] | None = None,
    notes: Iterable[str] = (),
) -> Stream:
    """Decode images as `load` decodes them, to the size of the model and to its grey or colour.

    Args:
        items: The images.
        form: What a row is to look like.
        batch_rows: How many images are decoded at a time.
        rows: How many there are, if known.
        files: What each image is called in the batches, if they are files.
        notes: What was noted so far.
    """
    channels, height, width = form.shape
    grey = channels == 1
    counts = {"resized": 0, "greyed": 0, "see-through": 0}

    def decoded(item: Item) -> np.ndarray:
        image = decode_image(item, grey, (width, height), resize=form.resized)
        counts["resized"] += image.size != (width, height)
        counts["greyed"] += grey and not image.grey
        counts["see-through"] += image.see_through
        return image.pixels

    def batches() -> Iterator[RowBatch]:
        waiting, start = iter(items), 0
        while piece := [decoded(item) for item in islice(waiting, batch_rows)]:
            names = None if files is None else tuple(files[start : start + len(piece)])
            start += len(piece)
            yield RowBatch(np.stack(piece), names)

    def all_notes() -> Iterator[str]:
        yield from notes
        if counts["greyed"]:
            yield f"turned {counted(counts['greyed'], 'colour image')} grey, as every training image was"
        if counts["resized"]:
            yield f"resized {counted(counts['resized'], 'image')} to {width} x {height}"
        if counts["see-through"]:
            yield on_white_note(counts["see-through"])

    return Stream(batches(), rows, all_notes)


def stream_image_folder(path: Path, form: InputForm, batch_rows: int, where: str) -> Stream:
    """The images of a folder, in the order of `find_unlabelled`; labels are not looked at."""
    demand_image_files(form, "a folder of images", where)
    files, notes = find_unlabelled(path)
    names = [file.relative_to(path).as_posix() for file in files]
    return stream_images(((str(file), file) for file in files), form, batch_rows, len(files), names, notes)


def stream_image_file(path: Path, form: InputForm, where: str) -> Stream:
    """A single image."""
    demand_image_files(form, "an image file", where)
    return stream_images([(str(path), path)], form, 1, 1, [path.name])
