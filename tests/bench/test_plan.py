from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gence import InputError
from gence.bench.plan import budgets, plan
from gence.bench.rows import choose_rows
from gence.bench.spec import Spec, TrainingSpec
from gence.data import LabelledData
from gence.losses import catalogue


def test_the_grid_is_every_budget_loss_and_seed_in_order(table: LabelledData) -> None:
    spec = Spec(data="x", losses=("ce", "gence"), labels_per_class=(20, 5), seeds=2)
    cells = [(t.cell.labels_per_class, t.cell.loss, t.cell.seed) for t in plan(spec, table)]
    assert cells == [(n, loss, seed) for n in (5, 20) for loss in ("ce", "gence") for seed in (0, 1)]
    assert len({trial.key for trial in plan(spec, table)}) == 8


def test_batch_sizes_run_from_small_to_large_within_a_budget_and_each_has_its_recipe_and_key(
    table: LabelledData,
) -> None:
    spec = Spec(data="x", losses=("ce",), labels_per_class=("all", 20), seeds=1, training=batches(24, 8))
    trials = plan(spec, table)
    assert [(t.cell.labels_per_class, t.cell.batch_size) for t in trials] == [
        (20, 8),
        (20, 24),
        ("all", 8),
        ("all", 24),
    ]
    assert [t.recipe.batch_size for t in trials] == [8, 24, 8, 24]
    assert len({t.key for t in trials}) == 4
    rows = [choose_rows(table, t.cell, t.test_fraction, t.calibration_fraction) for t in trials[:2]]
    assert np.array_equal(rows[0].train, rows[1].train)
    assert [t.recipe.epochs for t in trials[:2]] == [50, 150]  # 300 updates: 48 training rows are six batches, or two


def test_one_batch_size_and_a_list_of_it_are_the_same_trials(table: LabelledData) -> None:
    one, listed = (plan(Spec(data="x", training=batches(size)), table) for size in (16, [16]))
    assert one == listed


