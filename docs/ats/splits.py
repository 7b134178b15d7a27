"""ATS against one temperature on splits of real logits, and how much its bins and shrinkage matter.

python docs/ats/splits.py OUT [NET ...]   # fits and measures; writes splits.csv and sensitivity.csv beside this file
python docs/ats/splits.py                 # prints the tables of docs/ats.md from them
python docs/ats/splits.py FIGURE.svg      # draws the sensitivity
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from parts import Row, measure_nets
from torch import Tensor

from gence.bench.stats import estimate
from gence.calibration import Calibrator, fit_adaptive_temperature, fit_temperature
from gence.calibration.catalogue import Uncalibrated
from gence.metrics import expected_calibration_error, negative_log_likelihood

HERE = Path(__file__).parent
METHODS: dict[str, Callable[[Tensor, Tensor], Calibrator]] = {
    "none": lambda logits, target: Uncalibrated(),
    "temperature": fit_temperature,
    "ats": fit_adaptive_temperature,
}
MEASURES = ("ece", "ece_mass", "nll", "changed")


def measure(calibrator: Calibrator, logits: Tensor, target: Tensor) -> dict[str, float]:
    """ECE in 15 bins of equal width and of equal mass, NLL, and how many predictions are others than before."""
    calibrated = calibrator(logits)
    probs = calibrated.softmax(1)
    return {
        "ece": expected_calibration_error(probs, target).item(),
        "ece_mass": expected_calibration_error(probs, target, binning="mass").item(),
        "nll": negative_log_likelihood(probs, target).item(),
        "changed": float((calibrated.argmax(1) != logits.argmax(1)).sum()),
    }


def confidence_dependent(logits: Tensor, a: float, b: float, p: float, seed: int) -> Tensor:
    """Labels drawn from softmax(logits / (a + b c^p)) with c the top confidence of each row."""
    confidence = logits.softmax(1).amax(1, keepdim=True)
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial((logits / (a + b * confidence**p)).softmax(1), 1, generator=generator).squeeze(1)


def split(rows: int, calibration_rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers to calibrate on, and to test on."""
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    return order[:calibration_rows], order[calibration_rows:]


def run(out: Path, *nets: str) -> None:
    """Fit and measure everything for the logits in `out`."""
    from nets import NETS

    names = list(NETS)
    measure_nets("splits", out / "measured", names, nets or names, lambda net: _splits(out, net))
    measure_nets("sensitivity", out / "measured", names, nets or names, lambda net: _sensitivity(out, net))


def _splits(out: Path, net: str) -> list[Row]:
    from logits import read as read_logits
    from nets import SPEC

    logits, real = read_logits(out, net)
    drawn = confidence_dependent(logits, **SPEC["splits"]["confidence_dependent"], seed=SPEC["seed"])
    rows: list[Row] = []
    for problem, labels in (("real", real), ("confidence-dependent", drawn)):
        for count in SPEC["splits"]["calibration_rows"]:
            for seed in range(SPEC["splits"]["seeds"]):
                fit, test = split(len(logits), count, seed)
                place = {"net": net, "problem": problem, "calibration_rows": count, "seed": seed}
                for name, method in METHODS.items():
                    calibrator = method(logits[fit], labels[fit])
                    pieces = len(getattr(calibrator, "knots", ()))
                    measured = measure(calibrator, logits[test], labels[test])
                    rows.append({**place, "method": name, "pieces": pieces, **measured})
    return rows


def _sensitivity(out: Path, net: str) -> list[Row]:
    from logits import read as read_logits
    from nets import SPEC

    logits, labels = read_logits(out, net)
    rows: list[Row] = []
    for count in SPEC["sensitivity"]["calibration_rows"]:
        for seed in range(SPEC["splits"]["seeds"]):
            fit, test = split(len(logits), count, seed)
            for bins in SPEC["sensitivity"]["bins"]:
                for kappa in SPEC["sensitivity"]["shrinkage"]:
                    if count * 4 // 5 < 20 * bins:
                        continue
                    settings = {"bins": (bins,), "shrinkage": (kappa,), "fallback": False}
                    calibrator = fit_adaptive_temperature(logits[fit], labels[fit], **settings)
                    place = {"net": net, "calibration_rows": count, "seed": seed, "bins": bins, "shrinkage": kappa}
                    rows.append({**place, **measure(calibrator, logits[test], labels[test])})
    return rows


