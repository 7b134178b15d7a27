"""The models by name, built with given weights for a given shape of input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import nn

from gence._errors import InputError, unknown_name
from gence.models.densenet import densenet121
from gence.models.heads import CosineHead
from gence.models.mlp import MLP
from gence.models.resnet import resnet18, resnet18_thin, resnet32, resnet34, resnet50, resnet110
from gence.models.small_resnet import SmallResNet
from gence.models.vit import vit_small
from gence.models.wide_resnet import wrn16_8, wrn26_10, wrn28_10

Head = Literal["linear", "cosine"]


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        title: A few words, with the number of parameters for 3 channels of 32x32 pixels and 10 classes.
        reference: Its source.
        build: (shape of a row's input, number of classes) -> the model.
        axes: How many axes a row's input may have.
        least_side: Pixels that the shorter side of an image needs.
    """

    title: str
    reference: str
    build: Callable[[tuple[int, ...], int], nn.Module]
    axes: tuple[int, ...] = (3,)
    least_side: int = 1


def _of_channels(build: Callable[[int, int], nn.Module]) -> Callable[[tuple[int, ...], int], nn.Module]:
    return lambda shape, num_classes: build(shape[0], num_classes)


# The least side is what lets every stage that halves the image halve more than one pixel, and for the ViT two patches
# a side. The small ResNet has none, because "auto" gives it every image.
CATALOGUE: dict[str, Entry] = {
    "small_resnet": Entry(
        "ResNet of three blocks, 0.08 M parameters",
        "after He et al. 2016, arXiv 1512.03385",
        _of_channels(SmallResNet),
    ),
    "mlp": Entry(
        "MLP, two layers of 128, 0.41 M parameters",
        "Rumelhart et al. 1986, Nature 323",
        lambda shape, num_classes: MLP(math.prod(shape), num_classes),
        axes=(1, 3),
    ),
    "resnet32": Entry(
        "ResNet-32 for CIFAR, 0.46 M parameters",
        "He et al. 2016, arXiv 1512.03385",
        _of_channels(resnet32),
        least_side=4,
    ),
    "resnet18": Entry(
        "ResNet-18, 3x3 stem, 11.17 M parameters",
        "He et al. 2016, arXiv 1512.03385",
        _of_channels(resnet18),
        least_side=8,
    ),
    "resnet18_thin": Entry(
        "narrow ResNet-18, 0.70 M parameters",
        "after He et al. 2016, arXiv 1512.03385",
        _of_channels(resnet18_thin),
        least_side=8,
    ),
    "resnet34": Entry(
        "ResNet-34, 3x3 stem, 21.28 M parameters",
        "He et al. 2016, arXiv 1512.03385",
        _of_channels(resnet34),
        least_side=8,
    ),
    "resnet50": Entry(
        "ResNet-50, 3x3 stem, 23.52 M parameters",
        "He et al. 2016, arXiv 1512.03385",
        _of_channels(resnet50),
        least_side=8,
    ),
    "resnet110": Entry(
        "ResNet-110 of bottlenecks, 45.86 M parameters",
        "as Mukhoti et al. 2020, arXiv 2002.09437",
        _of_channels(resnet110),
        least_side=8,
    ),
    "wrn16_8": Entry(
        "WRN-16-8, 10.96 M parameters",
        "Zagoruyko and Komodakis 2016, arXiv 1605.07146",
        _of_channels(wrn16_8),
        least_side=4,
    ),
    "wrn28_10": Entry(
        "WRN-28-10 without dropout, 36.48 M parameters",
        "Zagoruyko and Komodakis 2016, arXiv 1605.07146",
        _of_channels(wrn28_10),
        least_side=4,
    ),
    "wrn26_10": Entry(
        "WRN-26-10, ReLU after sums, 36.48 M parameters",
        "as Mukhoti et al. 2020, arXiv 2002.09437",
        _of_channels(wrn26_10),
        least_side=4,
    ),
    "densenet121": Entry(
        "DenseNet-121, 3x3 stem, 6.96 M parameters",
        "Huang et al. 2017, arXiv 1608.06993",
        _of_channels(densenet121),
        least_side=8,
    ),
    "vit_small": Entry(
        "small ViT, 4x4 patches, 2.69 M parameters",
        "after Dosovitskiy et al. 2021, arXiv 2010.11929",
        lambda shape, num_classes: vit_small(cast(tuple[int, int, int], shape), num_classes),
        least_side=8,
    ),
}


