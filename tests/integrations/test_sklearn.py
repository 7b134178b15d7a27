"""The estimators under scikit-learn's own checks, and what they promise beyond those."""

from __future__ import annotations

import io
import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, TimeSeriesSplit, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from gence import InputError
from gence.calibration import catalogue as calibrators
from gence.calibration import fit_temperature
from gence.integrations.sklearn import AdaptiveTemperatureCalibrator, GenCEClassifier
from gence.integrations.sklearn.calibrator import PROBABILITY_FLOOR
from gence.integrations.sklearn.rows import as_repetitions
from gence.losses import catalogue as losses

IRIS = load_iris(return_X_y=True)


def quick(loss: str = "gence", **settings: Any) -> GenCEClassifier:
    return GenCEClassifier(loss, **{"epochs": 3, "hidden": (8,), "random_state": 0, **settings})


@parametrize_with_checks([GenCEClassifier(epochs=20), AdaptiveTemperatureCalibrator()])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("loss", losses.names())
def test_every_loss_fits(loss: str) -> None:
    X, y = IRIS
    probs = quick(loss, cv=2).fit(X, y).predict_proba(X)
    assert_allclose(probs.sum(1), 1.0)
    assert probs.std(0).min() > 0.0


@pytest.mark.parametrize("name", [None, "auto", *calibrators.names()])
def test_every_calibrator_fits(name: str | None) -> None:
    X, y = IRIS
    model = quick(calibrate=name, cv=2).fit(X, y)
    assert_allclose(model.predict_proba(X).sum(1), 1.0)
    assert (model.held_out_ is None) == (name in (None, "none"))
    assert bool(model.why_) == (name == "auto")
    around = AdaptiveTemperatureCalibrator(FrozenEstimator(model), method=name or "none").fit(X, y)
    assert_allclose(around.predict_proba(X).sum(1), 1.0)


def test_probabilities_are_those_of_the_network_and_of_the_calibrator_on_held_out_logits() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X, labels = X[:300], np.array(["benign", "malign"])[y[:300]]
    model = quick(calibrate="temperature").fit(X, labels)
    held_out = model.held_out_
    assert_array_equal(model.classes_[held_out.labels], labels[held_out.rows])
    temperature = fit_temperature(held_out.logits, torch.from_numpy(held_out.labels)).temperature
    standard = (X - X.mean(0)) / X.std(0)
    with torch.no_grad():
        logits = model.network_.model(torch.from_numpy(standard)).numpy() / temperature
    assert_allclose(model.predict_proba(X), softmax(logits, 1), rtol=1e-9)
    assert_allclose(model.decision_function(X), logits[:, 1] - logits[:, 0], rtol=1e-9)
    assert_array_equal(model.predict(X), model.classes_[logits.argmax(1)])


def test_it_learns_as_well_as_others_do() -> None:
    X, y = load_digits(return_X_y=True)
    model = GenCEClassifier(hidden=(64,), epochs=15, batch_size=64, random_state=0).fit(X[:1200], y[:1200])
    outside = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:1200], y[:1200])
    assert model.score(X[1200:], y[1200:]) > outside.score(X[1200:], y[1200:]) - 0.02


