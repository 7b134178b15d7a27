"""Wide residual networks: few blocks of many channels, batch norm and ReLU before each convolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from gence.models.residual import ResidualBlock, conv3x3, stages
from gence.models.resnet import ResNet


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU and a 3x3 convolution, twice, added to the input.

    Where the shape changes the shortcut is a 1x1 convolution of the normed input, else it is the input itself.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.body = nn.Sequential(
            conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU(), conv3x3(outputs, outputs, 1)
        )
        same = stride == 1 and inputs == outputs
        self.projection = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        normed = F.relu(self.norm(x))
        return self.body(normed) + (x if self.projection is None else self.projection(normed))


class WideResNet(nn.Module):
    """WRN-depth-width: three stages of (depth - 4) / 6 pre-activation blocks, then batch norm, ReLU and a mean.

    Convolutions are drawn as He et al. 2015 (arXiv 1502.01852) propose, by fan-out, and the head's bias is 0, as in
    the authors' code; there is no dropout.

    Args:
        channels: Channels of the images.
        num_classes: Logits a row.
        depth: 6 n + 4 for n blocks a stage: the convolutions, those of the three shortcuts included.
        width: The stages have 16, 32 and 64 times so many channels.

    Raises:
        ValueError: If `depth` is not 6 n + 4.

    Example:
        >>> import torch
        >>> model = WideResNet(1, 4, depth=10, width=1)
        >>> model.features(torch.zeros(5, 1, 8, 8)).shape, model(torch.zeros(5, 1, 8, 8)).shape
        (torch.Size([5, 64]), torch.Size([5, 4]))

    Reference: Zagoruyko and Komodakis 2016, Wide Residual Networks, arXiv 1605.07146.
    """

    def __init__(self, channels: int, num_classes: int, *, depth: int, width: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if blocks < 1 or rest:
            raise ValueError(f"depth must be 6 n + 4 for n blocks a stage (10, 16, 22, 28, ...), got {depth}")
        widths = (16 * width, 32 * width, 64 * width)
        self.stem = conv3x3(channels, 16, 1)
        self.stages = stages(PreActivationBlock, 16, depths=(blocks,) * 3, widths=widths)
        self.norm = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.head = nn.Linear(widths[-1], num_classes)
        _draw_convolutions_by_fan_out(self)
        nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, `(rows, 64 * width)`, of images `(rows, channels, height, width)`."""
        return self.norm(self.stages(self.stem(images))).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def wrn16_8(channels: int, num_classes: int) -> WideResNet:
    """WRN-16-8, the net of the benchmark of small data of Brigato et al. 2022 (IEEE Access): 2 blocks a stage."""
    return WideResNet(channels, num_classes, depth=16, width=8)


def wrn28_10(channels: int, num_classes: int) -> WideResNet:
    """WRN-28-10, the net that Zagoruyko and Komodakis 2016 recommend for CIFAR, without dropout: 4 blocks a stage."""
    return WideResNet(channels, num_classes, depth=28, width=10)


def wrn26_10(channels: int, num_classes: int) -> ResNet:
    """The "WRN-26-10" of the calibration papers: three stages of 4 residual blocks, ReLU after the addition.

    It is the net of the code of Mukhoti et al. 2020 (arXiv 2002.09437), where depth is 6 n + 2. Zagoruyko and
    Komodakis count the shortcuts too, so it is as deep as their WRN-28-10, which has its ReLUs in front.
    """
    model = ResNet(channels, num_classes, block=ResidualBlock, depths=(4, 4, 4), widths=(160, 320, 640), stem=16)
    _draw_convolutions_by_fan_out(model)
    return model


def _draw_convolutions_by_fan_out(model: nn.Module) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
