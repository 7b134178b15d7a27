"""Tuning: the search by itself, the rows it may see, and a study that is tuned."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gence import InputError
from gence.bench import tune as tune_module
from gence.bench.inputs import StudyData
from gence.bench.plan import TuningPlan, plan
from gence.bench.records import Cell, Study, Tried, Tuned, TuningRecord, read_tuning
from gence.bench.rows import choose_rows, labels_given, rows_for_tuning
from gence.bench.spec import Spec
from gence.bench.spec_parts import TrainingSpec, TuneSpec
from gence.bench.study import run_study
from gence.bench.training import train_model
from gence.bench.tune import Tuning, TuningTrial, run_tuning_trial, tried_of
from gence.data import LabelledData
from gence.training import Recipe

CPU = torch.device("cpu")
TUNE = TuneSpec(trials=14, epochs=(2, 40))
SPEC = Spec(
    data=("x.npz",),
    losses=("ce", "focal"),
    labels_per_class=(12,),
    seeds=2,
    model=("mlp",),
    calibrators=("none",),
    training=TrainingSpec(epochs=2),
    tune=TuneSpec(trials=3, epochs=(1, 3)),
)


def planned(
    loss: str = "focal",
    tune: TuneSpec = TUNE,
    *,
    seed: int = 0,
    size: int = 32,
    key: str = "k",
    recipe: Recipe | None = None,
    **ranges: tuple[float, float],
) -> TuningPlan:
    place = {"data": "x", "regime": "none", "model": "mlp", "labels_per_class": 10}
    cell = Cell(loss=loss, batch_size=size, seed=seed, **place)
    knobs: dict[str, Any] = {"focal": {"gamma": 2.0}, "adafocal": {"bins": 15}, "two": {"a": 1.0, "b": 0.1}}.get(
        loss, {}
    )
    return TuningPlan(cell, recipe or Recipe(epochs=10), knobs, ranges, tune, 0.3, 0.2, 0, "hash", key)


def valley(trial: TuningTrial) -> float:
    """Least at a learning rate of 0.02, a weight decay of 1e-3 and gamma 1."""
    recipe, gamma = trial.recipe, trial.knobs.get("gamma", 1.0)
    return math.log(recipe.learning_rate / 0.02) ** 2 + math.log(recipe.weight_decay / 1e-3) ** 2 + (gamma - 1.0) ** 2


def judged(trial: TuningTrial, nll: float | None) -> Tried:
    return tried_of(
        trial, nll=nll, accuracy=None if nll is None else 1 / (1 + nll), failure=None if nll is not None else "diverged"
    )


def search(
    plan: TuningPlan, nll: Callable[[TuningTrial], float | None] = valley, before: tuple[Tried, ...] = ()
) -> tuple[list[TuningTrial], Tuned | None]:
    tuning, trials = Tuning(plan), []
    while (trial := tuning.next()) is not None:
        known = before[trial.number] if trial.number < len(before) else judged(trial, nll(trial))
        tuning.tell(known)
        trials.append(trial)
    return trials, tuning.result()


def values(trial: TuningTrial) -> tuple[float, ...]:
    return (trial.recipe.learning_rate, trial.recipe.weight_decay, trial.recipe.epochs)


def test_the_first_trial_is_the_recipe_as_given_so_the_best_is_never_behind_it() -> None:
    plan = planned(gamma=(0.5, 5.0))
    trials, tuned = search(plan)
    assert trials[0].recipe == plan.recipe
    assert trials[0].knobs == plan.knobs
    assert tuned is not None
    assert len(trials) == len(tuned.tried) == 14
    best = tuned.tried[tuned.chosen]
    assert best.nll == min(tried.nll for tried in tuned.tried if tried.nll is not None) < valley(trials[0])


def test_a_recipe_outside_of_the_ranges_starts_at_their_ends() -> None:
    tune = TuneSpec(trials=1, learning_rate=(0.1, 1.0), weight_decay=(1e-6, 1e-5), epochs=(20, 30))
    (trial,), _ = search(planned(tune=tune, gamma=(3.0, 5.0)))
    assert values(trial) == (0.1, 1e-5, 20)
    assert trial.knobs == {"gamma": 3.0}


def test_what_has_no_range_stays_and_the_rest_stays_within() -> None:
    trials, _ = search(planned(tune=TuneSpec(trials=14, weight_decay="fixed")))
    assert {(t.recipe.weight_decay, t.recipe.epochs, t.knobs["gamma"]) for t in trials} == {(5e-4, 10, 2.0)}
    assert len({t.recipe.learning_rate for t in trials}) == 14
    trials, _ = search(planned("adafocal", bins=(5.0, 20.0)))
    assert all(0.005 <= t.recipe.learning_rate <= 0.5 and 1e-5 <= t.recipe.weight_decay <= 1e-2 for t in trials)
    assert all(isinstance(t.recipe.epochs, int) and 2 <= t.recipe.epochs <= 40 for t in trials)
    assert all(isinstance(t.knobs["bins"], int) and 5 <= t.knobs["bins"] <= 20 for t in trials)


def test_draws_are_even_on_the_scale_they_are_searched_on() -> None:
    tune = TuneSpec(trials=100, sampler="random", learning_rate=(0.001, 0.1), weight_decay=(1e-6, 1e-2), epochs=(1, 64))
    trials, _ = search(planned("two", tune, a=(0.0, 4.0), b=(0.001, 1.0)))

    def above(middle: float, of: Callable[[TuningTrial], float]) -> float:
        return sum(of(t) > middle for t in trials[1:]) / 99

    # Half of the draws lie above the middle; five standard deviations of that share are 0.25.
    assert above(0.01, lambda t: t.recipe.learning_rate) == pytest.approx(0.5, abs=0.25)
    assert above(1e-4, lambda t: t.recipe.weight_decay) == pytest.approx(0.5, abs=0.25)
    assert above(8, lambda t: t.recipe.epochs) == pytest.approx(0.5, abs=0.25)
    assert above(2.0, lambda t: t.knobs["a"]) == pytest.approx(0.5, abs=0.25)
    assert above(math.sqrt(0.001), lambda t: t.knobs["b"]) == pytest.approx(0.5, abs=0.25)


def test_every_loss_gets_the_same_draws_whatever_its_knobs_and_results() -> None:
    trials, _ = search(planned("ce"), lambda trial: None)
    others, _ = search(planned("focal", key="other", gamma=(0.5, 5.0)))
    assert [values(t) for t in trials[:10]] == [values(t) for t in others[:10]]
    assert len({values(t) for t in trials[:10]}) == 10
    for other in (planned("ce", seed=1), planned("ce", size=8)):
        assert values(search(other)[0][1]) != values(trials[1])


def test_a_search_that_looks_at_results_beats_one_that_does_not() -> None:
    least = {}
    for sampler in ("tpe", "random"):
        tune = TuneSpec(trials=30, sampler=sampler)
        found = [search(planned(tune=tune, seed=seed, gamma=(0.0, 5.0))) for seed in range(3)]
        least[sampler] = sum(min(valley(trial) for trial in trials) for trials, _ in found)
    assert least["tpe"] < least["random"] / 2


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("told", [0, 5, 12])
def test_a_broken_tuning_goes_on_from_its_records_as_if_it_had_not_been_broken(sampler: str, told: int) -> None:
    plan = planned(tune=TUNE.model_copy(update={"sampler": sampler}), gamma=(0.5, 5.0))
    trials, tuned = search(plan, lambda trial: None if trial.number in (2, 7) else valley(trial))
    assert tuned is not None
    kept = tuple(Tried.model_validate_json(tried.model_dump_json()) for tried in tuned.tried[:told])
    again, result = search(plan, lambda trial: None if trial.number in (2, 7) else valley(trial), kept)
    assert again == trials
    assert result == tuned
    tuning = Tuning(plan)
    assert tuning.next() == tuning.next()


def test_the_key_of_a_trial_holds_all_that_was_tried_before_it() -> None:
    trials, _ = search(planned())
    assert len({trial.key for trial in trials}) == 14
    others, _ = search(planned(), lambda trial: valley(trial) + (trial.number == 3) * 1e-9)
    assert [a.key == b.key for a, b in zip(trials, others, strict=True)] == [True] * 4 + [False] * 10
    assert search(planned(key="other"))[0][0].key != trials[0].key


def test_failed_trials_count_and_are_kept_and_never_chosen() -> None:
    trials, tuned = search(planned(), lambda trial: None if trial.number != 9 else 3.0)
    assert tuned is not None
    assert (len(trials), tuned.chosen) == (14, 9)
    assert [tried.failure for tried in tuned.tried] == ["diverged"] * 9 + [None] + ["diverged"] * 4
    assert search(planned(), lambda trial: None)[1] is None


def test_the_search_keeps_away_from_where_trials_fail() -> None:
    tune = TuneSpec(trials=40, weight_decay="fixed")
    trials, _ = search(planned(tune=tune), lambda t: None if t.recipe.learning_rate > 0.02 else 1.0)
    failed = [trial.recipe.learning_rate > 0.02 for trial in trials]
    assert sum(failed[10:]) / 30 < sum(failed[:10]) / 10


def test_the_best_is_the_lowest_nll_or_the_highest_accuracy_and_of_equal_ones_the_first() -> None:
    found = [(1.0, 0.5, 0.9), (0.4, 0.6, 0.8), (0.9, 0.8, 0.8), (0.4, 0.7, 0.3), (0.8, 0.8, 0.3)]

    def chosen(metric: str) -> int:
        tuning = Tuning(planned(tune=TuneSpec(trials=5, metric=metric)))
        for nll, accuracy, balanced_nll in found:
            trial = tuning.next()
            assert trial is not None
            tuning.tell(tried_of(trial, nll=nll, accuracy=accuracy, balanced_nll=balanced_nll))
        result = tuning.result()
        assert result is not None
        return result.chosen

    assert (chosen("nll"), chosen("accuracy"), chosen("balanced_nll")) == (1, 2, 3)


def test_optuna_says_nothing_and_keeps_its_settings(capfd: pytest.CaptureFixture[str]) -> None:
    from optuna import logging

    before = logging.get_verbosity()
    search(planned())
    assert capfd.readouterr() == ("", "")
    assert logging.get_verbosity() == before == logging.INFO


def test_a_tuning_without_optuna_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError) as caught:
        Tuning(planned())
    assert str(caught.value) == "tuning needs optuna, which is not installed; pip install 'gence[lab]'"


# Of one trial of a tuning: the rows it sees and what it measures.


def tuning_of(table: LabelledData, **change: Any) -> tuple[TuningTrial, StudyData]:
    data = StudyData({"blobs": table})
    plans = plan(Spec(**{**SPEC.model_dump(), "data": ("blobs",), "seeds": 1, "losses": ("ce",), **change}), data)
    trial = Tuning(next(iter(plans.tunings.values()))).next()
    assert trial is not None
    return trial, data


@pytest.mark.parametrize("regime", ["none", "label-noise:0.4"])
@pytest.mark.parametrize("loss", ["ce", "adafocal", "ldam"])
def test_a_trial_is_measured_on_rows_it_does_not_train_on_by_the_labels_given(
    table: LabelledData, loss: str, regime: str
) -> None:
    trial, data = tuning_of(table, losses=(loss,), regime=(regime,))
    record = run_tuning_trial(trial, data, CPU)
    plain = trial.cell.model_copy(update={"loss": "ce"})
    given = choose_rows(table, plain, 0.3, 0.2)
    labels = labels_given(table, plain, given)
    rows = rows_for_tuning(table, loss, given, 0.25, 0.2)
    model = train_model(table, rows, labels, trial.cell, trial.recipe, trial.knobs, CPU)
    z = model.logits(table.inputs[rows.test]).numpy().astype(np.float64)
    z -= z.max(1, keepdims=True)
    by_hand = [math.log(sum(math.exp(v) for v in row)) - row[k] for row, k in zip(z, labels[rows.test], strict=True)]
    assert record.tried.nll == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-12)
    classes = labels[rows.test]
    by_class = [np.mean([nll for nll, k in zip(by_hand, classes, strict=True) if k == one]) for one in set(classes)]
    assert record.tried.balanced_nll == pytest.approx(np.mean(by_class), rel=1e-12)
    assert record.tried.accuracy == (z.argmax(1) == labels[rows.test]).mean()
    assert record.rows == {"train": len(rows.train), "seen_by_loss": len(rows.validation), "validation": 6}
    assert (record.key, record.tuning, record.cell) == (trial.key, trial.plan.key, trial.cell)
    assert TuningRecord.model_validate_json(record.model_dump_json()) == record


def test_neither_inputs_nor_labels_of_test_and_calibration_rows_reach_a_tuning(
    table: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, data = tuning_of(table)
    rows = choose_rows(table, trial.cell, 0.3, 0.2)
    honest = run_tuning_trial(trial, data, CPU)
    # Told its rows, as which are drawn depends on the labels.
    monkeypatch.setattr(tune_module, "choose_rows", lambda *_, **__: rows)

    def spoilt(part: np.ndarray) -> Tried:
        labels, inputs = table.labels.copy(), table.inputs.copy()
        labels[part] = np.roll(labels[part], len(part) // 2)
        inputs[part] *= 100
        assert not np.array_equal(labels, table.labels)
        other = StudyData({"blobs": dataclasses.replace(table, labels=labels, inputs=inputs)})
        return run_tuning_trial(trial, other, CPU).tried

    assert spoilt(np.concatenate([rows.calibration, rows.test])) == honest.tried
    assert spoilt(rows.train) != honest.tried


def test_logits_that_are_not_finite_are_a_divergence(table: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    trial, data = tuning_of(table)

    def diverged(*given: Any) -> Any:
        model = train_model(*given)
        with torch.no_grad():
            for weight in model.model.parameters():
                weight.fill_(float("nan"))
        return model

    monkeypatch.setattr(tune_module, "train_model", diverged)
    with pytest.raises(FloatingPointError, match="the validation NLL is nan after training; lower the learning rate"):
        run_tuning_trial(trial, data, CPU)


# Of studies.


def save(table: LabelledData, folder: Path) -> Path:
    folder.mkdir()
    test = np.isin(np.arange(len(table.labels)), table.test_rows)
    inputs, labels = np.nan_to_num(table.inputs), table.labels
    np.savez(folder / "x.npz", X=inputs[~test], y=labels[~test], X_test=inputs[test], y_test=labels[test])
    return folder / "x.npz"


def tuned_study(source: Path | str, out: Path, **change: Any) -> tuple[Study, list[TuningRecord]]:
    spec = Spec(**{**SPEC.model_dump(), "data": (str(source),), **change})
    study = run_study(spec, out)
    assert study.failures == ()
    return study, [read_tuning(path) for path in sorted((out / "tuning").iterdir())]


def test_a_bad_recipe_gets_better_and_every_loss_pays_as_much_for_it(tmp_path: Path) -> None:
    training = TrainingSpec(epochs=10, learning_rate=0.0006)
    losses = ("ce", "gence_smoothing", "adafocal")
    study, records = tuned_study(
        "breast_cancer",
        tmp_path / "tuned",
        losses=losses,
        labels_per_class=(20,),
        training=training,
        tune=TuneSpec(trials=5),
    )
    plain = run_study(
        Spec(**{**SPEC.model_dump(), "data": ("breast_cancer",), "losses": losses, "tune": None}).model_copy(
            update={"labels_per_class": (20,), "training": training}
        ),
        tmp_path / "plain",
    )
    before = {(r.cell.loss, r.cell.seed): r.results["none"].metrics["nll"] for r in plain.records}
    for record in study.records:
        assert record.results["none"].metrics["nll"] < 0.7 * before[record.cell.loss, record.cell.seed]
    spent = {loss: sorted(r.tried.number for r in records if r.cell.loss == loss) for loss in losses}
    assert spent == {loss: list(range(5)) for loss in losses}
    # Chosen on the validation rows as the records say, and trained with that.
    for record in study.records:
        own = sorted((r.tried for r in records if r.cell.loss == record.cell.loss), key=lambda tried: tried.number)
        assert record.tuning is not None
        assert record.tuning.tried == tuple(own)
        best = min(own, key=lambda tried: (tried.nll, tried.number))
        assert record.tuning.chosen == best.number
        used = record.training
        assert (used["learning_rate"], used["weight_decay"]) == (best.learning_rate, best.weight_decay)
        assert (used["epochs"], used["knobs"]) == (best.epochs, best.knobs)
    # What every loss tries first is the same but for its knobs.
    draws = {loss: [(r.tried.number, r.tried.learning_rate) for r in records if r.cell.loss == loss] for loss in losses}
    assert len({str(sorted(drawn)) for drawn in draws.values()}) == 1


def test_test_labels_change_nothing_but_fingerprints_and_keys(table: LabelledData, tmp_path: Path) -> None:
    labels = table.labels.copy()
    labels[180:] = np.roll(labels[180:], 1)
    sources = save(table, tmp_path / "a"), save(dataclasses.replace(table, labels=labels), tmp_path / "b")
    (one, first), (other, second) = (
        tuned_study(source, source.parent / "out", tune=TuneSpec(trials=12, epochs=(1, 2))) for source in sources
    )

    def told(records: list[TuningRecord]) -> list[str]:
        return sorted(json.dumps([r.cell.model_dump(), r.tried.model_dump(), r.rows]) for r in records)

    assert told(first) == told(second)
    assert len(first) == 24
    assert not {r.key for r in first} & {r.key for r in second}
    assert one.records[0].data["fingerprint"] != other.records[0].data["fingerprint"]
    assert one.records[0].results["none"].metrics != other.records[0].results["none"].metrics
    assert [r.training for r in one.records] == [r.training for r in other.records]


def test_without_each_seed_one_tuning_serves_all_seeds_and_no_seed_tests_on_its_rows(tmp_path: Path) -> None:
    study, records = tuned_study("digits", tmp_path, losses=("ce",), seeds=3)
    assert [r.cell.seed for r in records] == [0, 0, 0]
    assert len({str(r.tuning) for r in study.records}) == 1
    assert len({r.data["rows_sha256"]["test"] for r in study.records}) == 1
    assert [r.data["test_seed"] for r in study.records] == [0, 0, 0]
    assert len({r.data["rows_sha256"]["train"] for r in study.records}) == 3
    arrays = [np.load(tmp_path / "trials" / r.logits_file) for r in study.records]
    tuned_on = set(arrays[0]["train_rows"])  # a tuning's rows are the first seed's training rows
    assert all(not tuned_on & set(trial["test_rows"]) for trial in arrays)
    assert tuned_on


def test_with_each_seed_every_seed_is_tuned_on_its_own_labels(tmp_path: Path) -> None:
    tune = TuneSpec(trials=2, epochs=(1, 3), each_seed=True)
    study, records = tuned_study("digits", tmp_path, losses=("ce",), tune=tune)
    assert sorted((r.cell.seed, r.tried.number) for r in records) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({r.tuning.key for r in study.records if r.tuning is not None}) == 2
    assert len({r.data["rows_sha256"]["test"] for r in study.records}) == 2
    assert sorted(r.data["test_seed"] for r in study.records) == [0, 1]
    assert len({r.tried.learning_rate for r in records}) == 3  # the recipe as given, and a draw for each seed


def test_a_tuned_study_that_was_broken_goes_on_where_it_was(tmp_path: Path) -> None:
    study, records = tuned_study("digits", tmp_path)
    kept = {path: path.read_bytes() for path in (tmp_path / "tuning").iterdir()}
    for path in kept:
        if read_tuning(path).tried.number == 2:
            path.unlink()
    for path in (tmp_path / "trials").iterdir():
        path.unlink()
    again, repeated = tuned_study("digits", tmp_path)
    assert [r.tried for r in repeated] == [r.tried for r in records]
    first = {path: content for path, content in kept.items() if read_tuning(path).tried.number < 2}
    assert first == {path: path.read_bytes() for path in first}
    assert [r.results["none"].metrics for r in again.records] == [r.results["none"].metrics for r in study.records]
