"""What is measured of a kept model's probabilities, on rows that the network behind them was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gence.audit.chance import honest_draws
from gence.audit.intervals import mean_estimate, share_interval
from gence.audit.measure import LEAST_ROWS, class_rows, resampled_estimates
from gence.audit.records import Chance, ClassRow, Estimate
from gence.classifier.fit import Fitted, HeldOut, cross_calibrated
from gence.classifier.folds import contents
from gence.classifier.network import Labelled
from gence.metrics import brier_score, expected_calibration_error, negative_log_likelihood
from gence.metrics.proper import nll_of_rows

METRICS = ("nll", "accuracy", "ece", "brier")
"""What is measured, in the order it is told."""

BINS = 15
_LEVEL = 0.95
_RESAMPLES = 1000
_MANY_ROWS = 20_000
_RESAMPLES_OF_MANY = 200


@dataclass(frozen=True)
class Evidence:
    """Measurements with 95 % intervals over rows.

    Attributes:
        on: The data's own test split, which this very model was tested on; or the rows that folds held out, whose
            probabilities come from networks of these folds, each with a calibrator fitted on the other folds' rows.
        rows: How many rows.
        folds: How many folds held them out; 0 for a test split.
        copies: How many test rows are equal to a training row, label aside; 0 for folds, which keep copies together.
        before: Every metric of `METRICS` without a calibrator.
        after: The same, calibrated.
        nll_change: NLL after minus before, paired row by row.
        accuracy_change: The same of the accuracy; 0 where no row is given another class.
        guess: NLL of one who knows nothing of a row and gives every class its share of the training rows.
        nll_gain: NLL after minus `guess`, paired row by row.
        chance: What perfectly honest probabilities would show on as many rows; None with too few rows.
        classes: One entry a class, calibrated.
    """

    on: Literal["test split", "folds"]
    rows: int
    folds: int
    copies: int
    before: dict[str, Estimate]
    after: dict[str, Estimate]
    nll_change: Estimate
    accuracy_change: Estimate
    guess: float
    nll_gain: Estimate
    chance: Chance | None
    classes: tuple[ClassRow, ...]


def evidence_of_test_split(
    fitted: Fitted, train: Labelled, test: Labelled, class_names: tuple[str, ...], *, seed: int
) -> Evidence:
    """The evidence on rows that neither the network nor the calibrator has seen.

    Args:
        fitted: The model.
        train: What it was trained on, to count the copies.
        test: At least one row.
        class_names: One name a class.
        seed: Of the resampling.
    """
    plain = fitted.network.logits(test.inputs).to(torch.float64)
    copies = int(np.isin(contents(test.inputs), contents(train.inputs)).sum())
    guess = _shares(train.labels, len(class_names))[test.labels]
    calibrated = fitted.calibrator(plain)
    return _evidence("test split", plain, calibrated, test.labels, guess, class_names, 0, copies, seed)


def evidence_of_folds(held_out: HeldOut, calibrate: str, class_names: tuple[str, ...], *, seed: int) -> Evidence:
    """The evidence on the rows held out, each calibrated without its fold.

    Args:
        held_out: Their logits.
        calibrate: The calibrator that was asked for, `"auto"` included.
        class_names: One name a class.
        seed: Of the resampling, and of the choice of the calibrators.

    Raises:
        ValueError: If the rows are too few to leave a fold out.
    """
    counted = held_out.repeats
    calibrated = cross_calibrated(held_out, calibrate, seed=seed)[counted]
    plain = held_out.logits[counted].to(torch.float64)
    labels, fold = held_out.labels[counted], held_out.fold[counted]
    guess, folds = np.empty(len(labels)), np.unique(fold)
    for one in folds:
        guess[fold == one] = _shares(labels[fold != one], len(class_names))[labels[fold == one]]
    return _evidence("folds", plain, calibrated, labels, guess, class_names, len(folds), 0, seed)


def _evidence(
    on: Literal["test split", "folds"],
    plain: Tensor,
    calibrated: Tensor,
    labels: np.ndarray,
    guess: np.ndarray,
    class_names: tuple[str, ...],
    folds: int,
    copies: int,
    seed: int,
) -> Evidence:
    before, after, target = plain.softmax(1), calibrated.softmax(1), torch.from_numpy(labels)
    top, predicted = after.max(1)
    enough = len(labels) >= LEAST_ROWS
    right = (predicted == target).to(torch.float64).numpy()
    was_right = (before.argmax(1) == target).to(torch.float64).numpy()
    draws = _resamples(len(labels))
    nll, guess_nll = nll_of_rows(after, target), -np.log(guess)
    return Evidence(
        on=on,
        rows=len(labels),
        folds=folds,
        copies=copies,
        before=_measured(before, target, seed),
        after=_measured(after, target, seed),
        nll_change=mean_estimate((nll - nll_of_rows(before, target)).numpy(), level=_LEVEL),
        accuracy_change=mean_estimate(right - was_right, level=_LEVEL),
        guess=float(guess_nll.mean()),
        nll_gain=mean_estimate(nll.numpy() - guess_nll, level=_LEVEL),
        chance=honest_draws(top.numpy(), right, bins=BINS, draws=draws, seed=seed) if enough else None,
        classes=class_rows(after, target, class_names, bins=BINS),
    )


def _measured(probs: Tensor, target: Tensor, seed: int) -> dict[str, Estimate]:
    functions = {"nll": negative_log_likelihood, "ece": expected_calibration_error, "brier": brier_score}
    rows, right = len(target), int((probs.argmax(1) == target).sum())
    low, high = (float(end) for end in share_interval(right, rows, level=_LEVEL))
    found = {"accuracy": Estimate(right / rows, low, high)}
    if rows < LEAST_ROWS:
        found |= {name: Estimate(float(function(probs, target)), None, None) for name, function in functions.items()}
    else:
        found |= resampled_estimates(functions, probs, target, resamples=_resamples(rows), level=_LEVEL, seed=seed)
    return {name: found[name] for name in METRICS}


def _shares(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The share of every class, as if each had one row more (Laplace), so that none is 0."""
    counts = np.bincount(labels, minlength=num_classes) + 1.0
    return counts / counts.sum()


def _resamples(rows: int) -> int:
    return _RESAMPLES if rows <= _MANY_ROWS else _RESAMPLES_OF_MANY
