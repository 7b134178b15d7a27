"""Reliability diagrams: what the probabilities promised against what came true, and how many rows promised it."""

# matplotlib's stubs leave `**kwargs` without a type.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from gence.bench.records import SummaryRow
from gence.report.columns import COLUMN, PERCENT, spread
from gence.report.names import Look, calibrator_label, loss_label
from gence.report.svg import MUTED, PALETTE, bare, draw

FEW = 20
"""Bins with fewer rows than this are drawn hollow: their accuracy is mostly chance."""

_SHOWN = ("none", "temperature", "ats")


def shown_calibrators(calibrators: Sequence[str]) -> list[str]:
    """The three calibrators whose diagrams are drawn: no calibrator and ours first, then the others as listed."""
    return [*(name for name in _SHOWN if name in calibrators), *(n for n in calibrators if n not in _SHOWN)][:3]


def ece_text(row: SummaryRow) -> str:
    """The row's ECE as its diagram is headed, as in "ECE 1.20 ± 0.31 %"; empty if it was not measured."""
    estimate = row.metrics.get("ece")
    if estimate is None:
        return ""
    half = spread(estimate, COLUMN["ece"])
    return f"ECE {COLUMN['ece'].text(estimate.mean)}{f' ± {half}' if half else ''}{PERCENT}"


def reliability_diagram(name: str, row: SummaryRow, look: Look) -> str:
    """Accuracy by confidence with the diagonal, and the count of rows beneath, as an SVG element."""

    def paint(figure: Figure) -> None:
        top = figure.add_axes((0.165, 0.40, 0.80, 0.58))
        bottom = figure.add_axes((0.165, 0.155, 0.80, 0.18))
        sums, colour = row.reliability, PALETTE[look.colour]
        counts, width = sums.counts, 1 / max(len(sums.counts), 1)
        middles = [(i + 0.5) * width for i in range(len(counts))]
        accuracy = [right / max(count, 1) for right, count in zip(sums.correct_counts, counts, strict=True)]
        bare(top, grid="y")
        bare(bottom, grid="y")
        top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        many = [i for i, count in enumerate(counts) if count >= FEW]
        few = [i for i, count in enumerate(counts) if 0 < count < FEW]
        solid: dict[str, Any] = {"facecolor": (colour, 0.3), "linewidth": 0}
        hollow: dict[str, Any] = {"facecolor": "none", "edgecolor": colour, "linewidth": 0.7, "linestyle": (0, (2, 2))}
        for chosen, style in ((many, solid), (few, hollow)):
            top.bar([middles[i] for i in chosen], [accuracy[i] for i in chosen], width=width * 0.86, **style)
        promised = [sums.confidence_sums[i] / counts[i] for i in many]
        top.plot(promised, [accuracy[i] for i in many], linestyle="none", marker="o", markersize=3.4, color=colour)
        bottom.bar(middles, counts, width=width * 0.86, facecolor=colour, linewidth=0)
        top.set_ylim(0, 1.02)
        for axes in (top, bottom):
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        top.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        top.xaxis.set_major_formatter(NullFormatter())
        tallest = max(counts, default=0)
        bottom.set_ylim(0, max(tallest, 1))
        bottom.set_yticks([0, tallest], ["0", short_count(tallest)])
        top.set_ylabel("accuracy", fontsize=9, color=MUTED, labelpad=2)
        bottom.set_ylabel("rows", fontsize=9, color=MUTED, labelpad=2)
        bottom.set_xlabel("confidence", fontsize=9, color=MUTED, labelpad=1)

    label = (
        f"Reliability diagram of {loss_label(row.loss)}, {calibrator_label(row.calibrator)}: "
        f"{ece_text(row)}, {sum(row.reliability.counts)} test rows."
    )
    return draw(name, label, (200.0, 220.0), paint)


def short_count(count: int) -> str:
    """A count in at most four characters, as there is no room for more.

    >>> short_count(950), short_count(12345), short_count(2_000_000)
    ('950', '12k', '2M')
    """
    if count < 1000:
        return str(count)
    return f"{count / 1000:.3g}k" if count < 10_000 else f"{count // 1000}k" if count < 10**6 else f"{count // 10**6}M"
