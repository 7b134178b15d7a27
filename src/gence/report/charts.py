"""Which charts the page shows, made from the summary: the step between its rows and the ink."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gence.bench.records import Answer, Estimate, Setting, Summary, SummaryRow
from gence.report.answer import nll_difference, row_of
from gence.report.columns import COLUMN
from gence.report.figures import (
    Axis,
    Places,
    Series,
    axis_for,
    bar_chart,
    difference_chart,
    dot_chart,
    line_chart,
    line_drawing,
)
from gence.report.names import (
    BASELINE,
    Family,
    Look,
    Varied,
    calibrator_label,
    combination_label,
    family,
    family_labels,
    loss_label,
    place_labels,
    varied,
)
from gence.report.reliability import ece_text, reliability_diagram, shown_calibrators
from gence.report.svg import Drawing

CALIBRATOR_MARKERS = ("o", "o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Chart:
    """An SVG element and the words above it."""

    title: str
    svg: str


@dataclass(frozen=True)
class Grid:
    """What the page's charts run over, each in the order of the page, and how losses and settings are shown."""

    losses: tuple[str, ...]
    calibrators: tuple[str, ...]
    settings: tuple[Setting, ...]
    looks: dict[str, Look]
    varied: Varied
    setting_labels: dict[Setting, str]


@dataclass(frozen=True)
class ReliabilityRow:
    """The reliability diagrams of a loss: one a calibrator, titled with its ECE; None where that was not run."""

    loss: str
    diagrams: tuple[Chart | None, ...]


def families(grid: Grid) -> dict[Family, Grid]:
    """The grid of every family of settings."""
    found: dict[Family, list[Setting]] = {}
    for setting in grid.settings:
        found.setdefault(family(setting), []).append(setting)
    return {
        one: replace(grid, settings=tuple(settings), varied=varied(settings), setting_labels=place_labels(settings))
        for one, settings in found.items()
    }


def comparison_charts(summary: Summary, grid: Grid) -> list[Chart]:
    """Accuracy, then NLL: lines over the settings, or dots at a single one; lines over batch sizes show ECE as well."""
    first = ("none" if "none" in grid.calibrators else grid.calibrators[0],)
    accuracy = _Measure("accuracy", "Accuracy", first, "accuracy, %")
    nll = _Measure("nll", "NLL", grid.calibrators, "NLL", may_log=True)
    ece = _Measure("ece", "ECE", grid.calibrators, "ECE, %")
    if len(grid.settings) == 1:
        return [*_dots(summary, grid, accuracy), *_dots(summary, grid, nll)]
    measures = (accuracy, nll) if grid.varied == "labels" else (accuracy, nll, ece)
    return [chart for measure in measures for chart in _lines(summary, grid, measure)]


def calibrator_legend(grid: Grid) -> list[tuple[str, str, bool]]:
    """Label, marker and whether it is hollow, for each calibrator of the dot chart."""
    return [(calibrator_label(name), marker_of(i), i == 0) for i, name in enumerate(grid.calibrators)]


def reliability_rows(rows: Sequence[SummaryRow], grid: Grid) -> list[ReliabilityRow]:
    """The diagrams of the rows of one setting, in their order, the loss with the lowest NLL first."""
    calibrators = shown_calibrators(grid.calibrators)
    by_name = {(row.loss, row.calibrator): row for row in rows}
    return [
        ReliabilityRow(
            loss,
            tuple(
                row and Chart(ece_text(row), reliability_diagram(row, grid.looks[loss]))
                for row in (by_name.get((loss, name)) for name in calibrators)
            ),
        )
        for loss in dict.fromkeys(row.loss for row in rows)
    ]


def cost_chart(summary: Summary, grid: Grid) -> Chart:
    """Training seconds of each loss at the last setting."""
    series = _series(summary, grid, None, COLUMN["seconds"].estimate)
    last = [Series(one.name, one.number, one.look, one.values[-1:]) for one in series]
    title = f"Seconds to train one seed, {grid.setting_labels[grid.settings[-1]]}"
    estimates = [value for one in last for value in one.values if value is not None]
    return Chart(title, bar_chart("cost", title, last, axis_for("seconds", estimates)))


def difference_charts(answers: Sequence[Answer], grid: Grid) -> list[Chart]:
    """The winner's NLL minus that of plain cross-entropy, and minus that of the best other loss, a row a setting."""
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
                words = grid.setting_labels[answer.setting]
                rows.append((words, grid.looks[answer.best.loss], difference.estimate))
        if rows:
            label = f"{title}, with intervals, a row a setting."
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
    rows = {pair: row_of(answer.rows, pair, answer.setting) for _, pair in found}
    roles: dict[tuple[str, str], str] = {}
    for role, pair in found:
        roles[pair] = f"{roles[pair]}, {role}" if pair in roles else role
    return [(role, combination_label(*pair), row) for pair, role in roles.items() if (row := rows[pair]) is not None]


