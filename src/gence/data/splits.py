"""Which of a source's splits are trained on, and which one is its test split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gence._errors import InputError
from gence.data.wording import listing

TRAIN = "train"
# In order of preference: a validation split stands in for a test split only if there is none.
TEST_NAMES = ("test", "validation", "valid", "val")


@dataclass(frozen=True)
class ChosenSplits:
    """The names of the splits that are read, as the source spells them, and of those that are not."""

    train: str
    test: str | None
    unused: tuple[str, ...]

    def wanted(self, test_only: bool) -> tuple[str, ...]:
        """The splits to read: those used, or the test split alone if there is one and nothing else is wanted."""
        return self.used[-1:] if test_only else self.used

    @property
    def used(self) -> tuple[str, ...]:
        """The training split, then the test split if there is one."""
        return (self.train,) if self.test is None else (self.train, self.test)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the splits that are not read, if there are any, and on one that stands in for a test split."""
        unused = (f"not used, beside {listing(self.used)}: {listing(self.unused)}",) if self.unused else ()
        stands_in = self.test is not None and self.test.lower() != TEST_NAMES[0]
        return (*unused, f"tested on the {self.test} split, as there is no test split") if stands_in else unused


def choose_splits(names: Iterable[str], where: str) -> ChosenSplits:
    """Pick `train` and the first of `TEST_NAMES`, whatever their case; a split that is alone is all there is.

    Args:
        names: The splits a source has.
        where: The source, for the message.

    Raises:
        InputError: If there are several splits and none is called train.
    """
    names = sorted(names)
    by_lower = {name.lower(): name for name in names}
    train = by_lower.get(TRAIN, names[0] if len(names) == 1 else None)
    if train is None:
        raise InputError(
            f"{where}: there is no split called {TRAIN!r} among {listing(names)}; rename the one to train on"
        )
    test = next((by_lower[name] for name in TEST_NAMES if name in by_lower and by_lower[name] != train), None)
    return ChosenSplits(train, test, tuple(name for name in names if name not in (train, test)))
