"""The audit of predictions, top to bottom: measure, look into the parts, and try what would mend them."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

import numpy as np
import torch
from torch import Tensor

import gence
from gence._errors import InputError
from gence.audit.chance import honest_draws
from gence.audit.coverage import coverage_of
from gence.audit.measure import LEAST_ROWS, MOST_RESAMPLED, bins_with_rows, class_rows, measure
from gence.audit.mending import MOST_FITTED, MOST_JUDGED, check_names, no_trial, try_calibrators
from gence.audit.records import AUDIT_VERSION, Audit, Mending
from gence.audit.slices import worst_slices
from gence.data.predictions import Predictions
from gence.metrics.calibration import Binning

CALIBRATORS = ("temperature", "ats", "ensemble", "vector", "isotonic", "histogram")
"""What is tried when no calibrator is named: those that 20,000 rows fit within seconds."""

LEVEL = 0.95
_MANY_ROWS = 20_000
_ONLY_PROBABILITIES = (
    "probabilities were given, and a calibrator needs the scores before the softmax: rounded to a few digits, "
    "probabilities no longer tell 0.999 from 0.9999 confident rows. Save the logits next to the labels and audit those"
)


def audit_predictions(
    predictions: Predictions,
    *,
    bins: int = 15,
    calibrators: Sequence[str] = CALIBRATORS,
    folds: int = 5,
    resamples: int | None = None,
    seed: int = 0,
) -> Audit:
    """Are these probabilities honest, where are they not, and what mends them?

    Every metric comes with a 95 % bootstrap interval over rows (accuracy with Clopper and Pearson's), slices with
    intervals widened for their number, and calibrators judged by cross-fitting on rows they were not fitted on.

    Args:
        predictions: Logits or probabilities `(rows, classes)` with labels, of rows the model was not trained on.
        bins: Bins of the reliability diagram and of every binned calibration error.
        calibrators: Names of the catalogue to try; needs logits.
        folds: Parts for cross-fitting, at least 2.
        resamples: Of the bootstrap; by default 1000, and 200 above 20,000 rows. Above 100,000 rows a part of that size
            is resampled, and the intervals are shortened to what all rows give.
        seed: Of the resampling and of the dealing into folds.

    Returns:
        The record: plain numbers, no row of the data.

    Raises:
        InputError: If there is no calibrator of a name, or the predictions have no labels.
        ValueError: If the predictions or the settings are out of range.

    Example:
        >>> from gence.data.predictions import Predictions
        >>> logits, labels = np.repeat([[3.0, 0.0], [0.0, 3.0]], 30, axis=0), np.arange(60) % 2
        >>> coins = Predictions(logits, None, labels, ("tails", "heads"), "coins.npz")
        >>> audit = audit_predictions(coins, calibrators=["temperature"])
        >>> round(audit.metrics["accuracy"].value, 2), round(audit.metrics["ece"].value, 2)
        (0.5, 0.45)
    """
    if predictions.labels is None:
        raise InputError(f"{predictions.source}: an audit needs the true labels, and there are none; add them")
    if bins < 1:
        raise ValueError(f"bins must be at least 1; got {bins}")
    if folds < 2:
        raise ValueError(f"folds must be at least 2; got {folds}")
    if resamples is not None and resamples < 100:
        raise ValueError(f"resamples must be at least 100; got {resamples}")
    check_names(calibrators)
    clock = _Clock()
    probs, labels = _probabilities(predictions), torch.from_numpy(np.asarray(predictions.labels, np.int64))
    rows = len(labels)
    resamples = resamples or (1000 if rows <= _MANY_ROWS else 200)

    top, predicted = probs.max(1)
    confidence, correct = top.numpy(), (predicted == labels).to(torch.float64).numpy()
    measured = measure(probs, labels, bins=bins, resamples=resamples, level=LEVEL, seed=seed)
    enough = rows >= LEAST_ROWS
    chance = honest_draws(confidence, correct, bins=bins, draws=resamples, seed=seed) if enough else None
    clock.lap("metrics")

    names = predictions.class_names
    reliability = {kind: bins_with_rows(probs, labels, bins=bins, binning=kind) for kind in get_args(Binning)}
    classes = class_rows(probs, labels, names, bins=bins)
    slices = worst_slices(confidence, predicted.numpy(), correct, names, level=LEVEL)
    coverage = coverage_of(confidence, correct)
    clock.lap("parts")
    mending = _mending(predictions, calibrators, bins=bins, folds=folds, seed=seed)
    clock.lap("calibrators")
    return Audit(
        version=AUDIT_VERSION,
        source=predictions.source,
        notes=tuple(predictions.notes),
        kind="probabilities" if predictions.logits is None else "logits",
        rows=rows,
        class_names=tuple(names),
        confidence=float(confidence.mean()),
        right=int(correct.sum()),
        metrics=measured,
        chance=chance,
        reliability=reliability,
        classes=classes,
        slices=slices,
        coverage=coverage,
        mending=mending,
        settings={
            "bins": bins,
            "level": LEVEL,
            "resamples": resamples,
            "folds": folds,
            "seed": seed,
            "most_fitted_rows": MOST_FITTED,
            "most_judged_rows": MOST_JUDGED,
            "most_resampled_rows": MOST_RESAMPLED,
        },
        environment={
            "gence": gence.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        seconds=clock.seconds,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _probabilities(predictions: Predictions) -> Tensor:
    scores = torch.from_numpy(np.asarray(predictions.scores, np.float64))
    return scores if predictions.logits is None else scores.softmax(1)


def _mending(predictions: Predictions, calibrators: Sequence[str], *, bins: int, folds: int, seed: int) -> Mending:
    logits, labels = predictions.logits, predictions.labels
    if logits is None or labels is None:
        return no_trial(_ONLY_PROBABILITIES)
    if not calibrators:
        return no_trial("no calibrator was named")
    return try_calibrators(logits, labels, tuple(dict.fromkeys(calibrators)), bins=bins, folds=folds, seed=seed)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part], self._last = round(now - self._last, 3), now
