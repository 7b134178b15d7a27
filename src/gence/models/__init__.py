"""Networks that take shapes and give logits and features; they know no data set."""

from gence.models.catalogue import build, choose, names
from gence.models.mlp import MLP
from gence.models.small_resnet import SmallResNet

__all__ = ["MLP", "SmallResNet", "build", "choose", "names"]
