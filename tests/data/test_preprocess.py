from __future__ import annotations

import numpy as np

from gence.data import fit_standardize


def test_images_are_standardized_by_channel_with_the_training_rows_numbers() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)
    fitted = fit_standardize("image", images[:4])
    scaled = fitted(images)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[:4].mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled[:4].std((0, 2, 3)), 1, atol=1e-5)
    one = (images[5, 2, 1, 1] / 255 - (images[:4, 2] / 255).mean()) / (images[:4, 2] / 255).std()
    np.testing.assert_allclose(scaled[5, 2, 1, 1], one, rtol=1e-4)


def test_missing_numbers_become_the_median_of_the_training_rows_and_a_constant_column_becomes_zero() -> None:
    table = np.array([[1.0, 7.0, np.nan], [3.0, 7.0, np.nan], [np.nan, 7.0, np.nan], [8.0, 7.0, np.nan]], np.float32)
    fitted = fit_standardize("table", table)
    assert fitted.fill.tolist() == [3.0, 7.0, 0.0]
    filled = np.array([1.0, 3.0, 3.0, 8.0])
    np.testing.assert_allclose(fitted(table)[:, 0], (filled - filled.mean()) / filled.std(), rtol=1e-5)
    assert not fitted(table)[:, 1:].any()


def test_a_column_that_never_varied_in_training_says_nothing_about_new_rows() -> None:
    # Otherwise a rare amount of 99999 would reach the network in raw units, and only at test time.
    train = np.array([[0.0, 1.0], [0.0, 2.0]])
    assert fit_standardize("table", train)(np.array([[99999.0, 1.0]])).tolist() == [[0.0, -1.0]]


def test_units_do_not_matter() -> None:
    table = np.random.default_rng(0).normal(size=(20, 1))
    plain = fit_standardize("table", table)(table)
    for scaled in (1e-12 * table, 1.76e9 + 1e-3 * table):
        np.testing.assert_allclose(fit_standardize("table", scaled)(scaled), plain, rtol=1e-3, atol=1e-3)


def test_new_rows_change_nothing_that_was_learnt() -> None:
    table = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    fitted = fit_standardize("table", table)
    alone = fitted(table[:1])
    np.testing.assert_array_equal(fitted(np.concatenate([table[:1], 1e6 * np.ones((1, 2), np.float32)]))[:1], alone)
