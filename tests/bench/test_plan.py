from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gence import InputError
from gence.bench.inputs import StudyData
from gence.bench.plan import Plan, Trial, plan
from gence.bench.rows import choose_rows
from gence.bench.spec import Spec
from gence.bench.spec_parts import SuitesSpec, TrainingSpec, TuneSpec
from gence.data import LabelledData
from gence.losses import catalogue


def plan_of(spec: Spec, *data: LabelledData) -> Plan:
    return plan(spec, StudyData({one.name: one for one in data}))


def trials(spec: Spec, *data: LabelledData) -> tuple[Trial, ...]:
    return plan_of(spec, *data).trials


def test_the_grid_is_every_budget_loss_and_seed_in_order(table: LabelledData) -> None:
    spec = Spec(data="x", losses=("ce", "gence"), labels_per_class=(20, 5), seeds=2)
    cells = [(t.cell.labels_per_class, t.cell.loss, t.cell.seed) for t in trials(spec, table)]
    assert cells == [(n, loss, seed) for n in (5, 20) for loss in ("ce", "gence") for seed in (0, 1)]
    assert len({trial.key for trial in trials(spec, table)}) == 8


def test_batch_sizes_run_from_small_to_large_within_a_budget_and_each_has_its_recipe_and_key(
    table: LabelledData,
) -> None:
    spec = Spec(data="x", losses=("ce",), labels_per_class=("all", 20), seeds=1, training=batches(24, 8))
    found = trials(spec, table)
    assert [(t.cell.labels_per_class, t.cell.batch_size) for t in found] == [
        (20, 8),
        (20, 24),
        ("all", 8),
        ("all", 24),
    ]
    assert [t.recipe.batch_size for t in found] == [8, 24, 8, 24]
    assert len({t.key for t in found}) == 4
    rows = [choose_rows(table, t.cell, t.test_fraction, t.calibration_fraction) for t in found[:2]]
    assert np.array_equal(rows[0].train, rows[1].train)
    assert [t.recipe.epochs for t in found[:2]] == [50, 150]  # 300 updates: 48 training rows are six batches, or two


def test_one_batch_size_and_a_list_of_it_are_the_same_trials(table: LabelledData) -> None:
    one, listed = (trials(Spec(data="x", training=batches(size)), table) for size in (16, [16]))
    assert one == listed


def batches(*sizes) -> TrainingSpec:
    return TrainingSpec(batch_size=sizes[0] if len(sizes) == 1 else sizes)


def test_every_loss_has_the_same_rows_and_no_row_is_in_two_parts(table: LabelledData) -> None:
    spec = Spec(data="x", labels_per_class=(10,), seeds=2)
    chosen: dict[int, list] = {0: [], 1: []}
    for trial in trials(spec, table):
        rows = choose_rows(table, trial.cell, trial.test_fraction, trial.calibration_fraction)
        chosen[trial.cell.seed].append(rows)
        parts = [set(rows.train), set(rows.calibration), set(rows.test)]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert (len(rows.train), len(rows.calibration)) == (24, 6)
    for by_loss in chosen.values():
        assert all(np.array_equal(by_loss[0].train, rows.train) for rows in by_loss)
        assert all(np.array_equal(by_loss[0].calibration, rows.calibration) for rows in by_loss)
    assert set(chosen[0][0].train) != set(chosen[1][0].train)


def test_a_source_without_a_test_split_gets_one_of_each_seed_s_own(table: LabelledData) -> None:
    whole = dataclasses.replace(table, test_rows=None)
    found = trials(Spec(data="x", losses=("ce",), labels_per_class=(10,), seeds=2), whole)
    tests = [choose_rows(whole, t.cell, t.test_fraction, t.calibration_fraction).test for t in found]
    assert [len(test) for test in tests] == [72, 72]
    assert set(tests[0]) != set(tests[1])


def _first(table: LabelledData, rows: int) -> LabelledData:
    return dataclasses.replace(table, inputs=table.inputs[:rows], labels=table.labels[:rows], test_rows=None)


