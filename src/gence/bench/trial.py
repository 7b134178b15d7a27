"""One cell of the grid, top to bottom: rows, training, logits, calibrators, suites, metrics, record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gence.bench.environment import environment
from gence.bench.inputs import StudyData
from gence.bench.measures import measure, per_class, reliability
from gence.bench.plan import Trial
from gence.bench.records import RECORD_VERSION, CalibratorResult, TrialRecord, record_path
from gence.bench.rows import Rows, choose_rows, labels_given
from gence.bench.suite_results import run_suites
from gence.bench.training import train_model
from gence.calibration import catalogue as calibrators
from gence.data import LabelledData
from gence.training import deterministic

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def run_trial(
    trial: Trial, study: StudyData, device: torch.device, group: ProcessGroup | None = None
) -> tuple[TrialRecord, dict[str, np.ndarray]]:
    """Train, calibrate and measure.

    Args:
        trial: What is trained, on which rows, and what it is tested on.
        study: The data of the study that it is part of.
        device: Where the model trains and predicts; all else is done on the CPU.
        group: The ranks that train the model together; each of them predicts and measures all rows.

    Returns:
        The record, and the arrays that lie beside it: row numbers, labels and logits of the calibration and test rows.

    Raises:
        FloatingPointError: If the training diverges, or the logits of a calibration or test row are not finite.
    """
    with deterministic():
        return _run_trial(trial, study, device, group)


def _run_trial(
    trial: Trial, study: StudyData, device: torch.device, group: ProcessGroup | None
) -> tuple[TrialRecord, dict[str, np.ndarray]]:
    cell, data = trial.cell, study.labelled[trial.cell.data]
    rows = choose_rows(data, cell, trial.test_fraction, trial.calibration_fraction, test_seed=trial.test_seed)
    labels = labels_given(data, cell, rows)
    trained = train_model(data, rows, labels, cell, trial.recipe, trial.knobs, device, group)

    started = time.perf_counter()
    calibration_logits, test_logits = (trained.logits(data.inputs[part]) for part in (rows.calibration, rows.test))
    seconds = {"train": trained.seconds, "predict": time.perf_counter() - started}
    if not all(torch.isfinite(logits).all() for logits in (calibration_logits, test_logits)):
        raise FloatingPointError("the logits are not finite after training; lower the learning rate")

    calibration_target = torch.from_numpy(labels[rows.calibration])
    fitted, fitting = {}, {}
    for name in trial.calibrators:
        started = time.perf_counter()
        fitted[name] = calibrators.fit(name, calibration_logits, calibration_target)
        fitting[name] = time.perf_counter() - started

    started = time.perf_counter()
    foreign = study.foreign.get(cell.data, {})
    tested = run_suites(trial, data, foreign, rows, labels, trained, test_logits, fitted)
    if tested.rows:
        seconds["suites"] = time.perf_counter() - started

    results = {}
    for name, calibrator in fitted.items():
        # In float64, so that calibrating loses nothing that the metrics could see.
        judged = calibrator(test_logits.to(torch.float64)), torch.from_numpy(data.labels[rows.test])
        results[name] = CalibratorResult(
            metrics=measure(*judged),
            reliability=reliability(*judged),
            per_class=per_class(*judged),
            shifted=tested.shifted[name],
            ood=tested.ood[name],
            fitted=_as_json({field.name: getattr(calibrator, field.name) for field in dataclasses.fields(calibrator)}),
            remarks=calibrator.remarks,
            seconds=fitting[name],
        )

    record = TrialRecord(
        version=RECORD_VERSION,
        key=trial.key,
        spec_hash=trial.spec_hash,
        cell=cell,
        training={
            **_as_json(dataclasses.asdict(trial.recipe)),
            "updates": trained.updates,
            "knobs": trial.knobs,
            "cautions": list(trained.cautions),
        },
        tuning=trial.tuned,
        data={**_describe(data, rows, labels, trial.test_seed), "suite_rows": tested.rows},
        results=results,
        seconds=seconds,
        environment=environment(device),
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


def _as_json(fields: dict[str, Any]) -> dict[str, Any]:
    """As JSON will give them back, so that a record read is equal to the record written."""
    return json.loads(json.dumps(fields))


def _describe(data: LabelledData, rows: Rows, labels: np.ndarray, test_seed: int) -> dict[str, Any]:
    parts = rows.parts()
    # With those that the loss was shown, so that a class is in the same group for every loss.
    trained = np.concatenate([rows.train, rows.validation])
    return {
        "name": data.name,
        "kind": data.kind,
        "fingerprint": data.fingerprint,
        "class_names": list(data.class_names),
        "notes": list(data.notes),
        "pool": len(data.labels),
        "test_split": "drawn" if data.test_rows is None else "own",
        "test_seed": test_seed if data.test_rows is None else None,
        "rows": {name: len(part) for name, part in parts.items()},
        "rows_sha256": {name: _sha256(part) for name, part in parts.items()},
        "train_class_counts": np.bincount(labels[trained], minlength=data.num_classes).tolist(),
        "wrong_labels": {name: int((labels[part] != data.labels[part]).sum()) for name, part in parts.items()},
    }


def _sha256(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()
