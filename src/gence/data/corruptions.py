"""Image corruptions by name, each at five severities: what a model meets after it was trained on clean images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from gence._errors import InputError, unknown_name

SEVERITIES = (1, 2, 3, 4, 5)

_ROWS_AT_ONCE = 500  # float64 copies of so many images of 64 x 64 take 50 MB each


@dataclass(frozen=True)
class Entry:
    """One corruption of the catalogue.

    Attributes:
        title: What its strength is, in words.
        strengths: Its strength at severity 1, 2, 3, 4 and 5.
        apply: (images, strength, generator) -> corrupted images, float64 `(rows, channels, height, width)` with black
            at 0 and white at 1; the caller clips what falls outside.
    """

    title: str
    strengths: tuple[float, float, float, float, float]
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def names() -> tuple[str, ...]:
    """Every name that `corrupt` takes."""
    return tuple(CATALOGUE)


def corrupt(images: np.ndarray, name: str, severity: int, *, seed: int, white: float | None = None) -> np.ndarray:
    """Corrupt images as a bad camera, a bad light or a small file would.

    The strengths are those that Hendrycks and Dietterich chose for 32 x 32 images (CIFAR-10-C); grey images and other
    sizes are taken too, but on much larger ones a blur of so few pixels is hardly seen. The code is not theirs, so
    scores are near those on CIFAR-10-C, not equal to them. Random corruptions draw from one generator a call, image
    after image: a row's noise depends on the rows before it, never on those after it or on how many follow. With one
    seed Gaussian and impulse noise strike the same places at every severity.

    Args:
        images: `(rows, channels, height, width)`, uint8 or floating point, before any standardising.
        name: One of `names()`; `jpeg` needs 1 or 3 channels.
        severity: 1 to 5, or 0 for an unchanged copy.
        seed: Two calls with one seed give the same images.
        white: The value of a white pixel; black is 0. By default 255 for uint8 and 1.0 for floating point; the
            `digits` of scikit-learn, for one, need 16.

    Returns:
        New images of the same shape and dtype, in [0, white]; uint8 is rounded to the nearest.

    Raises:
        InputError: If there is no corruption of that name, the severity is none of 0..5, the shape or dtype is another,
            a value lies outside [0, white], or uint8 images are too dark for 255 to be their white.

    Example:
        >>> grey = np.full((1, 1, 2, 2), 100, np.uint8)
        >>> corrupt(grey, "brightness", 1, seed=0)[0, 0].tolist()  # 0.05 * 255 brighter
        [[113, 113], [113, 113]]

    Reference:
        Hendrycks and Dietterich 2019, arXiv 1903.12261, section 4.
    """
    if name not in CATALOGUE:
        raise unknown_name("corruption", name, CATALOGUE)
    if isinstance(severity, bool) or severity not in (0, *SEVERITIES):
        raise InputError(f"severity must be 1, 2, 3, 4 or 5, or 0 for none; got {severity!r}")
    white = _check_images(images, white)
    if name == "jpeg" and images.shape[1] not in (1, 3):
        raise InputError(
            f"jpeg needs images of 1 or 3 channels; these have {images.shape[1]}: choose another corruption"
        )
    if severity == 0:
        return images.copy()
    entry, generator = CATALOGUE[name], np.random.default_rng(seed)
    corrupted = np.empty(images.shape, images.dtype)
    for start in range(0, len(images), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        try:
            values = entry.apply(images[rows].astype(np.float64) / white, entry.strengths[severity - 1], generator)
        except ModuleNotFoundError as error:
            raise InputError(f"corruption {name!r} needs {error.name}; pip install 'gence[lab]'") from error
        values = white * np.clip(values, 0.0, 1.0)
        corrupted[rows] = np.rint(values) if images.dtype == np.uint8 else values
    return corrupted


def _check_images(images: np.ndarray, white: float | None) -> float:
    """The value of white, or InputError saying why these are no images of that white."""
    if not isinstance(images, np.ndarray) or images.ndim != 4:
        got = images.shape if isinstance(images, np.ndarray) else type(images).__name__
        raise InputError(f"images must be a numpy array of shape (rows, channels, height, width); got {got}")
    if images.shape[1] > 4 and images.shape[3] in (1, 3, 4):
        raise InputError(
            f"images must have shape (rows, channels, height, width); got {images.shape}, which looks channels-last: "
            "use images.transpose(0, 3, 1, 2)"
        )
    whole = images.dtype == np.uint8
    if not whole and not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"images must be uint8 or floating point; got {images.dtype}")
    if white is None and whole and images.size and images.max() < 64:
        raise InputError(
            f"the brightest pixel of these uint8 images is {images.max()}, so 255 is perhaps not their white; "
            "give white=..., which is 255 if they are only dark"
        )
    white = (255.0 if whole else 1.0) if white is None else float(white)
    if not (math.isfinite(white) and white > 0.0) or (whole and white > 255.0):
        raise InputError(f"white must be the value of a white pixel, above 0 and for uint8 at most 255; got {white:g}")
    if not bool(((images >= 0) & (images <= white)).all()):
        raise InputError(
            f"images must lie in [0, {white:g}] without NaN; got values from {images.min():.4g} to {images.max():.4g}: "
            "corrupt before standardising, and give white=... if white is another value"
        )
    return white


def _gaussian_noise(images: np.ndarray, scale: float, generator: np.random.Generator) -> np.ndarray:
    return images + scale * generator.standard_normal(images.shape)


def _shot_noise(images: np.ndarray, photons: float, generator: np.random.Generator) -> np.ndarray:
    return generator.poisson(images * photons) / photons


def _impulse_noise(images: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    draw = generator.random(images.shape)
    return np.where(draw < share / 2, 0.0, np.where(draw >= 1.0 - share / 2, 1.0, images))


def _gaussian_blur(images: np.ndarray, sigma: float, generator: np.random.Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, sigma=(0.0, 0.0, sigma, sigma), mode="nearest", truncate=4.0)


def _pixelate(images: np.ndarray, factor: float, generator: np.random.Generator) -> np.ndarray:
    return _mean_in_blocks(images.shape[2], factor) @ images @ _mean_in_blocks(images.shape[3], factor).T


def _mean_in_blocks(size: int, factor: float) -> np.ndarray:
    """The matrix `(size, size)` that gives each pixel of a line the mean of those whose centres share its block."""
    blocks = max(int(size * factor), 1)
    block = ((np.arange(size) + 0.5) * blocks / size).astype(int)
    shared = block[:, None] == block
    return shared / shared.sum(1, keepdims=True)


def _contrast(images: np.ndarray, factor: float, generator: np.random.Generator) -> np.ndarray:
    mean = images.mean(axis=(2, 3), keepdims=True)
    return mean + factor * (images - mean)


def _brightness(images: np.ndarray, added: float, generator: np.random.Generator) -> np.ndarray:
    # The value of HSV is the brightest channel; at one hue and saturation the others keep their ratio to it.
    value = images.max(axis=1, keepdims=True)
    brighter = np.minimum(value + added, 1.0)
    return np.where(value > 0.0, images * (brighter / np.where(value > 0.0, value, 1.0)), brighter)


def _jpeg(images: np.ndarray, quality: float, generator: np.random.Generator) -> np.ndarray:
    from PIL import Image

    decoded = np.empty(images.shape, np.uint8)
    for row, image in enumerate(np.rint(255.0 * images).astype(np.uint8)):
        file = BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(
            file, "JPEG", quality=int(quality)
        )
        pixels = np.asarray(Image.open(file))
        decoded[row] = pixels if len(image) == 1 else pixels.transpose(2, 0, 1)
    return decoded / 255.0


CATALOGUE: dict[str, Entry] = {
    "gaussian_noise": Entry("standard deviation", (0.04, 0.06, 0.08, 0.09, 0.10), _gaussian_noise),
    "shot_noise": Entry("photons of a white pixel", (500, 250, 100, 75, 50), _shot_noise),
    "impulse_noise": Entry("share of values made black or white", (0.01, 0.02, 0.03, 0.05, 0.07), _impulse_noise),
    "gaussian_blur": Entry("standard deviation in pixels", (0.4, 0.6, 0.7, 0.8, 1.0), _gaussian_blur),
    "pixelate": Entry("blocks a pixel along each side", (0.95, 0.9, 0.85, 0.75, 0.65), _pixelate),
    "contrast": Entry("share of the contrast that is left", (0.75, 0.5, 0.4, 0.3, 0.15), _contrast),
    "brightness": Entry("added to the brightest channel", (0.05, 0.1, 0.15, 0.2, 0.3), _brightness),
    "jpeg": Entry("quality", (80, 65, 58, 50, 40), _jpeg),
}
