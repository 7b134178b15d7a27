"""How often an interval of a calibration error holds the truth: the table of `gence.metrics.bootstrap_interval`.

python docs/metrics/coverage.py           # ten minutes of one core; writes coverage.csv beside this file
python docs/metrics/coverage.py --table   # prints the table from it

Labels are drawn from the softmax of normal logits, and the predictions are the softmax of the same logits times a
factor: calibrated at 1, overconfident above. The truth is 0 at a factor of 1, else the error on two million rows.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import torch

from gence import metrics

RESULTS = Path(__file__).parent / "coverage.csv"
FACTORS, ROWS, CLASSES, REPEATS, MANY = (1.0, 1.1, 1.2, 1.6), (500, 2000), 10, 400, 2_000_000
INTERVALS = {
    "ECE, percentile": (metrics.expected_calibration_error, "percentile"),
    "ECE, basic": (metrics.expected_calibration_error, "basic"),
    "debiased l2, centred": (metrics.debiased_calibration_error, "centred"),
}


def predictions(rows: int, factor: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(rows, CLASSES, dtype=torch.float64, generator=generator)
    target = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return (factor * logits).softmax(1), target


def covered(factor: float, rows: int) -> dict[str, float]:
    """Of every interval the share of the simulations in which it held the truth."""
    many = predictions(MANY, factor, seed=10**6) if factor > 1.0 else None
    found = {}
    for name, (metric, method) in INTERVALS.items():
        truth = 0.0 if many is None else float(metric(*many))
        intervals = [
            metrics.bootstrap_interval(metric, *predictions(rows, factor, seed), method=method, seed=seed)
            for seed in range(REPEATS)
        ]
        found[name] = sum(one.low <= truth <= one.high for one in intervals) / REPEATS
    return found


def table() -> str:
    """The table of the docstring, its columns as wide as their heads."""
    with open(RESULTS, newline="") as stream:
        rows = list(csv.DictReader(stream))
    heads = list(rows[0])
    lines = [heads, ["-" * (len(head) - 1) + ":" for head in heads]]
    lines += [[row["factor"], row["rows"], *(f"{float(row[name]):.2f}" for name in INTERVALS)] for row in rows]
    return "\n".join(
        f"| {' | '.join(cell.rjust(len(head)) for cell, head in zip(line, heads, strict=True))} |" for line in lines
    )


if __name__ == "__main__":
    if "--table" not in sys.argv[1:]:
        with open(RESULTS, "w", newline="") as stream:
            writer = csv.DictWriter(stream, ["factor", "rows", *INTERVALS])
            writer.writeheader()
            for factor in FACTORS:
                for rows in ROWS:
                    writer.writerow({"factor": factor, "rows": rows, **covered(factor, rows)})
    print(table())
