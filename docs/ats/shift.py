"""ATS fitted on calibration rows pooled with corrupted copies, tested on corruptions that it was not fitted on.

python docs/ats/shift.py OUT [NET ...] # fits and measures the logits of logits.py; writes shift.csv beside this file
python docs/ats/shift.py               # prints the table of docs/ats.md from it
python docs/ats/shift.py FIGURE.svg    # draws what clean rows pay for shifted ones
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

import torch
from parts import Row, measure_nets
from torch import Tensor

from gence.bench.stats import estimate
from gence.calibration import Calibrator, fit_adaptive_temperature, fit_temperature
from gence.metrics import expected_calibration_error

HERE = Path(__file__).parent
METHODS = {"temperature": "one temperature", "ats": "ATS"}


def run(out: Path, *nets: str) -> None:
    """Fit on one half of the corruptions, measure on clean rows and on the other half, and the reverse."""
    from nets import SPEC

    measure_nets("shift", out / "measured", SPEC["shift"]["nets"], nets or SPEC["shift"]["nets"], partial(_shift, out))


def _shift(out: Path, net: str) -> list[Row]:
    from logits import CONDITIONS, read
    from nets import SPEC
    from splits import split

    shift, rows = SPEC["shift"], []
    first, second = shift["halves"]
    assert sorted(first + second) == sorted({name for name, _ in CONDITIONS} - {"clean"})
    logits = {place: read(out, net, *place) for place in CONDITIONS}
    clean = logits["clean", 0]
    for seed in range(SPEC["splits"]["seeds"]):
        fit, test = split(len(clean[0]), shift["calibration_rows"], seed)
        for half in (0, 1):
            unseen = [place for place in CONDITIONS if place[0] in shift["halves"][1 - half]]
            for mix in shift["mixes"]:
                places = [(name, severity) for name in shift["halves"][half] for severity in mix]
                sets = [(logits[place][0][fit], logits[place][1][fit]) for place in places]
                for method in METHODS:
                    calibrator = _fit(method, (clean[0][fit], clean[1][fit]), sets)
                    shifted = [_ece(calibrator, *logits[place], test) for place in unseen]
                    rows.append(
                        {
                            "net": net, "seed": seed, "half": half, "method": method,
                            "severities": " ".join(map(str, mix)) or "none",
                            "clean_ece": _ece(calibrator, *clean, test), "shifted_ece": sum(shifted) / len(shifted),
                        }
                    )  # fmt: skip
    return rows


def _fit(method: str, clean: tuple[Tensor, Tensor], sets: list[tuple[Tensor, Tensor]]) -> Calibrator:
    if method == "ats":
        return fit_adaptive_temperature(*clean, shifted=sets)
    return fit_temperature(torch.cat([clean[0], *(z for z, _ in sets)]), torch.cat([clean[1], *(y for _, y in sets)]))


def _ece(calibrator: Calibrator, logits: Tensor, target: Tensor, rows: Tensor) -> float:
    return expected_calibration_error(calibrator(logits[rows]).softmax(1), target[rows]).item()


def read_results(path: Path) -> dict[tuple[str, str, str], dict[str, list[float]]]:
    """(net, method, severities) -> ECE % on clean rows and over unseen corruptions, one a split and half."""
    results: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with open(path, newline="") as stream:
        for row in csv.DictReader(stream):
            for name in ("clean_ece", "shifted_ece"):
                results[row["net"], row["method"], row["severities"]][name].append(100 * float(row[name]))
    return results


def table(path: Path) -> str:
    """A row a net and mix of severities: ECE on unseen corruptions and on clean rows."""
    results = read_results(path)
    heads = [
        "net",
        "pooled severities",
        "shifted ECE % one T",
        "ATS",
        "ATS / plain ATS",
        "clean ECE % one T",
        "ATS",
        "ATS \N{MINUS SIGN} plain ATS",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for net in dict.fromkeys(key[0] for key in results):
        plain = results[net, "ats", "none"]
        for mix in dict.fromkeys(key[2] for key in results):
            ats, single = results[net, "ats", mix], results[net, "temperature", mix]
            more = estimate([a - b for a, b in zip(ats["clean_ece"], plain["clean_ece"], strict=True)]).mean
            cells = [net, mix, f"{_mean(single['shifted_ece']):.1f}", f"{_mean(ats['shifted_ece']):.1f}"]
            cells += [f"{_mean(ats['shifted_ece']) / _mean(plain['shifted_ece']):.2f}"]
            cells += [f"{_mean(single['clean_ece']):.1f}", f"{_mean(ats['clean_ece']):.1f}"]
            cells += [f"{more:+.1f}".replace("-", "\N{MINUS SIGN}")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def figure(path: Path, out: Path) -> None:
    """Clean ECE against the mean ECE on unseen corruptions, a curve a net and method through the mixes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "gence"
    results = read_results(path)
    nets = list(dict.fromkeys(key[0] for key in results))
    drawing = Figure(figsize=(2.9 * len(nets), 3.4), layout="constrained")
    for axes, net in zip(drawing.subplots(1, len(nets), squeeze=False)[0], nets, strict=True):
        for method, colour, marker in zip(METHODS, ("#55606e", "#c2410c"), "so", strict=True):
            points = {mix: found for (one, m, mix), found in results.items() if (one, m) == (net, method)}
            x = [_mean(found["shifted_ece"]) for found in points.values()]
            y = [_mean(found["clean_ece"]) for found in points.values()]
            axes.plot(x, y, color=colour, marker=marker, ms=4, lw=1.2, label=METHODS[method])
            if method == "ats":
                for mix, left, up in zip(points, x, y, strict=True):
                    axes.annotate(mix, (left, up), xytext=(4, 4), textcoords="offset points", fontsize=7)
        axes.set_title(net, fontsize=10)
        axes.set_xlabel("ECE %, unseen corruptions")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    drawing.axes[0].set_ylabel("ECE %, clean")
    drawing.axes[0].legend(frameon=False, fontsize=8)
    drawing.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(table(HERE / "shift.csv"))
    elif sys.argv[1].endswith(".svg"):
        figure(HERE / "shift.csv", Path(sys.argv[1]))
    else:
        run(Path(sys.argv[1]), *sys.argv[2:])
