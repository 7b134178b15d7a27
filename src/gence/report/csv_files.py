"""The numbers of a study as CSV: every trial and calibrator, every failure, and everything that tuning tried."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gence._files import write_atomically
from gence.bench.records import METRICS, Cell, Study, TrialRecord

_CELL = ("data", "regime", "model", "loss", "labels_per_class", "batch_size", "seed")
_PLACE = ("data", "regime", "model", "loss", "calibrator", "labels_per_class", "batch_size", "seed")
_TUNED = ("learning_rate", "weight_decay", "epochs", "knobs")
CSV_COLUMNS = (*_PLACE, *METRICS, "seconds")
FAILURE_COLUMNS = (*_CELL, "kind", "reason", "attempts", "seconds", "failed_at")
TUNING_COLUMNS = (
    *_CELL[:-1],
    "tuning",
    "number",
    *_TUNED,
    "nll",
    "balanced_nll",
    "accuracy",
    "failure",
    "chosen",
    "metric",
)


def write_csv(study: Study, out: Path) -> Path:
    """Write `out/results.csv`: every number of every finished trial, one row a trial and calibrator.

    Where losses were tuned, its last columns are the learning rate, weight decay, epochs and knobs that were chosen,
    and `tuning.csv` beside it has all that was tried. Where trials failed, `failures.csv` says which and why.

    Args:
        study: The study whose records are written.
        out: The folder; it is made if it is not there.

    Returns:
        `results.csv`. Each file replaces an older one whole or not at all; one with nothing to say is taken away.
    """
    tuned = any(record.tuning for record in study.records)
    rows = ([*row, *(_chosen(record) if tuned else ())] for record in study.records for row in _rows(record))
    path = write_rows(out / "results.csv", [*CSV_COLUMNS, *(_TUNED if tuned else ())], rows)
    failures = [
        [*_place(one.cell), one.kind, one.reason, one.attempts, one.seconds, one.failed_at] for one in study.failures
    ]
    for name, header, found in (
        ("failures.csv", FAILURE_COLUMNS, failures),
        ("tuning.csv", TUNING_COLUMNS, _tuning_rows(study)),
    ):
        if found:
            write_rows(out / name, header, found)
        else:
            (out / name).unlink(missing_ok=True)
    return path


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a CSV file whole or not at all; floats keep every digit, and None is an empty field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    # The csv module writes floats with repr, so no digit is lost.
    writer.writerows(rows)
    write_atomically(path, buffer.getvalue().encode())
    return path


def _rows(record: TrialRecord) -> list[list[Any]]:
    place = record.cell.model_dump()
    return [
        [
            *((place | {"calibrator": calibrator})[key] for key in _PLACE),
            *(result.metrics[metric] for metric in METRICS),
            record.seconds.get("train", ""),
        ]
        for calibrator, result in record.results.items()
    ]


def _place(cell: Cell) -> list[Any]:
    place = cell.model_dump()
    return [place[key] for key in _CELL]


def _chosen(record: TrialRecord) -> list[Any]:
    if record.tuning is None:
        return [""] * len(_TUNED)
    one = next(tried for tried in record.tuning.tried if tried.number == record.tuning.chosen)
    return [one.learning_rate, one.weight_decay, one.epochs, json.dumps(one.knobs)]


def _tuning_rows(study: Study) -> list[list[Any]]:
    """Every trial of every tuning once, however many seeds it serves."""
    found: dict[str, list[list[Any]]] = {}
    for record in study.records:
        tuning = record.tuning
        if tuning is None or tuning.key in found:
            continue
        found[tuning.key] = [
            [
                *_place(record.cell)[:-1],
                tuning.key,
                one.number,
                one.learning_rate,
                one.weight_decay,
                one.epochs,
                json.dumps(one.knobs),
                one.nll,
                one.balanced_nll,
                one.accuracy,
                one.failure,
                one.number == tuning.chosen,
                tuning.metric,
            ]
            for one in tuning.tried
        ]
    return [row for rows in found.values() for row in rows]
