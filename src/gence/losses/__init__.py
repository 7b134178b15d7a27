"""Training losses: pure functions of (logits, target), drop-in for `F.cross_entropy`."""

from gence.losses import catalogue
from gence.losses.binary import generative_binary_cross_entropy_with_logits
from gence.losses.class_mass import ClassMass, class_mass, total_class_mass
from gence.losses.focal import focal
from gence.losses.generative import GenCELoss, generative_cross_entropy
from gence.losses.moving import MovingClassMass

__all__ = [
    "ClassMass",
    "GenCELoss",
    "MovingClassMass",
    "catalogue",
    "class_mass",
    "focal",
    "generative_binary_cross_entropy_with_logits",
    "generative_cross_entropy",
    "total_class_mass",
]
