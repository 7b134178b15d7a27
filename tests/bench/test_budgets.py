"""The budgets of a spec, and what is refused because the rows do not suffice or two wishes are one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gence import InputError
from gence.bench.budgets import budgets
from gence.bench.inputs import StudyData
from gence.bench.plan import Trial, plan
from gence.bench.spec import Spec
from gence.bench.spec_parts import TrainingSpec
from gence.data import LabelledData


def trials(spec: Spec, data: LabelledData) -> tuple[Trial, ...]:
    return plan(spec, StudyData({data.name: data})).trials


def _first(table: LabelledData, rows: int) -> LabelledData:
    return dataclasses.replace(table, inputs=table.inputs[:rows], labels=table.labels[:rows], test_rows=None)


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
        trials(Spec(data="x", labels_per_class=(budget,), training=TrainingSpec(batch_size=sizes)), table)


def test_the_default_budgets_are_10_and_50_or_all_where_the_data_have_fewer(table: LabelledData) -> None:
    spec = Spec(data="x")
    assert budgets(spec, table, "none") == (10, 50)  # 60 rows a class outside the test split
    assert budgets(spec, _first(table, 120), "none") == (10, "all")
    assert budgets(spec, _first(table, 24), "none") == ("all",)


def test_more_labels_than_there_are_and_classes_too_small_are_refused(table: LabelledData) -> None:
    with pytest.raises(InputError, match="61 labels per class are asked for, but blobs has only 60 rows of class 'a'"):
        budgets(Spec(data="x", labels_per_class=(10, 61)), table, "none")
    with pytest.raises(InputError, match="class 'a' has 2 rows; at least 3 are needed"):
        budgets(Spec(data="x"), _first(table, 6), "none")
    lonely = dataclasses.replace(table, test_rows=np.arange(4, 240))
    with pytest.raises(InputError, match="class 'b' has 1 rows outside the test split; at least 2"):
        budgets(Spec(data="x"), lonely, "none")


def test_a_long_tail_has_one_budget_and_refuses_numbers(table: LabelledData) -> None:
    spec = Spec(data="x", regime="long-tail:4", losses=("ce",), seeds=1)
    assert budgets(spec, table, "long-tail:4") == ("all",)
    assert [(t.cell.regime, t.cell.labels_per_class) for t in trials(spec, table)] == [("long-tail:4", "all")]
    numbers = spec.model_copy(update={"labels_per_class": (10,)})
    with pytest.raises(
        InputError, match="'long-tail:4' decides how many labels each class has; got labels per class 10"
    ):
        budgets(numbers, table, "long-tail:4")


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
        trials(Spec(data="x", losses=losses, **changes), table)
    assert str(caught.value) == told


@pytest.mark.parametrize(("share", "of"), [(0.2, 3), (0.9, 3)])
def test_three_labels_a_class_are_enough_for_every_loss(table: LabelledData, share: float, of: int) -> None:
    assert trials(Spec(data="x", losses=("all",), labels_per_class=(of,), calibration_fraction=share), table)
    assert trials(Spec(data="x", losses=("cals",), regime="long-tail:20"), table)


def test_two_rows_of_a_class_are_too_few_for_validation_rows_whatever_the_budget(table: LabelledData) -> None:
    lonely = dataclasses.replace(table, test_rows=np.arange(6, 240))
    with pytest.raises(InputError, match="with 2 labels of class 'a' there is none to take: add rows to that class,"):
        trials(Spec(data="x", losses=("adafocal", "ce")), lonely)


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
        trials(Spec(data="x", losses=("adafocal", "cals"), **changes), table)
