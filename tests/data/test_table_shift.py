from __future__ import annotations

import numpy as np
import pytest

from gence import InputError
from gence.data import additive_shift, fit_standardize, missing_features

TABLE = np.random.default_rng(0).normal(size=(400, 6)) * [1.0, 10.0, 0.1, 5.0, 0.0, 2.0] + 3.0


def test_every_column_moves_by_its_own_scale_up_or_down_and_all_rows_together() -> None:
    scale = np.arange(6.0)
    moved = additive_shift(TABLE, 0.5, scale=scale, seed=0) - TABLE
    for column in range(6):
        for row in range(len(TABLE)):
            assert abs(moved[row, column]) == pytest.approx(0.5 * scale[column])
            assert moved[row, column] == pytest.approx(moved[0, column])
    assert len(np.unique(np.sign(moved[0, 1:]))) == 2
    np.testing.assert_allclose(additive_shift(TABLE, 2.0, scale=scale, seed=0) - TABLE, 4 * moved)
    np.testing.assert_array_equal(additive_shift(TABLE, 0.0, scale=scale, seed=0), TABLE)


def test_with_the_scale_of_the_training_rows_all_but_constant_columns_move_as_far_once_standardized() -> None:
    fitted = fit_standardize("table", TABLE)
    moved = fitted(additive_shift(TABLE, 1.5, scale=fitted.scale, seed=1)) - fitted(TABLE)
    np.testing.assert_allclose(abs(moved), np.tile([1.5, 1.5, 1.5, 1.5, 0.0, 1.5], (400, 1)), atol=1e-5)
    assert (additive_shift(TABLE, 1.5, scale=fitted.scale, seed=1)[:, 4] == TABLE[:, 4]).all()


def test_the_seed_decides_the_signs() -> None:
    same = [additive_shift(TABLE, 1.0, scale=np.ones(6), seed=5) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    signs = {tuple(np.sign(additive_shift(TABLE, 1.0, scale=np.ones(6), seed=s) - TABLE)[0]) for s in range(20)}
    assert len(signs) > 10


def test_the_share_of_missing_numbers_is_as_asked_in_every_column_and_shares_nest() -> None:
    lost = {share: np.isnan(missing_features(TABLE, share, seed=0)) for share in (0.0, 0.1, 0.4, 1.0)}
    assert not lost[0.0].any()
    assert lost[1.0].all()
    for share in (0.1, 0.4):
        deviation = (share * (1 - share) / 400) ** 0.5
        assert (abs(lost[share].mean(0) - share) < 4 * deviation).all()
    assert (lost[0.1] <= lost[0.4]).all()
    kept = missing_features(TABLE, 0.4, seed=0)
    np.testing.assert_array_equal(kept[~lost[0.4]], TABLE[~lost[0.4]])
    assert not np.array_equal(lost[0.4], np.isnan(missing_features(TABLE, 0.4, seed=1)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_the_table_given_are_kept_and_what_was_missing_stays_so(dtype: type) -> None:
    table = TABLE.astype(dtype)
    table[3, 2] = np.nan
    table.setflags(write=False)
    for result in (additive_shift(table, 1.0, scale=np.ones(6), seed=0), missing_features(table, 0.2, seed=0)):
        assert (result.shape, result.dtype) == (table.shape, table.dtype)
        assert np.isnan(result[3, 2])


@pytest.mark.parametrize(
    ("table", "size", "scale", "message"),
    [
        (TABLE[0], 1.0, np.ones(6), r"table must be a numpy array of shape \(rows, columns\); got \(6,\)"),
        (TABLE.tolist(), 1.0, np.ones(6), "got list"),
        (TABLE.astype(int), 1.0, np.ones(6), "table must be floating point, .*; got int64"),
        (TABLE, -1.0, np.ones(6), "size must be a number of standard deviations, 0 or more; got -1.0"),
        (TABLE, np.nan, np.ones(6), "got nan"),
        (TABLE, 1.0, np.ones(5), r"scale must hold one number a column, shape \(6,\); got shape \(5,\)"),
        (TABLE, 1.0, -np.ones(6), "scale must hold standard deviations of training rows, 0 or more without NaN"),
        (TABLE, 1.0, np.full(6, np.nan), "0 or more without NaN"),
    ],
)
def test_a_shift_that_cannot_be_is_refused(table, size: float, scale: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        additive_shift(table, size, scale=scale, seed=0)


@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"share must lie in \[0, 1\]; got"):
        missing_features(TABLE, share, seed=0)
    with pytest.raises(InputError, match="table must be floating point"):
        missing_features(TABLE.astype(int), 0.5, seed=0)
