"""What the losses cost, paired in one run: by themselves, and in an epoch of ResNet-18 on 5,000 CIFAR-10 images.

    python docs/losses/cost.py alone
    python docs/losses/cost.py epoch --data-root ROOT

The first takes a minute; the second trains for as many epochs as there are losses (about two minutes each on two
cores) and goes on where it was stopped. Both write a CSV beside this file.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gence.data import few_labels, fit_standardize, load
from gence.losses import EpochLoss, catalogue
from gence.models import build

HERE = Path(__file__).parent
AGAIN = "ce (again)"  # cross-entropy a second time: how far two equal things are apart
SHAPES = ((128, 10), (128, 100))


def losses(class_counts: list[int]) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """Every loss as (logits, target, row numbers) -> scalar, cross-entropy twice."""
    found = {}
    for name in (*catalogue.names(), AGAIN):
        loss = catalogue.build("ce" if name == AGAIN else name, class_counts=class_counts)
        if isinstance(loss, EpochLoss):
            found[name] = lambda z, y, rows, loss=loss: loss(z, y, rows=rows)
        else:
            found[name] = lambda z, y, rows, loss=loss: loss(z, y)
    return found


def alone(repeats: int = 300) -> None:
    """Median microseconds of a loss and its gradient on given logits, the losses taking turns, on one thread."""
    torch.set_num_threads(1)
    times: dict[str, dict[tuple[int, int], list[float]]] = {}
    for shape in SHAPES:
        rows, classes = shape
        generator = torch.Generator().manual_seed(0)
        target, numbers = torch.randint(classes, (rows,), generator=generator), torch.arange(rows)
        turns = losses([rows] * classes)
        for turn in range(repeats):
            logits = 3.0 * torch.randn(shape, generator=generator)
            for name in random.Random(turn).sample(list(turns), len(turns)):
                z = logits.clone().requires_grad_()
                started = time.perf_counter()
                turns[name](z, target, numbers).backward()
                times.setdefault(name, {}).setdefault(shape, []).append(1e6 * (time.perf_counter() - started))
    lines = [[name, *(f"{statistics.median(of[shape]):.0f}" for shape in SHAPES)] for name, of in times.items()]
    write("alone.csv", ["loss", *(f"us_{rows}x{classes}" for rows, classes in SHAPES)], order(lines))


def epoch(root: Path) -> None:
    """Seconds of an epoch with each loss; in every batch all of them take their turn, in a new order each time."""
    place = HERE / "epoch-steps.csv"
    done = [row[:3] for row in csv.reader(place.open())] if place.exists() else []
    data = load("cifar10", data_root=root)
    pool = np.setdiff1d(np.arange(len(data.labels)), data.test_rows)
    rows = np.concatenate(few_labels(data.labels, pool, 500, seed=0))
    inputs = torch.from_numpy(fit_standardize("image", data.inputs[rows])(data.inputs[rows]))
    target = torch.from_numpy(data.labels[rows])
    turns = losses([500] * 10)
    models = {head: build("resnet18", data.inputs.shape[1:], 10, seed=0, head=head) for head in ("linear", "cosine")}
    steps = {head: torch.optim.SGD(m.parameters(), lr=1e-4, momentum=0.9) for head, m in models.items()}
    batches = torch.randperm(5000, generator=torch.Generator().manual_seed(0)).tensor_split(5000 // 128)

    def step(name: str, numbers: Tensor) -> float:
        head = catalogue.head("ce" if name == AGAIN else name)
        started = time.perf_counter()
        steps[head].zero_grad(set_to_none=True)
        turns[name](models[head](inputs[numbers]), target[numbers], numbers).backward()
        steps[head].step()
        return time.perf_counter() - started

    for name in ("ce", "ldam"):
        step(name, batches[0])  # warm
    for number in range(len(done) // len(turns), len(batches)):
        taken = {name: step(name, batches[number]) for name in random.Random(number).sample(list(turns), len(turns))}
        with place.open("a", newline="") as stream:
            csv.writer(stream).writerows([number, name, f"{taken[name]:.4f}"] for name in turns)
    summarize(place)


def summarize(place: Path) -> None:
    """Seconds an epoch, and the median over the batches of the ratio to cross-entropy in the same batch."""
    taken: dict[str, dict[int, float]] = {}
    for number, name, seconds in csv.reader(place.open()):
        taken.setdefault(name, {})[int(number)] = float(seconds)
    plain = taken["ce"]
    lines = []
    for name, of in taken.items():
        ratios = sorted(of[number] / plain[number] for number in of)
        lines.append([name, f"{sum(of.values()):.1f}", f"{100 * (statistics.median(ratios) - 1):+.1f}"])
    write("epoch.csv", ["loss", "seconds", "percent_over_ce"], lines)


def order(lines: list[list[str]]) -> list[list[str]]:
    """In the order of the catalogue, whatever turn came first."""
    places = {name: i for i, name in enumerate((*catalogue.names(), AGAIN))}
    return sorted(lines, key=lambda line: places[line[0]])


def write(name: str, head: list[str], lines: list[list[str]]) -> None:
    """The CSV, with the machine it was made on in its last column."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    with (HERE / name).open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*head, "machine"])
        writer.writerows([*line, machine] for line in lines)
    print(*(",".join(line) for line in [head, *lines]), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("alone", "epoch"))
    parser.add_argument("--data-root", type=Path)
    given = parser.parse_args()
    alone() if given.what == "alone" else epoch(given.data_root)
