"""Measurements net by net, each kept in a file of its own until all are there."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

Row = dict[str, object]
HERE = Path(__file__).parent


def measure_nets(
    name: str, folder: Path, nets: Sequence[str], wanted: Sequence[str], measure: Callable[[str], list[Row]]
):
    """Measure the `wanted` of all `nets`, keep each in `folder`, and join them beside this file once all are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for net in wanted:
        if not (folder / f"{name}-{net}.csv").exists():
            write(folder / f"{name}-{net}.csv", measure(net))
            print(f"{name}, {net}: done", flush=True)
    files = [folder / f"{name}-{net}.csv" for net in nets]
    if all(file.exists() for file in files):
        write(HERE / f"{name}.csv", [row for file in files for row in read(file)])


def write(path: Path, rows: list[Row]) -> None:
    """A CSV file, put in place whole."""
    partial = path.with_name("partial-" + path.name)
    with open(partial, "w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    partial.rename(path)


def read(path: Path) -> list[Row]:
    """Its rows, every value as text."""
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))
