"""A small residual network for small images: what a CPU can train in seconds."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SmallResNet(nn.Module):
    """Three stages of one residual block each (16, 32, 64 channels at width 16), then a mean.

    Args:
        channels: Channels of the images.
        num_classes: Logits a row.
        width: Channels of the first stage; each stage doubles them and halves height and width.
    """

    def __init__(self, channels: int, num_classes: int, *, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.Sequential(
            ResidualBlock(width, width, stride=1),
            ResidualBlock(width, 2 * width, stride=2),
            ResidualBlock(2 * width, 4 * width, stride=2),
        )
        self.head = nn.Linear(4 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, `(rows, 4 * width)`, of images `(rows, channels, height, width)`."""
        return self.stages(self.stem(images)).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; where the shape changes the shortcut is a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_conv(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU())
        self.second = nn.Sequential(_conv(outputs, outputs, 1), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


def _conv(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
