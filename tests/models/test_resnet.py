from __future__ import annotations

import math

import torch
from torch import nn

from gence.models import build


def test_resnet32_has_31_convolutions_and_a_head() -> None:
    model = build("resnet32", (3, 32, 32), 10, seed=0)
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == 31
    assert all(layer.kernel_size == (3, 3) for layer in model.modules() if isinstance(layer, nn.Conv2d))


def test_resnet32_is_drawn_by_fan_in() -> None:
    """Variance 2 / fan-in, the head's as well: 3 sigma over thousands of weights."""
    for layer in build("resnet32", (3, 32, 32), 100, seed=0).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            scaled = layer.weight.detach().double() * math.sqrt(fan_in / 2)
            assert abs(scaled.square().mean() - 1) < 4 * math.sqrt(2 / scaled.numel())


def test_the_resnets_have_the_layers_in_their_names() -> None:
    """Convolutions that are no shortcut, and the head."""
    for name, layers in (("resnet18", 18), ("resnet34", 34), ("resnet50", 50), ("resnet110", 110)):
        with torch.device("meta"):
            model = build(name, (3, 32, 32), 10, seed=0)
        convolutions = [
            key for key, layer in model.named_modules() if isinstance(layer, nn.Conv2d) and "shortcut" not in key
        ]
        assert len(convolutions) + 1 == layers, name


def test_the_stem_keeps_the_size_and_the_last_map_of_32_pixels_has_4() -> None:
    with torch.device("meta"):
        model = build("resnet18", (3, 32, 32), 10, seed=0)
        stem = model.stem(torch.zeros(2, 3, 32, 32))
    assert stem.shape == (2, 64, 32, 32)
    assert model.stages(stem).shape == (2, 512, 4, 4)