def table(path: Path, problem: str) -> str:
    """A row a net and number of calibration rows: ECE and NLL of ATS and of one temperature."""
    values = _by_place(path, ("problem", "net", "calibration_rows", "method"))
    heads = [
        "net",
        "rows",
        "ECE % none",
        "one T",
        "ATS",
        "ATS / one T",
        "NLL one T",
        "ATS \N{MINUS SIGN} one T",
        "pieces",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    nets = dict.fromkeys(key[1] for key in values)
    for net in [*nets, "all"]:
        for count in dict.fromkeys(key[2] for key in values):
            chosen = list(nets) if net == "all" else [net]
            found = {m: _joined(values, [(problem, one, count, m) for one in chosen]) for m in METHODS}
            ece = {m: 100 * _mean(found[m]["ece"]) for m in METHODS}
            ratio = _mean(found["ats"]["ece"]) / _mean(found["temperature"]["ece"])
            nll = [a - b for a, b in zip(found["ats"]["nll"], found["temperature"]["nll"], strict=True)]
            gap = estimate(nll)
            shown = f"{gap.mean:+.4f} ± {(gap.high or gap.mean) - gap.mean:.4f}".replace("-", "\N{MINUS SIGN}")
            used = sum(n > 0 for n in found["ats"]["pieces"])
            cells = [net, count, *(f"{ece[m]:.2f}" for m in METHODS), f"{ratio:.2f}"]
            cells += [f"{_mean(found['temperature']['nll']):.4f}", shown, f"{used} of {len(nll)}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def changed(path: Path) -> int:
    """How many predictions any method changed in all splits together."""
    with open(path, newline="") as stream:
        return sum(int(float(row["changed"])) for row in csv.DictReader(stream))


def _by_place(path: Path, keys: tuple[str, ...]) -> dict[tuple[str, ...], dict[str, list[float]]]:
    values: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with open(path, newline="") as stream:
        for row in csv.DictReader(stream):
            for measure_name in (*MEASURES, "pieces"):
                if measure_name in row:
                    values[tuple(row[key] for key in keys)][measure_name].append(float(row[measure_name]))
    return values


def _joined(
    values: dict[tuple[str, ...], dict[str, list[float]]], places: list[tuple[str, ...]]
) -> dict[str, list[float]]:
    return {name: [v for place in places for v in values[place][name]] for name in values[places[0]]}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def figure(sensitivity: Path, splits: Path, out: Path) -> None:
    """ECE and NLL of every fixed number of bins and shrinkage, less those of one temperature."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "gence"
    fixed = _by_place(sensitivity, ("calibration_rows", "shrinkage", "bins"))
    reference = _by_place(splits, ("problem", "calibration_rows", "method"))
    counts = list(dict.fromkeys(key[0] for key in fixed))
    kappas = sorted({float(key[1]) for key in fixed})
    colours = mpl.colormaps["viridis"]
    drawing = Figure(figsize=(10, 5.6), layout="constrained")
    panels = drawing.subplots(2, len(counts), sharex=True, sharey="row")
    for column, count in enumerate(counts):
        for row, (name, scale) in enumerate((("ece", 100.0), ("nll", 1.0))):
            axes = panels[row][column]
            base = _mean(reference["real", count, "temperature"][name])
            for place, kappa in enumerate(kappas):
                points = {int(b): _mean(v[name]) for (c, k, b), v in fixed.items() if c == count and float(k) == kappa}
                axes.plot(
                    list(points), [scale * (v - base) for v in points.values()], marker="o", ms=3, lw=1.3,
                    color=colours(0.9 * place / (len(kappas) - 1)), label=f"{kappa:g}",
                )  # fmt: skip
            choice = scale * (_mean(reference["real", count, "ats"][name]) - base)
            axes.axhline(choice, color="#c2410c", ls="--", lw=1.3, label="chosen by cross-validation")
            axes.axhline(0.0, color="#55606e", lw=1.0)
            axes.set_xscale("log", base=2)
            axes.set_xticks([2, 3, 5, 10, 20, 40], ["2", "3", "5", "10", "20", "40"])
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", alpha=0.3)
        panels[0][column].set_title(f"{count} calibration rows", fontsize=10)
        panels[1][column].set_xlabel("bins")
    panels[0][0].set_ylabel("ECE %, less one temperature's")
    panels[1][0].set_ylabel("NLL, less one temperature's")
    panels[0][-1].legend(frameon=False, fontsize=8, title="shrinkage in rows", title_fontsize=8)
    drawing.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(table(HERE / "splits.csv", "real"), table(HERE / "splits.csv", "confidence-dependent"), sep="\n\n")
        print(f"\npredictions changed: {changed(HERE / 'splits.csv')}")
    elif sys.argv[1].endswith(".svg"):
        figure(HERE / "sensitivity.csv", HERE / "splits.csv", Path(sys.argv[1]))
    else:
        run(Path(sys.argv[1]), *sys.argv[2:])
