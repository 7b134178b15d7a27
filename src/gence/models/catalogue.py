"""The models by name, built with given weights for a given shape of input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from gence._errors import InputError, unknown_name
from gence.models.mlp import MLP
from gence.models.small_resnet import SmallResNet


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue; `build` takes the shape of a row's input and the number of classes."""

    title: str
    axes: tuple[int, ...]
    build: Callable[[tuple[int, ...], int], nn.Module]


CATALOGUE: dict[str, Entry] = {
    "small_resnet": Entry(
        "residual network with three blocks, 16 to 64 channels, for small images",
        (3,),
        lambda shape, num_classes: SmallResNet(shape[0], num_classes),
    ),
    "mlp": Entry(
        "multilayer perceptron, two hidden layers of 128, for tables",
        (1, 3),
        lambda shape, num_classes: MLP(math.prod(shape), num_classes),
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
    if len(shape) not in CATALOGUE[name].axes:
        fitting = ", ".join(n for n, entry in CATALOGUE.items() if len(shape) in entry.axes)
        raise InputError(f"model {name!r} takes images, the data are a table of {shape[0]} columns; use: {fitting}")
    return name


def build(name: str, shape: tuple[int, ...], num_classes: int, *, seed: int) -> nn.Module:
    """A model with weights drawn from `seed`; the global random state is left as it was.

    Args:
        name: One of `names()`.
        shape: Shape of one row's input: `(channels, height, width)` or `(columns,)`.
        num_classes: Logits a row.
        seed: Two calls with one seed give the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CATALOGUE[choose(name, shape)].build(shape, num_classes)
