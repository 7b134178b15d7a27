"""What new rows hold that the training rows did not, counted over any number of batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gence.data.wording import counted, listing

_MOST_SHOWN = 5


@dataclass(frozen=True)
class Surprise:
    """What new rows hold in one column that the training rows did not.

    Attributes:
        unknown: How many rows hold a category that is not among those kept.
        values: The first few of these categories, in the order of the rows.
        gaps: How many rows hold no value, where every training row held one.
    """

    unknown: int = 0
    values: tuple[str, ...] = ()
    gaps: int = 0

    def __add__(self, later: Surprise) -> Surprise:
        """Of these rows and of later ones."""
        return Surprise(self.unknown + later.unknown, first_few((*self.values, *later.values)), self.gaps + later.gaps)


def first_few(values: Iterable[str]) -> tuple[str, ...]:
    """The different ones among the values, at most one more than a note shows, so that it can tell there are more."""
    found: dict[str, None] = {}
    for value in values:
        found[value] = None
        if len(found) > _MOST_SHOWN:
            break
    return tuple(found)


def added(earlier: Mapping[str, Surprise], later: Mapping[str, Surprise]) -> dict[str, Surprise]:
    """Column by column, of the rows so far and of later ones."""
    return {name: earlier.get(name, Surprise()) + later.get(name, Surprise()) for name in {**earlier, **later}}


def unknown_note(name: str, surprise: Surprise, kept: int, other: bool) -> str:
    """A sentence on categories that are not among the `kept` ones, which the column `other` catches if there is one."""
    shown = listing(surprise.values[:_MOST_SHOWN]) + (" and others" if len(surprise.values) > _MOST_SHOWN else "")
    one = surprise.unknown == 1
    rows = f"{counted(surprise.unknown, 'row')} {'holds a value' if one else 'hold values'} of {name!r}"
    they = "it counts" if one else "they count"
    if other:
        return f"{rows} beyond the {kept} kept in training ({shown}); {they} as 'other'"
    return f"{rows} that training never saw ({shown}); {they} as none of the known ones"


def gap_note(name: str, surprise: Surprise, category: bool) -> str:
    """A sentence on missing values where training had none."""
    rows = f"{counted(surprise.gaps, 'row')} {'has' if surprise.gaps == 1 else 'have'} no value of {name!r}"
    one = surprise.gaps == 1
    if category:
        return f"{rows}, which training always had; {'it counts' if one else 'they count'} as none of the known ones"
    return f"{rows}, which training always had; {'it is' if one else 'they are'} filled with the median of training"
