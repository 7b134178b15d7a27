"""The page of an audit, for somebody who is no expert, and its record beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gence._files import write_atomically
from gence.audit.records import TRIAL_METRICS, Audit, Estimate, audit_json
from gence.report.audit_columns import AUDIT_COLUMN, AUDIT_COLUMNS, DASH, ends, percent, points
from gence.report.audit_figures import change_charts, coverage_chart, reliability_chart
from gence.report.audit_words import range_words, slices_sentence, verdict
from gence.report.columns import Column, fixed
from gence.report.document import write_document
from gence.report.provenance import Pairs

_SHOWN_SLICES = 10
_SHOWN_WITHOUT_FINDING = 5
_BINNINGS = {"width": "Bins of equal width", "mass": "Bins of equally many rows"}


def write_audit(audit: Audit, folder: Path) -> Path:
    """Write `folder/audit.json`, the record, and `folder/audit.html`, which shows it.

    Args:
        audit: What `gence.audit.audit_predictions` found.
        folder: It is made if it is not there.

    Returns:
        The page. Both files replace older ones whole or not at all, and the page loads nothing.
    """
    write_atomically(folder / "audit.json", audit_json(audit).encode())
    return write_document("audit_page.html.j2", _context(audit), folder / "audit.html")


def _context(audit: Audit) -> dict[str, Any]:
    slices = audit.slices
    shown = min(slices.beyond_chance, _SHOWN_SLICES) if slices.beyond_chance else _SHOWN_WITHOUT_FINDING
    return {
        "audit": audit,
        "title": Path(audit.source).name or audit.source,
        "facts": _facts(audit),
        "verdict": verdict(audit),
        "key_columns": [AUDIT_COLUMN[key] for key in ("confidence_gap", "ece", "debiased_ece", "accuracy", "nll")],
        "columns": AUDIT_COLUMNS,
        "trial_columns": [AUDIT_COLUMN[key] for key in TRIAL_METRICS],
        "value": lambda column, number: column.text(number),
        "change": _change,
        "ends": ends,
        "percent": percent,
        "points": points,
        "fixed": fixed,
        "dash": DASH,
        "range_words": range_words,
        "reliability": [
            (words, reliability_chart(f"reliability-{kind}", words, audit.reliability[kind]), audit.reliability[kind])
            for kind, words in _BINNINGS.items()
        ],
        "coverage": coverage_chart(audit.coverage),
        "slices_sentence": slices_sentence(audit),
        "slices": slices.worst[:shown],
        "gap_column": AUDIT_COLUMN["confidence_gap"],
        "changes": change_charts(audit.mending) if audit.mending.trials else [],
        "run": _run(audit),
        "environment": list(audit.environment.items()),
    }


def _facts(audit: Audit) -> list[str]:
    rows = f"{audit.rows:,} row" if audit.rows == 1 else f"{audit.rows:,} rows"
    return [rows, f"{len(audit.class_names)} classes", audit.kind, audit.finished_at[:10]]


def _change(column: Column, difference: Estimate) -> str:
    """A difference with its sign, in the unit of the column."""
    text = column.text(difference.value)
    return f"+{text}" if difference.value > 0 and float(text) != 0 else text


def _run(audit: Audit) -> Pairs:
    words = {
        "bins": "bins",
        "level": "level of the intervals",
        "resamples": "bootstrap resamples",
        "folds": "folds",
        "seed": "seed",
        "most_fitted_rows": "rows to fit on, at most",
        "most_judged_rows": "rows to judge calibrators on, at most",
        "most_resampled_rows": "rows to resample, at most",
    }
    return [
        ("source", audit.source),
        ("rows", f"{audit.rows:,}"),
        *((words.get(name, name), f"{number:,g}") for name, number in audit.settings.items()),
        *((f"seconds for {part}", f"{seconds:.1f}") for part, seconds in audit.seconds.items()),
        ("finished", audit.finished_at),
    ]
