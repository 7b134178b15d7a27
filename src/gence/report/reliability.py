"""Reliability diagrams: what the probabilities promised against what came true, and how many rows promised it.

A large study has hundreds, so they are written as SVG at once and not drawn by matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from gence.bench.records import SummaryRow
from gence.report.columns import COLUMN, PERCENT, spread
from gence.report.names import Look, calibrator_label, loss_label

FEW = 20
"""Bins with fewer rows than this are drawn hollow: their accuracy is mostly chance."""

_SHOWN = ("none", "temperature", "ats")

_LEFT, _WIDTH = 33.0, 160.0
_TOP, _HEIGHT = 6.0, 127.0
_BASE, _LOW = 185.0, 40.0


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


def reliability_diagram(row: SummaryRow, look: Look) -> str:
    """Accuracy by confidence with the diagonal, and the count of rows beneath, as an SVG element."""
    sums = row.reliability
    counts, width = sums.counts, _WIDTH / max(len(sums.counts), 1)
    tallest = max(counts, default=0)
    bars, dots, below = [], [], []
    for i, (count, right) in enumerate(zip(counts, sums.correct_counts, strict=True)):
        if not count:
            continue
        left, bar = _LEFT + (i + 0.07) * width, 0.86 * width
        high = _HEIGHT * right / count / 1.02
        few = ' class="few"' if count < FEW else ""
        bars.append(
            f'<rect{few} x="{left:.1f}" y="{_TOP + _HEIGHT - high:.1f}" width="{bar:.1f}" height="{high:.1f}"/>'
        )
        if count >= FEW:
            promised = _LEFT + _WIDTH * sums.confidence_sums[i] / count
            dots.append(f'<circle cx="{promised:.1f}" cy="{_TOP + _HEIGHT - high:.1f}" r="1.8"/>')
        high = _LOW * count / tallest
        below.append(f'<rect x="{left:.1f}" y="{_BASE - high:.1f}" width="{bar:.1f}" height="{high:.1f}"/>')
    label = (
        f"Reliability diagram of {loss_label(row.loss)}, {calibrator_label(row.calibrator)}: "
        f"{ece_text(row)}, {sum(counts)} test rows."
    )
    return (
        f'<svg viewBox="0 0 200 220" role="img" aria-label={quoteattr(label)} class="reliability" '
        f'style="--w:200px;color:var(--c{look.colour})">{_frame(tallest)}'
        f'<g class="bars">{"".join(bars)}</g>{"".join(dots)}{"".join(below)}</svg>'
    )


def _frame(tallest: int) -> str:
    """Grid, diagonal, and what stands along the axes."""
    top = _TOP + _HEIGHT * (1 - 1 / 1.02)
    lines: list[str] = []
    texts: list[str] = []
    for share, words in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        x, y = _LEFT + share * _WIDTH, _TOP + _HEIGHT * (1 - share / 1.02)
        lines.append(f"M{_LEFT:g} {y:.1f}H{_LEFT + _WIDTH:g}")
        texts.append(f'<text x="{_LEFT - 4:g}" y="{y + 3.5:.1f}" text-anchor="end">{words}</text>')
        texts.append(f'<text x="{x:g}" y="{_BASE + 13:g}" text-anchor="middle">{words}</text>')
    lines.append(f"M{_LEFT:g} {_BASE - _LOW:g}H{_LEFT + _WIDTH:g}M{_LEFT:g} {_BASE:g}H{_LEFT + _WIDTH:g}")
    texts.append(f'<text x="{_LEFT - 4:g}" y="{_BASE - _LOW + 3.5:g}" text-anchor="end">{short_count(tallest)}</text>')
    names = (
        f'<text class="axis" transform="translate(9 {_TOP + _HEIGHT / 2:g}) rotate(-90)">accuracy</text>'
        f'<text class="axis" transform="translate(9 {_BASE - _LOW / 2:g}) rotate(-90)">rows</text>'
        f'<text class="axis" x="{_LEFT + _WIDTH / 2:g}" y="{_BASE + 27:g}">confidence</text>'
    )
    diagonal = f'<path class="diagonal" d="M{_LEFT:g} {_TOP + _HEIGHT:g}L{_LEFT + _WIDTH:g} {top:.1f}"/>'
    return f'<path class="grid" d="{"".join(lines)}"/>{diagonal}{"".join(texts)}{names}'


def short_count(count: int) -> str:
    """A count in at most four characters, as there is no room for more.

    >>> short_count(950), short_count(12345), short_count(2_000_000)
    ('950', '12k', '2M')
    """
    if count < 1000:
        return str(count)
    return f"{count / 1000:.3g}k" if count < 10_000 else f"{count // 1000}k" if count < 10**6 else f"{count // 10**6}M"