class TestClassWeights:
    """On six kinds of rows whose class frequencies are the posterior, with the third class rare."""

    posterior = np.array(
        [
            [0.95, 0.04, 0.01],
            [0.85, 0.05, 0.10],
            [0.6, 0.3, 0.1],
            [0.75, 0.05, 0.2],
            [0.9, 0.08, 0.02],
            [0.55, 0.15, 0.3],
        ]
    )
    kinds = np.eye(6)
    X = np.repeat(np.eye(6), 100, axis=0)
    y = np.concatenate([np.repeat(np.arange(3), np.rint(100 * share).astype(int)) for share in posterior])

    def fitted(self, loss: str, class_weight: Any = "balanced", epochs: int = 200) -> GenCEClassifier:
        # The whole table is a batch, and nothing decays, so that the minimum itself is found.
        model = GenCEClassifier(
            loss, hidden=(), weight_decay=0.0, calibrate=None, batch_size=600, epochs=epochs, learning_rate=0.5,
            class_weight=class_weight, random_state=0,
        )  # fmt: skip
        return model.fit(self.X, self.y)

    def bend(self, model: Any) -> float:
        return float(np.abs(model.predict_proba(self.kinds) - self.posterior).max())

    @pytest.mark.parametrize("loss", ["gence", "ce", "gence:strength=0.5"])
    def test_they_leave_the_posterior_straight_and_raise_balanced_accuracy(self, loss: str) -> None:
        plain, weighted = self.fitted(loss, None), self.fitted(loss)
        assert self.bend(weighted) < 0.02
        before, after = (balanced_accuracy_score(self.y, model.predict(self.X)) for model in (plain, weighted))
        assert after > before + 0.15
        costs = len(self.y) / (3 * np.bincount(self.y))
        assert_allclose(weighted.class_weight_, costs)
        assert_array_equal(weighted.predict(self.kinds), (costs * self.posterior).argmax(1))
        assert_allclose(
            log_softmax(weighted.decision_function(self.kinds) - np.log(costs), 1),
            np.log(weighted.predict_proba(self.kinds)),
        )

    def test_those_of_a_logistic_regression_bend_it(self) -> None:
        other = LogisticRegression(C=1e6, class_weight="balanced", max_iter=1000).fit(self.X, self.y)
        assert self.bend(other) > 0.4

    def test_they_are_in_the_loss_only_where_they_do_not_bend_it(self) -> None:
        def moved(loss: str) -> float:
            weighted, plain = (self.fitted(loss, given, epochs=3) for given in ("balanced", None))
            return float(np.abs(weighted.predict_proba(self.kinds) - plain.predict_proba(self.kinds)).max())

        assert all(moved(loss) > 1e-3 for loss in ("gence", "gence_moving", "gence_prior"))
        assert not any(moved(loss) for loss in ("gence_focal", "gence_smoothing", "gence:strength=0.5", "focal"))

    def test_two_classes_have_one_margin(self) -> None:
        X, y = load_breast_cancer(return_X_y=True)
        model = quick(class_weight={0: 5.0}).fit(X, y)
        p = model.predict_proba(X)
        assert_allclose(model.decision_function(X), np.log(p[:, 1]) - np.log(p[:, 0]) - np.log(5.0), atol=1e-9)
        assert_array_equal(model.predict(X), (p[:, 1] > 5.0 * p[:, 0]).astype(int))

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("even", "class_weight must be None, 'balanced' or a dictionary label -> weight; got 'even'"),
            ({0: 0.0}, r"class weights must be positive and finite; got \{0: 0.0\}"),
        ],
    )
    def test_what_is_no_weight_is_refused(self, given: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            quick(class_weight=given).fit(*IRIS)


class TestRowWeights:
    def test_whole_numbers_stay_and_others_have_a_mean_of_one(self) -> None:
        assert_array_equal(as_repetitions(np.array([1.0, 2.0, 6.0])), [1.0, 2.0, 6.0])
        assert_allclose(as_repetitions(np.array([0.5, 1.5, 1.0])), [0.5, 1.5, 1.0])
        assert_allclose(as_repetitions(np.array([0.1, 0.3])), [0.5, 1.5])
        assert_allclose(as_repetitions(np.array([500.0, 1500.0])), [0.5, 1.5])

    def test_a_weight_of_two_is_a_row_twice(self) -> None:
        X, y = IRIS
        weight = np.arange(len(y)) % 3
        weighted = quick().fit(X, y, sample_weight=weight)
        assert_array_equal(weighted.rows_, np.flatnonzero(weight))
        repeated = quick().fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
        assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-6)

    def test_only_the_shares_of_broken_weights_matter(self) -> None:
        X, y = IRIS
        weight = np.random.default_rng(0).uniform(0.1, 2.0, len(y))
        some, many = (quick().fit(X, y, sample_weight=scale * weight).predict_proba(X) for scale in (1.0, 8.0))
        assert_allclose(some, many, rtol=1e-9)
        assert np.abs(some - quick().fit(X, y).predict_proba(X)).max() > 1e-6

    @pytest.mark.parametrize("model", [quick(), AdaptiveTemperatureCalibrator()])
    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            (np.r_[-1.0, np.ones(149)], "sample_weight must not be negative; got -1 in row 0"),
            (np.zeros(150), "every sample_weight is zero; at least one row must count"),
            (np.ones(3), r"sample_weight must hold one number a row, shape \(150,\); got shape \(3,\)"),
        ],
    )
    def test_what_is_no_weight_is_refused(self, model: Any, weight: np.ndarray, message: str) -> None:
        with pytest.raises(InputError, match=message):
            model.fit(*IRIS, sample_weight=weight)


