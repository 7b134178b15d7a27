"""Boosted trees with the softmax of their library against GenCE: four tables, twenty splits each.

python docs/boosting/compare.py OUT.csv   # fits everything, some minutes on two cores
python docs/boosting/compare.py           # prints the tables of docs/boosting.md from results.csv beside this file
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from gence.bench.stats import estimate
from gence.calibration import fit_temperature
from gence.integrations.boosting import GenerativeObjective, generative_loss, log_prior
from gence.metrics import accuracy, expected_calibration_error, negative_log_likelihood

RESULTS = Path(__file__).parent / "results.csv"
LIBRARIES = {"xgboost": "XGBoost", "lightgbm": "LightGBM"}
ALIKE = ("gence", "gence from 0", "softmax from 0")
WEIGHTED = ("gence weighted",)
BALANCED = ("prior-aware gence", "softmax weighted", "gence weighted")
OTHERS = {
    "breast_cancer": ALIKE,
    "wine": ALIKE,
    "digits": ALIKE,
    "digits thinned": ALIKE + WEIGHTED,
    "digits thinned, balanced test": BALANCED,
}
"""Table -> what is compared with softmax on it. The last is the fourth again, with predictions for balanced classes."""
NAMES = {
    "gence": "GenCE",
    "gence from 0": "GenCE from scores of 0",
    "softmax from 0": "softmax from scores of 0",
    "gence weighted": "GenCE, class weights",
    "prior-aware gence": "prior-aware GenCE",
    "softmax weighted": "softmax, class weights",
}
COLUMNS = {
    "nll": ("NLL", 1, 4),
    "accuracy": ("accuracy %", 100, 2),
    "ece": ("ECE %", 100, 2),
    "nll_scaled": ("NLL scaled", 1, 4),
    "ece_scaled": ("ECE % scaled", 100, 2),
}
SEEDS = 20
RATES = (0.1, 0.3)
ROUNDS = (10, 20, 30, 40, 60, 80, 100, 125, 150)
MINUS = "\N{MINUS SIGN}"

Rows = tuple[np.ndarray, np.ndarray]
"""Features and labels."""
Stages = dict[tuple[float, int], list[np.ndarray]]
"""(rate, rounds) -> the scores of each part, as the posterior of the training data."""


@dataclass(frozen=True)
class Split:
    """Rows to fit on, to choose rate and rounds by, to calibrate on, to test on, and to test balanced classes on."""

    fit: Rows
    choose: Rows
    calibrate: Rows
    test: Rows
    balanced_test: Rows

    @property
    def others(self) -> list[Rows]:
        return [self.choose, self.calibrate, self.test, self.balanced_test]

    @property
    def counts(self) -> np.ndarray:
        return np.bincount(self.fit[1])


def split(name: str, seed: int) -> Split:
    """Half for training, of which a fifth chooses; a quarter to calibrate on, a quarter to test on, all by class."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    def apart(rows: Rows, share: float) -> tuple[Rows, Rows]:
        x, x_rest, y, y_rest = train_test_split(*rows, test_size=share, random_state=seed, stratify=rows[1])
        return (x, y), (x_rest, y_rest)

    train, rest = apart(getattr(datasets, f"load_{name.partition(' ')[0]}")(return_X_y=True), 0.5)
    calibrate, test = apart(rest, 0.5)
    balanced_test = test
    if name.endswith("thinned"):
        train, calibrate, test = thinned(train), thinned(calibrate), thinned(test)
    fit, choose = apart(train, 0.2)
    return Split(fit, choose, calibrate, test, balanced_test)


def thinned(rows: Rows, imbalance: float = 20.0) -> Rows:
    """The first rows of each class, geometrically fewer from the first class to the last."""
    x, y = rows
    last = y.max()
    kept = [np.flatnonzero(y == k)[: round(float((y == k).sum()) * imbalance ** -(k / last))] for k in range(last + 1)]
    place = np.concatenate(kept)
    return x[place], y[place]


def xgboost_scores(
    split: Split, rate: float, objective: GenerativeObjective | None, weight: np.ndarray | None
) -> dict[int, list[np.ndarray]]:
    """Rounds -> raw scores of the other parts; the objective of the library where none is given."""
    import xgboost

    classes = len(split.counts)
    own = {"objective": "multi:softprob", "num_class": classes} if classes > 2 else {"objective": "binary:logistic"}
    settings = {**own, "max_depth": 3, "eta": rate, "nthread": 1, "verbosity": 0}
    if objective is not None:
        settings["base_score"] = [0.0] * classes if classes > 2 else 0.5
    data = xgboost.DMatrix(*split.fit, weight=weight)
    trees = xgboost.train(settings, data, ROUNDS[-1], obj=objective)
    others = [xgboost.DMatrix(x) for x, _ in split.others]
    return {n: [trees.predict(x, output_margin=True, iteration_range=(0, n)) for x in others] for n in ROUNDS}


def lightgbm_scores(
    split: Split, rate: float, objective: GenerativeObjective | None, weight: np.ndarray | None
) -> dict[int, list[np.ndarray]]:
    """As `xgboost_scores`."""
    import lightgbm

    classes = len(split.counts)
    own = {"objective": "multiclass", "num_class": classes} if classes > 2 else {"objective": "binary"}
    settings = {**own, "num_leaves": 7, "min_data_in_leaf": 5, "learning_rate": rate, "num_threads": 1, "verbosity": -1}
    if objective is not None:
        settings["objective"] = objective
    trees = lightgbm.train(settings, lightgbm.Dataset(split.fit[0], split.fit[1], weight=weight), ROUNDS[-1])
    others = [x for x, _ in split.others]
    return {n: [np.asarray(trees.predict(x, raw_score=True, num_iteration=n)) for x in others] for n in ROUNDS}


