"""A trial's record, and the contract that test labels reach no fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss

from gence.bench import trial as trial_module
from gence.bench.plan import plan
from gence.bench.records import METRICS, TrialRecord
from gence.bench.spec import Spec, TrainingSpec
from gence.bench.trial import run_trial
from gence.calibration import fit_adaptive_temperature, fit_temperature
from gence.data import LabelledData

SPEC = Spec(data="x", losses=("gence",), labels_per_class=(30,), seeds=1, training=TrainingSpec(epochs=4))


def run(data: LabelledData, spec: Spec = SPEC) -> tuple[TrialRecord, dict[str, np.ndarray]]:
    (trial,) = plan(spec, data)
    return run_trial(trial, data)


def test_the_record_holds_every_metric_of_every_calibrator_as_the_logits_beside_it_give_them(
    table: LabelledData,
) -> None:
    record, arrays = run(table)
    assert tuple(record.results) == ("none", "temperature", "ats")
    target = arrays["test_target"]
    assert np.array_equal(target, table.labels[arrays["test_rows"]])
    calibration = torch.from_numpy(arrays["calibration_logits"]), torch.from_numpy(arrays["calibration_target"])
    calibrators = {
        "none": lambda z: z,
        "temperature": fit_temperature(*calibration),
        "ats": fit_adaptive_temperature(*calibration),
    }
    for name, result in record.results.items():
        assert tuple(result.metrics) == METRICS
        probs = softmax(calibrators[name](arrays["test_logits"].astype(np.float64)), axis=1)
        assert result.metrics["nll"] == pytest.approx(log_loss(target, probs), abs=1e-9)
        assert result.metrics["accuracy"] == (probs.argmax(1) == target).mean()
        bins = result.reliability
        assert sum(bins.counts) == len(target)
        assert sum(bins.correct_counts) / len(target) == result.metrics["accuracy"]
        gaps = [abs(c - s) for c, s in zip(bins.correct_counts, bins.confidence_sums, strict=True)]
        assert result.metrics["ece"] == pytest.approx(sum(gaps) / len(target))
    assert record.results["temperature"].fitted["temperature"] == calibrators["temperature"].temperature


def test_the_record_says_where_it_comes_from(table: LabelledData) -> None:
    record, arrays = run(table)
    assert record.training["updates"] == 4 * 2  # 72 training rows in batches of about 32
    assert record.training["knobs"] == {"strength": 1.0}
    assert record.data["rows"] == {"train": 72, "validation": 0, "calibration": 18, "test": 60}
    assert record.data["fingerprint"] == table.fingerprint
    assert record.environment["torch"] == torch.__version__
    assert record.logits_file == f"gence-n30-b32-s0-{record.key[:12]}.npz"
    assert set(arrays["train_rows"]) | set(arrays["calibration_rows"]) <= set(range(180))


def test_what_a_regime_and_a_watching_loss_did_is_in_the_record(table: LabelledData) -> None:
    change = {"losses": ("adafocal",), "regime": "label-noise:0.5", "training": TrainingSpec(epochs=2, mixup=0.3)}
    record, arrays = run(table, SPEC.model_copy(update=change))
    assert record.cell.regime == "label-noise:0.5"
    assert record.data["rows"] == {"train": 57, "validation": 15, "calibration": 18, "test": 60}
    assert sum(record.data["wrong_labels"].values()) == 45
    assert record.data["wrong_labels"]["test"] == 0
    assert sum(record.data["train_class_counts"]) == 57
    assert (record.training["mixup"], record.training["augment"]) == (0.3, [])
    assert np.array_equal(arrays["test_target"], table.labels[arrays["test_rows"]])
    assert not np.array_equal(arrays["calibration_target"], table.labels[arrays["calibration_rows"]])


def test_two_runs_of_one_trial_differ_in_their_times_only(table: LabelledData) -> None:
    (first, arrays), (second, again) = run(table), run(table)
    assert {name: r.metrics for name, r in first.results.items()} == {
        name: r.metrics for name, r in second.results.items()
    }
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


def test_test_labels_reach_no_fit(table: LabelledData) -> None:
    labels = table.labels.copy()
    labels[180:] = np.roll(labels[180:], 1)
    (honest, arrays), (other, changed) = run(table), run(dataclasses.replace(table, labels=labels))
    assert honest.results["none"].metrics["accuracy"] != other.results["none"].metrics["accuracy"]
    assert np.array_equal(arrays["test_logits"], changed["test_logits"])
    assert np.array_equal(arrays["calibration_logits"], changed["calibration_logits"])
    assert {n: r.fitted for n, r in honest.results.items()} == {n: r.fitted for n, r in other.results.items()}


def test_test_inputs_reach_no_fit(table: LabelledData) -> None:
    inputs = table.inputs.copy()
    inputs[180:] *= 100
    (honest, arrays), (other, changed) = run(table), run(dataclasses.replace(table, inputs=inputs))
    assert not np.array_equal(arrays["test_logits"], changed["test_logits"])
    assert np.array_equal(arrays["calibration_logits"], changed["calibration_logits"])
    assert {n: r.fitted for n, r in honest.results.items()} == {n: r.fitted for n, r in other.results.items()}


def test_calibration_labels_reach_the_calibrators_and_not_the_model(table: LabelledData) -> None:
    _, arrays = run(table)
    labels = table.labels.copy()
    rows = arrays["calibration_rows"]
    labels[rows] = np.roll(labels[rows], 3)
    # The same rows must be chosen although a label of each has changed, so the trial is told its rows.
    chosen = trial_module.choose_rows(table, plan(SPEC, table)[0].cell, 0.3, 0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_module, "choose_rows", lambda *_: chosen)
        honest, before = run(table)
        other, after = run(dataclasses.replace(table, labels=labels))
    assert np.array_equal(before["test_logits"], after["test_logits"])
    assert honest.results["temperature"].fitted != other.results["temperature"].fitted


@pytest.mark.parametrize("frozen", ["weights", "batches"])
def test_the_seed_decides_the_weights_and_the_batches(
    table: LabelledData, monkeypatch: pytest.MonkeyPatch, frozen: str
) -> None:
    trials = plan(SPEC.model_copy(update={"seeds": 2}), table)
    rows = trial_module.choose_rows(table, trials[0].cell, 0.3, 0.2)
    monkeypatch.setattr(trial_module, "choose_rows", lambda *_: rows)
    build, train = trial_module.build, trial_module.train
    if frozen == "weights":
        monkeypatch.setattr(trial_module, "build", lambda *given, seed, **others: build(*given, seed=0, **others))
    else:
        monkeypatch.setattr(trial_module, "train", lambda *given, seed, **others: train(*given, seed=0, **others))
    first, second = (run_trial(trial, table)[1]["test_logits"] for trial in trials)
    assert not np.array_equal(first, second)


def test_every_loss_starts_from_the_same_weights_and_sees_the_same_rows(table: LabelledData) -> None:
    spec = SPEC.model_copy(update={"losses": ("ce", "gence", "focal")})
    records = [run_trial(trial, table)[0] for trial in plan(spec, table)]
    assert len({str(record.data["rows_sha256"]) for record in records}) == 1
    still = SPEC.model_copy(update={"training": TrainingSpec(epochs=1, learning_rate=1e-30), "losses": ("ce", "gence")})
    logits = [run_trial(trial, table)[1]["test_logits"] for trial in plan(still, table)]
    assert np.array_equal(*logits)


def test_what_a_loss_warns_of_is_kept_in_the_record(table: LabelledData) -> None:
    quiet, _ = run(table)
    assert quiet.training["cautions"] == []
    few = Spec(**{**SPEC.model_dump(), "training": TrainingSpec(epochs=1, batch_size=(2,))})
    cautioned, _ = run(table, few)
    (caution,) = cautioned.training["cautions"]
    assert "batch of 2 rows that count" in caution


def test_a_loss_that_needs_the_number_of_classes_gets_it(table: LabelledData) -> None:
    record, _ = run(table, Spec(**{**SPEC.model_dump(), "losses": ("gence_moving",)}))
    assert record.training["knobs"] == {"strength": 1.0, "rate": 0.02}
