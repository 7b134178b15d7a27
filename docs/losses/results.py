"""Print the results.csv of a study of all losses as a Markdown table: means over seeds, without calibrator.

python docs/losses/results.py docs/losses/digits.csv
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

from gence.bench.stats import estimate

COLUMNS = {"accuracy": ("acc. %", 100, 1), "nll": ("NLL", 1, 3), "ece": ("ECE %", 100, 1)}


def table(path: Path) -> str:
    """A row a loss, the columns of each budget side by side, the lowest NLL at the smallest budget first."""
    values: dict[str, dict[int, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["calibrator"] == "none":
                for key in COLUMNS:
                    values[row["loss"]][int(row["labels_per_class"])][key].append(float(row[key]))
    budgets = sorted(next(iter(values.values())))
    lines = []
    for loss, by_budget in values.items():
        cells = [f"`{loss}`"]
        for budget in budgets:
            for key, (_, scale, decimals) in COLUMNS.items():
                found = estimate([scale * value for value in by_budget[budget][key]])
                half = "" if found.high is None else f" ± {found.high - found.mean:.{decimals}f}"
                cells.append(f"{found.mean:.{decimals}f}{half}")
        lines.append((estimate(by_budget[budgets[0]]["nll"]).mean, f"| {' | '.join(cells)} |"))
    header = ["loss", *(f"{budget}: {title}" for budget in budgets for title, _, _ in COLUMNS.values())]
    return "\n".join(
        [f"| {' | '.join(header)} |", f"|---{'|---:' * (len(header) - 1)}|", *(t for _, t in sorted(lines))]
    )


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
