"""The named data sets: where each is to be had, what was published of it, and how its images are usually augmented."""

from __future__ import annotations

from gence.data.dataset import LabelledData
from gence.data.facts import Facts, Recipe
from gence.data.medmnist import MEDMNIST

_KRIZHEVSKY = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
_LECUN = "LeCun et al. 1998, doi 10.1109/5.726791"
_ALPAYDIN = "Alpaydin and Kaynak 1998, doi 10.24432/C50P49"

RECIPES: dict[str, Recipe] = {
    "cifar10": Recipe(
        title="small photographs of animals and vehicles",
        reference=_KRIZHEVSKY,
        facts=Facts(50_000, 10_000, 10, (3, 32, 32)),
        augmentation=("crop", "flip"),
        repository="uoft-cs/cifar10",
        config="plain_text",
    ),
    "cifar100": Recipe(
        title="small photographs of 100 kinds of things (the fine labels)",
        reference=_KRIZHEVSKY,
        facts=Facts(50_000, 10_000, 100, (3, 32, 32)),
        augmentation=("crop", "flip"),
        repository="uoft-cs/cifar100",
        config="cifar100",
        label="fine_label",
    ),
    "tiny-imagenet": Recipe(
        title="200 classes of ImageNet, made small",
        reference="Le and Yang 2015, Tiny ImageNet visual recognition challenge",
        facts=Facts(100_000, 10_000, 200, (3, 64, 64)),
        augmentation=("crop", "flip"),
        repository="zh-plus/tiny-imagenet",
    ),
    "svhn": Recipe(
        title="digits of house numbers, cropped",
        reference="Netzer et al. 2011, Reading digits in natural images with unsupervised feature learning",
        facts=Facts(73_257, 26_032, 10, (3, 32, 32)),
        augmentation=("crop",),
        repository="ufldl-stanford/svhn",
        config="cropped_digits",
    ),
    "mnist": Recipe(
        title="handwritten digits",
        reference=_LECUN,
        facts=Facts(60_000, 10_000, 10, (1, 28, 28)),
        repository="ylecun/mnist",
        config="mnist",
    ),
    "mnist_pairs": Recipe(
        title="two digits of mnist side by side",
        reference=_LECUN,
        facts=Facts(60_000, 10_000, 100, (1, 28, 56)),
        repository="ylecun/mnist",
        config="mnist",
    ),
    "fashion_mnist": Recipe(
        title="pictures of clothes",
        reference="Xiao et al. 2017, arXiv 1708.07747",
        facts=Facts(60_000, 10_000, 10, (1, 28, 28)),
        augmentation=("crop", "flip"),
        repository="zalando-datasets/fashion_mnist",
        config="fashion_mnist",
    ),
    **MEDMNIST,
    "breast_cancer": Recipe(
        title="measurements of cell nuclei",
        reference="Street et al. 1993, doi 10.1117/12.148698",
        facts=Facts(569, 0, 2, (30,)),
    ),
    "digits": Recipe(
        title="handwritten digits of scikit-learn, very small",
        reference=_ALPAYDIN,
        facts=Facts(1_797, 0, 10, (1, 8, 8)),
        white=16.0,
    ),
    "digit_pairs": Recipe(
        title="two of these digits side by side",
        reference=_ALPAYDIN,
        facts=Facts(4_000, 2_000, 100, (1, 8, 16)),
        white=16.0,
    ),
}
"""Every name that `load` takes."""


def names() -> tuple[str, ...]:
    """Every named data set.

    Example:
        >>> names()[:3]
        ('cifar10', 'cifar100', 'tiny-imagenet')
    """
    return tuple(RECIPES)


def augmentation(name: str) -> tuple[str, ...]:
    """The usual augmentation of a data set's training images, by name; none for what has no recipe.

    Args:
        name: What `load` was asked for, and not `LabelledData.name`, which a folder of one's own may share with a
            recipe.

    Example:
        >>> augmentation("cifar10"), augmentation("photos")
        (('crop', 'flip'), ())
    """
    return RECIPES[name].augmentation if name in RECIPES else ()


def white_pixel(data: LabelledData) -> float | None:
    """The value of a white pixel where a recipe tells it, or None.

    Args:
        data: A folder of images may bear the name of a recipe without being that data set, so that the shape of a row
            and the number of classes must be the recipe's, too.

    Example:
        >>> from gence.data import load
        >>> white_pixel(load("digits"))
        16.0
    """
    recipe = RECIPES.get(data.name)
    if recipe is None or (recipe.facts.shape, recipe.facts.classes) != (data.inputs.shape[1:], data.num_classes):
        return None
    return recipe.white