def test_without_epochs_a_trial_has_about_300_updates_and_at_least_20_epochs(table: LabelledData) -> None:
    few, many = trials(Spec(data="x", losses=("ce",), labels_per_class=(10, 50), seeds=1), table)
    assert few.recipe.epochs == 300  # 24 training rows are one batch
    assert many.recipe.epochs == 100  # 123 rows are three
    named = trials(Spec(data="x", training=TrainingSpec(epochs=7)), table)
    assert {trial.recipe.epochs for trial in named} == {7}
    large = dataclasses.replace(table, inputs=np.tile(table.inputs, (10, 1)), labels=np.tile(table.labels, 10))
    assert {t.recipe.epochs for t in trials(Spec(data="x", labels_per_class=("all",)), large)} == {20}


def test_a_loss_that_looks_at_validation_rows_has_its_own_number_of_updates(table: LabelledData) -> None:
    spec = Spec(data="x", losses=("ce", "adafocal"), labels_per_class=(40,), seeds=1)
    plain, adaptive = trials(spec, table)
    assert (plain.recipe.epochs, adaptive.recipe.epochs) == (
        100,
        150,
    )  # 300 updates: of 96 rows three a pass, of 75 two


def test_augmentations_are_for_images_and_come_by_the_name_of_the_data(table: LabelledData) -> None:
    images = dataclasses.replace(table, kind="image", inputs=np.zeros((240, 3, 8, 8), np.uint8))
    flip = TrainingSpec(augment=("flip",))
    assert trials(Spec(data="x", training=flip), images)[0].recipe.augment == ("flip",)
    assert trials(Spec(data="cifar10"), images)[0].recipe.augment == ("crop", "flip")
    assert trials(Spec(data="./cifar10"), images)[0].recipe.augment == ()
    told = r"augmentation \(flip\) is for images; blobs is a table: give --augment none"
    with pytest.raises(InputError, match=told):
        trials(Spec(data="x", training=flip), table)


def test_the_key_changes_with_all_that_decides_the_outcome_and_with_nothing_else(table: LabelledData) -> None:
    def keys(data: LabelledData = table, **change) -> set[str]:
        return {trial.key for trial in trials(Spec(data="x", labels_per_class=(10,), seeds=1, **change), data)}

    base = keys()
    other = dataclasses.replace(table, inputs=table.inputs + 1)
    for changed in (
        keys(other),
        keys(training=TrainingSpec(epochs=1)),
        keys(training=TrainingSpec(learning_rate=0.1)),
        keys(training=TrainingSpec(batch_size=8)),
        keys(training=TrainingSpec(mixup=0.2)),
        keys(training=TrainingSpec(weight_decay=0.0)),
        keys(training=TrainingSpec(momentum=0.8)),
        keys(training=TrainingSpec(nesterov=False)),
        keys(training=TrainingSpec(schedule="constant")),
        keys(training=TrainingSpec(schedule="steps", milestones=(0.5,))),
        keys(training=TrainingSpec(warmup=1.0)),
        keys(training=TrainingSpec(clip_norm=1.0)),
        keys(training=TrainingSpec(precision="bfloat16")),
        keys(training=TrainingSpec(channels_last=True)),
        keys(training=TrainingSpec(compile=True)),
        keys(suites=SuitesSpec(shift="all")),
        keys(suites=SuitesSpec(shift="all", severities=(3,))),
        keys(suites=SuitesSpec(shift="all", rows=50)),
        keys(regime="label-noise:0.2"),
        keys(calibrators=("none",)),
        keys(calibration_fraction=0.3),
        keys(test_fraction=0.4),
    ):
        assert not base & changed

    def of_gamma_9(input, target, weight, ignore_index, reduction, *, gamma=9.0):
        raise NotImplementedError  # a plan reads its default and never calls it

    entry = dataclasses.replace(catalogue.CATALOGUE["focal"], source=of_gamma_9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.CATALOGUE, "focal", entry)
        assert len(base - keys()) == 1  # a knob's default is part of the outcome
    assert keys(losses=("ce",)) < base  # the grid may grow: what is done stays done
    assert keys(data_root="elsewhere", target="label") == base


