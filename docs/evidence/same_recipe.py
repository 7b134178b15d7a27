"""Is it the loss, or the recipe that its tuning came upon? Every loss and cross-entropy, at one and the same recipe.

The trials of a tuning draw learning rate, weight decay and epochs alike for all losses, so that every one of them has
its counterpart with cross-entropy, and nothing was picked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from measures import Cells, Place, over_settings, places

from gence.bench.records import Estimate, Tried


@dataclass(frozen=True)
class AtOneRecipe:
    """A loss minus cross-entropy on the validation rows of the tunings: the interval is that over settings."""

    over: Estimate | None
    settings: int
    trials: int


def against_ce(cells: Cells, loss: str, what: Literal["accuracy", "nll"], trials: slice = slice(None)) -> AtOneRecipe:
    """The mean over settings of the mean over the trials of their tunings, of which the first is the recipe as given.

    Under a long tail NLL is the balanced one, which the tunings there are judged by; accuracy is that of balanced
    settings alone, as validation rows with a tail reward the loss that forgets rare classes.
    """
    groups = [found for place in places(cells) if (found := _differences(cells, place, loss, what, trials))]
    return AtOneRecipe(over_settings(groups), len(groups), sum(map(len, groups)))


def _differences(cells: Cells, place: Place, loss: str, what: str, trials: slice) -> list[float]:
    if place.tail and what == "accuracy":
        return []
    what = "balanced_nll" if place.tail else what
    mine, plain = (_tried(cells, place, name, trials) for name in (loss, "ce"))
    both = [(mine[recipe], plain[recipe]) for recipe in mine if recipe in plain]
    values = [(getattr(one, what), getattr(other, what)) for one, other in both]
    return [first - second for first, second in values if first is not None and second is not None]


def _tried(cells: Cells, place: Place, loss: str, trials: slice) -> dict[tuple[float, float, int], Tried]:
    """What the tuning of a loss at a setting tried, by its recipe; one tuning serves all seeds."""
    records = cells.get((place, loss), {})
    tuning = next(iter(records.values())).tuning if records else None
    found = () if tuning is None else tuning.tried[trials]
    return {(one.learning_rate, one.weight_decay, one.epochs): one for one in found}
