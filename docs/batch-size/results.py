"""Print the results.csv of a study over batch sizes as Markdown tables, and draw it.

python docs/batch-size/results.py docs/batch-size/100-classes.csv none          # the tables, as trained
python docs/batch-size/results.py docs/batch-size/100-classes.csv temperature   # after one temperature
python docs/batch-size/results.py docs/batch-size/100-classes.csv FILE.svg      # the figure
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from gence.bench.records import Estimate
from gence.bench.stats import estimate

LOSSES = {"ce": "cross-entropy", "gence": "GenCE", "gence_moving": "moving GenCE"}
COLUMNS = {"accuracy": ("accuracy %", 100, 1), "nll": ("NLL", 1, 3), "ece": ("ECE %", 100, 1)}
MINUS = "\N{MINUS SIGN}"
CALIBRATORS = ("none", "temperature")

Results = dict[tuple[int, str, str], dict[int, dict[str, float]]]
"""(batch size, loss, calibrator) -> seed -> metric -> value."""


def read(path: Path) -> Results:
    """The rows of a results.csv by setting."""
    results: Results = defaultdict(dict)
    with open(path, newline="") as stream:
        for row in csv.DictReader(stream):
            metrics = {key: scale * float(row[key]) for key, (_, scale, _) in COLUMNS.items()}
            results[int(row["batch_size"]), row["loss"], row["calibrator"]][int(row["seed"])] = metrics
    return results


def difference(results: Results, size: int, loss: str, calibrator: str, metric: str) -> Estimate:
    """`loss` minus cross-entropy, paired by seed, widened for every comparison of one metric on one data set."""
    ours, theirs = results[size, loss, calibrator], results[size, "ce", calibrator]
    sizes = len({key[0] for key in results})
    comparisons = sizes * (len(LOSSES) - 1) * len(CALIBRATORS)
    return estimate([ours[seed][metric] - theirs[seed][metric] for seed in sorted(ours)], comparisons=comparisons)


def table(path: Path, calibrator: str) -> str:
    """A table a metric: means over seeds, and differences to cross-entropy; bold where the interval excludes zero."""
    results = read(path)
    return "\n\n".join(_table(results, calibrator, metric) for metric in COLUMNS)


def _table(results: Results, calibrator: str, metric: str) -> str:
    title, _, decimals = COLUMNS[metric]
    others = [loss for loss in LOSSES if loss != "ce"]
    heads = [f"{title} at batches of", LOSSES["ce"], *(f"{LOSSES[loss]} {MINUS} {LOSSES['ce']}" for loss in others)]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for size in sorted({key[0] for key in results}):
        mean = estimate([seed[metric] for seed in results[size, "ce", calibrator].values()]).mean
        differences = [_difference(results, size, loss, calibrator, metric, decimals) for loss in others]
        lines.append("| " + " | ".join([str(size), f"{mean:.{decimals}f}", *differences]) + " |")
    return "\n".join(lines)


def _difference(results: Results, size: int, loss: str, calibrator: str, metric: str, decimals: int) -> str:
    found = difference(results, size, loss, calibrator, metric)
    assert found.low is not None
    assert found.high is not None
    text = f"{found.mean:+.{decimals}f} ± {found.high - found.mean:.{decimals}f}".replace("-", MINUS)
    return text if found.low <= 0 <= found.high else f"**{text}**"


def figure(path: Path, out: Path) -> None:
    """ECE and NLL against the batch size, as trained: means over seeds with 95 % intervals."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "gence"
    results = read(path)
    sizes = sorted({key[0] for key in results})
    drawing = Figure(figsize=(9, 3.4), layout="constrained")
    for axes, metric in zip(drawing.subplots(1, 2), ("ece", "nll"), strict=True):
        for loss, colour, marker in zip(LOSSES, ("#55606e", "#c2410c", "#0f766e"), "os^", strict=True):
            found = [estimate([seed[metric] for seed in results[size, loss, "none"].values()]) for size in sizes]
            half = [(one.high or one.mean) - one.mean for one in found]
            means = [one.mean for one in found]
            axes.errorbar(sizes, means, half, color=colour, marker=marker, label=LOSSES[loss], capsize=2, lw=1.5)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlabel("rows in a batch, at least")
        axes.set_ylabel("test " + COLUMNS[metric][0])
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    drawing.axes[0].legend(frameon=False)
    drawing.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    if sys.argv[2] in CALIBRATORS:
        print(table(Path(sys.argv[1]), sys.argv[2]))
    else:
        figure(Path(sys.argv[1]), Path(sys.argv[2]))
