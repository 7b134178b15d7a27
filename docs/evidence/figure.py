"""The picture of the evidence: what changing the loss from cross-entropy does at every setting, with intervals."""

from __future__ import annotations

from typing import IO

from again import answers
from measures import Cells, at, interval, metric, paired, places

LOSSES = {
    "gence": ("GenCE", "#c2410c", "o"),
    "logit_adjusted": ("logit adjustment", "#0f766e", "s"),
    "gence_balanced:strength=0.0": ("smoothed logit adjustment", "#55606e", "D"),
    "gence_balanced": ("the same with GenCE's term", "#1d4ed8", "^"),
}
PANELS = {"balanced_accuracy": "balanced accuracy, points", "ece": "ECE, points"}
AGAIN = "hollow: asked again of fresh seeds, each tuned by itself"


def draw(cells: Cells, out: IO[bytes]) -> None:
    """Differences to tuned cross-entropy without calibrator, a row a setting, a mark a loss."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    mpl.rcParams["svg.hashsalt"] = "gence"
    settings = places(cells)
    again = {loss: answers(loss) for loss in LOSSES}
    figure = Figure(figsize=(9, 1.7 + 0.4 * len(settings)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        for step, (loss, (_, colour, marker)) in enumerate(LOSSES.items()):
            for row, place in enumerate(settings):
                mine, plain = at(cells, place, loss), at(cells, place, "ce")
                one = None if mine is plain else interval(paired(mine, plain, metric(name)))
                height = row + 0.19 * (step - 1.5)
                for shown, down, fill in ((one, 0.0, colour), (again[loss].get(place, {}).get(name), 0.09, "white")):
                    if shown is None or shown.low is None or shown.high is None:
                        continue
                    low, mean, high = 100 * shown.low, 100 * shown.mean, 100 * shown.high
                    axes.errorbar(
                        mean,
                        height + down,
                        xerr=[[mean - low], [high - mean]],
                        color=colour,
                        marker=marker,
                        mfc=fill,
                        ms=4,
                        lw=1.3 if down == 0.0 else 0.8,
                        capsize=2,
                    )
        axes.axvline(0.0, color="#111827", lw=0.8)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(settings)), [place.name for place in settings])
    panels[0].set_ylim(len(settings) - 0.5, -0.5)
    figure.suptitle("Difference to cross-entropy, both tuned, without calibrator", fontsize=10)
    marks = [
        Line2D([], [], color=colour, marker=marker, ms=4, lw=1.3, label=words)
        for words, colour, marker in LOSSES.values()
    ]
    marks.append(Line2D([], [], color="#111827", marker="o", mfc="white", ms=4, lw=0, label=AGAIN))
    figure.legend(handles=marks, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(out, format="svg", metadata={"Date": None})
