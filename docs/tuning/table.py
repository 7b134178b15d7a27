"""What ten trials of tuning gained, from the archives beside this file: `python docs/tuning/table.py`.

Of every loss its validation NLL with the recipe as given and with the one that was chosen, and its test NLL with both.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

from gence.bench.records import TrialRecord
from gence.bench.records.archive import read_study

HERE = Path(__file__).parent
COLUMNS = {"none": "uncalibrated", "temperature": "temperature"}


def table() -> str:
    """The Markdown table, a row a loss: one tuning for all seeds on validation rows, their mean on test rows."""
    given, tuned = (by_loss(read_study(HERE / f"{name}.study.gz").records) for name in ("as-given", "tuned"))
    heads = ["loss", "validation NLL, as given → chosen", *(f"test NLL, {words}" for words in COLUMNS.values())]
    lines = [heads, ["---"] * len(heads)]
    for loss, records in tuned.items():
        tuning = records[0].tuning
        assert tuning is not None
        validation = (tuning.tried[0].nll, tuning.tried[tuning.chosen].nll)
        assert None not in validation, "a trial of these tunings failed"
        tests = [(test_nll(given[loss], name), test_nll(records, name)) for name in COLUMNS]
        lines.append([f"`{loss}`", *(f"{before:.3f} → {after:.3f}" for before, after in (validation, *tests))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread() -> tuple[float, float]:
    """The least and the greatest standard deviation over seeds of what the table has a mean of."""
    both = [by_loss(read_study(HERE / f"{name}.study.gz").records) for name in ("as-given", "tuned")]
    found = [
        statistics.stdev(one.results[name].metrics["nll"] for one in records)
        for study in both
        for records in study.values()
        for name in COLUMNS
    ]
    return min(found), max(found)


def by_loss(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    found: dict[str, list[TrialRecord]] = {}
    for record in records:
        found.setdefault(record.cell.loss, []).append(record)
    return found


def test_nll(records: list[TrialRecord], calibrator: str) -> float:
    return statistics.fmean(record.results[calibrator].metrics["nll"] for record in records)


if __name__ == "__main__":
    print(table())
    low, high = spread()
    print(f"\nstandard deviation over seeds: {low:.2f} to {high:.2f}")
