"""The rows and labels of a trial under each regime."""

from __future__ import annotations

import numpy as np
import pytest

from gence import InputError
from gence.bench.records import Cell
from gence.bench.rows import Rows, choose_rows, labels_given, rows_for_tuning
from gence.data import LabelledData


def cell(regime: str = "none", loss: str = "ce", budget: int | str = "all", seed: int = 0) -> Cell:
    return Cell(data="x", regime=regime, model="mlp", loss=loss, labels_per_class=budget, batch_size=8, seed=seed)


def rows_of(data: LabelledData, cell: Cell) -> Rows:
    return choose_rows(data, cell, 0.3, 0.2)


def test_a_long_tail_thins_the_labelled_rows_and_leaves_the_test_rows(table: LabelledData) -> None:
    plain, tail = rows_of(table, cell()), rows_of(table, cell("long-tail:4"))
    labelled = np.concatenate([tail.train, tail.calibration])
    assert np.bincount(table.labels[labelled]).tolist() == [60, 30, 15]  # 60, 60 / 4^(1/2), 60 / 4
    assert np.array_equal(plain.test, tail.test)
    stepped = rows_of(table, cell("long-tail-step:4"))
    labelled = np.concatenate([stepped.train, stepped.calibration])
    assert np.bincount(table.labels[labelled]).tolist() == [60, 15, 15]


@pytest.mark.parametrize(("regime", "rows"), [("long-tail:31", "1 row"), ("long-tail-step:61", "0 rows")])
def test_a_long_tail_that_leaves_less_than_two_rows_says_so(table: LabelledData, regime: str, rows: str) -> None:
    least = "c" if regime == "long-tail:31" else "b"
    with pytest.raises(InputError) as caught:
        rows_of(table, cell(regime))
    assert str(caught.value) == (
        f"{regime} leaves class {least!r} {rows}; at least 2 are needed, to train and to calibrate on; ask for an "
        "imbalance of at most 30"
    )
    assert len(rows_of(table, cell("long-tail:30")).train) > 0


def test_a_prior_shift_thins_the_test_rows_and_leaves_the_labelled_rows(table: LabelledData) -> None:
    plain, shifted = rows_of(table, cell()), rows_of(table, cell("prior-shift:4"))
    assert np.bincount(table.labels[shifted.test]).tolist() == [20, 10, 5]
    assert set(shifted.test) < set(plain.test)
    assert np.array_equal(plain.train, shifted.train)
    assert set(rows_of(table, cell("prior-shift:4", seed=1)).test) != set(shifted.test)
    backwards = rows_of(table, cell("prior-shift-reversed:4"))
    assert np.bincount(table.labels[backwards.test]).tolist() == [5, 10, 20]


@pytest.mark.parametrize("loss", ["ce", "adafocal"])
def test_label_noise_touches_all_labelled_rows_no_test_row_and_is_the_same_for_every_loss(
    table: LabelledData, loss: str
) -> None:
    place = cell("label-noise:0.5", loss)
    rows = rows_of(table, place)
    given = labels_given(table, place, rows)
    labelled = np.concatenate([rows.train, rows.validation, rows.calibration])
    assert (given[labelled] != table.labels[labelled]).mean() == 0.5
    assert np.array_equal(given[rows.test], table.labels[rows.test])
    plain = cell("label-noise:0.5")
    assert np.array_equal(given, labels_given(table, plain, rows_of(table, plain)))
    assert labels_given(table, cell(), rows) is table.labels


def test_a_loss_with_validation_rows_takes_them_from_its_own_training_rows(table: LabelledData) -> None:
    plain, watching = rows_of(table, cell(budget=20)), rows_of(table, cell(loss="adafocal", budget=20))
    assert len(plain.validation) == 0
    assert np.array_equal(plain.calibration, watching.calibration)
    assert np.array_equal(plain.test, watching.test)
    assert not set(watching.train) & set(watching.validation)
    assert set(watching.train) | set(watching.validation) == set(plain.train)
    assert np.bincount(table.labels[watching.validation]).tolist() == [3, 3, 3]  # of 16: 1 + floor(0.2 * 14)
    assert tuple(watching.parts()) == ("train", "validation", "calibration", "test")


@pytest.mark.parametrize("regime", ["none", "long-tail:4", "prior-shift:4"])
def test_a_tuning_has_training_rows_only_and_judges_every_loss_on_the_same_of_them(
    table: LabelledData, regime: str
) -> None:
    given = rows_of(table, cell(regime, budget="all"))
    plain, watching = (rows_for_tuning(table, loss, given, 0.25, 0.2) for loss in ("ce", "adafocal"))
    assert set(plain.train) | set(plain.test) == set(given.train)
    assert not set(plain.train) & set(plain.test)
    assert len(plain.calibration) == len(plain.validation) == len(watching.calibration) == 0
    assert np.array_equal(plain.test, watching.test)
    assert set(watching.train) | set(watching.validation) == set(plain.train)
    assert not set(watching.train) & set(watching.validation)
    for k in range(3):  # 1 + floor(share * (n - 2)) of each class, as calibration rows are taken
        n, left = (int((table.labels[rows] == k).sum()) for rows in (given.train, plain.train))
        assert (table.labels[plain.test] == k).sum() == 1 + (n - 2) // 4
        assert (table.labels[watching.validation] == k).sum() == 1 + (left - 2) // 5


def test_tunings_of_growing_budgets_nest(table: LabelledData) -> None:
    small, large = (rows_for_tuning(table, "ce", rows_of(table, cell(budget=n)), 0.25, 0.2) for n in (10, 30))
    assert set(small.train) < set(large.train)
    assert set(small.test) < set(large.test)


@pytest.mark.parametrize(
    ("loss", "budget", "message"),
    [
        ("focal:gamma=1.0", 2, "at least 2 training rows of every class, one of them to judge a trial on; class 'a' "),
        (
            "cals",
            3,
            "at least 3 training rows of every class for cals, which looks at validation rows itself, one of them to "
            "judge a trial on; class 'a' ",
        ),
    ],
)
def test_too_few_training_rows_to_tune_on_say_so(table: LabelledData, loss: str, budget: int, message: str) -> None:
    rows = rows_of(table, cell(budget=budget))
    with pytest.raises(InputError) as caught:
        rows_for_tuning(table, loss, rows, 0.25, 0.2)
    assert str(caught.value) == f"tuning needs {message}has {budget - 1}: give it more labels, or do not tune"
    more = rows_for_tuning(table, loss, rows_of(table, cell(budget=budget + 1)), 0.25, 0.2)
    assert len(more.train) == len(more.test) == 3
