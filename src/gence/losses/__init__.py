"""Training losses: pure functions of (logits, target), drop-in for `F.cross_entropy`."""

from gence.losses import catalogue
from gence.losses.focal import focal
from gence.losses.generative import GenCELoss, generative_cross_entropy

__all__ = ["GenCELoss", "catalogue", "focal", "generative_cross_entropy"]
