"""The table of losses in README.md and docs/losses.md, from the catalogue and the measured costs.

python docs/losses/table.py            # prints it
python docs/losses/table.py --write    # puts it between the markers of both files
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

from gence.losses import catalogue

HERE = Path(__file__).parent
FILES = (HERE.parent.parent / "README.md", HERE.parent / "losses.md")
BEGIN, END = "<!-- losses: made by docs/losses/table.py -->", "<!-- /losses -->"


def table() -> str:
    """One line a loss."""
    with (HERE / "alone.csv").open() as stream:
        cost = {row["loss"]: row["us_128x10"] for row in csv.DictReader(stream)}
    lines = ["| loss | paper | a row's term | proper | needs | µs |", "|---|---|---|---|---|---:|"]
    for name, entry in catalogue.CATALOGUE.items():
        equation = entry.equation.replace("|", "\\|")
        cells = (f"`{name}`", entry.reference, equation, entry.proper, entry.needs, cost[name])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """`text` with what lies between the markers replaced."""
    return re.sub(f"(?s){BEGIN}.*{END}", lambda _: f"{BEGIN}\n{table()}\n{END}", text)


if __name__ == "__main__":
    if "--write" not in sys.argv:
        print(table())
    else:
        for file in FILES:
            file.write_text(with_table(file.read_text()))
