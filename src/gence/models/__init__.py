"""Networks that take shapes and give logits and features; they know no data set."""

from gence.models.catalogue import build, choose, names
from gence.models.densenet import DenseNet, densenet121
from gence.models.heads import CosineHead
from gence.models.mlp import MLP
from gence.models.resnet import ResNet, resnet18, resnet32, resnet34, resnet50, resnet110
from gence.models.small_resnet import SmallResNet
from gence.models.vit import VisionTransformer, vit_small
from gence.models.wide_resnet import WideResNet, wrn16_8, wrn26_10, wrn28_10

__all__ = [
    "MLP",
    "CosineHead",
    "DenseNet",
    "ResNet",
    "SmallResNet",
    "VisionTransformer",
    "WideResNet",
    "build",
    "choose",
    "densenet121",
    "names",
    "resnet18",
    "resnet32",
    "resnet34",
    "resnet50",
    "resnet110",
    "vit_small",
    "wrn16_8",
    "wrn26_10",
    "wrn28_10",
]
