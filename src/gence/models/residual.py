"""What residual networks are built of: blocks that add their input, and stages of blocks."""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn


class Block(Protocol):
    """Makes one block from `inputs` to `outputs` channels; stride 2 halves height and width."""

    def __call__(self, inputs: int, outputs: int, *, stride: int) -> nn.Module: ...


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, then ReLU; where the shape changes the shortcut is a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU())
        self.second = nn.Sequential(conv3x3(outputs, outputs, 1), nn.BatchNorm2d(outputs))
        self.shortcut = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class PaddedBlock(nn.Module):
    """A `ResidualBlock` whose shortcut has no weights: every second pixel, and zeros in the new channels.

    Option A of He et al., half of the new channels before the old ones and half behind.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU())
        self.second = nn.Sequential(conv3x3(outputs, outputs, 1), nn.BatchNorm2d(outputs))
        self.stride = stride
        self.before, self.behind = (outputs - inputs) // 2, (outputs - inputs + 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.behind))
        return F.relu(self.second(self.first(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1 to a quarter of the output channels, 3x3 (with the stride), 1x1 back, and a shortcut, then ReLU."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            conv3x3(inner, inner, stride),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def stages(block: Block, inputs: int, *, depths: tuple[int, ...], widths: tuple[int, ...]) -> nn.Sequential:
    """Stage s has `depths[s]` blocks of `widths[s]` channels; each stage but the first halves height and width."""
    blocks: list[nn.Module] = []
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for place in range(depth):
            blocks.append(block(inputs, width, stride=2 if stage > 0 and place == 0 else 1))
            inputs = width
    return nn.Sequential(*blocks)


def conv3x3(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size at stride 1; a batch norm follows, so it has no bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The shortcut: the identity, or a 1x1 convolution and batch norm where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
