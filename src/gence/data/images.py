"""Image files into one array: all grey or all colour, all one size, decoded into place."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gence._errors import InputError
from gence.data.wording import counted, one_line

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
"""The image files that are read, by the ending of their name."""

Item = tuple[str, bytes | Path]
"""What a message calls an image, and where its bytes are."""

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_LARGEST_KEPT = 64
_EXIF_ORIENTATION = 0x0112
_QUARTER_TURNS = (5, 6, 7, 8)


@dataclass(frozen=True)
class Decoded:
    """What `decode_images` gives.

    Attributes:
        images: `(count, 1 or 3, height, width)` uint8.
        notes: What was done to them.
        resized: Whether files of any size become this size: one was asked for, or not all of them had it.
    """

    images: np.ndarray
    notes: tuple[str, ...]
    resized: bool


def decode_images(count: int, items: Callable[[], Iterable[Item]], image_size: int | None) -> Decoded:
    """Decode images of any sizes and modes.

    Grey stays grey only if every image is grey. Images of one size up to 64 pixels keep it; others are resized
    (bilinear) to 64 x 64. Photographs are turned upright as their camera noted, 16-bit grey keeps its upper
    eight bits, transparent pixels show white.

    Args:
        count: How many images there are, at least one.
        items: Starts a fresh pass over the images.
        image_size: The side to resize to, or None for the rule above.

    Returns:
        The images, notes on what was done to them, and whether they were resized.

    Raises:
        InputError: If an image cannot be read.
    """
    # Small images mostly look all like the first, and then one pass will do.
    survey = _survey(islice(items(), 1))
    if survey.sizes == {_common_size(survey, image_size)}:
        with suppress(_UnlikeSurvey):
            return _decode(count, items, survey, image_size)
    return _decode(count, items, _survey(items()), image_size)


@dataclass(frozen=True)
class _Survey:
    """Whether all images looked at are grey, and their sizes (width, height) when upright."""

    grey: bool
    sizes: set[tuple[int, int]]


class _UnlikeSurvey(Exception):
    """An image is of another kind than those surveyed."""


def _survey(items: Iterable[Item]) -> _Survey:
    grey, sizes = True, set[tuple[int, int]]()
    for label, content in items:
        with _opened(label, content) as image:
            grey = grey and _is_grey(image)
            width, height = image.size
            sizes.add((height, width) if _lies_on_its_side(image) else (width, height))
    return _Survey(grey, sizes)


def _common_size(survey: _Survey, image_size: int | None) -> tuple[int, int]:
    if image_size is not None:
        return image_size, image_size
    if len(survey.sizes) == 1 and max(only := next(iter(survey.sizes))) <= _LARGEST_KEPT:
        return only
    return _LARGEST_KEPT, _LARGEST_KEPT


def _decode(count: int, items: Callable[[], Iterable[Item]], survey: _Survey, image_size: int | None) -> Decoded:
    size = _common_size(survey, image_size)
    images = np.empty((count, 1 if survey.grey else 3, size[1], size[0]), np.uint8)
    see_through = 0
    for row, (label, content) in enumerate(items()):
        with _opened(label, content) as image:
            pixels = _upright(image)
            if pixels.size not in survey.sizes or (survey.grey and not _is_grey(image)):
                raise _UnlikeSurvey
            images[row], on_white = _pixels(pixels, label, survey.grey, size)
            see_through += on_white
    resized = image_size is not None or survey.sizes != {size}
    return Decoded(images, _notes(count, survey.sizes, size, see_through), resized)


@dataclass(frozen=True)
class DecodedImage:
    """One image: `pixels` `(1 or 3, height, width)` uint8, and what it was like before."""

    pixels: np.ndarray
    size: tuple[int, int]
    grey: bool
    see_through: bool


def decode_image(item: Item, grey: bool, size: tuple[int, int], *, resize: bool) -> DecodedImage:
    """Decode one image as `decode_images` does, to grey or colour and to a size (width, height).

    Raises:
        InputError: If it cannot be read, or has another size and may not be resized.
    """
    label, content = item
    with _opened(label, content) as image:
        upright = _upright(image)
        if upright.size != size and not resize:
            square = f", or train with --image-size {size[0]}" if size[0] == size[1] else ""
            raise InputError(
                f"{label}: the image has {upright.size[0]} x {upright.size[1]} pixels (width x height); {size[0]} x "
                f"{size[1]} are expected, as every training image had: resize it{square}"
            )
        pixels, see_through = _pixels(upright, label, grey, size)
        return DecodedImage(pixels, upright.size, _is_grey(image), see_through)


def _pixels(image: PillowImage, label: str, grey: bool, size: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """`(1 or 3, height, width)` of an upright image, and whether it was seen through."""
    mode = "L" if grey else "RGB"
    image = _eight_bits(image, label)
    see_through = _is_see_through(image)
    image = _on_white(image) if see_through else image
    values = np.asarray(_resized(image if image.mode == mode else image.convert(mode), size))
    return values[None] if grey else values.transpose(2, 0, 1), see_through


@contextmanager
def _opened(label: str, content: bytes | Path) -> Iterator[PillowImage]:
    from PIL import Image

    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        try:
            with Image.open(stream, formats=_FORMATS) as image:
                yield image
        except InputError:
            raise
        # What Pillow's decoders raise on a damaged file depends on the format and on where the damage is.
        except (
            OSError,
            SyntaxError,
            ValueError,
            EOFError,
            IndexError,
            struct.error,
            Image.DecompressionBombError,
        ) as e:
            # Pillow's reason would name the buffer's address in memory.
            reason = "damaged, or not an image" if isinstance(e, Image.UnidentifiedImageError) else one_line(e)
            raise InputError(f"{label}: the image cannot be read ({reason}); mend it or take it out") from e


def _is_grey(image: PillowImage) -> bool:
    if image.mode != "P":
        return image.mode in _GREY_MODES
    palette = np.asarray(image.getpalette()).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _lies_on_its_side(image: PillowImage) -> bool:
    # Only cameras write the tag, and asking a PNG for it would decode the whole image.
    return image.format in ("JPEG", "MPO") and image.getexif().get(_EXIF_ORIENTATION) in _QUARTER_TURNS


def _upright(image: PillowImage) -> PillowImage:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if image.format in ("JPEG", "MPO") else image


def _eight_bits(image: PillowImage, label: str) -> PillowImage:
    from PIL import Image

    if image.mode == "F":
        raise InputError(f"{label}: the pixels are fractions; 8 or 16 bits a channel are expected, or an .npz file")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() >= 2**16:
        raise InputError(f"{label}: grey values from {values.min()} to {values.max()}; 8 or 16 bits are expected")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _is_see_through(image: PillowImage) -> bool:
    return image.has_transparency_data and bool(np.asarray(image.convert("RGBA").getchannel("A")).min() < 255)


def _on_white(image: PillowImage) -> PillowImage:
    from PIL import Image

    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))


def _resized(image: PillowImage, size: tuple[int, int]) -> PillowImage:
    from PIL import Image

    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def _notes(count: int, sizes: set[tuple[int, int]], size: tuple[int, int], see_through: int) -> tuple[str, ...]:
    notes: list[str] = []
    if sizes != {size}:
        width, height = next(iter(sizes))
        before = f"of {width} x {height} pixels" if len(sizes) == 1 else f"of {len(sizes)} different sizes"
        notes.append(f"resized {counted(count, 'image')} {before} to {size[0]} x {size[1]}")
    if see_through:
        notes.append(on_white_note(see_through))
    return tuple(notes)


def on_white_note(count: int) -> str:
    """A sentence on how many images were seen through."""
    return f"showed the transparent pixels of {counted(count, 'image')} in white"