def stages(library: str, method: str, split: Split) -> Stages:
    """The scores of every rate and number of rounds."""
    classes = len(split.counts)
    balance = split.counts.sum() / (classes * split.counts)
    weight, objective, shift = None, None, np.zeros(classes)
    if method == "softmax weighted":  # softmax(z) is for balanced classes
        weight, shift = balance[split.fit[1]], log_prior(split.counts)
    if method.startswith("gence") or method == "softmax from 0":
        counts = None if method.endswith("from 0") else split.counts
        objective = GenerativeObjective(
            strength=0.0 if method == "softmax from 0" else 1.0,
            class_counts=counts,
            class_weight=balance if method == "gence weighted" else None,
            factor=classes / (classes - 1) if library == "lightgbm" and classes > 2 else None,
        )
        shift = np.zeros(classes) if counts is None else log_prior(counts)
    fit = {"xgboost": xgboost_scores, "lightgbm": lightgbm_scores}[library]
    found: Stages = {}
    for rate in RATES:
        for rounds, parts in fit(split, rate, objective, weight).items():
            found[rate, rounds] = [two_columns(part.astype(np.float64)) + shift for part in parts]
    return found


def two_columns(scores: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros_like(scores), scores], axis=1) if scores.ndim == 1 else scores


def measures(scores: np.ndarray, labels: np.ndarray, suffix: str = "") -> dict[str, float]:
    target, probs = torch.as_tensor(labels), torch.as_tensor(scores).softmax(1)
    found: dict[str, Callable] = {
        "nll": negative_log_likelihood,
        "accuracy": accuracy,
        "ece": expected_calibration_error,
    }
    return {name + suffix: measure(probs, target).item() for name, measure in found.items()}


def fitted(seed: int, name: str) -> list[dict[str, object]]:
    """One row a library and method, and one more each for balanced classes where the table is lopsided."""
    parts = split(name, seed)
    results: list[dict[str, object]] = []
    methods = ["softmax", *OTHERS[name], *(["softmax weighted"] if name.endswith("thinned") else [])]
    for library in LIBRARIES:
        for method in methods:
            found = stages(library, method, parts)
            rate, rounds = min(found, key=lambda key: generative_loss(found[key][0], parts.choose[1], strength=0.0))
            _, calibrate, test, balanced_test = found[rate, rounds]
            place = {"library": library, "seed": seed, "rate": rate, "rounds": rounds}
            if method != "softmax weighted":
                scale = fit_temperature(torch.as_tensor(calibrate), torch.as_tensor(parts.calibrate[1]))
                scaled = scale(torch.as_tensor(test)).numpy()
                row = measures(test, parts.test[1]) | measures(scaled, parts.test[1], "_scaled")
                results.append({"table": name, "method": method, **place, **row})
            if name.endswith("thinned") and not method.endswith("from 0"):
                row = measures(balanced_test - log_prior(parts.counts), parts.balanced_test[1])
                called = "prior-aware gence" if method == "gence" else method
                results.append({"table": f"{name}, balanced test", "method": called, **place, **row})
    return results


def run(out: Path) -> None:
    """Fit and measure everything."""
    keys = ["table", "library", "method", "seed", "rate", "rounds", *COLUMNS]
    with get_context("spawn").Pool(2) as pool, open(out, "w", newline="") as stream:
        writer = csv.DictWriter(stream, keys, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for name in [name for name in OTHERS if not name.endswith("test")]:
            for rows in pool.map(partial(fitted, name=name), range(SEEDS), chunksize=1):
                for row in rows:
                    writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
            stream.flush()


def table(path: Path, name: str) -> str:
    """Softmax and the differences to it, paired by split, with 95 % t intervals; bold where they exclude 0."""
    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with open(path, newline="") as stream:
        for row in csv.DictReader(stream):
            for key in COLUMNS:
                if row["table"] == name and row[key]:
                    values[row["library"], row["method"]][key].append(float(row[key]))
    columns = {key: column for key, column in COLUMNS.items() if values["xgboost", "softmax"][key]}
    heads = ["", *(title for title, _, _ in columns.values())]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for library, shown in LIBRARIES.items():
        softmax = values[library, "softmax"]
        cells = [f"{scale * np.mean(softmax[key]):.{decimals}f}" for key, (_, scale, decimals) in columns.items()]
        lines.append("| " + " | ".join([f"{shown}, softmax", *cells]) + " |")
        for method in OTHERS[name]:
            ours = values[library, method]
            cells = [difference(ours[key], softmax[key], scale, n) for key, (_, scale, n) in columns.items()]
            lines.append("| " + " | ".join([f"{NAMES[method]} {MINUS} softmax", *cells]) + " |")
    return "\n".join(lines)


def difference(ours: list[float], theirs: list[float], scale: float, decimals: int) -> str:
    found = estimate([scale * (a - b) for a, b in zip(ours, theirs, strict=True)])
    low, high = found.low if found.low is not None else found.mean, found.high if found.high is not None else found.mean
    text = f"{found.mean:+.{decimals}f} ± {high - found.mean:.{decimals}f}".replace("-", MINUS)
    return text if low <= 0.0 <= high else f"**{text}**"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        print("\n\n".join(f"{name}\n\n{table(RESULTS, name)}" for name in OTHERS))
