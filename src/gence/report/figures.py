"""Charts of estimates: over settings as lines, at one setting as dots, seconds as bars, differences by zero."""

# matplotlib's stubs leave `**kwargs` without a type.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, StrMethodFormatter

from gence.bench.records import Estimate
from gence.report.names import Look
from gence.report.svg import CARD, INK, MUTED, PALETTE, Drawing, bare, draw

_WIDTH = 400.0
_LONGEST_NAME = 30


@dataclass(frozen=True)
class Series:
    """A loss as the charts draw it: `values` has one estimate a place on the axis, None where there is none.

    `number` is the place of the loss in the page's legend.
    """

    name: str
    number: int
    look: Look
    values: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class Axis:
    """What the estimates of one or more charts are measured on; charts that share it can be compared by eye."""

    title: str
    factor: float
    low: float
    high: float
    log: bool


@dataclass(frozen=True)
class Places:
    """What lines run over: a text a place, and a title for all of them; lines start anew at the places in `breaks`."""

    title: str
    texts: tuple[str, ...]
    breaks: tuple[int, ...] = ()


def axis_for(title: str, estimates: Sequence[Estimate], *, factor: float = 1.0, may_log: bool = False) -> Axis:
    """An axis that holds every estimate with its interval; logarithmic if allowed and the means span a factor of 5."""
    means = [estimate.mean * factor for estimate in estimates]
    ends = means + [end * factor for e in estimates for end in (e.low, e.high) if end is not None]
    low, high = min(ends), max(ends)
    if may_log and low > 0 and max(means) > 5 * min(means):
        margin = (high / low) ** 0.04
        return Axis(title, factor, low / margin, high * margin, log=True)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return Axis(title, factor, low - margin, high + margin, log=False)


def line_chart(
    name: str, label: str, series: Sequence[Series], places: Places, axis: Axis, *, bands: bool = False
) -> str:
    """A line a loss over the places, with its intervals as bars or as a band, as an SVG element."""
    return line_drawing(label, series, places, axis, bands=bands).inline(name)