class TestFewLabels:
    def test_budgets_nest_and_take_all_where_there_are_fewer(self) -> None:
        X, y = IRIS[0][:120], IRIS[1][:120]
        few, more = (quick(labels_per_class=number).fit(X, y).rows_ for number in (5, 30))
        assert_array_equal(np.bincount(y[few]), [5, 5, 5])
        assert_array_equal(np.bincount(y[more]), [30, 30, 20])
        assert set(few) < set(more)
        assert set(few) != set(quick(labels_per_class=5, random_state=1).fit(X, y).rows_)

    def test_only_these_rows_are_seen(self) -> None:
        X, y = IRIS
        model = quick(labels_per_class=10).fit(X, y)
        assert set(model.held_out_.rows) <= set(model.rows_)
        X = X.copy()
        X[np.setdiff1d(np.arange(len(y)), model.rows_)] = 1e6
        assert_array_equal(quick(labels_per_class=10).fit(X, y).predict_proba(IRIS[0]), model.predict_proba(IRIS[0]))

    def test_less_than_one_is_refused(self) -> None:
        for given in (0, 2.5):
            with pytest.raises(
                InputError, match=f"labels_per_class must be a whole number of at least 1.*; got {given}"
            ):
                quick(labels_per_class=given).fit(*IRIS)


class TestFolds:
    def test_a_splitter_says_who_is_held_out_together(self) -> None:
        X, y = IRIS
        groups = np.arange(150) // 2 % 5
        model = quick(cv=list(GroupKFold(5).split(X, y, groups))).fit(X, y)
        held_out = model.held_out_
        assert len(held_out.rows) == 150
        assert all(len(set(held_out.fold[groups[held_out.rows] == group])) == 1 for group in range(5))
        assert_array_equal(quick(cv=KFold(3)).fit(X, y).held_out_.fold, np.repeat([0, 1, 2], 50))

    @pytest.mark.parametrize(
        ("cv", "message"),
        [
            (TimeSeriesSplit(3), "cv must train on all rows that it does not hold out; split 0 has 39 training and 37"),
            ([(np.arange(50, 150), np.arange(50))] * 2, "cv must hold every row out at most once"),
        ],
    )
    def test_splits_that_leave_rows_out_or_hold_some_out_twice_are_refused(self, cv: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            quick(cv=cv).fit(*IRIS)

    @pytest.mark.usefixtures("processes_end")
    def test_they_may_run_in_processes_also_below_a_grid_search(self) -> None:
        X, y = IRIS
        alone, together = (quick(n_jobs=jobs).fit(X, y).predict_proba(X) for jobs in (None, 2))
        assert_array_equal(alone, together)
        search = GridSearchCV(quick(n_jobs=2), {"labels_per_class": [5, None]}, cv=2, n_jobs=2, refit=False).fit(X, y)
        expected = GridSearchCV(quick(), {"labels_per_class": [5, None]}, cv=2, refit=False).fit(X, y)
        assert_array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])


class TestFrames:
    frame = pd.DataFrame(
        {
            "colour": ["red", "blue", None, "green"] * 30,
            "day": pd.date_range("2024-01-01", periods=40).tolist() * 3,
            "size": pd.Categorical(["s", "m", "l"] * 40),
            "old": [True, False] * 60,
            "number": np.where(np.arange(120) % 7 == 0, np.nan, np.arange(120) % 11),
        },
        index=[f"row {number}" for number in range(120)],
    )
    y = np.where(frame["colour"] == "red", "yes", "no")

    def test_columns_of_all_kinds_are_read(self) -> None:
        model = quick(epochs=60).fit(self.frame, self.y)
        assert_array_equal(model.feature_names_in_, self.frame.columns)
        assert model.score(self.frame, self.y) == 1.0
        new = self.frame.head(4).assign(colour=["red", "violet", None, "blue"])
        assert_array_equal(model.predict(new), ["yes", "no", "no", "no"])

    def test_they_go_through_a_search(self) -> None:
        GridSearchCV(quick(), {"hidden": [(), (4,)]}, cv=2, error_score="raise").fit(self.frame, self.y)

    def test_arrays_and_missing_columns_are_refused(self) -> None:
        model = quick().fit(self.frame, self.y)
        with pytest.raises(InputError, match="X must be a pandas frame with the columns of training, colour, day"):
            model.predict(self.frame.to_numpy())
        with pytest.raises(ValueError, match="feature names"):
            model.predict(self.frame.drop(columns="day"))

    def test_numbers_and_booleans_are_taken_as_they_are(self) -> None:
        plain = self.frame[["old", "number"]]
        model = quick().fit(plain, self.y)
        assert model.encoder_ is None
        as_array = quick().fit(plain.to_numpy(float), self.y)
        assert_array_equal(model.predict_proba(plain), as_array.predict_proba(plain.to_numpy(float)))

    def test_gaps_are_filled_with_the_median(self) -> None:
        X, y = IRIS
        model = quick().fit(X, y)
        gap, median = X[:1].copy(), X[:1].copy()
        gap[0, 2], median[0, 2] = np.nan, np.median(X[:, 2])
        assert_array_equal(model.predict_proba(gap), model.predict_proba(median))


