"""Which charts the page shows, made from the summary: the step between its rows and the ink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gence.bench.records import Answer, Budget, Estimate, Summary, SummaryRow
from gence.report.answer import nll_difference, row_of
from gence.report.columns import COLUMN
from gence.report.figures import Axis, Series, axis_for, bar_chart, difference_chart, dot_chart, line_chart
from gence.report.names import BASELINE, Look, budget_label, calibrator_label, combination_label, loss_label
from gence.report.reliability import ece_text, reliability_diagram, shown_calibrators

CALIBRATOR_MARKERS = ("o", "o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Chart:
    """An SVG element and the words above it."""

    title: str
    svg: str


@dataclass(frozen=True)
class Grid:
    """The names that the page's charts run over, each in the order of the page, and the look of every loss."""

    losses: tuple[str, ...]
    calibrators: tuple[str, ...]
    budgets: tuple[Budget, ...]
    looks: dict[str, Look]


@dataclass(frozen=True)
class ReliabilityRow:
    """The reliability diagrams of a loss: one a calibrator, titled with its ECE; None where that was not run."""

    loss: str
    diagrams: tuple[Chart | None, ...]


def comparison_charts(summary: Summary, grid: Grid) -> list[Chart]:
    """Accuracy, then NLL: lines over the budgets, a chart a calibrator; or at one budget, dots with all calibrators."""
    first = "none" if "none" in grid.calibrators else grid.calibrators[0]
    accuracy = _series(summary, grid, first, COLUMN["accuracy"].estimate)
    nll = {name: _series(summary, grid, name, COLUMN["nll"].estimate) for name in grid.calibrators}
    accuracy_axis = _axis("accuracy, %", accuracy, factor=100)
    nll_axis = _axis("NLL", [one for series in nll.values() for one in series], may_log=True)
    charts: list[Chart] = []
    title = f"Accuracy, {calibrator_label(first)}"
    if len(grid.budgets) == 1:
        if accuracy_axis:
            charts.append(Chart(title, dot_chart("accuracy", title, accuracy, accuracy_axis, ["o"])))
        if nll_axis:
            markers = [_marker(i) for i in range(len(grid.calibrators))]
            together = [
                Series(one.name, one.number, one.look, tuple(nll[name][i].values[0] for name in grid.calibrators))
                for i, one in enumerate(nll[first])
            ]
            title = "NLL, every calibrator"
            charts.append(Chart(title, dot_chart("nll", title, together, nll_axis, markers)))
        return charts
    places = [str(budget) for budget in grid.budgets]
    if accuracy_axis:
        label = f"{title}, against labels a class, a line a loss."
        charts.append(Chart(title, line_chart("accuracy", label, accuracy, places, accuracy_axis)))
    if nll_axis:
        for i, (name, series) in enumerate(nll.items()):
            title = f"NLL, {calibrator_label(name)}"
            label = f"{title}, against labels a class, a line a loss."
            charts.append(Chart(title, line_chart(f"nll{i}", label, series, places, nll_axis)))
    return charts


def calibrator_legend(grid: Grid) -> list[tuple[str, str, bool]]:
    """Label, marker and whether it is hollow, for each calibrator of the dot chart."""
    return [(calibrator_label(name), _marker(i), i == 0) for i, name in enumerate(grid.calibrators)]


def reliability_rows(summary: Summary, grid: Grid) -> list[ReliabilityRow]:
    """The diagrams at the largest budget, the loss with the lowest NLL first."""
    budget = grid.budgets[-1]
    here = [row for row in summary.rows if row.labels_per_class == budget]
    calibrators = shown_calibrators(grid.calibrators)
    rows: list[ReliabilityRow] = []
    for loss in dict.fromkeys(row.loss for row in here):
        found = [row_of(here, (loss, name), budget) for name in calibrators]
        diagrams = [
            row and Chart(ece_text(row), reliability_diagram(f"rel{len(rows)}x{j}", row, grid.looks[loss]))
            for j, row in enumerate(found)
        ]
        rows.append(ReliabilityRow(loss, tuple(diagrams)))
    return rows


def cost_chart(summary: Summary, grid: Grid) -> Chart:
    """Training seconds of each loss at the largest budget."""
    series = _series(summary, grid, None, COLUMN["seconds"].estimate)
    last = [Series(one.name, one.number, one.look, one.values[-1:]) for one in series]
    title = f"Seconds to train one seed, {budget_label(grid.budgets[-1])}"
    estimates = [value for one in last for value in one.values if value is not None]
    return Chart(title, bar_chart("cost", title, last, axis_for("seconds", estimates)))


def difference_charts(answers: Sequence[Answer], grid: Grid) -> list[Chart]:
    """The winner's NLL minus that of plain cross-entropy, and minus that of the best other loss, a row a budget."""
    charts: list[Chart] = []
    sides = (
        ("Winner minus plain cross-entropy, NLL", [answer.against_baseline for answer in answers]),
        ("Winner minus the best other loss, NLL", [answer.against_next for answer in answers]),
    )
    for i, (title, side) in enumerate(sides):
        rows: list[tuple[str, Look, Estimate]] = []
        for answer, differences in zip(answers, side, strict=True):
            difference = nll_difference(differences)
            if difference is not None and difference.estimate.low is not None:
                rows.append((budget_label(answer.labels_per_class), grid.looks[answer.best.loss], difference.estimate))
        if rows:
            label = f"{title}, with intervals, a row a budget."
            charts.append(Chart(title, difference_chart(f"difference{i}", label, rows, "difference in NLL")))
    return charts


def contenders(answer: Answer) -> list[tuple[str, str, SummaryRow]]:
    """The combinations that the answer speaks of: what each is there for, its words, its row."""
    best = answer.best
    found = [("lowest NLL", (best.loss, best.calibrator))]
    difference = nll_difference(answer.against_next)
    if difference is not None:
        found.append(("best other loss", difference.second))
    found.append(("plain", BASELINE))
    rows = {pair: row_of(answer.rows, pair, answer.labels_per_class) for _, pair in found}
    roles: dict[tuple[str, str], str] = {}
    for role, pair in found:
        roles[pair] = f"{roles[pair]}, {role}" if pair in roles else role
    return [(role, combination_label(*pair), row) for pair, role in roles.items() if (row := rows[pair]) is not None]


def _series(
    summary: Summary, grid: Grid, calibrator: str | None, estimate: Callable[[SummaryRow], Estimate | None]
) -> list[Series]:
    """A series a loss; with `calibrator` None, whichever was run, for what does not depend on it."""
    values: dict[tuple[str, Budget], Estimate | None] = {}
    for row in summary.rows:
        if calibrator in (None, row.calibrator):
            values.setdefault((row.loss, row.labels_per_class), estimate(row))
    return [
        Series(loss_label(loss), i, grid.looks[loss], tuple(values.get((loss, budget)) for budget in grid.budgets))
        for i, loss in enumerate(grid.losses)
    ]


def _axis(title: str, series: Sequence[Series], *, factor: float = 1.0, may_log: bool = False) -> Axis | None:
    estimates = [value for one in series for value in one.values if value is not None]
    return axis_for(title, estimates, factor=factor, may_log=may_log) if estimates else None


def _marker(number: int) -> str:
    return CALIBRATOR_MARKERS[number % len(CALIBRATOR_MARKERS)]
