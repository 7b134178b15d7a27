from __future__ import annotations

import pickle

import numpy as np
import pytest

from gence._errors import InputError
from gence.data import LabelledData, additive_shift, corrupt, corruptions, load, missing_features, shift_suite
from gence.data.corruptions import CATALOGUE


def images_of(dtype: type, channels: int = 1) -> LabelledData:
    inputs = np.random.default_rng(0).random((4, channels, 6, 6))
    inputs = (200 + 55 * inputs).astype(np.uint8) if dtype is np.uint8 else inputs.astype(dtype)
    return LabelledData("zoo", "image", inputs, np.array([0, 1, 0, 1]), ("ant", "bee"))


def table(test_rows: np.ndarray | None = None) -> LabelledData:
    """Three columns: a number, a constant, and a flag; the last two rows are far from the others."""
    inputs = np.array([[1.0, 5, 0], [3.0, 5, 1], [np.nan, 5, 0], [100.0, 5, 1], [900.0, 5, 0]])
    return LabelledData("people", "table", inputs, np.array([0, 1, 0, 1, 0]), ("a", "b"), test_rows)


def test_images_get_every_corruption_at_every_severity() -> None:
    suite = shift_suite(images_of(np.uint8))

    assert [(shift.name, shift.severity) for shift in suite] == [
        (name, severity) for name in corruptions.names() for severity in (1, 2, 3, 4, 5)
    ]
    assert all(shift.strength == CATALOGUE[shift.name].strengths[shift.severity - 1] for shift in suite)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_shift_of_images_is_their_corruption(dtype: type) -> None:
    data = images_of(dtype)
    for shift in shift_suite(data):
        np.testing.assert_array_equal(
            shift.apply(data.inputs, 3), corrupt(data.inputs, shift.name, shift.severity, seed=3)
        )


def test_the_white_of_a_named_data_set_is_known_and_of_dark_images_it_must_be_given() -> None:
    digits = load("digits")
    (shift,) = [one for one in shift_suite(digits) if (one.name, one.severity) == ("brightness", 5)]
    np.testing.assert_array_equal(
        shift.apply(digits.inputs, 0), corrupt(digits.inputs, "brightness", 5, seed=0, white=16.0)
    )

    dark = LabelledData("night", "image", np.full((2, 1, 4, 4), 20, np.uint8), np.array([0, 1]), ("a", "b"))
    with pytest.raises(InputError, match="255 is perhaps not their white; give white="):
        shift_suite(dark)[0].apply(dark.inputs, 0)
    for shift in shift_suite(dark, white=20.0):
        expected = corrupt(dark.inputs, shift.name, shift.severity, seed=0, white=20.0)
        np.testing.assert_array_equal(shift.apply(dark.inputs, 0), expected)


def test_jpeg_is_left_out_where_it_does_not_fit() -> None:
    data = images_of(np.uint8, channels=4)
    suite = shift_suite(data)

    assert {shift.name for shift in suite} == {*corruptions.names()} - {"jpeg"}


def test_tables_lose_numbers_and_move() -> None:
    data = table()
    suite = shift_suite(data, rows=np.arange(3))

    assert [(shift.name, shift.severity) for shift in suite] == [
        (name, severity) for name in ("missing_features", "additive_shift") for severity in (1, 2, 3, 4, 5)
    ]
    assert [shift.strength for shift in suite] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.25, 0.5, 1.0, 1.5, 2.0]
    for shift in suite[:5]:
        expected = missing_features(data.inputs, shift.strength, seed=7)
        np.testing.assert_array_equal(shift.apply(data.inputs, 7), expected)


def test_the_scale_is_that_of_training_rows_and_flags_and_constants_stay() -> None:
    """By hand: 0, 3 and 6 have the variance 6, and the two test rows, which are far away, do not count."""
    rows = np.array([[0.0, 5, 0], [3.0, 5, 1], [6.0, 5, 0], [900.0, 5, 1], [100.0, 5, 0]])
    data = LabelledData("people", "table", rows, np.array([0, 1, 0, 1, 0]), ("a", "b"), np.array([3, 4]))

    shift = shift_suite(data)[-1]

    moved = shift.apply(data.inputs, 0) - data.inputs
    np.testing.assert_allclose(np.abs(moved), np.tile([2.0 * np.sqrt(6.0), 0, 0], (5, 1)))
    np.testing.assert_array_equal(
        shift.apply(data.inputs, 1),
        additive_shift(data.inputs, 2.0, scale=np.array([np.sqrt(6.0), 0, 0]), seed=1),
    )


def test_the_rows_to_learn_from_may_be_given() -> None:
    data = table()
    few, all_rows = shift_suite(data, rows=np.arange(4))[-1], shift_suite(data)[-1]

    assert np.nanmax(np.abs(few.apply(data.inputs, 0) - data.inputs)) < 100
    assert np.nanmax(np.abs(all_rows.apply(data.inputs, 0) - data.inputs)) > 500


def test_one_seed_gives_one_shift_and_the_inputs_stay() -> None:
    for data in (images_of(np.uint8), table()):
        before = data.inputs.copy()
        for shift in shift_suite(data):
            once, again = shift.apply(data.inputs, 5), shift.apply(data.inputs, 5)
            np.testing.assert_array_equal(once, again)
            assert (once.shape, once.dtype) == (before.shape, before.dtype)
        np.testing.assert_array_equal(data.inputs, before)


def test_a_shift_can_be_sent_to_another_process() -> None:
    for data in (images_of(np.uint8), table()):
        for shift in shift_suite(data):
            copy = pickle.loads(pickle.dumps(shift))
            np.testing.assert_array_equal(copy.apply(data.inputs, 2), shift.apply(data.inputs, 2))
