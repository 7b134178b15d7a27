"""Out-of-distribution scores, one number a row: a high score says that the row looks like the training data.

Scores are float64 `(rows,)`, from the logits of a model or from its features (the inputs of its last layer). The
convention is OpenOOD's, high is in-distribution; `gence.metrics.ood_auroc` and its neighbours expect just that.
"""

from gence.ood import catalogue
from gence.ood.knn import NearestNeighbours, fit_knn
from gence.ood.mahalanobis import Mahalanobis, fit_mahalanobis
from gence.ood.scores import energy, max_logit, max_softmax, negative_entropy

__all__ = [
    "Mahalanobis",
    "NearestNeighbours",
    "catalogue",
    "energy",
    "fit_knn",
    "fit_mahalanobis",
    "max_logit",
    "max_softmax",
    "negative_entropy",
]
