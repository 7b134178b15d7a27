from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gence import InputError
from gence.data import index_hash, long_tail, long_tail_counts, split_calibration


def balanced(num_classes: int, per_class: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(num_classes), per_class))


def test_the_counts_of_cifar_10_lt_are_the_published_ones() -> None:
    assert long_tail_counts(10, 5000, 100).tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tail_counts(10, 5000, 100).dtype == np.int64


@pytest.mark.parametrize(
    ("num_classes", "largest", "imbalance", "total", "smallest"),
    [
        (10, 5000, 10, 20_431, 500),
        (10, 5000, 50, 13_996, 100),
        (10, 5000, 100, 12_406, 50),
        (10, 5000, 200, 11_203, 25),
        (100, 500, 10, 19_573, 50),
        (100, 500, 50, 12_608, 10),
        (100, 500, 100, 10_847, 5),
        (100, 500, 200, 9_502, 2),
    ],
)
def test_totals_and_tails_are_the_published_ones(
    num_classes: int, largest: int, imbalance: float, total: int, smallest: int
) -> None:
    counts = long_tail_counts(num_classes, largest, imbalance)
    assert (counts.sum(), counts[0], counts[-1]) == (total, largest, smallest)


def naive_counts(num_classes: int, largest: int, factor: float, profile: str) -> list[int]:
    """Cao et al.'s two profiles, in which the factor is the smallest class over the largest."""
    if profile == "exp":
        return [int(largest * factor ** (k / (num_classes - 1.0))) for k in range(num_classes)]
    head = num_classes // 2
    return [largest] * head + [int(largest * factor)] * (num_classes - head)


@pytest.mark.parametrize("profile", ["exp", "step"])
@pytest.mark.parametrize(("num_classes", "largest"), [(10, 5000), (100, 500), (7, 123), (2, 60)])
def test_counts_are_those_of_the_formula(num_classes: int, largest: int, profile: str) -> None:
    for factor in (1.0, 0.5, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002):
        counts = long_tail_counts(num_classes, largest, 1 / factor, profile)
        assert counts.tolist() == naive_counts(num_classes, largest, factor, profile)


def test_no_row_is_lost_to_rounding() -> None:
    assert int(49 * (1 / 49)) == 0
    assert long_tail_counts(2, 49, 49).tolist() == [49, 1]


def test_an_imbalance_of_one_is_balance() -> None:
    assert long_tail_counts(5, 30, 1).tolist() == long_tail_counts(5, 30, 1, "step").tolist() == [30] * 5


def naive_choice(labels: np.ndarray, factor: float, profile: str, seed: int) -> list[np.ndarray]:
    """The procedure of Cao et al. word for word: one legacy generator, class after class in label order."""
    random, chosen = np.random.RandomState(seed), []
    counts = naive_counts(len(set(labels)), len(labels) // len(set(labels)), factor, profile)
    for k, count in enumerate(counts):
        members = np.array([row for row, label in enumerate(labels) if label == k])
        random.shuffle(members)
        chosen.append(members[:count])
    return chosen


@pytest.mark.parametrize("profile", ["exp", "step"])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_rows_are_those_of_cao_et_al(profile: str, seed: int) -> None:
    y = balanced(10, 200)
    drawn = long_tail(y, np.arange(2000), 100, profile=profile, seed=seed)
    for one, other in zip(drawn, naive_choice(y, 0.01, profile, seed), strict=True):
        assert np.array_equal(one, other)


def test_the_rows_never_change_with_a_new_version() -> None:
    """The hash is that of `naive_choice`; the stream of numpy's legacy generator is frozen."""
    y = np.arange(50_000) * 7 % 10
    drawn = np.concatenate(long_tail(y, np.arange(50_000), 100, seed=0))
    assert len(drawn) == 12_406
    assert index_hash(drawn) == "df6e28335c130858a85e696664da6b299278b50f5a587b0921d4ab20f10d3afc"


@settings(max_examples=50, deadline=None)
@given(
    imbalance=st.floats(1, 40), more=st.floats(1, 3), seed=st.integers(0, 99), profile=st.sampled_from(["exp", "step"])
)
def test_a_larger_imbalance_takes_a_beginning(imbalance: float, more: float, seed: int, profile: str) -> None:
    y = balanced(4, 120)
    large, small = (long_tail(y, np.arange(480), i, profile=profile, seed=seed) for i in (imbalance, imbalance * more))
    for few, many in zip(small, large, strict=True):
        assert np.array_equal(few, many[: len(few)])


def test_the_scarcest_class_decides_and_the_classes_present_are_counted() -> None:
    y = np.repeat([0, 2, 5], [100, 40, 70])
    drawn = long_tail(y, np.arange(210), 4, seed=0)
    assert [len(one) for one in drawn] == [40, 20, 10]
    assert [set(y[one]) for one in drawn] == [{0}, {2}, {5}]


def test_only_the_rows_given_are_chosen_from() -> None:
    y, rows = balanced(3, 50), np.arange(0, 150, 2)
    assert set(np.concatenate(long_tail(y, rows, 5, seed=0))) <= set(rows)


def test_calibration_rows_are_split_off_a_long_tail_class_by_class() -> None:
    y = balanced(3, 100)
    train, calibration = split_calibration(long_tail(y, np.arange(300), 50, seed=0), 0.2)
    assert np.bincount(y[train]).tolist() == [80, 11, 1]
    assert np.bincount(y[calibration]).tolist() == [20, 3, 1]
    with pytest.raises(InputError, match="every class needs at least 2 labelled rows"):
        split_calibration(long_tail(y, np.arange(300), 100, seed=0), 0.2)


@pytest.mark.parametrize(
    ("imbalance", "message"),
    [
        (0.01, r"at least 1; got 0\.01: give 100$"),
        (0, "at least 1; got 0$"),
        (float("nan"), "at least 1; got nan$"),
        (float("inf"), "a finite number of at least 1; got inf$"),
        (30, "an imbalance of 30 leaves class number 2 without a row, .* has 20 rows; ask for at most 20$"),
    ],
)
def test_an_impossible_imbalance_is_refused(imbalance: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        long_tail(balanced(3, 20), np.arange(60), imbalance, seed=0)


def test_the_largest_class_may_be_smaller_and_takes_a_beginning_of_the_same_rows() -> None:
    y = balanced(3, 40)
    small, full = (long_tail(y, np.arange(120), 4, largest=largest, seed=0) for largest in (20, None))
    assert [len(one) for one in small] == [20, 10, 5]
    assert [len(one) for one in full] == [40, 20, 10]
    assert all((one == other[: len(one)]).all() for one, other in zip(small, full, strict=True))
    for largest in (0, 41):
        with pytest.raises(InputError, match=f"to have {largest} rows, but the scarcest class has 40.*ask for 1 to 40"):
            long_tail(y, np.arange(120), 4, largest=largest, seed=0)


def test_other_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2; got 1"):
        long_tail_counts(1, 10, 2)
    with pytest.raises(ValueError, match="largest must be at least 1 row; got 0"):
        long_tail_counts(2, 0, 2)
    with pytest.raises(ValueError, match="profile must be 'exp' or 'step'; got 'linear'"):
        long_tail_counts(2, 10, 2, "linear")  # pyright: ignore[reportArgumentType]
