from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gence._errors import InputError
from gence.data import LabelledData
from gence.data.facts import Facts, Recipe, check_facts

DATA = LabelledData(
    name="zoo",
    kind="image",
    inputs=np.zeros((5, 3, 4, 6), np.uint8),
    labels=np.array([0, 1, 0, 1, 1]),
    class_names=("ant", "bee"),
    test_rows=np.array([3, 4]),
)
FACTS = Facts(train_rows=3, test_rows=2, classes=2, shape=(3, 4, 6))


def test_data_as_published_pass() -> None:
    check_facts(DATA, [FACTS], "cure")
    check_facts(replace(DATA, test_rows=None), [Facts(5, 0, 2, (3, 4, 6))], "cure")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (replace(FACTS, train_rows=4), "training rows 3 instead of 4"),
        (replace(FACTS, test_rows=1), "test rows 2 instead of 1"),
        (replace(FACTS, classes=3), "classes 2 instead of 3"),
        (replace(FACTS, shape=(3, 4, 4)), r"rows of shape (3, 4, 6) instead of (3, 4, 4)"),
        (Facts(4, 1, 2, (3, 4, 6)), "training rows 3 instead of 4, test rows 2 instead of 1"),
    ],
)
def test_whatever_differs_is_named_with_both_numbers(facts: Facts, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_facts(DATA, [facts], "get another copy")

    assert str(caught.value) == f"zoo: not as published: {message}; get another copy"


def test_the_files_that_were_read_are_named() -> None:
    with pytest.raises(InputError) as caught:
        check_facts(DATA, [replace(FACTS, train_rows=4)], "cure", ["train.parquet", "test.parquet"])
    assert str(caught.value) == (
        "zoo: not as published: training rows 3 instead of 4 (read from train.parquet, test.parquet); cure"
    )


def test_one_release_of_several_will_do_but_not_a_mixture() -> None:
    check_facts(DATA, [Facts(30, 20, 2, (3, 4, 6)), FACTS], "cure")
    with pytest.raises(InputError, match="training rows 3 instead of 30"):
        check_facts(DATA, [replace(FACTS, train_rows=30), replace(FACTS, test_rows=20)], "cure")


def test_of_resized_images_the_channels_are_compared() -> None:
    check_facts(DATA, [replace(FACTS, shape=(3, 32, 32))], "cure", resized=True)
    with pytest.raises(InputError, match=r"rows of shape \(3,\) instead of \(1,\)"):
        check_facts(DATA, [replace(FACTS, shape=(1, 4, 6))], "cure", resized=True)


def test_of_a_test_split_alone_the_training_rows_are_not_asked_for() -> None:
    alone = replace(DATA, test_rows=None)
    check_facts(alone, [Facts(999, 5, 2, (3, 4, 6))], "cure", test_only=True)
    with pytest.raises(InputError, match="not as published: test rows 5 instead of 2;"):
        check_facts(alone, [FACTS], "cure", test_only=True)


def test_what_has_neither_repository_nor_file_is_embedded() -> None:
    assert Recipe("t", "r", FACTS).embedded
    assert not Recipe("t", "r", FACTS, repository="org/zoo").embedded
    assert not Recipe("t", "r", FACTS, file="zoo.npz").embedded
