"""Parameters counted layer by layer here, against the models' and against the published figures."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from gence.models import MLP, SmallResNet, build, names
from gence.models.catalogue import CATALOGUE


def conv(inputs: int, outputs: int, side: int = 3) -> int:
    return inputs * outputs * side * side


def norm(channels: int) -> int:
    return 2 * channels


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def basic(before: int, after: int, *, projected: bool) -> int:
    shortcut = conv(before, after, 1) + norm(after) if projected else 0
    return conv(before, after) + norm(after) + conv(after, after) + norm(after) + shortcut


def resnet_of_two_layer_blocks(stem: int, depths: tuple[int, ...], widths: tuple[int, ...], *, option_a: bool) -> int:
    total, before = conv(3, stem) + norm(stem), stem
    for depth, width in zip(depths, widths, strict=True):
        total += basic(before, width, projected=before != width and not option_a)
        total += (depth - 1) * basic(width, width, projected=False)
        before = width
    return total + linear(before, 10)


def resnet_of_bottlenecks(depths: tuple[int, ...]) -> int:
    total, before = conv(3, 64) + norm(64), 64
    for depth, inner in zip(depths, (64, 128, 256, 512), strict=True):
        outer = 4 * inner
        for _ in range(depth):
            total += conv(before, inner, 1) + norm(inner) + conv(inner, inner) + norm(inner)
            total += conv(inner, outer, 1) + norm(outer)
            total += conv(before, outer, 1) + norm(outer) if before != outer else 0
            before = outer
    return total + linear(2048, 10)


def wide_resnet(blocks: int, width: int) -> int:
    """Norms stand before the convolutions, the 1x1 shortcuts have none, and a last norm closes the body."""
    total, before = conv(3, 16), 16
    for after in (16 * width, 32 * width, 64 * width):
        for _ in range(blocks):
            total += norm(before) + conv(before, after) + norm(after) + conv(after, after)
            total += conv(before, after, 1) if before != after else 0
            before = after
    return total + norm(before) + linear(before, 10)


def densenet(growth: int, depths: tuple[int, ...]) -> int:
    total, channels = conv(3, 2 * growth), 2 * growth
    for place, depth in enumerate(depths):
        for _ in range(depth):
            total += norm(channels) + conv(channels, 4 * growth, 1) + norm(4 * growth) + conv(4 * growth, growth)
            channels += growth
        if place < len(depths) - 1:
            total += norm(channels) + conv(channels, channels // 2, 1)
            channels //= 2
    return total + norm(channels) + linear(channels, 10)


def vit(side: int, patch: int, width: int, depth: int) -> int:
    tokens = (side // patch) ** 2
    attention = linear(width, 3 * width) + linear(width, width)
    perceptron = linear(width, 4 * width) + linear(4 * width, width)
    layer = attention + perceptron + 2 * norm(width)
    return conv(3, width, patch) + width + tokens * width + depth * layer + norm(width) + linear(width, 10)


BY_HAND: dict[str, Callable[[], int]] = {
    "small_resnet": lambda: resnet_of_two_layer_blocks(16, (1, 1, 1), (16, 32, 64), option_a=False),
    "mlp": lambda: linear(3 * 32 * 32, 128) + linear(128, 128) + 2 * norm(128) + linear(128, 10),
    "resnet32": lambda: resnet_of_two_layer_blocks(16, (5, 5, 5), (16, 32, 64), option_a=True),
    "resnet18": lambda: resnet_of_two_layer_blocks(64, (2, 2, 2, 2), (64, 128, 256, 512), option_a=False),
    "resnet18_thin": lambda: resnet_of_two_layer_blocks(16, (2, 2, 2, 2), (16, 32, 64, 128), option_a=False),
    "resnet34": lambda: resnet_of_two_layer_blocks(64, (3, 4, 6, 3), (64, 128, 256, 512), option_a=False),
    "resnet50": lambda: resnet_of_bottlenecks((3, 4, 6, 3)),
    "resnet110": lambda: resnet_of_bottlenecks((3, 4, 26, 3)),
    "wrn16_8": lambda: wide_resnet(2, 8),
    "wrn28_10": lambda: wide_resnet(4, 10),
    "wrn26_10": lambda: resnet_of_two_layer_blocks(16, (4, 4, 4), (160, 320, 640), option_a=False),
    "densenet121": lambda: densenet(32, (6, 12, 24, 16)),
    "vit_small": lambda: vit(32, 4, 192, 6),
}

# What public tables give for these nets on CIFAR-10. WRN-16-8 is "11.0M" in the paper of WRNs, ResNet-32 "0.46M" in
# that of ResNets. No figure was found for the resnet110 and wrn26_10 of Mukhoti et al.; small_resnet, mlp and
# vit_small are this library's own.
PUBLISHED = {
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet32": 464_154,
    "wrn28_10": 36_479_194,
    "densenet121": 6_956_298,
}


def count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", names())
def test_parameter_counts_are_those_of_the_layers_written_out(name: str) -> None:
    with torch.device("meta"):
        model = build(name, (3, 32, 32), 10, seed=0)
    assert count(model) == BY_HAND[name]()


def test_parameter_counts_are_the_published_ones() -> None:
    assert {name: BY_HAND[name]() for name in PUBLISHED} == PUBLISHED
    assert round(BY_HAND["wrn16_8"]() / 1e6, 1) == 11.0
    assert round(BY_HAND["wrn28_10"]() / 1e6, 1) == 36.5


@pytest.mark.parametrize("name", names())
def test_titles_tell_the_parameter_count(name: str) -> None:
    told = re.search(r"(\d+\.\d\d) M parameters", CATALOGUE[name].title)
    assert told is not None
    assert float(told[1]) == round(BY_HAND[name]() / 1e6, 2)


def test_the_small_models_have_the_widths_they_are_given() -> None:
    conv_weights = 9 * (1 * 8 + 8 * 8 * 2 + 8 * 16 + 16 * 16 + 16 * 32 + 32 * 32) + 8 * 16 + 16 * 32
    norms = 2 * (8 + 2 * 8 + 3 * 16 + 3 * 32)
    assert count(SmallResNet(1, 10, width=8)) == conv_weights + norms + 32 * 10 + 10
    assert count(MLP(5, 3, hidden=(8,))) == 5 * 8 + 8 + 2 * 8 + 8 * 3 + 3
