"""A small residual network for small images: what a CPU can train in seconds."""

from __future__ import annotations

from torch import Tensor, nn

from gence.models.residual import ResidualBlock, conv3x3, stages


class SmallResNet(nn.Module):
    """Three stages of one residual block each (16, 32, 64 channels at width 16), then a mean.

    Args:
        channels: Channels of the images.
        num_classes: Logits a row.
        width: Channels of the first stage; each stage doubles them and halves height and width.
    """

    def __init__(self, channels: int, num_classes: int, *, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv3x3(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = stages(ResidualBlock, width, depths=(1, 1, 1), widths=(width, 2 * width, 4 * width))
        self.head = nn.Linear(4 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate features, `(rows, 4 * width)`, of images `(rows, channels, height, width)`."""
        return self.stages(self.stem(images)).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))
