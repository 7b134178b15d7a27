"""Print the results.csv of a study as a Markdown table: mean ± half the width of the 95 % interval over seeds.

python docs/first-results/table.py docs/first-results/digits.csv
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from gence.bench.stats import estimate

COLUMNS = {"accuracy": ("accuracy %", 100, 1), "nll": ("NLL", 1, 3), "ece": ("ECE %", 100, 1)}


def table(path: Path) -> str:
    """The Markdown table of a results.csv, by budget, then by NLL."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    with open(path, newline="") as stream:
        for row in csv.DictReader(stream):
            groups[row["labels_per_class"], row["loss"], row["calibrator"]].append(row)
    lines = []
    for (budget, loss, calibrator), rows in groups.items():
        cells = [budget, loss, calibrator]
        for key, (_, scale, decimals) in COLUMNS.items():
            found = estimate([scale * float(row[key]) for row in rows])
            half = "" if found.high is None else f" ± {found.high - found.mean:.{decimals}f}"
            cells.append(f"{found.mean:.{decimals}f}{half}")
        nll = estimate([float(row["nll"]) for row in rows]).mean
        lines.append((int(budget), nll, f"| {' | '.join(cells)} |"))
    header = ["labels a class", "loss", "calibrator", *(title for title, _, _ in COLUMNS.values())]
    head = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    return "\n".join([*head, *(line for _, _, line in sorted(lines))])


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