def test_float32_stays_float32() -> None:
    X, y = IRIS
    single, double = quick(calibrate=None).fit(X.astype(np.float32), y), quick(calibrate=None).fit(X, y)
    assert single.network_.logits(X[:1]).dtype == torch.float32
    assert double.network_.logits(X[:1]).dtype == torch.float64
    assert_allclose(single.predict_proba(X), double.predict_proba(X), atol=1e-3)


def test_early_stopping_ends_before_its_time() -> None:
    X, y = np.random.default_rng(0).normal(size=(90, 20)), np.arange(90) % 3  # nothing to learn
    model = quick(epochs=200, early_stopping=True, n_iter_no_change=3, calibrate=None).fit(X, y)
    assert 1 <= model.n_iter_ < 100
    assert quick(calibrate=None).fit(X, y).n_iter_ == 3
    with pytest.raises(InputError, match=r"the share of rows to stop by must lie in \(0, 0.5\]; got 0.9"):
        quick(early_stopping=True, validation_fraction=0.9).fit(X, y)


def test_the_seed_decides_all() -> None:
    X, y = IRIS
    one, same, other = (quick(random_state=seed).fit(X, y).predict_proba(X) for seed in (0, 0, 1))
    assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-6


@pytest.mark.parametrize("model", [quick(), AdaptiveTemperatureCalibrator(quick(), cv=2)])
def test_a_copy_from_a_pickle_predicts_the_same(model: Any) -> None:
    X, y = IRIS
    fitted = clone(model).fit(X, y)
    stored = io.BytesIO()
    joblib.dump(fitted, stored)
    stored.seek(0)
    for copy in (pickle.loads(pickle.dumps(fitted)), joblib.load(stored)):
        assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "focl"}, "unknown loss 'focl': did you mean 'focal'"),
        ({"calibrate": "temp"}, "unknown calibrator 'temp': did you mean 'temperature'"),
        ({"hidden": (0,)}, "hidden widths must be at least 1"),
        ({"hidden": 8}, "hidden must hold the widths of the hidden layers; got 8"),
        ({"cv": 1}, "folds must be at least 2; got 1"),
    ],
)
def test_a_wrong_setting_is_said_when_fitting(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quick(**settings).fit(*IRIS)


class TestCalibrator:
    def test_one_temperature_is_that_of_scikit_learn(self) -> None:
        X, y = load_digits(return_X_y=True)
        X, y = X[:600] / 16.0, y[:600]
        base = LogisticRegression(C=0.1)
        ours = AdaptiveTemperatureCalibrator(base, method="temperature").fit(X, y)
        theirs = CalibratedClassifierCV(base, method="temperature", ensemble=False).fit(X, y)
        beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
        assert abs(1.0 / ours.calibrator_.temperature - beta) < 1e-5 * beta
        assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
        assert_array_equal(ours.predict(X), theirs.predict(X))

    def test_it_is_fitted_on_held_out_scores_and_the_estimator_on_all_rows(self) -> None:
        X, y = load_breast_cancer(return_X_y=True)
        base = make_pipeline(StandardScaler(), LogisticRegression())
        model = AdaptiveTemperatureCalibrator(base, method="temperature", cv=3).fit(X, y)
        margin = cross_val_predict(base, X, y, cv=3, method="decision_function")
        expected = fit_temperature(np.stack([np.zeros(len(y)), margin], 1), y)
        assert model.calibrator_ == expected
        alone = clone(base).fit(X, y).decision_function(X)
        assert_allclose(model.decision_function(X), alone / expected.temperature)

    def test_a_frozen_estimator_is_calibrated_on_all_rows(self) -> None:
        X, y = load_breast_cancer(return_X_y=True)
        base = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:200], y[:200])
        weight = 1 + np.arange(len(y) - 200) % 2
        model = AdaptiveTemperatureCalibrator(FrozenEstimator(base), method="temperature")
        model.fit(X[200:], y[200:], sample_weight=weight)
        margin = base.decision_function(np.repeat(X[200:], weight, axis=0))
        assert model.calibrator_ == fit_temperature(
            np.stack([np.zeros(len(margin)), margin], 1), np.repeat(y[200:], weight)
        )
        with pytest.raises(InputError, match=r"the estimator was trained on the classes \[0, 1\]; y holds \[2\]"):
            AdaptiveTemperatureCalibrator(FrozenEstimator(base)).fit(X, y + 1)

    def test_probabilities_of_zero_count_as_the_floor(self) -> None:
        X, y = IRIS
        model = AdaptiveTemperatureCalibrator(
            RandomForestClassifier(n_estimators=5, random_state=0), method="temperature", cv=3
        ).fit(X, y)
        raw = np.log(np.maximum(model.estimator_.predict_proba(X), PROBABILITY_FLOOR))
        assert_allclose(model.predict_proba(X), softmax(raw / model.calibrator_.temperature, 1))

    def test_metadata_goes_where_it_is_asked_for(self) -> None:
        X, y = IRIS
        weight, groups = 1.0 + np.arange(150) % 3, np.arange(150) // 2 % 7
        base = LogisticRegression(C=0.1)
        splits = list(GroupKFold(3).split(X, y, groups))
        both = AdaptiveTemperatureCalibrator(base, method="temperature", cv=splits).fit(X, y, sample_weight=weight)
        with pytest.raises(TypeError, match="fit takes groups only where metadata is routed"):
            AdaptiveTemperatureCalibrator(base).fit(X, y, groups=groups)
        with config_context(enable_metadata_routing=True):

            def fitted(inner: Any) -> AdaptiveTemperatureCalibrator:
                model = AdaptiveTemperatureCalibrator(inner, method="temperature", cv=GroupKFold(3))
                return model.fit(X, y, sample_weight=weight, groups=groups)

            asking = clone(base).set_fit_request(sample_weight=True)
            for inner in (asking, make_pipeline(asking)):
                assert_allclose(fitted(inner).predict_proba(X), both.predict_proba(X))
            without = fitted(clone(base).set_fit_request(sample_weight=False))
            assert_allclose(without.estimator_.coef_, clone(base).fit(X, y).coef_)
            assert without.calibrator_ != both.calibrator_
            with pytest.raises(ValueError, match="not explicitly set as requested"):
                fitted(base)
            outer = AdaptiveTemperatureCalibrator(asking, cv=GroupKFold(3)).set_fit_request(sample_weight=True)
            outer.set_score_request(sample_weight=True)
            search = GridSearchCV(outer, {"method": ["temperature"]}, cv=GroupKFold(2), error_score="raise")
            search.fit(X, y, sample_weight=weight, groups=groups)
            frozen = AdaptiveTemperatureCalibrator(FrozenEstimator(base.fit(X, y)), method="temperature")
            assert frozen.fit(X, y, sample_weight=weight).calibrator_.temperature > 0.0

    def test_what_has_no_scores_or_takes_no_weights_is_refused(self) -> None:
        X, y = IRIS
        with pytest.raises(InputError, match="SVC gives 6 scores a row for 4 classes; one a class is expected"):
            AdaptiveTemperatureCalibrator(SVC(decision_function_shape="ovo")).fit(X, np.arange(150) % 4)
        with pytest.raises(InputError, match="KNeighborsClassifier takes no sample_weight"):
            AdaptiveTemperatureCalibrator(KNeighborsClassifier()).fit(X, y, sample_weight=np.ones(150))
        with pytest.raises(InputError, match="KMeans has neither decision_function nor predict_proba to calibrate"):
            AdaptiveTemperatureCalibrator(KMeans()).fit(X, y)
        with pytest.raises(InputError, match="unknown calibrator 'platt'"):
            AdaptiveTemperatureCalibrator(Perceptron(), method="platt").fit(X, y)

    def test_a_class_with_one_row_cannot_be_held_out(self) -> None:
        X, y = IRIS[0], np.r_[np.zeros(149, int), 1]
        with pytest.raises(InputError, match="at least two rows of each class are needed to hold one out; class"):
            AdaptiveTemperatureCalibrator().fit(X, y)
