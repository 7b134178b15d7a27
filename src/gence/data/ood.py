"""Out-of-distribution sets: which data are near to a named data set and which far, and their images in its shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gence._errors import InputError, unknown_name
from gence.data.dataset import LabelledData
from gence.data.named import read_test_images
from gence.data.recipes import RECIPES, white_pixel
from gence.data.sources import reading
from gence.data.wording import listing


@dataclass(frozen=True)
class OODSets:
    """What is out of the distribution of one data set.

    Attributes:
        near: Named data sets of the same kind of image with other classes.
        far: Named data sets of quite other images.
        not_held: Sets of the reference that are none of the named data sets.
        reference: Whose choice it is.
    """

    near: tuple[str, ...]
    far: tuple[str, ...]
    not_held: tuple[str, ...]
    reference: str


def ood_sets(name: str) -> OODSets:
    """The near and far out-of-distribution sets of a named data set of images.

    For CIFAR they are those of OpenOOD 1.5, for MNIST those of OpenOOD 1, as far as they are named data sets. OpenOOD
    also drops single images whose subject is a class of the in-distribution set (of Tiny ImageNet and, beside
    CIFAR-10, of CIFAR-100); its lists of images are not applied here, so that scores are near the published ones and
    not equal to them. The others were chosen here: of MedMNIST the near sets are other medical images with as many
    channels and other subjects.

    Args:
        name: One of `recipes.names()`.

    Raises:
        InputError: If there are none for that name.

    Example:
        >>> ood_sets("cifar10").near
        ('cifar100', 'tiny-imagenet')

    Reference:
        Zhang et al. 2023, OpenOOD 1.5, arXiv 2306.09301; Yang et al. 2022, OpenOOD, arXiv 2210.07242.
    """
    if name not in OOD_SETS:
        raise unknown_name("data set with out-of-distribution sets", name, OOD_SETS)
    return OOD_SETS[name]


def image_sets() -> tuple[str, ...]:
    """Every named data set that `load_ood` takes: those that hold images."""
    return tuple(name for name, recipe in RECIPES.items() if len(recipe.facts.shape) == 3)


def load_ood(name: str, like: LabelledData, *, data_root: Path | None = None) -> np.ndarray:
    """The test images of a named data set, or all if it has no test split, in the shape of other images.

    Args:
        name: One of `recipes.names()` that holds images.
        like: The in-distribution data, uint8 images of 1 or 3 channels.
        data_root: As for `load`.

    Returns:
        `(rows, channels, height, width)` uint8, as `match_images` makes them.

    Raises:
        InputError: If there is no such data set, it or `like` holds no such images, or it cannot be read.
    """
    if name not in RECIPES:
        raise unknown_name("data set", name, RECIPES)
    if len(RECIPES[name].facts.shape) != 3:
        raise InputError(f"{name}: a table has no images; choose one of {listing(OOD_SETS)}")
    with reading(name):
        return match_images(read_test_images(name, data_root), like, white=RECIPES[name].white)


def match_images(images: np.ndarray, like: LabelledData, *, white: float = 255.0) -> np.ndarray:
    """Bring images to the channels, the height and width and the white of other ones.

    Colour becomes grey by its luma, grey becomes colour by repetition; then images of another size are resized
    (bilinear), whatever their proportions.

    Args:
        images: `(rows, 1 or 3, height, width)` uint8.
        like: The data to match, uint8 images of 1 or 3 channels.
        white: The value of a white pixel in `images`; in `like` it is that of its recipe, and 255 without one.

    Returns:
        `(rows, channels, height, width)` uint8 with the last three axes of `like.inputs`.

    Raises:
        InputError: If either is no such array, or Pillow is missing.

    Example:
        >>> from gence.data import load
        >>> match_images(np.full((2, 3, 32, 32), 255, np.uint8), load("digits"))[0, 0, 0]
        array([16, 16, 16, 16, 16, 16, 16, 16], dtype=uint8)
    """
    _check_images(images, "images")
    _check_images(like.inputs, f"{like.name}: its inputs")
    channels, height, width = like.inputs.shape[1:]
    matched = np.empty((len(images), channels, height, width), np.uint8)
    with reading(like.name):
        from PIL import Image

    for row, pixels in enumerate(images.transpose(0, 2, 3, 1)):
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        matched[row] = np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)
    brightness = (white_pixel(like) or 255.0) / white
    return matched if brightness == 1.0 else np.rint(matched * brightness).astype(np.uint8)


def _check_images(images: np.ndarray, what: str) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"{what} must be uint8 of shape (rows, 1 or 3, height, width); got {images.dtype} of shape {images.shape}"
        )


_OPENOOD = "OpenOOD 1.5, arXiv 2306.09301"
_HERE = "chosen here"
_GREY_MEDICAL = ("octmnist", "pneumoniamnist", "breastmnist", "tissuemnist", "organamnist")


def _medical(*near: str) -> OODSets:
    return OODSets(tuple(f"medmnist/{name}" for name in near), ("cifar10", "svhn"), (), _HERE)


def _grey_medical(own: str) -> OODSets:
    return _medical(*(name for name in _GREY_MEDICAL if name != own))


OOD_SETS: dict[str, OODSets] = {
    "cifar10": OODSets(("cifar100", "tiny-imagenet"), ("mnist", "svhn"), ("textures", "places365"), _OPENOOD),
    "cifar100": OODSets(("cifar10", "tiny-imagenet"), ("mnist", "svhn"), ("textures", "places365"), _OPENOOD),
    "tiny-imagenet": OODSets(("cifar10", "cifar100"), ("mnist", "svhn"), (), _HERE),
    # The digits of MNIST are its own classes in another hand, and so no near set.
    "svhn": OODSets((), ("cifar10", "cifar100", "fashion_mnist"), (), _HERE),
    "mnist": OODSets(
        ("fashion_mnist",),
        ("cifar10", "tiny-imagenet"),
        ("notmnist", "textures", "places365"),
        "OpenOOD 1, arXiv 2210.07242",
    ),
    "fashion_mnist": OODSets(("mnist",), ("cifar10", "tiny-imagenet"), (), _HERE),
    # Colon tissue and blood cells both have a class of lymphocytes.
    "medmnist/pathmnist": _medical("dermamnist", "retinamnist"),
    "medmnist/dermamnist": _medical("pathmnist", "retinamnist", "bloodmnist"),
    "medmnist/retinamnist": _medical("pathmnist", "dermamnist", "bloodmnist"),
    "medmnist/bloodmnist": _medical("dermamnist", "retinamnist"),
    "medmnist/octmnist": _grey_medical("octmnist"),
    "medmnist/pneumoniamnist": _grey_medical("pneumoniamnist"),
    "medmnist/breastmnist": _grey_medical("breastmnist"),
    "medmnist/tissuemnist": _grey_medical("tissuemnist"),
    # The three views show the same organs.
    "medmnist/organamnist": _grey_medical("organamnist"),
    "medmnist/organcmnist": _grey_medical("organamnist"),
    "medmnist/organsmnist": _grey_medical("organamnist"),
    "digits": OODSets(("fashion_mnist",), ("cifar10",), (), _HERE),
}
"""Name -> the sets of every data set that has some."""
