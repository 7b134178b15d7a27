"""The promise of negligible cost, from the timings of docs/losses/cost.py, which lie beside it."""

from __future__ import annotations

import csv

from formats import number
from measures import HERE

TIMINGS = HERE.parent / "losses"
NEGLIGIBLE = 1.0
"""Percent of an epoch's time that the loss may cost more than cross-entropy does."""


def cost(loss: str = "gence") -> list[str]:
    """The row of the table of promises: what the loss adds to an epoch, and how whole steps compare."""
    epoch, steps = (_row(f"{name}.csv", loss) for name in ("epoch", "steps"))
    more = float(epoch["percent_over_ce"])
    median, lowest, highest = (float(steps[name]) for name in ("percent_over_ce", "lowest", "highest"))
    verdict = "held" if more < NEGLIGIBLE else "not held"
    return [
        "negligible cost;<br>time of an epoch of ResNet-18, the loss's own time beside the network's",
        f"**{verdict}** on a CPU, not measured on a GPU",
        f"{number(more, 3, sign=True)} %<br>whole steps in turns {number(median, 1, sign=True)} %, "
        f"{number(lowest, 1, sign=True)} to {number(highest, 1, sign=True)} the least and the most",
        "",
        "`docs/losses/cost.py`",
    ]


def _row(name: str, loss: str) -> dict[str, str]:
    with (TIMINGS / name).open() as file:
        return next(row for row in csv.DictReader(file) if row["loss"] == loss)
