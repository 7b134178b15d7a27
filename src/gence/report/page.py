"""The report: one HTML file that needs nothing beside it, for somebody who has never heard of this package.

A study whose settings differ in labels and batch sizes only is shown whole. One with more than that is shown as an
overview of all settings, and the details of the one setting that the reader chooses; the others wait as text
that the browser does not read before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gence.bench.records import Budget, FailureRecord, Setting, Study, Summary, SummaryRow
from gence.report.advice import advice_on
from gence.report.answer import MANY, Verdict, closing, overview, small_print, verdicts
from gence.report.charts import (
    Chart,
    Grid,
    ReliabilityRow,
    calibrator_legend,
    comparison_charts,
    contenders,
    cost_chart,
    difference_charts,
    efficiency_charts,
    reliability_rows,
)
from gence.report.columns import COLUMN, COLUMNS, spread
from gence.report.contrasts import Heat, heats
from gence.report.document import write_document
from gence.report.mean_charts import shift_charts, trade_chart
from gence.report.names import (
    budget_label,
    calibrator_label,
    capital,
    combination_label,
    counted,
    family,
    family_labels,
    listed,
    looks,
    loss_label,
    setting_labels,
    varied,
)
from gence.report.overview_figures import ranks_drawing
from gence.report.provenance import dates, first_data, items, provenance, seeds
from gence.report.reliability import FEW, shown_calibrators
from gence.report.standings import (
    PooledRow,
    headline_of,
    matrix_texts,
    measure,
    most_common_calibrator,
    pooled_rows,
    power_sentence,
    ranking_sentence,
    scope,
    standing_of,
)
from gence.report.suites import SuiteTable, suite_tables, suites
from gence.report.tables import TableRow, table_rows

_CROWD = 8
"""With more losses than this, the charts open with most of them faded."""

_MOST_CURVES = 12
_MOST_FAILURES = 100


def write_report(study: Study, summary: Summary, out: Path) -> Path:
    """Write `out/report.html`: the answer, the numbers behind it, and where they come from.

    Args:
        study: The study as read from disk; the page shows its spec and the provenance of its records.
        summary: The estimates and differences made of it; the page draws them.
        out: The folder; it is made if it is not there.

    Returns:
        The file. It replaces an older one whole or not at all, and loads nothing: no network, no other file.
    """
    return write_document("page.html.j2", _context(study, summary), out / "report.html")


def _context(study: Study, summary: Summary) -> dict[str, Any]:
    grid = _grid(study, summary)
    large = len(family_labels(grid.settings)) > 1 or len(grid.settings) > MANY
    common = {
        "study": study,
        "grid": grid,
        "large": large,
        "title": _title(study, summary),
        "facts": _facts(study, summary, grid),
        "advice": advice_on(study),
        "small_print": small_print(summary, study),
        "columns": COLUMNS,
        "column": COLUMN,
        "spread": spread,
        "calibrator_label": calibrator_label,
        "loss_label": loss_label,
        "measure": measure,
        "calibrator_legend": calibrator_legend(grid) if len(grid.calibrators) > 1 else [],
        "reliability_calibrators": shown_calibrators(grid.calibrators),
        "few": FEW,
        "views": _views(summary, grid),
        "trades": _trades(summary, grid),
        "shift_charts": shift_charts(summary, grid) if summary.shifts else [],
        "failures": _failures(study),
        "more_failures": max(len(study.failures) - _MOST_FAILURES, 0),
        "provenance": provenance(study),
    }
    return common | (_overview(summary, grid) if large else _whole(summary, grid))


def _whole(summary: Summary, grid: Grid) -> dict[str, Any]:
    """What a page shows that has all settings side by side."""
    spoken_of = contenders(summary.answers[-1]) if summary.answers else []
    last = [row for row in summary.rows if row.setting == grid.settings[-1]]
    found = suites(summary)
    tables = [(grid.setting_labels[setting], suite_tables(found, setting)) for setting in reversed(grid.settings)]
    return {
        "verdicts": verdicts(summary),
        "closing": closing(summary),
        "contenders": spoken_of,
        "brought_out": {row.loss for _, _, row in spoken_of} if len(grid.losses) > _CROWD else set(),
        "rows": table_rows(summary.rows, grid.losses, grid.calibrators, grid.settings),
        "comparisons": comparison_charts(summary, grid) if summary.rows else [],
        "differences": difference_charts(summary.answers, grid),
        "suites": [(label, tables) for label, tables in tables if tables],
        "reliability": reliability_rows(last, grid),
        "cost": cost_chart(summary, grid) if summary.rows else None,
    }


@dataclass(frozen=True)
class _Details:
    """Everything about one setting, which the page shows when it is chosen."""

    number: int
    label: str
    family: str
    verdict: Verdict
    contenders: list[tuple[str, str, SummaryRow]]
    rows: list[TableRow]
    suites: list[SuiteTable]
    reliability: list[ReliabilityRow]


def _overview(summary: Summary, grid: Grid) -> dict[str, Any]:
    """What a page shows that has too many settings for all of them: what they say together, and each by itself."""
    names, words = family_labels(grid.settings), verdicts(summary)
    at: dict[Setting, list[SummaryRow]] = {}
    for row in summary.rows:
        at.setdefault(row.setting, []).append(row)
    found = suites(summary)
    details = [
        _Details(
            number=number,
            label=grid.setting_labels[answer.setting],
            family=names[family(answer.setting)],
            verdict=verdict,
            contenders=contenders(answer),
            rows=table_rows(at[answer.setting], grid.losses, grid.calibrators, grid.settings),
            suites=suite_tables(found, answer.setting),
            reliability=reliability_rows(at[answer.setting], grid),
        )
        for number, (answer, verdict) in enumerate(zip(summary.answers, words, strict=True))
    ]
    first = "none" if "none" in grid.calibrators else grid.calibrators[0]
    curves = {metric: efficiency_charts(summary, grid, metric, first) for metric in ("accuracy", "nll")}
    shown = [
        (
            capital(measure(metric)),
            [Chart(name, one.inline(f"curve{metric}{i}")) for i, (name, one) in enumerate(drawings[:_MOST_CURVES])],
        )
        for metric, drawings in curves.items()
        if drawings
    ]
    winners = {answer.best.loss for answer in summary.answers}
    return {
        "scope": scope(grid.settings),
        "headline": headline_of(summary),
        "sentences": overview(summary),
        "details": details,
        "curves": shown,
        "curves_calibrator": calibrator_label(first),
        "curves_left_out": max(len(curves["accuracy"]) - _MOST_CURVES, 0),
        "brought_out": winners | {"ce"} if len(grid.losses) > _CROWD and len(winners) < 4 else set(),
    }


@dataclass(frozen=True)
class _View:
    """The losses compared in one metric under one calibrator."""

    metric: str
    calibrator: str
    heat: Heat
    ranks: Chart | None
    ranking: str
    pooled: list[PooledRow]
    pooled_unit: str
    matrix: list[tuple[str, list[str]]]
    power: str


def _views(summary: Summary, grid: Grid) -> list[_View]:
    """NLL under the calibrator that wins most often first; the others as the summary has them."""
    first = "nll", most_common_calibrator(summary)
    maps = sorted(heats(summary, grid.settings), key=lambda heat: (heat.metric, heat.calibrator) != first)
    return [_view(summary, grid, heat, f"ranks{i}") for i, heat in enumerate(maps)]


def _view(summary: Summary, grid: Grid, heat: Heat, name: str) -> _View:
    standing = standing_of(summary, heat.metric, heat.calibrator)
    if standing is not None and (standing.settings < 2 or len(standing.losses) < 2):
        standing = None
    mine = [one for one in summary.contrasts if (one.metric, one.calibrator) == (heat.metric, heat.calibrator)]
    units = {one.estimate.seeds for one in standing.pooled} if standing else set[int]()
    return _View(
        metric=heat.metric,
        calibrator=heat.calibrator,
        heat=heat,
        ranks=standing and Chart("Mean ranks", ranks_drawing(standing, grid.looks).inline(name)),
        ranking=ranking_sentence(standing) if standing else "",
        pooled=pooled_rows(standing) if standing else [],
        pooled_unit="data sets" if standing and units and units != {standing.settings} else "settings",
        matrix=matrix_texts(standing) if standing else [],
        power=power_sentence(mine),
    )


def _trades(summary: Summary, grid: Grid) -> list[tuple[Chart, list[str]]]:
    """Accuracy against ECE and against NLL, each with the combinations on its front in words."""
    charts: list[tuple[Chart, list[str]]] = []
    for against in ("ece", "nll"):
        made = trade_chart(summary, grid, against)
        if made is not None:
            drawing, front = made
            title = f"Accuracy against {COLUMN[against].heading.partition(' %')[0]}"
            words = [
                f"{combination_label(one.loss, one.calibrator)} ({one.x:.2f}, {one.y:.{COLUMN[against].decimals}f})"
                for one in front
            ]
            charts.append((Chart(title, drawing.inline(f"trade{against}")), words))
    return charts


def _failures(study: Study) -> list[tuple[str, str, FailureRecord]]:
    """The failed trials, with their loss and setting in words."""
    settings = [record.cell.setting for record in (*study.records, *study.failures)]
    labels = setting_labels(dict.fromkeys(settings))
    return [(loss_label(one.cell.loss), labels[one.cell.setting], one) for one in study.failures[:_MOST_FAILURES]]


def _grid(study: Study, summary: Summary) -> Grid:
    """Losses and calibrators in the order of the study, then any that only the summary has."""
    rows, records = summary.rows, study.records
    losses = _unique([*(record.cell.loss for record in records), *(row.loss for row in rows)])
    calibrators = _unique([*(name for record in records for name in record.results), *(row.calibrator for row in rows)])
    settings = tuple(dict.fromkeys(row.setting for row in rows))
    return Grid(losses, calibrators, settings, looks(losses), varied(settings), setting_labels(settings))


def _title(study: Study, summary: Summary) -> str:
    names = _unique([*(record.cell.data for record in study.records), *(row.data for row in summary.rows)])
    if len(names) < 2:
        return str(first_data(study).get("name") or next(iter(names), "no data yet"))
    return listed(names) if len(names) < 4 else f"{listed([*names[:2], f'{len(names) - 2} more data sets'])}"


def _facts(study: Study, summary: Summary, grid: Grid) -> list[str]:
    """The line under the title: what was compared, on what."""
    data = first_data(study)
    classes = items(data.get("class_names"))
    models = _unique(row.model for row in summary.rows)
    sets = len({row.data for row in summary.rows})
    alone = [f"{data['kind']} data" if data.get("kind") else "", f"{len(classes)} classes" if classes else ""]
    facts = [
        *(alone if sets < 2 else [counted(sets, "data set")]),
        f"models {listed(models)}" if len(models) > 1 else "".join(f"model {name}" for name in models),
        counted(len(grid.losses), "loss"),
        counted(len(grid.calibrators), "calibrator"),
        _budgets(grid.settings),
        _batch_sizes(grid.settings),
        *_regimes(study),
        counted(len(seeds(study)), "seed"),
        counted(len(study.records), "trial") if len(grid.settings) > MANY else "",
        dates(study),
    ]
    return [fact for fact in facts if fact]


def _budgets(settings: Sequence[Setting]) -> str:
    ordered = sorted(settings, key=lambda setting: setting.rank)
    budgets: list[Budget] = list(dict.fromkeys(setting.labels_per_class for setting in ordered))
    if len(budgets) < 2:
        return "".join(budget_label(budget) for budget in budgets)
    return f"{listed(budgets)} labels a class"


def _batch_sizes(settings: Iterable[Setting]) -> str:
    sizes = sorted({setting.batch_size for setting in settings})
    return f"batches of {listed(sizes)}" if len(sizes) > 1 else ""


def _regimes(study: Study) -> list[str]:
    regimes = _unique(record.cell.regime for record in study.records)
    return [f"regime {regime}" for regime in regimes if regime != "none"]


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
