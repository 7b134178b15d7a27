"""The charts of an audit: reliability with its intervals, accuracy over coverage, and what calibrators change."""

# matplotlib's stubs leave `**kwargs` without a type.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from gence.audit.records import Bin, Coverage, Mending
from gence.bench.records import Estimate
from gence.report.audit_columns import AUDIT_COLUMN, percent
from gence.report.charts import Chart
from gence.report.figures import difference_chart
from gence.report.names import Look
from gence.report.reliability import FEW, short_count
from gence.report.svg import MUTED, PALETTE, RULE, bare, draw

_COLOUR = PALETTE[1]
_SHARE = FuncFormatter(lambda value, _: f"{100 * value:g}%")
_NARROWEST = 0.006


def reliability_chart(name: str, title: str, bins: Sequence[Bin]) -> Chart:
    """Accuracy by confidence with an interval a bin, the diagonal, and the count of rows beneath."""

    def paint(figure: Figure) -> None:
        top = figure.add_axes((0.125, 0.31, 0.835, 0.67))
        bottom = figure.add_axes((0.125, 0.105, 0.835, 0.155))
        widths = [max(one.end - one.start, _NARROWEST) for one in bins]
        middles = [(one.start + one.end) / 2 for one in bins]
        for axes in (top, bottom):
            bare(axes, grid="y")
        top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        for few in (False, True):
            chosen = [i for i, one in enumerate(bins) if (one.rows < FEW) == few]
            top.bar(
                [middles[i] for i in chosen],
                [bins[i].accuracy.value for i in chosen],
                width=[0.92 * widths[i] for i in chosen],
                facecolor="none" if few else (_COLOUR, 0.22),
                edgecolor=_COLOUR if few else "none",
                linewidth=0.7 if few else 0,
                linestyle=(0, (2, 2)),
            )
        for one in bins:
            if one.accuracy.low is not None and one.accuracy.high is not None:
                ends, width = [one.accuracy.low, one.accuracy.high], 0.7 if one.rows < FEW else 1.5
                top.plot([one.confidence] * 2, ends, color=_COLOUR, linewidth=width, solid_capstyle="butt")
        stated, found = [one.confidence for one in bins], [one.accuracy.value for one in bins]
        top.plot(stated, found, linestyle="none", marker="o", markersize=4, color=_COLOUR)
        rows = [one.rows for one in bins]
        bottom.bar(middles, rows, width=[0.92 * width for width in widths], facecolor=_COLOUR, linewidth=0)
        top.set_ylim(0, 1.02)
        for axes in (top, bottom):
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
            axes.xaxis.set_major_formatter(_SHARE)
        top.set_yticks([0, 0.25, 0.5, 0.75, 1])
        top.yaxis.set_major_formatter(_SHARE)
        top.xaxis.set_major_formatter(NullFormatter())
        bottom.set_ylim(0, max(rows) * 1.04)
        bottom.set_yticks([0, max(rows)], ["0", short_count(max(rows))])
        top.set_ylabel("accuracy", color=MUTED, labelpad=2)
        bottom.set_ylabel("rows", color=MUTED, labelpad=2)
        bottom.set_xlabel("confidence", color=MUTED, labelpad=1)

    label = f"{title}: accuracy by confidence with intervals in {len(bins)} bins; the table below has its numbers."
    return Chart(title, draw(name, label, (400.0, 360.0), paint))


def coverage_chart(coverage: Coverage) -> Chart:
    """Accuracy of the most confident rows over the share that is kept."""
    title = "Accuracy of the most confident rows"

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.add_subplot()
        bare(axes, grid="y")
        axes.plot([x for x, _ in coverage.curve], [y for _, y in coverage.curve], color=_COLOUR, linewidth=1.6)
        for point in coverage.points:
            low, high = point.accuracy.low, point.accuracy.high
            if low is not None and high is not None:
                axes.plot([point.coverage] * 2, [low, high], color=_COLOUR, linewidth=1.5, alpha=0.75)
            axes.plot([point.coverage], [point.accuracy.value], color=_COLOUR, marker="o", markersize=4.5)
        axes.axhline(coverage.points[-1].accuracy.value, color=RULE, linewidth=1.2)
        axes.set_xlim(-0.02, 1.03)
        axes.set_xlabel("share of the rows that is kept", color=MUTED)
        axes.set_ylabel("accuracy", color=MUTED)
        axes.xaxis.set_major_formatter(_SHARE)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(_SHARE)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.02), min(high, 1.005) if low < 0.99 else 1.005)

    said = ", ".join(f"{percent(p.accuracy.value)} at {percent(p.coverage, 0)}" for p in coverage.points)
    return Chart(title, draw("coverage", f"{title}: {said}.", (400.0, 262.0), paint))


def change_charts(mending: Mending) -> list[Chart]:
    """What every calibrator changes in NLL and in ECE, with the intervals of the differences."""
    charts: list[Chart] = []
    for key, unit in (("nll", "NLL"), ("ece", "ECE, points")):
        title = f"Change in {unit}"
        rows: list[tuple[str, Look, Estimate]] = []
        for trial in mending.trials:
            change, factor = trial.differences[key], AUDIT_COLUMN[key].factor
            low, high = (None if end is None else end * factor for end in (change.low, change.high))
            estimate = Estimate(change.value * factor, low, high, 1)
            rows.append((trial.title, Look(1, 1, "o", "solid"), estimate))
        label = f"{title} by each calibrator, with intervals; the table below has its numbers."
        charts.append(Chart(title, difference_chart(f"change-{key}", label, rows, f"change in {unit}")))
    return charts