@pytest.mark.parametrize("tune", [None, TuneSpec(trials=3), TuneSpec(trials=3, each_seed=True)])
@pytest.mark.parametrize(
    "change",
    [
        {"seeds": 3},
        {"losses": ("adafocal", "focal", "ce", "gence")},
        {"regime": ("label-noise:0.2", "none")},
        {"labels_per_class": (10, 20)},
        {"training": TrainingSpec(batch_size=(8, 32))},
        {"model": ("small_resnet", "mlp")},
        {"data": ("y", "x")},
    ],
)
def test_a_grid_that_grows_keeps_the_trials_and_the_tunings_it_had(
    table: LabelledData, tune: TuneSpec | None, change: dict
) -> None:
    start = {"data": ("x",), "losses": ("ce", "focal"), "labels_per_class": (10,), "seeds": 2, "model": ("mlp",)}
    images = dataclasses.replace(table, kind="image", inputs=np.zeros((240, 1, 8, 8), np.uint8))
    dots = dataclasses.replace(images, name="dots")
    small = plan_of(Spec(**start, tune=tune), images)
    large = plan_of(Spec(**{**start, **change}, tune=tune), *((dots, images) if "data" in change else (images,)))
    before, after = ({trial.key: trial for trial in grid.trials} for grid in (small, large))
    assert before.keys() < after.keys()
    for key, trial in before.items():
        assert dataclasses.replace(after[key], spec_hash="") == dataclasses.replace(trial, spec_hash="")
    assert small.tunings.keys() <= large.tunings.keys()
    for key, tuning in small.tunings.items():
        assert dataclasses.replace(large.tunings[key], spec_hash="") == dataclasses.replace(tuning, spec_hash="")


def test_other_suites_and_ranges_of_other_losses_leave_a_tuning_as_it_is(table: LabelledData) -> None:
    images = dataclasses.replace(table, kind="image", inputs=np.zeros((240, 3, 8, 8), np.uint8))

    def planned(foreign: dict[str, np.ndarray], ranges: dict | None = None, **change) -> Plan:
        tune = TuneSpec(trials=3, knobs={"focal": {"gamma": (0.0, 2.0)}} | (ranges or {}), **change)
        ood = SuitesSpec(ood=tuple(foreign))
        spec = Spec(data="x", losses=("ce", "focal"), labels_per_class=(10,), seeds=1, tune=tune, suites=ood)
        return plan(spec, StudyData({"blobs": images}, {"blobs": foreign}))

    none, some = planned({}), planned({"svhn": images.inputs[:9]})
    assert none.tunings.keys() == some.tunings.keys()
    assert not {trial.key for trial in none.trials} & {trial.key for trial in some.trials}
    assert not {t.key for t in some.trials} & {t.key for t in planned({"svhn": images.inputs[:8]}).trials}
    assert none.tunings.keys() == planned({}, {"mbls": {"margin": (2.0, 9.0)}}).tunings.keys()
    assert len(none.tunings.keys() & planned({}, {"focal": {"gamma": (0.0, 3.0)}}).tunings.keys()) == 1  # that of ce
    for change in ({"metric": "accuracy"}, {"sampler": "random"}, {"validation_fraction": 0.3}, {"epochs": (1, 9)}):
        assert not none.tunings.keys() & planned({}, **change).tunings.keys()


def test_data_sets_regimes_and_models_are_axes_of_the_grid(table: LabelledData) -> None:
    other = _first(table, 120)
    other = dataclasses.replace(other, name="dots")
    spec = Spec(
        data=("x", "y"),
        regime=("none", "long-tail:4"),
        losses=("ce",),
        labels_per_class=(10,),
        seeds=1,
        calibrators=("none",),
    )
    found = [(t.cell.data, t.cell.regime, t.cell.labels_per_class) for t in trials(spec, table, other)]
    # A long tail says itself how many labels there are, beside a regime that does not.
    assert found == [
        (name, regime, n) for name in ("blobs", "dots") for regime, n in (("none", 10), ("long-tail:4", "all"))
    ]


