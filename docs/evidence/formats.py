"""Numbers, differences and tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from measures import beyond, interval, metric, paired

from gence.bench.records import Estimate, TrialRecord

MINUS = "\N{MINUS SIGN}"
NAMED = {"gence_balanced:strength=0.0": "logit_adjusted_smoothing"}
"""Losses that got a name of their own after the study was begun."""

COLUMNS = {"accuracy": (100.0, 1), "balanced_accuracy": (100.0, 1), "ece": (100.0, 1), "nll": (1.0, 3)}


def number(value: float, decimals: int, *, sign: bool = False) -> str:
    """A number with a true minus sign; what rounds to 0 has none."""
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    return (text[1:] if float(text) == 0.0 and sign else text).replace("-", MINUS)


def change(one: Estimate | None, factor: float, decimals: int) -> str:
    """A difference with its interval, bold where that excludes 0."""
    if one is None:
        return ""
    return _bold(f"{number(one.mean * factor, decimals, sign=True)} ({_ends(one, factor, decimals)})", one)


def ends(one: Estimate, factor: float, decimals: int) -> str:
    """The interval alone."""
    return _bold(_ends(one, factor, decimals), one)


def _ends(one: Estimate, factor: float, decimals: int) -> str:
    return " to ".join(number((end or 0.0) * factor, decimals, sign=True) for end in (one.low, one.high))


def _bold(text: str, one: Estimate) -> str:
    return f"**{text}**" if beyond(one, 1) or beyond(one, -1) else text


def difference(first: dict[int, TrialRecord], second: dict[int, TrialRecord], name: str) -> str:
    """A metric of one loss minus that of another, uncalibrated, seed by seed."""
    return change(interval(paired(first, second, metric(name))), *COLUMNS[name])


SHOWN = {"balanced_accuracy": "accuracy", "ece": "ECE"}
"""What the short tables show, a line each in a cell."""


def stacked(values: Sequence[str]) -> str:
    """A cell of two lines, accuracy above ECE; one of words where there are no two numbers."""
    if not all(values):
        return values[0]
    return "<br>".join(f"{words} {value}" for words, value in zip(SHOWN.values(), values, strict=True))


def code(loss: str) -> str:
    """A loss by the name that it has now."""
    return f"`{NAMED.get(loss, loss)}`"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
