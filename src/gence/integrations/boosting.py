"""GenCE as the objective of XGBoost and LightGBM, with the class mass of all training rows.

Neither library is imported: both call an objective with arrays, or with an object that has labels and weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from gence.integrations._boosting import Array, generative_loss, gradient_and_bound, log_prior, probabilities

__all__ = ["GenerativeObjective", "generative_loss", "gradient_and_bound", "log_prior", "probabilities"]


class TrainingData(Protocol):
    """What is asked of an `xgboost.DMatrix` or a `lightgbm.Dataset`."""

    def get_label(self) -> ArrayLike: ...

    def get_weight(self) -> ArrayLike | None: ...


@dataclass(frozen=True, eq=False)
class GenerativeObjective:
    """GenCE in the place of the softmax objective; with class counts, prior-aware GenCE.

    The object itself is for `xgboost.train(obj=...)` and for `lightgbm.train` with `{"objective": ...}`; its method
    `sklearn` is for `XGBClassifier` and `LGBMClassifier`. It can be pickled, and takes the weights of the data.

    The libraries treat an objective of one's own in another way than theirs, see the page on boosting: LightGBM
    predicts raw scores, which `probabilities` turns into probabilities; and neither starts at the class shares. Give
    XGBoost `base_score=log_prior(counts)`; for LightGBM, `class_counts` here do the same.

    Attributes:
        strength: How much of log m is taken off, at least 0: 0 is cross-entropy, 1 is GenCE.
        class_counts: `(K,)`, training rows of each class; if given the loss is of z + tau log pi, as in `gence_prior`.
        tau: How much of log pi is added.
        class_weight: `(K,)`, weights of the terms but not of the mass.
        factor: Of the bound. None is 2, as in XGBoost's softmax, or 1 for one score of two classes. LightGBM's own
            softmax has K/(K - 1).

    Example:
        >>> objective = GenerativeObjective()
        >>> gradient, bound = objective.sklearn(np.array([0, 1]), np.zeros((2, 2)))
        >>> gradient.tolist()
        [[-0.5, 0.5], [0.5, -0.5]]
    """

    strength: float = 1.0
    class_counts: Sequence[float] | None = None
    tau: float = 1.0
    class_weight: Sequence[float] | None = None
    factor: float | None = None

    def __call__(self, scores: Array, data: TrainingData) -> tuple[Array, Array]:
        """Gradient and bound, for a training loop that hands over its data.

        Args:
            scores: `(N, K)`, or `(N,)` for one score of two classes.
            data: A `DMatrix` or a `Dataset`; its weights are row weights.

        Returns:
            As `gradient_and_bound`.

        Raises:
            InputError: As there.
        """
        return self.sklearn(data.get_label(), scores, _weights_of(data))

    def sklearn(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Gradient and bound, for `XGBClassifier(objective=...)` and `LGBMClassifier(objective=...)`.

        Args:
            y_true: `(N,)`, class numbers.
            y_pred: `(N, K)`, raw scores, or `(N,)` for one score of two classes.
            sample_weight: `(N,)`, row weights.

        Returns:
            As `gradient_and_bound`.

        Raises:
            InputError: As there.
        """
        settings = {"class_counts": self.class_counts, "tau": self.tau, "class_weight": self.class_weight}
        return gradient_and_bound(y_pred, y_true, sample_weight, strength=self.strength, factor=self.factor, **settings)

    def xgboost_metric(self, scores: Array, data: TrainingData) -> list[tuple[str, float]]:
        """For `xgboost.train(custom_metric=...)`: the negative log-likelihood and this loss, of the rows of `data`."""
        return [(name, value) for name, value, _ in self.lightgbm_metric(scores, data)]

    def lightgbm_metric(self, scores: Array, data: TrainingData) -> list[tuple[str, float, bool]]:
        """For `lightgbm.train(feval=...)`: the negative log-likelihood and this loss, of the rows of `data`."""
        prior = {"class_counts": self.class_counts, "tau": self.tau}
        given = (scores, data.get_label(), _weights_of(data))
        nll = generative_loss(*given, strength=0.0, **prior)
        loss = generative_loss(*given, strength=self.strength, class_weight=self.class_weight, **prior)
        return [("nll", nll, False), ("gence", loss, False)]


def _weights_of(data: TrainingData) -> ArrayLike | None:
    weight = data.get_weight()
    return None if weight is None or np.size(weight) == 0 else weight
