"""The recipe as Markdown: what the rules choose, their test, and what every other loss would have got in it."""

from __future__ import annotations

from collections.abc import Sequence

from formats import NAMED, change, code, number, table
from measures import CHOSEN_ON, Cells, Place
from recipe import CANDIDATES, MARGIN, Check, Choice, check, choose, passed_uncalibrated, registered

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
        [code(one.loss), number(one.nll, 4), _names(one.worse_at), _names(margins[one.loss])]
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
    parts = []
    for kind in by_kind(cells, choice):
        rows = []
        for lines in kind:
            mark = " (chosen on it)" if lines[0].place.data == CHOSEN_ON else ""
            passed = "**yes**" if all(line.passed for line in lines) else "no"
            rows.append([lines[0].place.name + mark, *map(_checked, lines), passed])
        counts = [sum(line.passed for line in column) for column in zip(*kind, strict=True)]
        whole = sum(all(line.passed for line in lines) for lines in kind)
        rows.append(["passed", *(f"{count} of {len(kind)}" for count in (*counts, whole))])
        parts.append(table(("setting", *(line.what for line in kind[0]), "passed"), rows))
    return "\n\n".join(parts)


def by_kind(cells: Cells, choice: Choice) -> list[list[list[Check]]]:
    """The lines of the test at every setting, those of balanced classes first, then those of long tails."""
    tests = [lines for place in registered(cells) if (lines := check(cells, place, choice.loss, choice.calibrator))]
    kinds = ([lines for lines in tests if lines[0].place.tail == tail] for tail in (False, True))
    return [kind for kind in kinds if kind]


def outcome(cells: Cells) -> str:
    """In how many settings the recipes pass their test, and which part of it fails, in a sentence or two."""
    choices = [choose(cells), choose(cells, MARGIN)]
    if None in choices:
        return "No recipe is chosen yet."
    parts = []
    for choice in choices:
        assert choice is not None
        for kind in by_kind(cells, choice):
            whole = sum(all(line.passed for line in lines) for lines in kind)
            where = "long tails" if kind[0][0].place.tail else "settings of balanced classes"
            counts = (f"{column[0].what}: {sum(line.passed for line in column)}" for column in zip(*kind, strict=True))
            parts.append(f"- {code(choice.loss)} passes at **{whole} of {len(kind)}** {where} ({'; '.join(counts)}).")
    return "\n".join(parts)


def _checked(one: Check) -> str:
    factor, decimals = (100.0, 1) if one.percent else (1.0, 3)
    return change(one.estimate, factor, decimals) + ("" if one.passed else ": **failed**")


def every_loss(cells: Cells) -> str:
    """At how many settings every loss does what the test asks without a calibrator."""
    rows = []
    for loss in CANDIDATES[1:]:
        counts = [passed_uncalibrated(cells, loss, tail) for tail in (False, True)]
        rows.append([code(loss), *(f"{passed} of {run}" if run else "" for passed, run in counts)])
    return table(("loss", "balanced classes, settings passed", "long tails, settings passed"), rows)
