from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from gence.data import class_prior, label_noise, long_tail, prior_shift
from gence.data.regimes._draw import Purpose, shuffled_by_class

REGIMES = {
    "long_tail": partial(long_tail, imbalance=2, seed=0),
    "label_noise": partial(label_noise, rate=0.5, seed=0, num_classes=2),
    "prior_shift": partial(prior_shift, prior=[0.75, 0.25], seed=0),
    "class_prior": partial(class_prior, num_classes=2),
}

Y = np.arange(40) % 2


@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_the_choice_depends_on_which_rows_there_are_and_not_on_their_order(regime: Callable[..., object]) -> None:
    rows = np.arange(5, 35)
    for one, other in zip(regime(Y, rows), regime(Y, rows[::-1]), strict=True):
        assert np.array_equal(one, other)


def test_with_one_seed_every_purpose_has_an_order_of_its_own() -> None:
    orders = {tuple(shuffled_by_class(Y, np.arange(40), 0, purpose)[0]) for purpose in Purpose}
    assert len(orders) == len(Purpose)


@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
@pytest.mark.parametrize(
    ("labels", "rows", "message"),
    [
        (Y / 2, np.arange(40), "labels must be integers of shape (labels,); got float64 of shape (40,)"),
        (Y, Y == 1, "rows must be integers of shape (rows,); got bool of shape (40,)"),
        (Y, np.zeros(0, int), "rows must hold at least one row number; got none"),
        (Y, np.array([0, 40]), "rows must lie in 0..39, as there are 40 labels; got 40"),
        (Y, np.array([0, -1, 3]), "rows must lie in 0..39, as there are 40 labels; got -1"),
        (Y, np.array([0, 1, 0]), "rows must name each row once; 1 of 3 are repeated"),
        (Y - 1, np.arange(40), "labels of the rows must be class numbers from 0; got -1: leave those rows out"),
    ],
)
def test_what_are_no_labels_or_rows_is_refused(
    regime: Callable[..., object], labels: np.ndarray, rows: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        regime(labels, rows)