def names() -> tuple[str, ...]:
    """Every name that `build` takes."""
    return tuple(CATALOGUE)


def choose(name: str, shape: tuple[int, ...]) -> str:
    """The model for rows of this shape: `name` itself, or for `"auto"` a small ResNet for images, else an MLP.

    Args:
        name: One of `names()` or `"auto"`.
        shape: Shape of one row's input: `(channels, height, width)` or `(columns,)`.

    Raises:
        InputError: If there is no such model, or it cannot take rows of this shape.
    """
    if name == "auto":
        return "small_resnet" if len(shape) == 3 else "mlp"
    if name not in CATALOGUE:
        raise unknown_name("model", name, ("auto", *CATALOGUE))
    if not _takes(CATALOGUE[name], shape):
        fitting = ", ".join(n for n, entry in CATALOGUE.items() if _takes(entry, shape))
        if len(shape) not in CATALOGUE[name].axes:
            raise InputError(f"model {name!r} takes images, the data are a table of {shape[0]} columns; use: {fitting}")
        least, (height, width) = CATALOGUE[name].least_side, shape[1:]
        raise InputError(
            f"model {name!r} takes images of at least {least}x{least} pixels, these have {height}x{width}; "
            f"enlarge them or use: {fitting}"
        )
    return name


def _takes(entry: Entry, shape: tuple[int, ...]) -> bool:
    return len(shape) in entry.axes and (len(shape) == 1 or min(shape[1:]) >= entry.least_side)


def build(
    name: str,
    shape: tuple[int, ...],
    num_classes: int,
    *,
    seed: int,
    head: Head = "linear",
    hidden: tuple[int, ...] | None = None,
) -> nn.Module:
    """A model with weights drawn from `seed`; the global random state is left as it was.

    Its `features(rows)` gives the penultimate features, `(rows, F)`, and `model(rows)` is `model.head(features)`.
    The head may be replaced by any module that takes the same `model.head.in_features`.

    Args:
        name: One of `names()`.
        shape: Shape of one row's input: `(channels, height, width)` or `(columns,)`. Images of 8x8 pixels suit every
            model, of 4x4 pixels those of three stages: `small_resnet`, `resnet32` and the WRNs.
        num_classes: Logits a row.
        seed: Two calls with one seed give the same weights, and all but the head's are the same for both heads.
        head: `"linear"`, or `"cosine"` for a `CosineHead`.
        hidden: Widths of the hidden layers, of an `mlp` only; none for a linear model.

    Raises:
        InputError: If there is no such model or head, the model cannot take rows of this shape, or widths are given for
            one that has no hidden layers of that kind.

    Example:
        >>> model = build("resnet32", (1, 8, 8), 10, seed=0)
        >>> model(torch.zeros(2, 1, 8, 8)).shape, model.features(torch.zeros(2, 1, 8, 8)).shape
        (torch.Size([2, 10]), torch.Size([2, 64]))
    """
    if head not in get_args(Head):
        raise unknown_name("head", head, get_args(Head))
    chosen = choose(name, shape)
    if hidden is not None and chosen != "mlp":
        raise InputError(f"hidden widths are for the model 'mlp'; got {hidden} for {chosen!r}: leave them out")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hidden is None:
            model = CATALOGUE[chosen].build(shape, num_classes)
        else:
            model = cast(nn.Module, MLP(math.prod(shape), num_classes, hidden=hidden))
        if head == "cosine":
            model.head = CosineHead(cast(nn.Linear, model.head).in_features, num_classes)
        return model
