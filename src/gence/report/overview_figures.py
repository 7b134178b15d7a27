"""The charts over many settings: mean ranks with their critical difference, trade-offs, and the heat map."""

# matplotlib's stubs leave `**kwargs` without a type.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gence.bench.records import Standing
from gence.report.columns import COLUMN
from gence.report.contrasts import Heat
from gence.report.figures import Axis, cut, framed, named_beneath, rows_of_names, scale
from gence.report.names import Look, calibrator_label, loss_label
from gence.report.svg import CARD, INK, MUTED, PALETTE, RULE, Drawing, bare

BETTER, WORSE = PALETTE[1], PALETTE[2]
SHADES = (0.0, 0.12, 0.26, 0.42, 0.6)
"""How opaque the colour of a cell of the heat map is at each level."""


def ranks_drawing(standing: Standing, looks: dict[str, Look]) -> Drawing:
    """Mean ranks, best on top; bars join losses that cannot be told apart, and one is as long as that takes."""
    losses, k = standing.losses, len(standing.losses)
    gap = standing.critical_difference

    def paint(figure: Figure) -> None:
        longest = max(len(cut(loss_label(loss))) for loss in losses)
        axes = framed(figure, left=12 + 5.5 * longest, right=6, top=4, bottom=40)
        bare(axes, grid="x")
        axes.spines["left"].set_visible(False)
        place = {loss: i for i, loss in enumerate(losses)}
        cliques = [(min(place[one] for one in c), max(place[one] for one in c)) for c in standing.cliques if len(c) > 1]
        for i, (start, end) in enumerate(cliques):
            x = k + 0.35 + 0.28 * i
            axes.plot([x, x], [start - 0.28, end + 0.28], color=INK, linewidth=2.6, solid_capstyle="butt")
        for i, (loss, rank) in enumerate(zip(losses, standing.ranks, strict=True)):
            look = looks[loss]
            axes.plot([rank], [i], linestyle="none", marker=look.marker, markersize=6.5, color=PALETTE[look.colour])
        if gap is not None:
            axes.plot([1, 1 + gap], [-1.0, -1.0], color=INK, linewidth=1.2, marker="|", markersize=7)
            # Above its bar, which with few settings takes all of the width.
            axes.text(1, -1.3, f"critical difference {gap:.2f}", va="bottom", fontsize=9, color=MUTED)
        rows_of_names(axes, [cut(loss_label(loss)) for loss in losses], 1.0)
        axes.set_ylim(k - 0.5, -2.2 if gap is not None else -0.6)
        axes.set_xlim(0.6, max(k + 0.35 + 0.28 * len(cliques), 1 + (gap or 0) + 0.3))
        axes.set_xticks(range(1, k + 1, 1 + k // 12))
        axes.set_xlabel("mean rank (1 is best)", color=MUTED)

    names = ", ".join(f"{loss_label(one)} {rank:.2f}" for one, rank in zip(losses, standing.ranks, strict=True))
    label = f"Mean ranks in {COLUMN[standing.metric].heading} over {standing.settings} settings: {names}."
    return Drawing(label, (400.0, 88.0 + 20.0 * k), paint)


@dataclass(frozen=True)
class Trade:
    """A loss with a calibrator in a chart of trade-offs: two numbers as shown, and whether none is better in both."""

    loss: str
    calibrator: str
    number: int
    x: float
    y: float
    front: bool


def trade_drawing(
    label: str,
    trades: Sequence[Trade],
    axes_of: tuple[Axis, Axis],
    looks: dict[str, Look],
    markers: dict[str, tuple[str, bool]],
    *,
    legend: bool = False,
) -> Drawing:
    """One number against the other, a mark a combination: colour by loss, shape by calibrator; the front is joined."""
    losses = list(dict.fromkeys(one.loss for one in trades))

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.add_subplot()
        bare(axes, grid="y")
        front = sorted((one.x, one.y) for one in trades if one.front)
        axes.plot([x for x, _ in front], [y for _, y in front], color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)))
        for one in sorted(trades, key=lambda one: one.front):
            marker, hollow = markers[one.calibrator]
            colour = PALETTE[looks[one.loss].colour]
            axes.plot(
                [one.x],
                [one.y],
                linestyle="none",
                marker=marker,
                markersize=8 if one.front else 5.5,
                markerfacecolor=CARD if hollow else colour,
                markeredgecolor=INK if one.front else colour,
                markeredgewidth=1.3 if one.front else 1.0,
                gid=f"loss-{one.number}",
            )
        scale(axes, axes_of[0], upright=False)
        scale(axes, axes_of[1], upright=True)
        if legend:
            # Shapes stand for calibrators here, so the losses are told by colour alone.
            named = [(loss_label(loss), Look(0, looks[loss].colour, "o", "none")) for loss in losses]
            shapes = [(calibrator_label(name), Look(0, 0, shape, "none")) for name, (shape, _) in markers.items()]
            hollow = {calibrator_label(name) for name, (_, empty) in markers.items() if empty}
            named_beneath(figure, [*named, *shapes], hollow)

    return Drawing(label, (400.0, 280.0 + (14.0 * ((len(losses) + len(markers) + 1) // 2) if legend else 0)), paint)


def heat_drawing(heat: Heat) -> Drawing:
    """The heat map for a file: a row a setting, a column a loss, a dot where the difference is more than chance."""
    rows = heat.rows
    left, cell, high = 190.0, 54.0, 17.0
    top = 110.0
    width, height = left + cell * len(heat.losses) + 90, top + high * len(rows) + 26

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        for j, loss in enumerate(heat.losses):
            x = left + cell * (j + 0.5)
            axes.text(x - 4, top - 6, cut(loss_label(loss)), rotation=40, fontsize=8.5, va="bottom", parse_math=False)
        boxes: list[Rectangle] = []
        colours: list[tuple[float, float, float, float]] = []
        for i, row in enumerate(rows):
            y = top + high * i
            weight = "bold" if row.number is None else "normal"
            place: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8.5, "weight": weight}
            axes.text(left - 6, y + high / 2, cut(row.label), parse_math=False, **place)
            for j, one in enumerate(row.cells):
                if one is None:
                    continue
                colour = to_rgba(BETTER if one.better else WORSE, SHADES[one.level])
                boxes.append(Rectangle((left + cell * j, y), cell - 1, high - 1))
                colours.append(colour)
                text = f"{one.text} \u2022" if one.sure else one.text
                weight = "bold" if one.sure else "normal"
                middle = left + cell * (j + 0.5)
                axes.text(middle, y + high / 2, text, ha="center", va="center", fontsize=8.5, weight=weight)
        axes.add_collection(PatchCollection(boxes, facecolors=colours, edgecolors="none"))
        words = "Blue is better than cross-entropy, orange worse; \u2022 p \u2264 5% after Holm, all settings together"
        axes.text(left, height - 10, words, fontsize=8, color=MUTED, va="center")
        axes.plot([left, left + cell * len(heat.losses)], [top - 2, top - 2], color=RULE, linewidth=0.8)

    label = f"{COLUMN[heat.metric].heading} minus that of cross-entropy, {calibrator_label(heat.calibrator)}."
    return Drawing(label, (width, height), paint)
