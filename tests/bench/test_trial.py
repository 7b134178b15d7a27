"""A trial's record, and the contract that test labels reach no fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss

from gence.bench import trial as trial_module
from gence.bench.environment import environment
from gence.bench.inputs import StudyData
from gence.bench.plan import Trial, plan
from gence.bench.records import METRICS, TrialRecord, read_record, write_record
from gence.bench.spec import Spec
from gence.bench.spec_parts import SuitesSpec, TrainingSpec
from gence.calibration import fit_adaptive_temperature, fit_temperature
from gence.classifier import network as training_module
from gence.data import LabelledData

SPEC = Spec(data="x", losses=("gence",), labels_per_class=(30,), seeds=1, training=TrainingSpec(epochs=4))


def trials(data: LabelledData, spec: Spec = SPEC) -> tuple[Trial, ...]:
    return plan(spec, StudyData({data.name: data})).trials


def run_trial(trial: Trial, data: LabelledData, device: str = "cpu") -> tuple[TrialRecord, dict[str, np.ndarray]]:
    return trial_module.run_trial(trial, StudyData({data.name: data}), torch.device(device))


def run(data: LabelledData, spec: Spec = SPEC) -> tuple[TrialRecord, dict[str, np.ndarray]]:
    (trial,) = trials(data, spec)
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
        assert result.per_class.correct == tuple(((probs.argmax(1) == target) & (target == k)).sum() for k in range(3))
        assert sum(result.per_class.nll) / len(target) == pytest.approx(result.metrics["nll"], abs=1e-9)
    assert record.results["temperature"].fitted["temperature"] == calibrators["temperature"].temperature


def test_the_record_says_where_it_comes_from(table: LabelledData) -> None:
    record, arrays = run(table)
    assert record.training["updates"] == 4 * 2  # 72 training rows in batches of about 32
    assert record.training["knobs"] == {"strength": 1.0}
    assert (record.tuning, record.data["suite_rows"]) == (None, {})
    assert (record.data["test_split"], record.data["test_seed"]) == ("own", None)
    assert set(record.seconds) == {"train", "predict"}
    assert record.data["rows"] == {"train": 72, "validation": 0, "calibration": 18, "test": 60}
    assert record.data["fingerprint"] == table.fingerprint
    assert (record.environment["torch"], record.environment["device"]) == (torch.__version__, "cpu")
    assert record.logits_file == f"blobs-mlp-gence-n30-b32-s0-{record.key[:12]}.npz"
    assert set(arrays["train_rows"]) | set(arrays["calibration_rows"]) <= set(range(180))


def test_what_a_regime_and_a_watching_loss_did_is_in_the_record(table: LabelledData) -> None:
    change = {"losses": ("adafocal",), "regime": ("label-noise:0.5",), "training": TrainingSpec(epochs=2, mixup=0.3)}
    record, arrays = run(table, SPEC.model_copy(update=change))
    assert record.cell.regime == "label-noise:0.5"
    assert record.data["rows"] == {"train": 57, "validation": 15, "calibration": 18, "test": 60}
    assert sum(record.data["wrong_labels"].values()) == 45
    assert record.data["wrong_labels"]["test"] == 0
    assert sum(record.data["train_class_counts"]) == 72  # with the rows that the loss was shown
    plain, _ = run(table, SPEC.model_copy(update={**change, "losses": ("ce",)}))
    assert record.data["train_class_counts"] == plain.data["train_class_counts"]
    assert (record.training["mixup"], record.training["augment"]) == (0.3, [])
    assert np.array_equal(arrays["test_target"], table.labels[arrays["test_rows"]])
    assert not np.array_equal(arrays["calibration_target"], table.labels[arrays["calibration_rows"]])
    given = torch.from_numpy(arrays["calibration_logits"]), torch.from_numpy(arrays["calibration_target"])
    assert record.results["temperature"].fitted["temperature"] == fit_temperature(*given).temperature


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
    chosen = trial_module.choose_rows(table, trials(table)[0].cell, 0.3, 0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_module, "choose_rows", lambda *_, **__: chosen)
        honest, before = run(table)
        other, after = run(dataclasses.replace(table, labels=labels))
    assert np.array_equal(before["test_logits"], after["test_logits"])
    assert honest.results["temperature"].fitted != other.results["temperature"].fitted


@pytest.mark.parametrize("frozen", ["weights", "batches"])
def test_the_seed_decides_the_weights_and_the_batches(
    table: LabelledData, monkeypatch: pytest.MonkeyPatch, frozen: str
) -> None:
    two = trials(table, SPEC.model_copy(update={"seeds": 2}))
    rows = trial_module.choose_rows(table, two[0].cell, 0.3, 0.2)
    monkeypatch.setattr(trial_module, "choose_rows", lambda *_, **__: rows)
    build, train = training_module.build, training_module.train
    if frozen == "weights":
        monkeypatch.setattr(training_module, "build", lambda *given, seed, **others: build(*given, seed=0, **others))
    else:
        monkeypatch.setattr(training_module, "train", lambda *given, seed, **others: train(*given, seed=0, **others))
    first, second = (run_trial(trial, table)[1]["test_logits"] for trial in two)
    assert not np.array_equal(first, second)


def test_every_loss_starts_from_the_same_weights_and_sees_the_same_rows(table: LabelledData) -> None:
    spec = SPEC.model_copy(update={"losses": ("ce", "gence", "focal")})
    records = [run_trial(trial, table)[0] for trial in trials(table, spec)]
    assert len({str(record.data["rows_sha256"]) for record in records}) == 1
    still = SPEC.model_copy(update={"training": TrainingSpec(epochs=1, learning_rate=1e-30), "losses": ("ce", "gence")})
    logits = [run_trial(trial, table)[1]["test_logits"] for trial in trials(table, still)]
    assert np.array_equal(*logits)


def test_logits_that_are_not_finite_are_a_divergence(table: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    train = trial_module.train_model

    def diverged(*given):
        trained = train(*given)
        with torch.no_grad():
            next(trained.model.parameters()).fill_(float("inf"))
        return trained

    monkeypatch.setattr(trial_module, "train_model", diverged)
    with pytest.raises(FloatingPointError, match="the logits are not finite after training; lower the learning rate"):
        run(table)


@pytest.mark.parametrize("loss", ["class_balanced", "logit_adjusted"])
def test_a_loss_that_counts_classes_counts_the_labels_given_of_its_training_rows(
    table: LabelledData, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    counted: list[list[int]] = []
    build = training_module.losses.build
    monkeypatch.setattr(
        training_module.losses,
        "build",
        lambda name, **knobs: (counted.append(knobs["class_counts"].tolist()), build(name, **knobs))[1],
    )
    change = {"losses": (loss,), "regime": ("long-tail:4+label-noise:0.3",), "labels_per_class": None}
    (planned,) = trials(table, SPEC.model_copy(update=change))
    counted.clear()
    record, arrays = run_trial(planned, table)
    assert counted == [record.data["train_class_counts"]]
    assert counted != [np.bincount(table.labels[arrays["train_rows"]]).tolist()]


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


def test_the_knobs_of_a_written_loss_are_those_it_is_trained_with(table: LabelledData) -> None:
    written, plain = (run(table, SPEC.model_copy(update={"losses": (loss,)})) for loss in ("focal:gamma=0.0", "ce"))
    assert written[0].training["knobs"] == {"gamma": 0.0}
    assert written[1]["test_logits"] == pytest.approx(plain[1]["test_logits"], abs=1e-4)


def test_a_record_read_is_the_record_written(table: LabelledData, tmp_path: Path) -> None:
    suites = SuitesSpec(shift="all", severities=(1, 5), rows=20)
    training = TrainingSpec(epochs=2, schedule="steps", milestones=(0.5,))
    record, arrays = run(table, SPEC.model_copy(update={"suites": suites, "training": training}))
    path = write_record(tmp_path, record, arrays)
    again = read_record(path)
    assert again == record
    assert again.model_dump_json() == record.model_dump_json()
    with np.load(path.parent / record.logits_file) as beside:
        assert all(np.array_equal(beside[name], array) for name, array in arrays.items())
    assert arrays["test_logits"].dtype == np.float32


def test_a_trial_is_deterministic_and_leaves_the_settings_of_torch_alone(
    table: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    train = training_module.train

    def watched(*given, **others):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return train(*given, **others)

    monkeypatch.setattr(training_module, "train", watched)
    run(table)
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_environment_names_the_device_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "device" not in environment()
    assert environment(torch.device("cpu"))["device"] == "cpu"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Fine GPU {device.index}")
    monkeypatch.setattr(torch.version, "cuda", "12.9")
    on_gpu = environment(torch.device("cuda:1"))
    assert (on_gpu["device"], on_gpu["cuda"]) == ("Fine GPU 1", "12.9")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_trial_on_cuda_gives_float32_logits_on_the_cpu_near_those_of_the_cpu(table: LabelledData) -> None:
    suites = SuitesSpec(shift="all", severities=(3,))
    (trial,) = trials(table, SPEC.model_copy(update={"suites": suites}))
    (here, arrays), (there, on_gpu), (_, again) = (run_trial(trial, table, name) for name in ("cpu", "cuda", "cuda"))
    assert on_gpu["test_logits"].dtype == np.float32
    assert on_gpu["test_logits"] == pytest.approx(arrays["test_logits"], abs=1e-2)
    assert np.array_equal(on_gpu["test_logits"], again["test_logits"])
    assert there.environment["device"] == torch.cuda.get_device_name()
    for one, other in zip(here.results["none"].shifted, there.results["none"].shifted, strict=True):
        assert other.metrics["nll"] == pytest.approx(one.metrics["nll"], abs=1e-2)
