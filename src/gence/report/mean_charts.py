"""Charts of means over the settings that all losses have: accuracy against calibration, and results under shift."""

from __future__ import annotations

from collections.abc import Sequence

from gence.bench.records import Estimate, Setting, ShiftRow, Summary
from gence.report.charts import Chart, Grid, marker_of
from gence.report.columns import COLUMN
from gence.report.figures import Places, Series, axis_for, line_chart
from gence.report.names import calibrator_label, loss_label
from gence.report.overview_figures import Trade, trade_drawing
from gence.report.reliability import shown_calibrators
from gence.report.svg import Drawing


def trades(summary: Summary, grid: Grid, against: str) -> list[Trade]:
    """Accuracy and another metric of every combination, means over the settings that all of them have."""
    values: dict[tuple[str, str], dict[Setting, tuple[float, float]]] = {}
    for row in summary.rows:
        if "accuracy" in row.metrics and against in row.metrics:
            pair = row.metrics["accuracy"].mean, row.metrics[against].mean
            values.setdefault((row.loss, row.calibrator), {})[row.setting] = pair
    shared = set.intersection(*(set(found) for found in values.values())) if values else set[Setting]()
    if not shared:
        return []
    means = {
        one: tuple(sum(found[s][i] for s in sorted_by(shared, grid)) / len(shared) for i in (0, 1))
        for one, found in values.items()
    }
    x, y = COLUMN["accuracy"].factor, COLUMN[against].factor
    return [
        Trade(
            *one,
            number=grid.losses.index(one[0]),
            x=x * a,
            y=y * b,
            front=not any(p >= a and q <= b and (p, q) != (a, b) for p, q in means.values()),
        )
        for one, (a, b) in means.items()
    ]


def sorted_by(settings: set[Setting], grid: Grid) -> list[Setting]:
    """Settings in the order of the page, so that sums come out the same each time."""
    return [setting for setting in grid.settings if setting in settings]


def trade_chart(
    summary: Summary, grid: Grid, against: str, *, legend: bool = False
) -> tuple[Drawing, list[Trade]] | None:
    """Accuracy against another metric, and the combinations on the front, most accurate first."""
    found = trades(summary, grid, against)
    if len(found) < 2:
        return None
    column = COLUMN[against]
    markers = {name: (marker_of(i), i == 0) for i, name in enumerate(grid.calibrators)}
    axes = tuple(
        axis_for(heading, [Estimate(value, None, None, 1) for value in values], may_log=may_log)
        for heading, values, may_log in (
            (COLUMN["accuracy"].heading, [one.x for one in found], False),
            (column.heading, [one.y for one in found], True),
        )
    )
    label = f"Accuracy against {column.heading}, a mark a combination; those that none beats in both are joined."
    drawing = trade_drawing(label, found, (axes[0], axes[1]), grid.looks, markers, legend=legend)
    return drawing, sorted((one for one in found if one.front), key=lambda one: -one.x)


def shift_charts(summary: Summary, grid: Grid) -> list[Chart]:
    """Accuracy, then ECE under each calibrator shown, against severity: means over the settings with all losses."""
    measures = [("accuracy", grid.calibrators[0]), *(("ece", name) for name in shown_calibrators(grid.calibrators))]
    severities = sorted({row.severity for row in summary.shifts})
    charts: list[Chart] = []
    for i, (metric, calibrator) in enumerate(measures):
        lines = _under_shift(summary.shifts, grid, metric, calibrator, severities)
        estimates = [value for line in lines for value in line.values if value is not None]
        if not estimates:
            continue
        column = COLUMN[metric]
        title = f"{column.heading} under shift, {calibrator_label(calibrator)}"
        axis = axis_for(column.heading, estimates, factor=column.factor)
        places = Places("severity", tuple(str(one) for one in severities))
        svg = line_chart(f"shift{i}", f"{title}, against severity, a line a loss.", lines, places, axis, bands=True)
        charts.append(Chart(title, svg))
    return charts


def _under_shift(
    rows: Sequence[ShiftRow], grid: Grid, metric: str, calibrator: str, severities: Sequence[int]
) -> list[Series]:
    values: dict[tuple[str, int], dict[Setting, Estimate]] = {}
    for row in rows:
        if row.calibrator == calibrator and metric in row.metrics:
            values.setdefault((row.loss, row.severity), {})[row.setting] = row.metrics[metric]
    shared = set.intersection(*(set(found) for found in values.values())) if values else set[Setting]()

    def one(found: dict[Setting, Estimate] | None) -> Estimate | None:
        if not found or not shared:
            return None
        estimates = [found[setting] for setting in sorted_by(shared, grid)]
        if len(estimates) == 1:
            return estimates[0]
        return Estimate(sum(e.mean for e in estimates) / len(estimates), None, None, len(estimates))

    return [
        Series(loss_label(loss), i, grid.looks[loss], tuple(one(values.get((loss, s))) for s in severities))
        for i, loss in enumerate(grid.losses)
    ]
