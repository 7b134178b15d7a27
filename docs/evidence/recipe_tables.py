"""The recipe as Markdown: what the rules choose, their test, and what every other loss would have got in it."""

from __future__ import annotations

from collections.abc import Sequence

from formats import change, number, table
from measures import CHOSEN_ON, Cells, Place, places
from recipe import CANDIDATES, MARGIN, Check, Choice, check, choose, passed_uncalibrated

from gence.report.names import loss_label


def recipe(cells: Cells) -> str:
    """Which recipe the rule chooses, and its test; or what is still to be run."""
    choice = choose(cells)
    if choice is None:
        return (
            "**Not chosen yet**: the rule needs all five settings of CIFAR-10, and not all of them have been run. "
            "Nothing on this page is a recommendation until then."
        )
    second = choose(cells, MARGIN)
    assert second is not None
    first_words = f"By the rule the recipe is {_chosen(choice)}"
    if (second.loss, second.calibrator) == (choice.loss, choice.calibrator):
        words = f"{first_words}\n\nThe second rule chooses the same."
        return "\n\n".join([words, _candidates(choice, second), tested(cells, choice)])
    words = f"{first_words}\n\nBy the second rule it is {_chosen(second)}"
    tests = [f"#### {title}\n{tested(cells, one)}" for title, one in (("The first", choice), ("The second", second))]
    return "\n\n".join([words, _candidates(choice, second), *tests])


NAMED = {"gence_balanced:strength=0.0": "logit_adjusted_smoothing"}
"""Losses that got a name of their own after the study was begun."""


def _chosen(choice: Choice) -> str:
    name = loss_label(NAMED.get(choice.loss, choice.loss))
    written = f"`{NAMED[choice.loss]}`, in the records " if choice.loss in NAMED else ""
    text = f"**{name}** ({written}`{choice.loss}`) with `{choice.calibrator}`."
    if choice.apart is not None:
        text += (
            f" The lowest NLL has `{choice.lowest}`, but its difference to this one, "
            f"{change(choice.apart, 1.0, 4)}, does not exclude 0, and this one does without GenCE's term."
        )
    return text


def _candidates(first: Choice, second: Choice) -> str:
    margins = {one.loss: one.worse_at for one in second.candidates}
    rows = [
        [f"`{one.loss}`", number(one.nll, 4), _names(one.worse_at), _names(margins[one.loss])]
        for one in sorted(first.candidates, key=lambda one: one.nll)
    ]
    heads = (
        "loss",
        "mean NLL over the five settings",
        "less accurate than cross-entropy at",
        "not shown to be within a point of it at",
    )
    return table(heads, rows)


def _names(places: Sequence[Place]) -> str:
    return "; ".join(place.name for place in places) or "nowhere"


def tested(cells: Cells, choice: Choice) -> str:
    """The test at every setting, a table for balanced classes and one for tails; those chosen on are marked."""
    by_kind: dict[tuple[str, ...], list[list[str]]] = {}
    for place in places(cells):
        lines = check(cells, place, choice.loss, choice.calibrator)
        if lines:
            words = tuple(line.what for line in lines)
            passed = "**yes**" if all(line.passed for line in lines) else "no"
            mark = " (chosen on it)" if place.data == CHOSEN_ON else ""
            by_kind.setdefault(words, []).append([place.name + mark, *map(_checked, lines), passed])
    return "\n\n".join(table(("setting", *words, "passed"), rows) for words, rows in by_kind.items())


def _checked(one: Check) -> str:
    factor, decimals = (100.0, 1) if one.percent else (1.0, 3)
    return change(one.estimate, factor, decimals) + ("" if one.passed else ": **failed**")


def every_loss(cells: Cells) -> str:
    """At how many settings every loss does what the test asks without a calibrator."""
    rows = []
    for loss in CANDIDATES[1:]:
        counts = [passed_uncalibrated(cells, loss, tail) for tail in (False, True)]
        rows.append([f"`{loss}`", *(f"{passed} of {run}" if run else "" for passed, run in counts)])
    return table(("loss", "balanced classes, settings passed", "long tails, settings passed"), rows)