def efficiency_charts(summary: Summary, grid: Grid, metric: str, calibrator: str) -> list[tuple[str, Drawing]]:
    """A metric against labels a class, a drawing for each family with several budgets, by its name."""
    return [
        (name, line_drawing(label, lines, places, axis, bands=True))
        for name, label, lines, places, axis in efficiency(summary, grid, metric, calibrator)
    ]


def efficiency(
    summary: Summary, grid: Grid, metric: str, calibrator: str
) -> list[tuple[str, str, list[Series], Places, Axis]]:
    """What the curves of a metric against labels a class are drawn from, for each family with several budgets."""
    names = family_labels(grid.settings)
    found: list[tuple[str, str, list[Series], Places, Axis]] = []
    for one, part in families(grid).items():
        lines = _series(summary, part, calibrator, COLUMN[metric].estimate)
        estimates = [value for line in lines for value in line.values if value is not None]
        if len({setting.labels_per_class for setting in part.settings}) < 2 or not estimates:
            continue
        places, column = _places(part), COLUMN[metric]
        label = (
            f"{column.heading} on {names[one]}, {calibrator_label(calibrator)}, against {places.title}, a line a loss."
        )
        axis = axis_for(column.heading, estimates, factor=column.factor, may_log=column.factor == 1)
        found.append((names[one], label, lines, places, axis))
    return found


@dataclass(frozen=True)
class _Measure:
    """One measured column as its charts show it: under which calibrators, and on what axis."""

    key: str
    words: str
    calibrators: tuple[str, ...]
    axis: str
    may_log: bool = False


def _lines(summary: Summary, grid: Grid, measure: _Measure) -> list[Chart]:
    """A chart a calibrator, all on one axis."""
    series = [_series(summary, grid, name, COLUMN[measure.key].estimate) for name in measure.calibrators]
    axis = _axis(measure, [one for lines in series for one in lines])
    if axis is None:
        return []
    places = _places(grid)
    charts: list[Chart] = []
    for i, (name, lines) in enumerate(zip(measure.calibrators, series, strict=True)):
        title = f"{measure.words}, {calibrator_label(name)}"
        label = f"{title}, against {places.title}, a line a loss."
        bands = grid.varied == "labels"
        charts.append(Chart(title, line_chart(f"{measure.key}{i}", label, lines, places, axis, bands=bands)))
    return charts


def _dots(summary: Summary, grid: Grid, measure: _Measure) -> list[Chart]:
    """One chart with all calibrators."""
    series = [_series(summary, grid, name, COLUMN[measure.key].estimate) for name in measure.calibrators]
    axis = _axis(measure, [one for dots in series for one in dots])
    if axis is None:
        return []
    together = [
        Series(one[0].name, one[0].number, one[0].look, tuple(value for dots in one for value in dots.values))
        for one in zip(*series, strict=True)
    ]
    alone = len(measure.calibrators) == 1
    title = f"{measure.words}, {calibrator_label(measure.calibrators[0]) if alone else 'every calibrator'}"
    markers = [marker_of(i) for i in range(len(measure.calibrators))]
    return [Chart(title, dot_chart(measure.key, title, together, axis, markers))]


def _places(grid: Grid) -> Places:
    budgets = tuple(str(setting.labels_per_class) for setting in grid.settings)
    sizes = tuple(str(setting.batch_size) for setting in grid.settings)
    if grid.varied == "labels":
        return Places("labels a class", budgets)
    if grid.varied == "batch size":
        return Places("batch size", sizes)
    # A line from the largest batches of one budget to the smallest of the next would show a change of nothing.
    breaks = tuple(i for i in range(1, len(budgets)) if budgets[i] != budgets[i - 1])
    texts = tuple(f"{size}\n{budget}" for size, budget in zip(sizes, budgets, strict=True))
    return Places("batch size (labels a class below)", texts, breaks)


def _series(
    summary: Summary, grid: Grid, calibrator: str | None, estimate: Callable[[SummaryRow], Estimate | None]
) -> list[Series]:
    """A series a loss; with `calibrator` None, whichever was run, for what does not depend on it."""
    values: dict[tuple[str, Setting], Estimate | None] = {}
    for row in summary.rows:
        if calibrator in (None, row.calibrator):
            values.setdefault((row.loss, row.setting), estimate(row))
    return [
        Series(loss_label(loss), i, grid.looks[loss], tuple(values.get((loss, setting)) for setting in grid.settings))
        for i, loss in enumerate(grid.losses)
    ]


def _axis(measure: _Measure, series: Sequence[Series]) -> Axis | None:
    estimates = [value for one in series for value in one.values if value is not None]
    factor = COLUMN[measure.key].factor
    return axis_for(measure.axis, estimates, factor=factor, may_log=measure.may_log) if estimates else None


def marker_of(number: int) -> str:
    """The mark of a calibrator by its number in the study."""
    return CALIBRATOR_MARKERS[number % len(CALIBRATOR_MARKERS)]