@pytest.mark.parametrize(
    ("budget", "sizes", "message"),
    [
        (
            10,
            (64, 8, 32),
            r"batch sizes 32 and 64 give the same batches \(1 an epoch\) of the 24 training rows with 10",
        ),
        (
            10,
            (9, 10),
            r"batch sizes 9 and 10 give the same batches \(2 an epoch\) .* 10 labels per class, which would run",
        ),
        (
            10,
            (25, 64, 32),
            "batch sizes 25, 32 and 64 give the same .* keep one of these sizes, or ask for more labels$",
        ),
        ("all", (200, 300), "of the 144 training rows with all labels, .* twice; keep one of these sizes$"),
    ],
)
def test_batch_sizes_that_give_the_same_batches_are_refused(
    table: LabelledData, budget: int, sizes: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plan(Spec(data="x", labels_per_class=(budget,), training=batches(sizes)), table)


def batches(*sizes) -> TrainingSpec:
    return TrainingSpec(batch_size=sizes[0] if len(sizes) == 1 else sizes)


def test_every_loss_has_the_same_rows_and_no_row_is_in_two_parts(table: LabelledData) -> None:
    spec = Spec(data="x", labels_per_class=(10,), seeds=2)
    chosen: dict[int, list] = {0: [], 1: []}
    for trial in plan(spec, table):
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
    trials = plan(Spec(data="x", losses=("ce",), labels_per_class=(10,), seeds=2), whole)
    tests = [choose_rows(whole, t.cell, t.test_fraction, t.calibration_fraction).test for t in trials]
    assert [len(test) for test in tests] == [72, 72]
    assert set(tests[0]) != set(tests[1])


def test_the_default_budgets_are_10_and_50_or_all_where_the_data_have_fewer(table: LabelledData) -> None:
    spec = Spec(data="x")
    assert budgets(spec, table) == (10, 50)  # 60 rows a class outside the test split
    assert budgets(spec, _first(table, 120)) == (10, "all")
    assert budgets(spec, _first(table, 24)) == ("all",)


def _first(table: LabelledData, rows: int) -> LabelledData:
    return dataclasses.replace(table, inputs=table.inputs[:rows], labels=table.labels[:rows], test_rows=None)


def test_more_labels_than_there_are_and_classes_too_small_are_refused(table: LabelledData) -> None:
    with pytest.raises(InputError, match="61 labels per class are asked for, but blobs has only 60 rows of class 'a'"):
        budgets(Spec(data="x", labels_per_class=(10, 61)), table)
    with pytest.raises(InputError, match="class 'a' has 2 rows; at least 3 are needed"):
        budgets(Spec(data="x"), _first(table, 6))
    lonely = dataclasses.replace(table, test_rows=np.arange(4, 240))
    with pytest.raises(InputError, match="class 'b' has 1 rows outside the test split; at least 2"):
        budgets(Spec(data="x"), lonely)


def test_without_epochs_a_trial_has_about_300_updates_and_at_least_20_epochs(table: LabelledData) -> None:
    few, many = plan(Spec(data="x", losses=("ce",), labels_per_class=(10, 50), seeds=1), table)
    assert few.recipe.epochs == 300  # 24 training rows are one batch
    assert many.recipe.epochs == 100  # 123 rows are three
    named = plan(Spec(data="x", training=TrainingSpec(epochs=7)), table)
    assert {trial.recipe.epochs for trial in named} == {7}
    large = dataclasses.replace(table, inputs=np.tile(table.inputs, (10, 1)), labels=np.tile(table.labels, 10))
    assert {t.recipe.epochs for t in plan(Spec(data="x", labels_per_class=("all",)), large)} == {20}


def test_a_long_tail_has_one_budget_and_refuses_numbers(table: LabelledData) -> None:
    spec = Spec(data="x", regime="long-tail:4", losses=("ce",), seeds=1)
    assert budgets(spec, table) == ("all",)
    assert [(t.cell.regime, t.cell.labels_per_class) for t in plan(spec, table)] == [("long-tail:4", "all")]
    numbers = spec.model_copy(update={"labels_per_class": (10,)})
    with pytest.raises(
        InputError, match="'long-tail:4' decides how many labels each class has; got labels per class 10"
    ):
        budgets(numbers, table)


def test_a_loss_that_looks_at_validation_rows_has_its_own_number_of_updates(table: LabelledData) -> None:
    spec = Spec(data="x", losses=("ce", "adafocal"), labels_per_class=(40,), seeds=1)
    plain, adaptive = plan(spec, table)
    assert (plain.recipe.epochs, adaptive.recipe.epochs) == (
        100,
        150,
    )  # 300 updates: of 96 rows three a pass, of 75 two


@pytest.mark.parametrize(
    ("losses", "changes", "told"),
    [
        (
            ("all",),
            {"labels_per_class": (2,)},
            "adafocal and cals look at validation rows, taken out of their training rows; with 2 labels a class there "
            "is none to take: ask for at least 3, or leave them out (--losses all,-adafocal,-cals)",
        ),
        (
            ("ce", "adafocal"),
            {"labels_per_class": (2,)},
            "adafocal looks at validation rows, taken out of its training rows; with 2 labels a class there is none to "
            "take: ask for at least 3, or leave it out (--losses ce)",
        ),
        (
            ("cals", "ce"),
            {"regime": "long-tail:30"},
            "cals looks at validation rows, taken out of its training rows; with 2 labels of class 'c' there is none "
            "to take: ask for an imbalance of at most 20, or leave it out (--losses ce)",
        ),
        (
            ("cals",),
            {"labels_per_class": (2,)},
            "cals looks at validation rows, taken out of its training rows; with 2 labels a class there is none to "
            "take: ask for at least 3, or choose other losses",
        ),
    ],
)
def test_losses_that_cannot_have_validation_rows_are_named_together_with_the_cure(
    table: LabelledData, losses: tuple[str, ...], changes: dict, told: str
) -> None:
    with pytest.raises(InputError) as caught:
        plan(Spec(data="x", losses=losses, **changes), table)
    assert str(caught.value) == told


@pytest.mark.parametrize(("share", "of"), [(0.2, 3), (0.9, 3)])
def test_three_labels_a_class_are_enough_for_every_loss(table: LabelledData, share: float, of: int) -> None:
    assert plan(Spec(data="x", losses=("all",), labels_per_class=(of,), calibration_fraction=share), table)
    assert plan(Spec(data="x", losses=("cals",), regime="long-tail:20"), table)


def test_two_rows_of_a_class_are_too_few_for_validation_rows_whatever_the_budget(table: LabelledData) -> None:
    lonely = dataclasses.replace(table, test_rows=np.arange(6, 240))
    with pytest.raises(InputError, match="with 2 labels of class 'a' there is none to take: add rows to that class,"):
        plan(Spec(data="x", losses=("adafocal", "ce")), lonely)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"regime": "long-tail:31"}, "^long-tail:31 leaves class 'c' 1 row; at least 2 are needed"),
        ({"regime": "prior-shift:100"}, "class number 2 with its share of .* would get none"),
        ({"regime": "label-noise:0.2", "labels_per_class": (2,)}, "^a rate of 0.2 of at most 2 labels a class makes"),
    ],
)
def test_what_is_wrong_with_a_regime_is_not_put_down_to_a_loss(table: LabelledData, changes: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        plan(Spec(data="x", losses=("adafocal", "cals"), **changes), table)


def test_augmentations_are_for_images_and_come_by_the_name_of_the_data(table: LabelledData) -> None:
    images = dataclasses.replace(table, kind="image", inputs=np.zeros((240, 3, 8, 8), np.uint8))
    flip = TrainingSpec(augment=("flip",))
    assert plan(Spec(data="x", training=flip), images)[0].recipe.augment == ("flip",)
    assert plan(Spec(data="cifar10"), images)[0].recipe.augment == ("crop", "flip")
    assert plan(Spec(data="./cifar10"), images)[0].recipe.augment == ()
    told = r"augmentation \(flip\) is for images; blobs is a table: give --augment none"
    with pytest.raises(InputError, match=told):
        plan(Spec(data="x", training=flip), table)


def test_the_key_changes_with_all_that_decides_the_outcome_and_with_nothing_else(table: LabelledData) -> None:
    def keys(data: LabelledData = table, **change) -> set[str]:
        return {trial.key for trial in plan(Spec(data="x", labels_per_class=(10,), seeds=1, **change), data)}

    base = keys()
    other = dataclasses.replace(table, inputs=table.inputs + 1)
    for changed in (
        keys(other),
        keys(training=TrainingSpec(epochs=1)),
        keys(training=TrainingSpec(learning_rate=0.1)),
        keys(training=TrainingSpec(batch_size=8)),
        keys(training=TrainingSpec(mixup=0.2)),
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
