"""The rows of the page's table of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gence.bench.records import Setting, SummaryRow
from gence.report.columns import COLUMNS, Column, spread
from gence.report.names import calibrator_label, loss_label


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


def table_rows(
    rows: Sequence[SummaryRow], losses: Sequence[str], calibrators: Sequence[str], settings: Sequence[Setting]
) -> list[TableRow]:
    """The rows of the page's table, in the given order."""
    at: dict[Setting, list[SummaryRow]] = {}
    for row in rows:
        at.setdefault(row.setting, []).append(row)
    best = {setting: [_best(here, column) for column in COLUMNS] for setting, here in at.items()}
    return [
        TableRow(
            loss=loss_label(row.loss),
            calibrator=calibrator_label(row.calibrator),
            setting=row.setting,
            loss_number=losses.index(row.loss),
            calibrator_number=calibrators.index(row.calibrator),
            setting_number=settings.index(row.setting),
            loss_name=row.loss,
            cells=tuple(_cell(row, column, lead) for column, lead in zip(COLUMNS, best[row.setting], strict=True)),
        )
        for row in rows
    ]


def _best(rows: Sequence[SummaryRow], column: Column) -> str | None:
    estimates = [column.estimate(row) for row in rows]
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
