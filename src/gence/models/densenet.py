"""Densely connected networks for small images: each layer sees what all layers before it gave."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gence.models.residual import conv3x3


class DenseLayer(nn.Module):
    """1x1 convolution to four times `growth` channels, 3x3 to `growth`, joined to the input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            conv3x3(4 * growth, growth, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


class DenseNet(nn.Module):
    """DenseNet-BC with a 3x3 stem: dense blocks with a transition between two, then batch norm, ReLU and a mean.

    Args:
        channels: Channels of the images.
        num_classes: Logits a row.
        growth: Channels that each layer adds; the stem gives twice as many.
        depths: Layers of each dense block.
        reduction: Share of the channels that a transition keeps; it also halves height and width.

    Example:
        >>> import torch
        >>> model = DenseNet(1, 4, growth=4, depths=(2, 2))
        >>> model.features(torch.zeros(5, 1, 8, 8)).shape, model(torch.zeros(5, 1, 8, 8)).shape
        (torch.Size([5, 16]), torch.Size([5, 4]))

    Reference: Huang et al. 2017, Densely Connected Convolutional Networks, arXiv 1608.06993.
    """

    def __init__(
        self, channels: int, num_classes: int, *, growth: int, depths: tuple[int, ...], reduction: float = 0.5
    ) -> None:
        super().__init__()
        width = 2 * growth
        layers: list[nn.Module] = [conv3x3(channels, width, 1)]
        for place, depth in enumerate(depths):
            if place > 0:
                kept = int(reduction * width)
                layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, kept, 1, bias=False), nn.AvgPool2d(2)]
                width = kept
            for _ in range(depth):
                layers.append(DenseLayer(width, growth))
                width += growth
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, one a channel, of images `(rows, channels, height, width)`."""
        return self.body(images).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def densenet121(channels: int, num_classes: int) -> DenseNet:
    """DenseNet-121 with a stem for small images: growth 32, blocks of 6, 12, 24 and 16 layers, 1024 features.

    The net of Mukhoti et al. 2020 (arXiv 2002.09437) and of the calibration papers that follow their protocol.
    """
    return DenseNet(channels, num_classes, growth=32, depths=(6, 12, 24, 16))
