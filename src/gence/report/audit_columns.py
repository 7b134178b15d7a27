"""The metrics of an audit as its page shows them: heading, unit, decimals, and what the number means."""

from __future__ import annotations

from dataclasses import replace

from gence.audit.records import METRICS, Estimate
from gence.report.columns import COLUMN, PERCENT, Column, fixed

DASH = "\u2013"
"""What stands where a number is not defined."""

_OWN = (
    replace(
        COLUMN["accuracy"],
        meaning="Share of rows whose most probable class is the right one. The only one here that is better high.",
    ),
    Column(
        "confidence_gap",
        "Confidence \u2212 accuracy %",
        "How much more it claims than comes true, on average. Above zero: over-confident; below: under-confident.",
        factor=100,
        decimals=2,
    ),
    Column(
        "mce",
        "Largest gap % (MCE)",
        "The largest gap of any bin of equal width, however few rows it holds: noisy, so read it beside the diagram.",
        factor=100,
        decimals=2,
    ),
    Column(
        "debiased_ece",
        "Debiased error % (\u21132)",
        "Root mean square gap in bins of equally many rows, less what chance adds; zero if nothing is left.",
        factor=100,
        decimals=2,
    ),
    Column(
        "debiased_ece_l1",
        "Debiased error % (\u21131)",
        "Mean gap in bins of equally many rows, less what chance adds; some of that stays.",
        factor=100,
        decimals=2,
    ),
)
_BY_KEY = COLUMN | {column.key: column for column in _OWN}

AUDIT_COLUMNS = tuple(_BY_KEY[key] for key in METRICS)
AUDIT_COLUMN = {column.key: column for column in AUDIT_COLUMNS}


def percent(value: float | None, decimals: int = 1) -> str:
    r"""A share with its unit; a dash where there is none.

    >>> ascii(percent(0.931)), ascii(percent(None))
    ("'93.1\\xa0%'", "'\\u2013'")
    """
    return DASH if value is None else fixed(100 * value, decimals) + PERCENT


def points(value: float, decimals: int = 1) -> str:
    """A difference of shares in percentage points, always with its sign.

    >>> points(0.029), points(0.0)
    ('+2.9', '0.0')
    """
    text = fixed(100 * value, decimals)
    return f"+{text}" if value > 0 and float(text) != 0 else text


def ends(estimate: Estimate, column: Column, *, decimals: int | None = None) -> str:
    """An interval as "2.31 to 3.46"; a dash where there is none."""
    if estimate.low is None or estimate.high is None:
        return DASH
    shown = column.decimals if decimals is None else decimals
    return f"{fixed(estimate.low * column.factor, shown)} to {fixed(estimate.high * column.factor, shown)}"
