"""What is said of GenCE in sentences, from the records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from ablation import added
from again import answers
from formats import COLUMNS, change, number
from measures import Cells, Place, at, losses_at, mean_of, metric, over_settings, paired, places, pooled
from same_recipe import against_ce

from gence.report.names import listed


def gence(cells: Cells) -> str:
    """GenCE against cross-entropy in a few sentences, by intervals over settings."""
    term = added(cells, "gence")
    gained, ece = (change(term.changes[name], *COLUMNS[name]) for name in ("balanced_accuracy", "ece"))

    means, anew = gains(cells)
    again = change(over_settings([value] for value in (means | anew).values()), *COLUMNS["balanced_accuracy"])

    def at_one_recipe(trials: slice) -> str:
        accuracy, nll = (against_ce(cells, "gence", name, trials) for name in ("accuracy", "nll"))
        return (
            f"{change(accuracy.over, *COLUMNS['accuracy'])} points of accuracy where classes are balanced, "
            f"{change(nll.over, *COLUMNS['nll'])} of NLL"
        )

    return (
        f"**GenCE minus cross-entropy**, both tuned, over {term.settings} settings, each one observation:\n\n"
        f"- {gained} points of balanced accuracy, {ece} points of ECE. The tuning also chose GenCE's strength, from "
        "0.2 to the full 1.\n"
        f"- {again} points of balanced accuracy with what fresh seeds, each tuned by itself, answered at "
        f"{len(anew)} of the settings, those of its greatest gains.\n"
        f"- At one and the same recipe for both, on validation rows: {at_one_recipe(slice(None))}.\n"
        f"- At full strength and the recipe as given, on validation rows: {at_one_recipe(slice(1))}."
    )


def strengths(cells: Cells) -> str:
    """What the tunings of GenCE chose for its strength, in a sentence."""
    chosen = []
    for place in places(cells):
        tuning = next(iter(at(cells, place, "gence").values())).tuning
        if tuning is not None:
            chosen.append((tuning.tried[tuning.chosen].knobs["strength"], place.name))
    full = [name for strength, name in chosen if strength == 1.0]
    rest = [strength for strength, _ in chosen if strength < 1.0]
    return (
        f"GenCE's strength was tuned, as the knobs of every loss: it is the paper's full strength at {len(full)} of "
        f"{len(chosen)} settings ({'; '.join(full)}), and {min(rest):.2f} to {max(rest):.2f} at the others, where 0 "
        "would be cross-entropy."
    )


def ties(cells: Cells) -> str:
    """How often ATS came to one temperature with GenCE, so that the two are one calibrator."""
    records = [record for (_, loss), found in cells.items() if loss == "gence" for record in found.values()]
    same = sum(metric("ece", "ats")(one) == metric("ece", "temperature")(one) for one in records)
    return (
        f"With GenCE, ATS came to one temperature in {same} of {len(records)} trials: with so few calibration rows it "
        "often keeps to that, and the two are one calibrator then."
    )


def gain(cells: Cells) -> str:
    """Where GenCE gains most accuracy, what is left without that, and what Student's t makes of all settings."""
    factor, decimals = COLUMNS["balanced_accuracy"]
    means, anew = gains(cells)
    *rest, third, second, first = sorted(means, key=means.__getitem__)
    most = [f"{place.name} ({number(means[place] * factor, decimals, sign=True)})" for place in (first, second, third)]
    best = sum(_most_accurate(cells, place) == "gence" for place in means)

    def over(values: Iterable[float]) -> str:
        return change(over_settings([value] for value in values), factor, decimals)

    return (
        f"- The gain in accuracy is greatest at {listed(most)}; the other {len(rest)} settings have "
        f"{over(means[place] for place in rest)}.\n"
        f"- With what [fresh seeds](#asked-again) answered in the place of {len(anew)} of the settings, all of them "
        f"have {over((means | anew).values())}. That is unkind to GenCE, as only great gains of it were asked again.\n"
        f"- Student's t over settings, in the place of the bootstrap-t, gives "
        f"{change(pooled([list(means.values())]), factor, decimals)}, with the answers of the fresh seeds "
        f"{change(pooled([list((means | anew).values())]), factor, decimals)}.\n"
        f"- Of all losses GenCE is the most accurate at {best} of {len(means)} settings; the paper says 8 of its 11 "
        "experiments."
    )


def gains(cells: Cells) -> tuple[dict[Place, float], dict[Place, float]]:
    """What GenCE gains in balanced accuracy at every setting, and what fresh seeds answered at some of them."""
    means = {
        place: statistics.fmean(paired(at(cells, place, "gence"), at(cells, place, "ce"), metric("balanced_accuracy")))
        for place in places(cells)
    }
    anew = {place: found["balanced_accuracy"].mean for place, found in answers("gence").items() if place in means}
    return means, anew


def _most_accurate(cells: Cells, place: Place) -> str:
    return max(losses_at(cells, place), key=lambda loss: mean_of(at(cells, place, loss), metric("accuracy")))
