"""What the losses cost, paired in one run: by themselves, and in an epoch of ResNet-18 on 5,000 CIFAR-10 images.

    python docs/losses/cost.py alone
    python docs/losses/cost.py epoch --data-root ROOT
    python docs/losses/cost.py steps --data-root ROOT

The first takes half a minute, the others some ten each. All compute on one thread. Each writes a CSV beside this file.
The second takes the time of the network for the same with every loss; the third looks whether it is, in whole steps
with some of them.
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
from gence.models import CosineHead, build

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
    """Median microseconds of a loss and its gradient on given logits, the losses taking turns."""
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


def images(root: Path) -> tuple[Tensor, Tensor]:
    """The first 500 images that seed 0 draws of each class, standardised, and their labels."""
    data = load("cifar10", data_root=root)
    pool = np.setdiff1d(np.arange(len(data.labels)), data.test_rows)
    rows = np.concatenate(few_labels(data.labels, pool, 500, seed=0))
    inputs = fit_standardize("image", data.inputs[rows])(data.inputs[rows])
    return torch.from_numpy(inputs).to(memory_format=torch.channels_last), torch.from_numpy(data.labels[rows])


def resnet() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A ResNet-18 and what trains it."""
    model = build("resnet18", (3, 32, 32), 10, seed=0).to(memory_format=torch.channels_last)
    return model, torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)


def steps(root: Path) -> None:
    """Whole steps of 64 images, with some losses taking turns: the median ratio to cross-entropy in the same turn."""
    inputs, target = images(root)
    turns = losses([500] * 10)
    model, optimizer = resnet()
    names = ("ce", AGAIN, "gence", "gence_moving", "adafocal", "mmce", "cpc")
    ratios: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, 8):
        rows, taken = torch.arange(64) + 64 * max(turn, 0), {}
        for name in random.Random(turn).sample(names, len(names)):
            started = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            turns[name](model(inputs[rows]), target[rows], rows).backward()
            optimizer.step()
            taken[name] = time.perf_counter() - started
        print(turn, {name: round(seconds, 2) for name, seconds in taken.items()}, flush=True)
        for name in names if turn >= 0 else ():
            ratios[name].append(taken[name] / taken["ce"])
    lines = [
        [name, *(f"{100 * (value - 1):+.1f}" for value in (statistics.median(of), min(of), max(of)))]
        for name, of in ratios.items()
    ]
    write("steps.csv", ["loss", "percent_over_ce", "lowest", "highest"], lines)


def epoch(root: Path) -> None:
    """Seconds of an epoch with each loss.

    In every batch the body of the network runs forward once; all losses, each on its own last layer, take their turn on
    the same features, forward and back; then the body runs back once and steps. An epoch with a loss is the body's
    time, which no loss can change, and the loss's own.
    """
    inputs, target = images(root)
    turns = losses([500] * 10)
    model, optimizer = resnet()
    heads = {"linear": model.head, "cosine": CosineHead(model.head.in_features, 10)}
    body, own = 0.0, dict.fromkeys(turns, 0.0)
    # Equal batches of at least 128, as training deals them; the first is run twice, to warm up.
    batches = torch.randperm(5000, generator=torch.Generator().manual_seed(0)).tensor_split(5000 // 128)
    for number, batch in enumerate([batches[0], *batches]):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        features = model.features(inputs[batch])
        spent, taken = time.perf_counter() - started, {}
        for name in random.Random(number).sample(list(turns), len(turns)):
            started = time.perf_counter()
            given = features.detach().requires_grad_()
            logits = heads[catalogue.head("ce" if name == AGAIN else name)](given)
            turns[name](logits, target[batch], batch).backward()
            taken[name] = time.perf_counter() - started
            if name == "ce":
                pull = given.grad
        started = time.perf_counter()
        features.backward(pull)
        optimizer.step()
        spent += time.perf_counter() - started
        if number > 0:
            body += spent
            own = {name: seconds + taken[name] for name, seconds in own.items()}
        print(f"batch {number} of {len(batches)}: {spent:.1f} s", flush=True)
    plain = body + own["ce"]
    lines = [
        [name, f"{body + seconds:.2f}", f"{1000 * seconds:.1f}", f"{100 * ((body + seconds) / plain - 1):+.3f}"]
        for name, seconds in own.items()
    ]
    write("epoch.csv", ["loss", "seconds", "ms_of_the_loss", "percent_over_ce"], lines)


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
    parser.add_argument("what", choices=("alone", "epoch", "steps"))
    parser.add_argument("--data-root", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "alone":
        alone()
    else:
        {"epoch": epoch, "steps": steps}[given.what](given.data_root)
