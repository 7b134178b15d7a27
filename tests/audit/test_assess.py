"""The audit as a whole: its numbers are sums one can do by hand, and no input gives a wrong number or NaN."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch

from gence import metrics
from gence._errors import InputError
from gence.audit import Audit, audit_json, audit_predictions, parse_audit
from gence.audit.measure import resampled_estimates
from gence.audit.records import METRICS
from gence.data.predictions import Predictions

NAMES = ("ant", "bee", "cat")


def given(
    *,
    logits: Any = None,
    probs: Any = None,
    labels: Any = None,
    names: tuple[str, ...] = NAMES,
) -> Predictions:
    scores = [None if x is None else np.asarray(x, np.float64) for x in (logits, probs)]
    return Predictions(*scores, None if labels is None else np.asarray(labels, np.int64), names, "made up.npz")


def over_confident(rows: int = 300, seed: int = 0) -> Predictions:
    """Logits twice as large as they should be."""
    generator = np.random.default_rng(seed)
    honest = generator.standard_normal((rows, 3)) * 2
    cumulated = np.exp(honest).cumsum(1) / np.exp(honest).sum(1, keepdims=True)
    labels = (generator.random((rows, 1)) > cumulated).sum(1)
    return given(logits=2 * honest, labels=labels)


def audited(predictions: Predictions, **settings: Any) -> Audit:
    return audit_predictions(predictions, **({"calibrators": (), "resamples": 100} | settings))


@pytest.fixture(scope="module")
def audit() -> Audit:
    return audited(over_confident(), calibrators=("temperature",))


def test_every_metric_is_that_of_gence_and_has_an_interval(audit: Audit) -> None:
    predictions = over_confident()
    probs, labels = torch.from_numpy(predictions.scores).softmax(1), torch.from_numpy(predictions.labels)
    assert tuple(audit.metrics) == METRICS
    expected = {
        "accuracy": metrics.accuracy(probs, labels),
        "confidence_gap": probs.amax(1).mean() - metrics.accuracy(probs, labels),
        "ece": metrics.expected_calibration_error(probs, labels),
        "ece_mass": metrics.expected_calibration_error(probs, labels, binning="mass"),
        "mce": metrics.expected_calibration_error(probs, labels, norm="max"),
        "debiased_ece": metrics.debiased_calibration_error(probs, labels),
        "debiased_ece_l1": metrics.debiased_calibration_error(probs, labels, norm="l1"),
        "smooth_ece": metrics.smooth_calibration_error(probs, labels),
        "classwise_ece": metrics.classwise_calibration_error(probs, labels),
        "nll": metrics.negative_log_likelihood(probs, labels),
        "brier": metrics.brier_score(probs, labels),
        "aurc": metrics.aurc(probs, labels),
    }
    for name, estimate in audit.metrics.items():
        assert estimate.value == pytest.approx(expected[name].item()), name
        assert estimate.low is not None, name
        assert estimate.high is not None, name
        assert estimate.low < estimate.high, name


def test_over_confident_logits_are_found_out_and_a_temperature_mends_them(audit: Audit) -> None:
    assert audit.metrics["confidence_gap"].low > 0.03
    assert audit.chance is not None
    assert audit.chance.ece_share < 0.02
    assert audit.chance.gap_share < 0.02
    best = audit.mending.best
    assert best is not None
    assert best.differences["nll"].high < 0
    assert best.metrics["ece"] < audit.metrics["ece"].value
    assert best.changed == 0


def test_the_bins_hold_what_sums_by_hand_give(audit: Audit) -> None:
    predictions = over_confident()
    probs = torch.from_numpy(predictions.scores).softmax(1).numpy()
    confidence, correct = probs.max(1), probs.argmax(1) == predictions.labels
    for one in audit.reliability["width"]:
        inside = (confidence > one.start) & (confidence <= one.end)
        assert one.rows == inside.sum() > 0
        assert (one.confidence, one.accuracy.value) == pytest.approx(
            (confidence[inside].mean(), correct[inside].mean())
        )
    order = np.argsort(confidence)
    assert [one.rows for one in audit.reliability["mass"]] == [20] * 15
    for one, inside in zip(audit.reliability["mass"], np.split(order, 15), strict=True):
        assert (one.start, one.end) == (confidence[inside].min(), confidence[inside].max())
        assert (one.confidence, one.accuracy.value) == pytest.approx(
            (confidence[inside].mean(), correct[inside].mean())
        )
        assert one.accuracy.low < one.accuracy.value < one.accuracy.high or one.accuracy.value in (0, 1)


def test_the_classes_hold_what_counts_by_hand_give(audit: Audit) -> None:
    predictions = over_confident()
    probs, labels = torch.from_numpy(predictions.scores).softmax(1).numpy(), predictions.labels
    predicted = probs.argmax(1)
    for k, row in enumerate(audit.classes):
        assert (row.name, row.rows, row.predicted) == (NAMES[k], (labels == k).sum(), (predicted == k).sum())
        found = (row.recall, row.precision, row.confidence, row.probability, row.frequency)
        hits = ((labels == k) & (predicted == k)).sum()
        confidence = probs.max(1)[predicted == k].mean()
        by_hand = (hits / row.rows, hits / row.predicted, confidence, probs[:, k].mean(), row.rows / 300)
        assert found == pytest.approx(by_hand)
    mean = np.mean([row.ece for row in audit.classes])
    assert mean == pytest.approx(audit.metrics["classwise_ece"].value)


def test_honest_probabilities_are_not_accused() -> None:
    predictions = over_confident(seed=5)
    honest = audited(given(logits=predictions.scores / 2, labels=predictions.labels))
    gap = honest.metrics["confidence_gap"]
    assert gap.low < 0 < gap.high
    assert honest.chance.ece_share > 0.05
    assert honest.slices.beyond_chance == 0


def test_only_probabilities_give_everything_but_the_calibrators() -> None:
    predictions = over_confident()
    probs = torch.from_numpy(predictions.scores).softmax(1).numpy()
    found = audited(given(probs=probs, labels=predictions.labels), calibrators=("temperature",))
    assert found.kind == "probabilities"
    assert found.mending.trials == ()
    assert "a calibrator needs the scores before the softmax" in found.mending.refused
    same = audited(predictions)
    assert found.metrics == same.metrics
    assert found.slices == same.slices


def test_the_record_holds_plain_numbers_only_and_comes_back_from_json_as_it_was(audit: Audit) -> None:
    assert kinds(asdict(audit)) <= {int, float, str, type(None)}
    assert parse_audit(audit_json(audit), "audit.json") == audit


def kinds(value: Any) -> set[type]:
    """The types of everything inside lists, tuples and dicts."""
    if isinstance(value, dict):
        return set().union(*map(kinds, value.values()))
    return set().union(*map(kinds, value)) if isinstance(value, list | tuple) else {type(value)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"a\.json: not an audit record \(Expecting"),
        ("[]", r"a\.json: audit version None, this gence reads version 1; audit again"),
        ('{"version": 99}', r"a\.json: audit version 99"),
        ('{"version": 1}', r"a\.json: not an audit record \(\d+ validation errors for Audit\); audit again"),
    ],
)
def test_what_is_no_record_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_audit(text, "a.json")


EXTREMES = {
    "one row": ([[2.0, 0, 0]], [0]),
    "one wrong row": ([[2.0, 0, 0]], [1]),
    "two rows": ([[2.0, 0, 0], [0, 1.0, 0]], [0, 1]),
    "all right": (np.eye(3)[np.arange(60) % 3] * 4, np.arange(60) % 3),
    "all wrong": (np.eye(3)[np.arange(60) % 3] * 4, (np.arange(60) + 1) % 3),
    "a class without rows": (np.eye(3)[np.arange(60) % 2] * 4, np.arange(60) % 2),
    "one class": (np.eye(3)[np.zeros(60, int)] * 4, np.zeros(60, int)),
    "no confidence": (np.zeros((60, 3)), np.arange(60) % 3),
    "certainty": (np.eye(3)[np.arange(60) % 3] * 1e6, (np.arange(60) // 2) % 3),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_give_numbers_that_are_numbers(name: str) -> None:
    logits, labels = EXTREMES[name]
    found = audited(given(logits=logits, labels=labels), calibrators=("temperature",))
    json.loads(audit_json(found), parse_constant=lambda word: pytest.fail(word))
    accuracy = found.metrics["accuracy"]
    right = np.mean(np.argmax(logits, 1) == labels)
    assert accuracy.value == right
    assert accuracy.low <= right <= accuracy.high
    assert accuracy.high - accuracy.low > 0.05
    few = len(labels) < 20
    assert (found.metrics["nll"].low is None) == (found.chance is None) == few
    assert bool(found.mending.refused) == few


def test_one_row_does_not_tell_over_confidence() -> None:
    gap = audited(given(logits=[[2.0, 0, 0]], labels=[1])).metrics["confidence_gap"]
    assert gap.value == pytest.approx(math.exp(2) / (math.exp(2) + 2))
    assert gap.low < 0 < gap.high


def test_classes_that_cannot_have_a_number_have_none() -> None:
    found = audited(given(logits=np.eye(3)[np.arange(60) % 2] * 4, labels=np.arange(60) % 2))
    assert (found.classes[2].recall, found.classes[2].precision, found.classes[2].confidence) == (None, None, None)
    assert found.classes[2].rows == found.classes[2].predicted == 0


def test_many_classes_are_no_matter() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(500, size=400)
    logits = generator.standard_normal((400, 500)) + 6 * np.eye(500)[labels]
    found = audited(given(logits=logits, labels=labels, names=tuple(str(k) for k in range(500))))
    assert len(found.classes) == 500
    assert found.metrics["classwise_ece"].low is not None


def test_too_costly_an_interval_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gence.audit.measure._MOST_CELLS", 1000)
    found = audited(over_confident()).metrics
    assert found["classwise_ece"].low is None
    assert found["classwise_ece"].value == pytest.approx(audited(over_confident()).metrics["classwise_ece"].value)
    assert found["ece"].low is not None


def test_part_of_the_rows_gives_nearly_the_intervals_of_all() -> None:
    predictions = over_confident(4000)
    probs, labels = torch.from_numpy(predictions.scores).softmax(1), torch.from_numpy(predictions.labels)
    functions = {"nll": metrics.negative_log_likelihood, "ece": metrics.expected_calibration_error}
    settings = {"resamples": 400, "level": 0.95, "seed": 0}
    whole = resampled_estimates(functions, probs, labels, **settings, most_rows=4000)
    part = resampled_estimates(functions, probs, labels, **settings, most_rows=1000)
    for name in functions:
        assert part[name].value == pytest.approx(whole[name].value)
        assert part[name].low == pytest.approx(whole[name].low, abs=0.25 * (whole[name].high - whole[name].low))
        assert part[name].high == pytest.approx(whole[name].high, abs=0.25 * (whole[name].high - whole[name].low))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 0}, "bins must be at least 1; got 0"),
        ({"folds": 1}, "folds must be at least 2; got 1"),
        ({"resamples": 5}, "resamples must be at least 100; got 5"),
        ({"calibrators": ("temprature",)}, "unknown calibrator 'temprature': did you mean 'temperature'"),
    ],
)
def test_a_setting_out_of_range_says_so(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audited(over_confident(60), **settings)


def test_predictions_without_labels_cannot_be_audited() -> None:
    with pytest.raises(InputError, match=r"made up\.npz: an audit needs the true labels, and there are none; add them"):
        audited(given(logits=np.zeros((3, 3)), labels=None))
