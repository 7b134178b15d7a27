"""The hashes of long-tailed choices of some data with a test split, as in docs/regimes.md: python hashes.py SOURCE."""

from __future__ import annotations

import sys

import numpy as np

from gence.data import LabelledData, index_hash, load, long_tail


def table(data: LabelledData) -> str:
    test = np.zeros(0, np.int64) if data.test_rows is None else data.test_rows
    rows = np.setdiff1d(np.arange(len(data.labels)), test)
    lines = [
        f"sha256 of the {len(rows)} training labels: {index_hash(data.labels[rows])}",
        "",
        "| regime, seed 0 | rows | sha256 of the row numbers |",
        "| --- | --- | --- |",
    ]
    for name, profile in (("long-tail", "exp"), ("long-tail-step", "step")):
        for imbalance in (10, 50, 100):
            drawn = np.concatenate(long_tail(data.labels, rows, imbalance, profile=profile, seed=0))
            lines.append(f"| `{name}:{imbalance}` | {len(drawn):,} | `{index_hash(drawn)}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(load(sys.argv[1])))
