from __future__ import annotations

import pytest

from gence._errors import InputError
from gence.data.splits import choose_splits


@pytest.mark.parametrize(
    ("names", "train", "test", "unused"),
    [
        (["test", "train"], "train", "test", ()),
        (["train", "validation"], "train", "validation", ()),
        (["train", "valid", "val"], "train", "valid", ("val",)),
        (["validation", "test", "train"], "train", "test", ("validation",)),
        (["Train", "TEST", "extra"], "Train", "TEST", ("extra",)),
        (["train"], "train", None, ()),
        (["part"], "part", None, ()),
        (["test"], "test", None, ()),
    ],
)
def test_test_comes_before_validation_and_a_lone_split_is_everything(
    names: list[str], train: str, test: str | None, unused: tuple[str, ...]
) -> None:
    chosen = choose_splits(names, "birds")

    assert (chosen.train, chosen.test, chosen.unused) == (train, test, unused)
    assert chosen.used == ((train, test) if test else (train,))


def test_splits_that_are_not_read_are_noted() -> None:
    assert choose_splits(["train", "test", "extra"], "birds").notes == ("not used, beside train, test: extra",)
    assert choose_splits(["train", "test"], "birds").notes == ()


def test_several_splits_without_train_are_refused() -> None:
    with pytest.raises(InputError, match=r"birds: there is no split called 'train' among fold1, fold2; rename"):
        choose_splits(["fold2", "fold1"], "birds")