def line_drawing(
    label: str, series: Sequence[Series], places: Places, axis: Axis, *, bands: bool = False, legend: bool = False
) -> Drawing:
    """The same before it is drawn; `legend` names the losses beneath, for where no page does."""
    high = 262.0 + (14 * math.ceil(len(series) / 2) if legend else 0)

    def paint(figure: Figure) -> None:
        under = 54.0 if any("\n" in text for text in places.texts) else 40.0
        axes = _axes(figure) if legend else framed(figure, left=46, right=8, top=8, bottom=under)
        bare(axes, grid="y")
        step = min(0.045, 0.3 / max(len(series), 1))
        for i, one in enumerate(series):
            # Moved sideways a little, so that the bars of one loss do not hide those of the next.
            shift = 0.0 if bands else (i - (len(series) - 1) / 2) * step
            for start, end in pairwise((0, *places.breaks, len(places.texts))):
                known = [(x + shift, one.values[x]) for x in range(start, end)]
                _line(axes, one, [(x, value) for x, value in known if value is not None], axis.factor, bands=bands)
        # Every text where there is room, else every second one, and so on.
        some = range(0, len(places.texts), 1 + len(places.texts) // 12)
        axes.set_xticks(some, [places.texts[x] for x in some], parse_math=False)
        axes.set_xlim(-0.4, len(places.texts) - 0.6)
        axes.set_xlabel(places.title)
        scale(axes, axis, upright=True)
        if legend:
            named_beneath(figure, [(one.name, one.look) for one in series])

    return Drawing(label, (_WIDTH, high), paint)


def named_beneath(figure: Figure, losses: Sequence[tuple[str, Look]], hollow: Collection[str] = ()) -> None:
    """A legend of losses under the axes of a figure that stands alone."""
    handles: list[Line2D] = []
    for name, look in losses:
        style: dict[str, Any] = {"color": PALETTE[look.colour], "linestyle": look.dash, "marker": look.marker}
        style["markerfacecolor"] = CARD if name in hollow else style["color"]
        handles.append(Line2D([], [], **style, markersize=5, linewidth=1.6))
    legend = figure.legend(handles, [""] * len(losses), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    for text, (name, _) in zip(legend.get_texts(), losses, strict=True):
        text.set_parse_math(False)
        text.set_text(cut(name))


def dot_chart(name: str, label: str, series: Sequence[Series], axis: Axis, markers: Sequence[str]) -> str:
    """A row a loss at one setting, a dot a value with its interval, as an SVG element.

    Args:
        name: Unique on the page.
        label: What a screen reader says.
        series: The losses; the values of each lie under one another in its row.
        axis: What they are measured on.
        markers: The marker of each value: empty for the first, filled for the others. With one value a loss, the
            loss's own marker is drawn.
    """
    row = max(1.0, 0.55 * len(markers))

    def paint(figure: Figure) -> None:
        axes = _axes(figure)
        bare(axes, grid="x")
        axes.spines["left"].set_visible(False)
        for i, one in enumerate(series):
            for j, value in enumerate(one.values):
                if value is None:
                    continue
                y = i * row + (j - (len(markers) - 1) / 2) * 0.42
                _bar(axes, one, [y, y], value, axis.factor, upright=False)
                colour = PALETTE[one.look.colour]
                axes.plot(
                    [value.mean * axis.factor],
                    [y],
                    linestyle="none",
                    marker=markers[j] if len(markers) > 1 else one.look.marker,
                    markersize=6,
                    markerfacecolor=CARD if j == 0 and len(markers) > 1 else colour,
                    markeredgecolor=colour,
                    gid=f"loss-{one.number}",
                )
        rows_of_names(axes, [cut(one.name) for one in series], row)
        scale(axes, axis, upright=False)

    return draw(name, label, (_WIDTH, 62 + 20 * row * len(series)), paint)


def bar_chart(name: str, label: str, series: Sequence[Series], axis: Axis) -> str:
    """A bar a loss from zero, with its interval, as an SVG element; for amounts such as seconds."""

    def paint(figure: Figure) -> None:
        axes = _axes(figure)
        bare(axes, grid="x")
        for i, one in enumerate(series):
            value = one.values[0]
            if value is not None:
                axes.barh([i], [value.mean * axis.factor], height=0.55, color=PALETTE[one.look.colour], alpha=0.85)
                if value.low is not None and value.high is not None:
                    ends = [max(value.low, 0.0) * axis.factor, value.high * axis.factor]
                    axes.plot(ends, [i, i], color=INK, linewidth=1.2)
        rows_of_names(axes, [cut(one.name) for one in series], 1.0)
        scale(axes, Axis(axis.title, axis.factor, 0.0, axis.high, log=False), upright=False)

    return draw(name, label, (_WIDTH, 62 + 24 * len(series)), paint)


def difference_chart(name: str, label: str, rows: Sequence[tuple[str, Look, Estimate]], title: str) -> str:
    """Differences with their intervals beside a line at zero, a row each, as an SVG element."""

    def paint(figure: Figure) -> None:
        axes = _axes(figure)
        bare(axes, grid="x")
        axes.spines["left"].set_visible(False)
        axes.axvline(0, color=INK, linewidth=1.2)
        for i, (_, look, value) in enumerate(rows):
            colour = PALETTE[look.colour]
            if value.low is not None and value.high is not None:
                axes.plot([value.low, value.high], [i, i], color=colour, linewidth=2)
            axes.plot([value.mean], [i], linestyle="none", marker=look.marker, markersize=6, color=colour)
        rows_of_names(axes, [text for text, _, _ in rows], 1.0)
        ends = [end for _, _, e in rows for end in (e.mean, e.low, e.high, 0.0) if end is not None]
        scale(axes, axis_for(title, [Estimate(end, None, None, 1) for end in ends]), upright=False)

    return draw(name, label, (_WIDTH, 58 + 24 * len(rows)), paint)


def framed(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes with given margins: a figure whose layout is not worked out from its texts takes a third of the time."""
    width, height = (float(size) * 72 for size in figure.get_size_inches())
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )


def _axes(figure: Figure) -> Axes:
    figure.set_layout_engine("constrained")
    return figure.add_subplot()


def _line(axes: Axes, one: Series, points: Sequence[tuple[float, Estimate]], factor: float, *, bands: bool) -> None:
    line = axes.plot(
        [x for x, _ in points],
        [value.mean * factor for _, value in points],
        color=PALETTE[one.look.colour],
        linestyle=one.look.dash,
        linewidth=1.6,
        marker=one.look.marker,
        markersize=5,
        markeredgewidth=0,
    )
    line[0].set_gid(f"loss-{one.number}")
    if bands:
        ends = [(x, e.low * factor, e.high * factor) for x, e in points if e.low is not None and e.high is not None]
        if len(ends) > 1:
            places, low, high = zip(*ends, strict=True)
            band = axes.fill_between(places, low, high, color=PALETTE[one.look.colour], alpha=0.11, linewidth=0)
            band.set_gid(f"loss-{one.number}")
        return
    for x, value in points:
        _bar(axes, one, [x, x], value, factor, upright=True)


def _bar(axes: Axes, one: Series, across: list[float], value: Estimate, factor: float, *, upright: bool) -> None:
    if value.low is None or value.high is None:
        return
    along = [value.low * factor, value.high * factor]
    x, y = (across, along) if upright else (along, across)
    line = axes.plot(x, y, color=PALETTE[one.look.colour], linewidth=1.2, alpha=0.75, solid_capstyle="butt")
    line[0].set_gid(f"loss-{one.number}")


def cut(name: str) -> str:
    """A name as long as a chart has room for."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}\u2026"


def rows_of_names(axes: Axes, names: Sequence[str], row: float) -> None:
    """Names beside the rows of a chart, the first on top."""
    axes.set_yticks([i * row for i in range(len(names))], list(names), parse_math=False)
    axes.set_ylim((len(names) - 0.5) * row, -0.5 * row)


def scale(axes: Axes, axis: Axis, *, upright: bool) -> None:
    """Put `axis` along the left, or with `upright` off along the bottom."""
    if axis.log:
        (axes.set_yscale if upright else axes.set_xscale)("log")
    (axes.set_ylim if upright else axes.set_xlim)(axis.low, axis.high)
    (axes.set_ylabel if upright else axes.set_xlabel)(axis.title, color=MUTED)
    ruler = axes.yaxis if upright else axes.xaxis
    if not axis.log:
        ruler.set_major_locator(MaxNLocator(5))
        return
    decades = math.log10(axis.high / axis.low)
    ruler.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    ruler.set_major_formatter(StrMethodFormatter("{x:g}"))
    ruler.set_minor_locator(NullLocator())
    ruler.set_minor_formatter(NullFormatter())
