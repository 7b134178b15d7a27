"""A calibrator of gence around any classifier of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.utils import assert_all_finite, get_tags, indexable
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, has_fit_parameter

from gence._errors import InputError
from gence.classifier import Settings, calibrate
from gence.integrations.sklearn.rows import as_repetitions, checked_weight
from gence.integrations.sklearn.scores import as_decision, as_probabilities, decided
from gence.training import copies

PROBABILITY_FLOOR = float(np.finfo(np.float32).eps)
"""What a probability below it counts as, since 0 has no logarithm."""

_MOST_FOLDS = 5


class AdaptiveTemperatureCalibrator(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Calibrates a classifier by adaptive temperatures, or by any other calibrator of gence.

    It stands beside `CalibratedClassifierCV(ensemble=False)`: the calibrator is fitted on scores of rows that were held
    out in cross-validation, and the classifier on all rows. A `FrozenEstimator` is not fitted again; all rows then
    calibrate, and none of them may be among those that trained it.

    Scores are taken from `decision_function`: one a class as they are, and of two classes the margin d as the logits
    (0, d). Only where there is none, they are the logarithms of `predict_proba`. These have lost what was rounded away:
    a forest's 0 of 100 trees, or a softmax that came out as exactly 1, says no more than below `PROBABILITY_FLOOR`,
    1.2e-7, which it then counts as. No calibrator brings it back.

    Args:
        estimator: The classifier; `LogisticRegression(max_iter=1000)` if None.
        method: A name of `gence.calibration.catalogue`, or `"auto"` for the one with the lowest NLL in
            cross-validation. `"temperature"`, `"ats"` and `"ensemble"` never change a prediction.
        cv: As in scikit-learn; None is 5 stratified folds, or as many as the smallest class has rows.
        n_jobs: Folds at a time, as joblib counts them.

    Attributes:
        classes_: The labels.
        n_features_in_: Columns of X, if the estimator knows them.
        feature_names_in_: Their names, if the estimator knows them.
        estimator_: The classifier, fitted on all rows.
        calibrator_: Scores -> calibrated logits; `calibrator_.summary` and `.remarks` say what was found.
        why_: A sentence on the choice of the calibrator; empty where it was named.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.naive_bayes import GaussianNB
        >>> X, y = load_iris(return_X_y=True)
        >>> model = AdaptiveTemperatureCalibrator(GaussianNB(), method="temperature").fit(X, y)
        >>> model.calibrator_.summary
        'one temperature, 1.731'
    """

    def __init__(self, estimator: Any = None, *, method: str = "ats", cv: Any = None, n_jobs: int | None = None):
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> AdaptiveTemperatureCalibrator:
        """Fit the calibrator on held-out scores, and the classifier on all rows.

        Args:
            X: What the estimator takes.
            y: Labels, `(rows,)`.
            sample_weight: How much each row counts, `(rows,)`, to the estimator and to the calibrator. The calibrator
                takes whole numbers (of a mean up to 100) as that many copies of a row; others it meets rounded, after
                scaling them to a mean of 1.
            **params: With scikit-learn's metadata routing only, what else the estimator's `fit` or the splitter asks
                for. The estimator then gets `sample_weight` as well only where it asks for it.

        Raises:
            InputError: If there is no such method, fewer than two classes, a class with one row, or weights for an
                estimator that takes none.
            ValueError: If the estimator or a splitter finds fault with X, y or cv; or, with metadata routing, does not
                say whether it wants what is there.
            TypeError: If nothing asks for one of `params`.
        """
        Settings(calibrate=self.method)  # which knows the names of all calibrators
        X, y = indexable(X, y)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        weight = checked_weight(sample_weight, len(y))
        estimator = self._default() if self.estimator is None else self.estimator
        frozen = isinstance(estimator, FrozenEstimator)
        fit_settings, split_settings = self._routed(estimator, frozen, weight, params)
        folds = self._folds(y, weight, frozen)
        if frozen:
            self.estimator_, scores = estimator, _scores(estimator, X)
        else:
            raw = cross_val_predict(
                clone(estimator), X, y, cv=folds, n_jobs=self.n_jobs, method=_method(estimator),
                params=fit_settings | split_settings,
            )  # fmt: skip
            unfitted: Any = clone(estimator)
            self.estimator_ = unfitted.fit(X, y, **fit_settings)
            scores = _as_logits(raw, _method(estimator))
        self.classes_ = np.asarray(self.estimator_.classes_)
        labels = _class_numbers(y, self.classes_)
        if scores.shape[1] != len(self.classes_):
            raise InputError(
                f"{type(estimator).__name__} gives {scores.shape[1]} scores a row for {len(self.classes_)} classes; "
                "one a class is expected (of an SVC: decision_function_shape='ovr')"
            )
        rows = np.arange(len(y)) if weight is None else _repeats(weight)
        self.calibrator_, self.why_ = calibrate(self.method, torch.from_numpy(scores[rows]), labels[rows], seed=0)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Calibrated logits, float64 `(rows, classes)`; for two classes `(rows,)`, the second's less the first's."""
        return as_decision(self._logits(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label after calibration, `(rows,)`."""
        scores = self.decision_function(X)
        return decided(self.classes_, scores)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Calibrated probabilities, float64 `(rows, classes)`."""
        return as_probabilities(self._logits(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self._default() if self.estimator is None else self.estimator).input_tags
        tags.input_tags.sparse, tags.input_tags.allow_nan = inner.sparse, inner.allow_nan
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Who asks for what, where scikit-learn's metadata routing is enabled."""
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
        if isinstance(self.estimator, FrozenEstimator):
            return router
        estimator = self._default() if self.estimator is None else self.estimator
        return router.add(estimator=estimator, method_mapping=MethodMapping().add(caller="fit", callee="fit"))

    def _routed(
        self, estimator: Any, frozen: bool, weight: np.ndarray | None, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the estimator's `fit` gets, and what the splitter gets."""
        weights = {} if weight is None else {"sample_weight": weight}
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **weights, **params)
            return {} if frozen else routed.estimator.fit, routed.splitter.split
        if params:
            raise TypeError(
                f"fit takes {', '.join(params)} only where metadata is routed: "
                "sklearn.set_config(enable_metadata_routing=True)"
            )
        if frozen:
            return {}, {}
        if weights and not has_fit_parameter(estimator, "sample_weight"):
            raise InputError(
                f"{type(estimator).__name__} takes no sample_weight, so that only its calibrator could follow the "
                "weights; leave them out, or put this calibrator into the pipeline, around its last step"
            )
        return weights, {}

    @staticmethod
    def _default() -> LogisticRegression:
        return LogisticRegression(max_iter=1000)

    def _folds(self, y: np.ndarray, weight: np.ndarray | None, frozen: bool) -> Any:
        classes, counts = np.unique(y if weight is None else y[weight > 0.0], return_counts=True)
        if len(classes) < 2:
            raise InputError(f"rows of at least two classes are needed to learn from; got {len(classes)} class")
        if self.cv is not None or frozen:
            return self.cv
        if counts.min() < 2:
            raise InputError(
                f"at least two rows of each class are needed to hold one out; class {classes[counts.argmin()]!r} has "
                "1: give more rows, leave the class out, or give a FrozenEstimator"
            )
        return min(_MOST_FOLDS, int(counts.min()))

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.calibrator_(_scores(self.estimator_, X))


