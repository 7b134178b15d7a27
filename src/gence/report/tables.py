"""The numbers as tables: results.csv, a row a trial and calibrator, and the rows of the page's table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gence._files import write_atomically
from gence.bench.records import METRICS, Setting, Study, Summary, SummaryRow
from gence.report.columns import COLUMNS, Column, spread
from gence.report.names import calibrator_label, loss_label

_PLACE = ("data", "regime", "model", "loss", "calibrator", "labels_per_class", "batch_size", "seed")
CSV_COLUMNS = (*_PLACE, *METRICS, "seconds")


@dataclass(frozen=True)
class TableCell:
    """A number of the page's table: what is shown, what it sorts by, and whether it leads its setting."""

    text: str
    spread: str
    value: float | None
    best: bool


@dataclass(frozen=True)
class TableRow:
    """A loss with a calibrator at a setting; the numbers are places in the lists that the filters offer."""

    loss: str
    calibrator: str
    setting: Setting
    loss_number: int
    calibrator_number: int
    setting_number: int
    loss_name: str
    cells: tuple[TableCell, ...]


def write_csv(study: Study, out: Path) -> Path:
    """Write `out/results.csv`: every number of every finished trial, one row a trial and calibrator.

    Args:
        study: The study whose records are written.
        out: The folder; it is made if it is not there.

    Returns:
        The file. It replaces an older one whole or not at all.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for record in study.records:
        cell = record.cell
        for calibrator, result in record.results.items():
            place = {**cell.model_dump(), "calibrator": calibrator}
            # The csv module writes floats with repr, so no digit is lost.
            numbers = [result.metrics[metric] for metric in METRICS]
            writer.writerow([*(place[key] for key in _PLACE), *numbers, record.seconds.get("train", "")])
    path = out / "results.csv"
    write_atomically(path, buffer.getvalue().encode())
    return path


def table_rows(
    summary: Summary, losses: Sequence[str], calibrators: Sequence[str], settings: Sequence[Setting]
) -> list[TableRow]:
    """The rows of the page's table, in the order of the summary."""
    best = {(setting, column.key): _best(summary.rows, setting, column) for setting in settings for column in COLUMNS}
    return [
        TableRow(
            loss=loss_label(row.loss),
            calibrator=calibrator_label(row.calibrator),
            setting=row.setting,
            loss_number=losses.index(row.loss),
            calibrator_number=calibrators.index(row.calibrator),
            setting_number=settings.index(row.setting),
            loss_name=row.loss,
            cells=tuple(_cell(row, column, best[row.setting, column.key]) for column in COLUMNS),
        )
        for row in summary.rows
    ]


def _best(rows: Sequence[SummaryRow], setting: Setting, column: Column) -> str | None:
    estimates = [column.estimate(row) for row in rows if row.setting == setting]
    means = [estimate.mean for estimate in estimates if estimate is not None]
    if not means:
        return None
    return column.text(max(means) if column.higher_is_better else min(means))


def _cell(row: SummaryRow, column: Column, best: str | None) -> TableCell:
    estimate = column.estimate(row)
    if estimate is None:
        return TableCell("\u2013", "", None, best=False)
    text = column.text(estimate.mean)
    # Equal as shown is equal: a reader cannot see why one of two equal numbers should lead.
    return TableCell(text, spread(estimate, column), estimate.mean, best=text == best)
