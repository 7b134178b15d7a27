"""The picture of the evidence: what changing the loss from cross-entropy does at every setting, with intervals."""

from __future__ import annotations

from typing import IO

from measures import Cells, at, interval, metric, paired, places

LOSSES = {
    "gence": ("GenCE", "#c2410c", "o"),
    "logit_adjusted": ("logit adjustment", "#0f766e", "s"),
    "gence_balanced:strength=0.0": ("smoothed logit adjustment", "#55606e", "D"),
    "gence_balanced": ("the same with GenCE's term", "#1d4ed8", "^"),
}
PANELS = {"balanced_accuracy": "balanced accuracy, points", "ece": "ECE, points"}


def draw(cells: Cells, out: IO[bytes]) -> None:
    """Differences to tuned cross-entropy without calibrator, a row a setting, a mark a loss."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "gence"
    settings = places(cells)
    figure = Figure(figsize=(9, 1.4 + 0.4 * len(settings)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        for row, place in enumerate(settings):
            for step, (loss, (words, colour, marker)) in enumerate(LOSSES.items()):
                mine, plain = at(cells, place, loss), at(cells, place, "ce")
                one = None if mine is plain else interval(paired(mine, plain, metric(name)))
                if one is None or one.low is None or one.high is None:
                    continue
                low, mean, high = 100 * one.low, 100 * one.mean, 100 * one.high
                axes.errorbar(
                    mean,
                    row + 0.17 * (step - 1.5),
                    xerr=[[mean - low], [high - mean]],
                    color=colour,
                    marker=marker,
                    ms=4,
                    lw=1.3,
                    capsize=2,
                    label=words,
                )
        axes.axvline(0.0, color="#111827", lw=0.8)
        axes.set_xlabel(f"difference to cross-entropy: {label}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(settings)), [place.name for place in settings])
    panels[0].set_ylim(len(settings) - 0.5, -0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    drawn = dict(zip(labels, handles, strict=True))
    order = [words for words, _, _ in LOSSES.values() if words in drawn]
    figure.legend(
        [drawn[words] for words in order], order, loc="outside upper center", ncols=4, frameon=False, fontsize=9
    )
    figure.savefig(out, format="svg", metadata={"Date": None})
