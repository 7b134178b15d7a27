"""Residual networks for small images: a 3x3 stem that keeps the size, stages of blocks, a mean."""

from __future__ import annotations

from torch import Tensor, nn

from gence.models.residual import Block, Bottleneck, PaddedBlock, ResidualBlock, conv3x3, stages


class ResNet(nn.Module):
    """Stem, stages and the mean over the pixels, then a linear head.

    Args:
        channels: Channels of the images.
        num_classes: Logits a row.
        block: `ResidualBlock`, `PaddedBlock` or `Bottleneck`.
        depths: Blocks of each stage.
        widths: Channels that each stage gives; each stage but the first halves height and width.
        stem: Channels of the 3x3 stem, which has stride 1 and no max-pool.

    Example:
        >>> import torch
        >>> model = ResNet(1, 4, block=ResidualBlock, depths=(1, 2), widths=(8, 16), stem=8)
        >>> model.features(torch.zeros(5, 1, 8, 8)).shape, model(torch.zeros(5, 1, 8, 8)).shape
        (torch.Size([5, 16]), torch.Size([5, 4]))

    Reference: He et al. 2016, Deep Residual Learning for Image Recognition, arXiv 1512.03385.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        block: Block,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        stem: int,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv3x3(channels, stem, 1), nn.BatchNorm2d(stem), nn.ReLU())
        self.stages = stages(block, stem, depths=depths, widths=widths)
        self.head = nn.Linear(widths[-1], num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, `(rows, widths[-1])`, of images `(rows, channels, height, width)`."""
        return self.stages(self.stem(images)).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def resnet18(channels: int, num_classes: int) -> ResNet:
    """ResNet-18 with a stem for small images: [2, 2, 2, 2] residual blocks, 64 to 512 channels."""
    return _residual(channels, num_classes, (2, 2, 2, 2))


def resnet18_thin(channels: int, num_classes: int) -> ResNet:
    """ResNet-18 with a quarter of the channels, 16 to 128: a sixteenth of the operations, for a CPU."""
    return _residual(channels, num_classes, (2, 2, 2, 2), narrower=4)


def resnet34(channels: int, num_classes: int) -> ResNet:
    """ResNet-34 with a stem for small images: [3, 4, 6, 3] residual blocks, 64 to 512 channels."""
    return _residual(channels, num_classes, (3, 4, 6, 3))


def resnet50(channels: int, num_classes: int) -> ResNet:
    """ResNet-50 with a stem for small images: [3, 4, 6, 3] bottlenecks, 256 to 2048 channels.

    The net of Mukhoti et al. 2020 (arXiv 2002.09437) and of the calibration papers that follow their protocol.
    """
    return _bottlenecks(channels, num_classes, (3, 4, 6, 3))


def resnet110(channels: int, num_classes: int) -> ResNet:
    """The "ResNet-110" of the calibration papers: [3, 4, 26, 3] bottlenecks, 256 to 2048 channels.

    It is the net of the code of Mukhoti et al. 2020 (arXiv 2002.09437). The ResNet-110 of He et al. is another net,
    of 54 residual blocks with 16 to 64 channels and 1.7 M parameters.
    """
    return _bottlenecks(channels, num_classes, (3, 4, 26, 3))


def resnet32(channels: int, num_classes: int) -> ResNet:
    """ResNet-32 of He et al. for CIFAR: [5, 5, 5] blocks of 16 to 64 channels, shortcuts without weights (option A).

    The net of the papers on long tails, with the initial weights of Cao et al. 2019 (LDAM-DRW, arXiv 1906.07413):
    every convolution and the head are drawn as He et al. 2015 (arXiv 1502.01852) propose, by fan-in.
    """
    model = ResNet(channels, num_classes, block=PaddedBlock, depths=(5, 5, 5), widths=(16, 32, 64), stem=16)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return model


def _residual(channels: int, num_classes: int, depths: tuple[int, ...], narrower: int = 1) -> ResNet:
    stem, *widths = (width // narrower for width in (64, 64, 128, 256, 512))
    return ResNet(channels, num_classes, block=ResidualBlock, depths=depths, widths=tuple(widths), stem=stem)


def _bottlenecks(channels: int, num_classes: int, depths: tuple[int, ...]) -> ResNet:
    return ResNet(channels, num_classes, block=Bottleneck, depths=depths, widths=(256, 512, 1024, 2048), stem=64)