def _method(estimator: Any) -> str:
    found = [name for name in ("decision_function", "predict_proba") if hasattr(estimator, name)]
    if not found:
        raise InputError(f"{type(estimator).__name__} has neither decision_function nor predict_proba to calibrate")
    return found[0]


def _scores(estimator: Any, X: Any) -> np.ndarray:
    method = _method(estimator)
    return _as_logits(getattr(estimator, method)(X), method)


def _as_logits(raw: Any, method: str) -> np.ndarray:
    """float64 `(rows, classes)`."""
    raw = np.asarray(raw, np.float64)
    if method == "predict_proba":
        return np.log(np.maximum(raw, PROBABILITY_FLOOR))
    if raw.ndim == 1 or raw.shape[1] == 1:
        return np.stack([np.zeros(len(raw)), raw.reshape(-1)], 1)
    return raw


def _class_numbers(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The place of each label among the classes.

    Raises:
        InputError: If it is none of them.
    """
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise InputError(f"the estimator was trained on the classes {classes.tolist()}; y holds {unknown.tolist()}")
    order = np.argsort(classes)
    return order[np.searchsorted(classes, y, sorter=order)]


def _repeats(weight: np.ndarray) -> np.ndarray:
    """Row numbers, each as often as its weight says."""
    rows = np.flatnonzero(weight)
    return np.repeat(rows, copies(torch.from_numpy(as_repetitions(weight[rows])), 0.5).numpy())
