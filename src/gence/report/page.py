"""The report: one HTML file that needs nothing beside it, for somebody who has never heard of this package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gence.bench.records import Budget, Setting, Study, Summary
from gence.report.answer import small_print, verdicts
from gence.report.charts import (
    Grid,
    calibrator_legend,
    comparison_charts,
    contenders,
    cost_chart,
    difference_charts,
    reliability_rows,
)
from gence.report.columns import COLUMN, COLUMNS, spread
from gence.report.document import write_document
from gence.report.names import budget_label, calibrator_label, looks, loss_label, setting_labels, varied
from gence.report.provenance import dates, first_data, items, provenance, seeds
from gence.report.reliability import FEW, shown_calibrators
from gence.report.tables import table_rows

_CROWD = 8
"""With more losses than this, the charts open with most of them faded."""


def write_report(study: Study, summary: Summary, out: Path) -> Path:
    """Write `out/report.html`: the answer, the numbers behind it, and where they come from.

    Args:
        study: The study as read from disk; the page shows its spec and the provenance of its records.
        summary: The estimates and differences made of it; the page draws them and computes none itself.
        out: The folder; it is made if it is not there.

    Returns:
        The file. It replaces an older one whole or not at all, and loads nothing: no network, no other file.
    """
    return write_document("page.html.j2", _context(study, summary), out / "report.html")


def _context(study: Study, summary: Summary) -> dict[str, Any]:
    grid = _grid(study, summary)
    data = first_data(study)
    spoken_of = contenders(summary.answers[-1]) if summary.answers else []
    return {
        "study": study,
        "grid": grid,
        "title": str(data.get("name") or next((row.data for row in summary.rows), "no data yet")),
        "facts": _facts(study, summary, grid),
        "verdicts": verdicts(summary),
        "small_print": small_print(summary),
        "contenders": spoken_of,
        "brought_out": {row.loss for _, _, row in spoken_of} if len(grid.losses) > _CROWD else set(),
        "columns": COLUMNS,
        "column": COLUMN,
        "spread": spread,
        "rows": table_rows(summary, grid.losses, grid.calibrators, grid.settings),
        "calibrator_label": calibrator_label,
        "loss_label": loss_label,
        "comparisons": comparison_charts(summary, grid) if summary.rows else [],
        "calibrator_legend": calibrator_legend(grid) if len(grid.settings) == 1 and len(grid.calibrators) > 1 else [],
        "differences": difference_charts(summary.answers, grid),
        "reliability": reliability_rows(summary, grid) if summary.rows else [],
        "reliability_calibrators": shown_calibrators(grid.calibrators),
        "few": FEW,
        "cost": cost_chart(summary, grid) if summary.rows else None,
        "provenance": provenance(study),
    }


def _grid(study: Study, summary: Summary) -> Grid:
    """Losses and calibrators in the order of the study, then any that only the summary has."""
    rows, records = summary.rows, study.records
    losses = _unique([*(record.cell.loss for record in records), *(row.loss for row in rows)])
    calibrators = _unique([*(name for record in records for name in record.results), *(row.calibrator for row in rows)])
    settings = tuple(dict.fromkeys(row.setting for row in rows))
    return Grid(losses, calibrators, settings, looks(losses), varied(settings), setting_labels(settings))


def _facts(study: Study, summary: Summary, grid: Grid) -> list[str]:
    """The line under the title: what was compared, on what."""
    data = first_data(study)
    classes = items(data.get("class_names"))
    facts = [
        f"{data['kind']} data" if data.get("kind") else "",
        f"{len(classes)} classes" if classes else "",
        ", ".join(f"model {name}" for name in _unique(row.model for row in summary.rows)),
        f"{len(grid.losses)} {_plural('loss', len(grid.losses))}",
        f"{len(grid.calibrators)} {_plural('calibrator', len(grid.calibrators))}",
        _budgets(grid.settings),
        _batch_sizes(grid.settings),
        *_regimes(study),
        f"{len(seeds(study))} {_plural('seed', len(seeds(study)))}",
        dates(study),
    ]
    return [fact for fact in facts if fact]


def _budgets(settings: Iterable[Setting]) -> str:
    budgets: list[Budget] = list(dict.fromkeys(setting.labels_per_class for setting in settings))
    if len(budgets) < 2:
        return "".join(budget_label(budget) for budget in budgets)
    return f"{_and(budgets)} labels a class"


def _batch_sizes(settings: Iterable[Setting]) -> str:
    sizes = sorted({setting.batch_size for setting in settings})
    return f"batches of {_and(sizes)}" if len(sizes) > 1 else ""


def _regimes(study: Study) -> list[str]:
    regimes = _unique(record.cell.regime for record in study.records)
    return [f"regime {regime}" for regime in regimes if regime != "none"]


def _and(values: Sequence[object]) -> str:
    names = [str(value) for value in values]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}es" if word.endswith("s") else f"{word}s"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
