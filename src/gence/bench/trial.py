"""One cell of the grid, top to bottom: rows, weights, training, logits, calibrators, metrics, record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gence import metrics
from gence.bench.environment import environment
from gence.bench.plan import Trial
from gence.bench.records import METRICS, RECORD_VERSION, CalibratorResult, Reliability, TrialRecord, record_path
from gence.bench.rows import Rows, choose_rows, labels_given
from gence.calibration import catalogue as calibrators
from gence.data import LabelledData, fit_standardize
from gence.losses import catalogue as losses
from gence.models import build
from gence.training import predict, train

_MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": metrics.accuracy,
    "nll": metrics.negative_log_likelihood,
    "brier": metrics.brier_score,
    "ece": metrics.expected_calibration_error,
    "ece_mass": lambda probs, target: metrics.expected_calibration_error(probs, target, binning="mass"),
    "classwise_ece": metrics.classwise_calibration_error,
    "smooth_ece": metrics.smooth_calibration_error,
    "aurc": metrics.aurc,
}


def run_trial(trial: Trial, data: LabelledData) -> tuple[TrialRecord, dict[str, np.ndarray]]:
    """Train, calibrate and measure.

    Returns:
        The record, and the arrays that lie beside it: row numbers, labels and logits of the calibration and test rows.

    Raises:
        FloatingPointError: If the training diverges.
    """
    cell = trial.cell
    rows = choose_rows(data, cell, trial.test_fraction, trial.calibration_fraction)
    labels = labels_given(data, cell, rows)
    standardize = fit_standardize(data.kind, data.inputs[rows.train])

    def inputs(chosen: np.ndarray) -> Tensor:
        return torch.from_numpy(standardize(data.inputs[chosen]))

    train_inputs, train_target = inputs(rows.train), torch.from_numpy(labels[rows.train])
    validation = (inputs(rows.validation), torch.from_numpy(labels[rows.validation])) if len(rows.validation) else None
    model = build(cell.model, data.inputs.shape[1:], data.num_classes, seed=cell.seed, head=losses.head(cell.loss))
    loss = losses.build(cell.loss, class_counts=torch.bincount(train_target, minlength=data.num_classes))
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as cautions:
        warnings.simplefilter("always", UserWarning)
        updates = train(model, train_inputs, train_target, loss, trial.recipe, seed=cell.seed, validation=validation)
    trained = time.perf_counter()
    calibration_logits, test_logits = predict(model, inputs(rows.calibration)), predict(model, inputs(rows.test))
    predicted = time.perf_counter()
    calibration_target = torch.from_numpy(labels[rows.calibration])
    test_target = torch.from_numpy(data.labels[rows.test])
    results = {
        name: _calibrate(name, calibration_logits, calibration_target, test_logits, test_target)
        for name in trial.calibrators
    }
    record = TrialRecord(
        version=RECORD_VERSION,
        key=trial.key,
        spec_hash=trial.spec_hash,
        cell=cell,
        training={
            **dataclasses.asdict(trial.recipe),
            "augment": list(trial.recipe.augment),  # as JSON will give it back
            "updates": updates,
            "knobs": losses.knobs(cell.loss),
            "cautions": list(dict.fromkeys(str(caution.message) for caution in cautions)),
        },
        data=_describe(data, rows, labels),
        results=results,
        seconds={"train": trained - started, "predict": predicted - trained},
        environment=environment(),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        logits_file=record_path(Path(), cell, trial.key).with_suffix(".npz").name,
    )
    arrays = {
        **{f"{name}_rows": part for name, part in rows.parts().items()},
        "calibration_target": labels[rows.calibration],
        "test_target": data.labels[rows.test],
        "calibration_logits": calibration_logits.numpy(),
        "test_logits": test_logits.numpy(),
    }
    return record, arrays


def measure(logits: Tensor, target: Tensor) -> tuple[dict[str, float], Reliability]:
    """Every metric of a record, and the bins of its reliability diagram, from logits `(rows, classes)`."""
    probs = logits.to(torch.float64).softmax(1)
    bins = metrics.reliability_bins(probs, target)
    return (
        {name: _MEASURES[name](probs, target).item() for name in METRICS},
        Reliability(
            counts=tuple(int(n) for n in bins.counts.tolist()),
            confidence_sums=tuple(bins.confidence_sums.tolist()),
            correct_counts=tuple(round(n) for n in bins.event_sums.tolist()),
        ),
    )


def _calibrate(
    name: str, calibration_logits: Tensor, calibration_target: Tensor, test_logits: Tensor, test_target: Tensor
) -> CalibratorResult:
    started = time.perf_counter()
    calibrator = calibrators.fit(name, calibration_logits, calibration_target)
    seconds = time.perf_counter() - started
    # In float64, so that calibrating loses nothing that the metrics could see.
    values, reliability = measure(calibrator(test_logits.to(torch.float64)), test_target)
    return CalibratorResult(
        metrics=values, reliability=reliability, fitted=_fields(calibrator), remarks=calibrator.remarks, seconds=seconds
    )


def _fields(calibrator: Any) -> dict[str, Any]:
    fields = {f.name: getattr(calibrator, f.name) for f in dataclasses.fields(calibrator)}
    # As JSON will give them back, so that a record read is equal to the record written.
    return json.loads(json.dumps(fields))


def _describe(data: LabelledData, rows: Rows, labels: np.ndarray) -> dict[str, Any]:
    parts = rows.parts()
    return {
        "name": data.name,
        "kind": data.kind,
        "fingerprint": data.fingerprint,
        "class_names": list(data.class_names),
        "notes": list(data.notes),
        "rows": {name: len(part) for name, part in parts.items()},
        "rows_sha256": {name: _sha256(part) for name, part in parts.items()},
        "train_class_counts": np.bincount(labels[rows.train], minlength=data.num_classes).tolist(),
        "wrong_labels": {name: int((labels[part] != data.labels[part]).sum()) for name, part in parts.items()},
    }


def _sha256(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()
