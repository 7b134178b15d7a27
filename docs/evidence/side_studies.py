"""What the specs of 100 classes and of another network ask, beside the recipe: as their heads register it."""

from __future__ import annotations

from formats import SHOWN, code, difference, number, stacked, table
from measures import NETWORKS, Cells, Place, at, beyond, interval, losses_at, mean_of, metric, paired, places

NOT_YET = "It has not been run yet."


def batches(cells: Cells) -> str:
    """100 classes: every loss minus cross-entropy in accuracy and NLL, at batches of 32 and of 128."""
    mine = [place for place in places(cells) if place.data == "mnist_pairs"]
    if not mine:
        return NOT_YET
    shown = {"accuracy": "accuracy, points", "nll": "NLL"}
    heads = ["loss", *(f"{words}, batches of {place.batch_size}" for place in mine for words in shown.values())]
    rows = [
        [code(loss), *(_to_ce(cells, place, loss, name) for place in mine for name in shown)]
        for loss in _losses(cells, mine)
    ]
    return "\n".join([table(heads, rows), "", *(f"- {_length(cells, place)}" for place in mine)])


def _length(cells: Cells, place: Place) -> str:
    """How long the trainings of a setting are, and how far cross-entropy gets in them, in a sentence."""
    updates = {
        record.training["updates"] for (where, _), found in cells.items() if where == place for record in found.values()
    }
    ends = " to ".join(str(end) for end in dict.fromkeys((min(updates), max(updates))))
    right = number(100 * mean_of(at(cells, place, "ce"), metric("accuracy")), 1)
    return f"In batches of {place.batch_size} a tuned training takes {ends} updates; cross-entropy has {right} % right."


def networks(cells: Cells) -> str:
    """Every loss minus cross-entropy with the deeper network and with the small one at the same settings."""
    small = {_rows(place): place for place in places(cells) if place.model == "small_resnet"}
    pairs = [(small[_rows(place)], place) for place in places(cells) if place.model != "small_resnet"]
    mine = [place for pair in pairs for place in pair]
    if not mine:
        return NOT_YET
    losses = _losses(cells, mine)
    rows = [
        [code(loss), *(stacked([_to_ce(cells, place, loss, name) for name in SHOWN]) for place in mine)]
        for loss in losses
    ]
    text = table(["loss", *(f"{_where(place)}, points" for place in mine)], rows)
    verdicts = [
        tuple(_verdict(cells, place, loss, name) for place in pair)
        for pair in pairs
        for loss in losses
        for name in SHOWN
    ]
    same, opposite = (
        sum(first == sign * second for first, second in verdicts if second or sign > 0) for sign in (1, -1)
    )
    return (
        f"{text}\n\nOf {len(verdicts)} verdicts (more, less, undecided) {same} are the same with both networks; in "
        f"{opposite} the two say the opposite."
    )


def _verdict(cells: Cells, place: Place, loss: str, name: str) -> int:
    """1 and -1 where the interval of the difference to cross-entropy lies above and below 0, else 0."""
    one = interval(paired(at(cells, place, loss), at(cells, place, "ce"), metric(name)))
    assert one is not None, "a setting is shown once all its seeds are there"
    return int(beyond(one, 1)) - int(beyond(one, -1))


def _to_ce(cells: Cells, place: Place, loss: str, name: str) -> str:
    return difference(at(cells, place, loss), at(cells, place, "ce"), name)


def _losses(cells: Cells, mine: list[Place]) -> list[str]:
    return [loss for loss in losses_at(cells, mine[-1]) if loss != "ce"]


def _rows(place: Place) -> tuple[str, str, str, int]:
    return place.data, place.regime, place.labels, place.batch_size


def _where(place: Place) -> str:
    return f"{place.name.removesuffix(place.network)}, {NETWORKS[place.model]}"
