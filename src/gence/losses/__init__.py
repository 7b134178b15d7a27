"""Training losses: pure functions of (logits, target), drop-in for `F.cross_entropy`."""

from gence._epochs import EpochLoss
from gence.losses import catalogue
from gence.losses.adaptive_focal import AdaFocalLoss, adaptive_focal
from gence.losses.balanced import BalancedGenCELoss
from gence.losses.binary import generative_binary_cross_entropy_with_logits
from gence.losses.brier import brier
from gence.losses.class_mass import ClassMass, class_mass, total_class_mass
from gence.losses.constrained import CALSLoss
from gence.losses.criterion import Criterion
from gence.losses.focal import dual_focal, focal, focal_sample_dependent
from gence.losses.generative import GenCELoss, generative_cross_entropy
from gence.losses.hybrid import gence_focal, gence_margin, gence_prior, gence_smoothing
from gence.losses.ldam import LDAMLoss, ldam
from gence.losses.linear import linear_class_mass, linear_generative_cross_entropy
from gence.losses.margin import acls, mbls
from gence.losses.marginal import dca, mdca, mmce
from gence.losses.moving import MovingClassMass
from gence.losses.pairwise import cpc
from gence.losses.poly import poly1
from gence.losses.prior import (
    balanced_softmax,
    class_balanced,
    effective_number_weights,
    logit_adjusted,
    logit_adjusted_smoothing,
)
from gence.losses.ranking import CRLLoss, correctness_ranking
from gence.losses.smoothing import confidence_penalty, label_relaxation, label_smoothing

__all__ = [
    "AdaFocalLoss",
    "BalancedGenCELoss",
    "CALSLoss",
    "CRLLoss",
    "ClassMass",
    "Criterion",
    "EpochLoss",
    "GenCELoss",
    "LDAMLoss",
    "MovingClassMass",
    "acls",
    "adaptive_focal",
    "balanced_softmax",
    "brier",
    "catalogue",
    "class_balanced",
    "class_mass",
    "confidence_penalty",
    "correctness_ranking",
    "cpc",
    "dca",
    "dual_focal",
    "effective_number_weights",
    "focal",
    "focal_sample_dependent",
    "gence_focal",
    "gence_margin",
    "gence_prior",
    "gence_smoothing",
    "generative_binary_cross_entropy_with_logits",
    "generative_cross_entropy",
    "label_relaxation",
    "label_smoothing",
    "ldam",
    "linear_class_mass",
    "linear_generative_cross_entropy",
    "logit_adjusted",
    "logit_adjusted_smoothing",
    "mbls",
    "mdca",
    "mmce",
    "poly1",
    "total_class_mass",
]