def test_two_names_for_one_model_are_refused(table: LabelledData) -> None:
    with pytest.raises(InputError, match="model names auto, mlp, which for blobs are one and the same: name it once"):
        trials(Spec(data="x", model=("auto", "mlp")), table)


def test_one_tuning_serves_all_seeds_of_a_loss_at_a_setting(table: LabelledData) -> None:
    spec = Spec(data="x", losses=("ce", "focal"), labels_per_class=(10, 20), seeds=3, tune=TuneSpec(trials=4))
    planned = plan_of(spec, table)
    assert len(planned.tunings) == 2 * 2
    assert {(p.cell.loss, p.cell.labels_per_class, p.cell.seed) for p in planned.tunings.values()} == {
        (loss, n, 0) for loss in ("ce", "focal") for n in (10, 20)
    }
    for trial in planned.trials:
        tuning = planned.tunings[trial.tuning or ""]
        assert (tuning.cell.loss, tuning.cell.labels_per_class) == (trial.cell.loss, trial.cell.labels_per_class)
    # What the seeds are tested on, none of their tunings has seen.
    assert {trial.test_seed for trial in planned.trials} == {0}
    own = plan_of(spec.model_copy(update={"tune": TuneSpec(trials=4, each_seed=True)}), table)
    assert (len(own.tunings), {trial.test_seed for trial in own.trials}) == (2 * 2 * 3, {0, 1, 2})


def test_a_tuning_searches_the_knobs_that_the_spec_leaves_open(table: LabelledData) -> None:
    def ranges(loss: str, **tune) -> dict:
        spec = Spec(data="x", losses=(loss,), labels_per_class=(10,), tune=TuneSpec(trials=1, **tune))
        (tuning,) = plan_of(spec, table).tunings.values()
        return tuning.ranges

    assert list(ranges("focal")) == ["gamma"]
    assert ranges("focal:gamma=1") == ranges("ce") == ranges("focal", knobs="none") == {}
    assert ranges("focal", knobs={"focal": {"gamma": (1.0, 2.0)}}) == {"gamma": (1.0, 2.0)}


def test_the_key_of_a_tuned_trial_holds_its_tuning_and_not_the_recipe_that_comes_of_it(table: LabelledData) -> None:
    def keys(trials_each: int | None) -> set[str]:
        tune = None if trials_each is None else TuneSpec(trials=trials_each)
        return {t.key for t in trials(Spec(data="x", labels_per_class=(10,), tune=tune), table)}

    assert not keys(None) & keys(4)
    assert not keys(4) & keys(5)
    assert keys(4) == keys(4)


def test_a_warm_up_longer_than_the_training_is_refused(table: LabelledData) -> None:
    spec = Spec(data="x", labels_per_class=(10,), training=TrainingSpec(epochs=5, warmup=5))
    with pytest.raises(
        InputError, match=r"training\.warmup must be below the number of epochs, which is 5 with 24 training rows"
    ):
        trials(spec, table)


def test_fewer_epochs_in_a_tuning_than_the_warm_up_are_refused_before_anything_is_written(table: LabelledData) -> None:
    def grid(warmup: float) -> tuple[Trial, ...]:
        training, tune = TrainingSpec(epochs=10, warmup=warmup), TuneSpec(trials=2, epochs=(2, 40))
        return trials(Spec(data="x", losses=("ce",), labels_per_class=(10,), training=training, tune=tune), table)

    with pytest.raises(InputError) as caught:
        grid(2)
    assert str(caught.value) == "tune.epochs must lie above the 2 epochs of training.warmup; got 2: raise the low end"
    assert grid(1.5)
