"""What the specs of 100 classes and of another network ask, beside the recipe: as their heads register it."""

from __future__ import annotations

from formats import code, difference, number, table
from measures import Cells, Place, at, mean_of, metric, places


def batches(cells: Cells) -> str:
    """100 classes: every loss minus cross-entropy in accuracy and NLL, at batches of 32 and of 128."""
    mine = [place for place in places(cells) if place.data == "mnist_pairs"]
    names = ("accuracy", "nll")
    heads = ["loss", *(f"{_WORDS[name]}, batches of {place.batch_size}" for place in mine for name in names)]
    lines = [f"- {_length(cells, place)}" for place in mine]
    return "\n".join([_table(cells, mine, names, heads), *([""] if lines else []), *lines])


def _length(cells: Cells, place: Place) -> str:
    """How long the trainings of a setting are, and how far cross-entropy gets in them, in a sentence."""
    updates = {
        record.training["updates"] for (where, _), found in cells.items() if where == place for record in found.values()
    }
    ends = " to ".join(str(end) for end in dict.fromkeys((min(updates), max(updates))))
    right = number(100 * mean_of(at(cells, place, "ce"), metric("accuracy")), 1)
    return f"In batches of {place.batch_size} a tuned training takes {ends} updates; cross-entropy has {right} % right."


def networks(cells: Cells) -> str:
    """The deeper network beside the small one at the same settings: every loss minus cross-entropy."""
    small = {_rows(place): place for place in places(cells) if place.model == "small_resnet"}
    deeper = [place for place in places(cells) if place.model != "small_resnet"]
    mine = [place for deep in deeper for place in (small[_rows(deep)], deep)]
    names = ("balanced_accuracy", "ece")
    heads = ["loss", *(f"{_WORDS[name]}, {_where(place)}" for place in mine for name in names)]
    return _table(cells, mine, names, heads)


_WORDS = {
    "accuracy": "accuracy, points",
    "balanced_accuracy": "balanced accuracy, points",
    "ece": "ECE, points",
    "nll": "NLL",
}


def _rows(place: Place) -> tuple[str, str, str, int]:
    return place.data, place.regime, place.labels, place.batch_size


def _where(place: Place) -> str:
    return f"{place.name.removesuffix(f', {place.model}')}, {place.model}"


def _table(cells: Cells, mine: list[Place], names: tuple[str, ...], heads: list[str]) -> str:
    if not mine:
        return "It has not been run yet."
    losses = [loss for place, loss in cells if place == mine[-1] and loss != "ce"]
    rows = []
    for loss in losses:
        found = [difference(at(cells, place, loss), at(cells, place, "ce"), name) for place in mine for name in names]
        rows.append([code(loss), *found])
    return table(heads, rows)
