"""What a study will take, before it is run: its work, counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from gence.bench.inputs import StudyData
from gence.bench.plan import Plan, Trial, TuningPlan, plan
from gence.bench.records import Cell
from gence.bench.rows import Rows, choose_rows, rows_for_tuning
from gence.bench.spec import Spec
from gence.bench.suites import foreign_sets, wanted_shifts
from gence.data import LabelledData, load
from gence.data.recipes import RECIPES
from gence.models import build
from gence.training import Recipe, batches_an_epoch, flops

_STEP = 3
"""A training step takes about three times the operations of predicting its rows."""


_TUNING_BYTES = 1_500


@dataclass(frozen=True)
class Work:
    """One trial of the grid or of a tuning, as far as it costs anything; trials that differ in seeds are alike.

    Attributes:
        job: The first of those that are alike.
        recipe: How it is trained, whatever its epochs say.
        epochs: Passes over the training rows; where they are tuned, the mean of their range.
        train_rows: Rows trained on.
        watched_rows: Rows that the loss looks at after every epoch.
        tested_rows: Rows predicted in the end, those of the suites included.
        row_flops: Operations of predicting a row.
        record_bytes: On disk, about.
    """

    job: Trial | TuningPlan
    recipe: Recipe
    epochs: float
    train_rows: int
    watched_rows: int
    tested_rows: int
    row_flops: float
    record_bytes: int

    @cached_property
    def batch_rows(self) -> int:
        """Rows of a batch, which holds as many as its size says at least."""
        return self.train_rows // batches_an_epoch(self.train_rows, self.recipe.batch_size)

    @cached_property
    def updates(self) -> float:
        """Optimiser steps."""
        return self.epochs * batches_an_epoch(self.train_rows, self.recipe.batch_size)

    @cached_property
    def flops(self) -> float:
        """Floating-point operations, all told."""
        every_epoch = _STEP * self.train_rows + self.watched_rows
        return self.row_flops * (self.epochs * every_epoch + self.tested_rows)


Price = Callable[[Sequence[Work]], Sequence[float]]
"""(pieces of work) -> the seconds that each takes."""


@dataclass(frozen=True)
class Cost:
    """What a study takes.

    Attributes:
        axes: The values of each axis of the grid, by the field of `Cell`.
        trials: Of the grid.
        tuning_trials: Of all tunings before them.
        updates: Optimiser steps, those of the tunings included.
        seconds: Of one worker.
        flops: Floating-point operations.
        bytes: Of the records, about.
    """

    axes: dict[str, tuple[str, ...]]
    trials: int
    tuning_trials: int
    updates: float
    seconds: float
    flops: float
    bytes: float

    def wall_seconds(self, workers: int) -> float:
        """With so many workers, if each is as fast as one alone."""
        return self.seconds / min(workers, self.trials)


def estimate_cost(spec: Spec, data: StudyData, price: Price) -> Cost:
    """What all trials of a spec and of its tunings take; nothing is run to its end and nothing is written.

    Args:
        spec: The study.
        data: What it reads, or what `published_data` knows of it.
        price: The seconds of work: `gence.bench.pilot.Stopwatch` times a little of it, `at_rate` divides it.

    Raises:
        InputError: As `plan` does.
    """
    planned = plan(spec, data)
    counted = _count(planned, data)
    tuning_trials = sum(tuning.tune.trials for tuning in planned.tunings.values())
    seconds = price([work for work, _ in counted])
    return Cost(
        axes={
            axis: tuple(dict.fromkeys(str(getattr(trial.cell, axis)) for trial in planned.trials))
            for axis in ("data", "regime", "model", "labels_per_class", "batch_size", "loss", "seed")
        },
        trials=len(planned.trials),
        tuning_trials=tuning_trials,
        updates=sum(times * work.updates for work, times in counted),
        seconds=sum(times * taken for (_, times), taken in zip(counted, seconds, strict=True)),
        flops=sum(times * work.flops for work, times in counted),
        bytes=sum(times * work.record_bytes for work, times in counted),
    )


def at_rate(flops_per_second: float) -> Price:
    """The price of operations at an assumed rate, as of a machine that is not here."""
    return lambda works: [work.flops / flops_per_second for work in works]


def _count(planned: Plan, data: StudyData) -> list[tuple[Work, int]]:
    """Every different piece of work of a plan, and how often it is to be done."""
    first: dict[Cell, Trial] = {}
    times: Counter[Cell] = Counter()
    for trial in planned.trials:
        alike = trial.cell.model_copy(update={"seed": 0})
        first.setdefault(alike, trial)
        times[alike] += 1
    counting = _Counting(data)
    found = [(counting.of_trial(trial, planned.tunings), times[cell]) for cell, trial in first.items()]
    return found + [(counting.of_tuning(tuning), tuning.tune.trials) for tuning in planned.tunings.values()]


class _Counting:
    """Counts rows and operations, each kind once."""

    def __init__(self, data: StudyData) -> None:
        self._data = data
        self._chosen: dict[Cell, Rows] = {}
        self._row_flops: dict[tuple[str, str], float] = {}

    def of_trial(self, trial: Trial, tunings: Mapping[str, TuningPlan]) -> Work:
        rows = self._rows(trial, trial.cell.loss)
        data, foreign = self._data.labelled[trial.cell.data], self._data.foreign.get(trial.cell.data, {})
        most = trial.suites.rows or math.inf
        drawn = min(len(rows.test), most)
        shifts = len(wanted_shifts(trial.suites, data, rows.train))
        tested = len(rows.calibration) + len(rows.test) + drawn * shifts
        if foreign:
            # The logits of foreign rows, and the features of all rows that are compared with their neighbours.
            tested += len(rows.train) + drawn + 2 * sum(min(len(images), most) for images in foreign.values())
        epochs = float(trial.recipe.epochs) if trial.tuning is None else _mean_epochs(tunings[trial.tuning])
        size = _record_bytes(trial, rows, data.num_classes, shifts, len(foreign))
        return self._work(trial, rows, epochs, int(tested), size)

    def of_tuning(self, tuning: TuningPlan) -> Work:
        data = self._data.labelled[tuning.cell.data]
        fractions = (tuning.tune.validation_fraction, tuning.calibration_fraction)
        rows = rows_for_tuning(data, tuning.cell.loss, self._rows(tuning, "ce"), *fractions)
        return self._work(tuning, rows, _mean_epochs(tuning), len(rows.test), _TUNING_BYTES)

    def _work(self, job: Trial | TuningPlan, rows: Rows, epochs: float, tested: int, size: int) -> Work:
        row_flops = self._flops(job.cell.data, job.cell.model)
        return Work(job, job.recipe, epochs, len(rows.train), len(rows.validation), tested, row_flops, size)

    def _rows(self, job: Trial | TuningPlan, loss: str) -> Rows:
        # How many there are depends on neither the seed, the model nor the batches.
        cell = job.cell.model_copy(update={"loss": loss, "seed": 0, "model": "", "batch_size": 1})
        if cell not in self._chosen:
            data = self._data.labelled[cell.data]
            self._chosen[cell] = choose_rows(data, cell, job.test_fraction, job.calibration_fraction)
        return self._chosen[cell]

    def _flops(self, name: str, model: str) -> float:
        if (name, model) not in self._row_flops:
            data = self._data.labelled[name]
            shape = data.inputs.shape[1:]
            # On the meta device nothing is computed.
            built = build(model, shape, data.num_classes, seed=0).to("meta")
            self._row_flops[name, model] = flops(built, torch.empty(2, *shape, device="meta")) / 2
        return self._row_flops[name, model]


def _mean_epochs(tuning: TuningPlan) -> float:
    """Of a range searched on a logarithmic scale, (high - low) / log(high / low)."""
    if tuning.tune.epochs == "fixed":
        return float(tuning.recipe.epochs)
    low, high = tuning.tune.epochs
    return (high - low) / math.log(high / low)


def _record_bytes(trial: Trial, rows: Rows, classes: int, shifts: int, foreign: int) -> int:
    """About what a trial leaves: logits, which hardly shrink when packed, row numbers and text."""
    arrays = (len(rows.test) + len(rows.calibration)) * 4 * classes + 4 * sum(map(len, rows.parts().values()))
    calibrator = 1_800 + 80 * classes + 160 * shifts + 400 * foreign
    tuned = 0 if trial.tuning is None else 2_500
    return arrays + 3_500 + 20 * classes + len(trial.calibrators) * calibrator + tuned


class _PublishedData(StudyData):
    """Rows and shapes of named data sets without the data: enough to plan and to count with, never to run."""

    def fingerprint(self, name: str) -> str:
        return name


def published_data(spec: Spec) -> StudyData:
    """What was published of the named data sets of a spec, so that nothing has to be downloaded; the rest is read.

    Classes are taken to be of one size, and every pixel is black.

    Raises:
        InputError: If data that are not named, or come with a package, cannot be read.
    """
    labelled = {}
    foreign = {}
    for source in spec.data:
        data = _published(source, spec)
        labelled[data.name] = data
        others = {name: RECIPES[name].facts for name in foreign_sets(spec.suites, source)}
        foreign[data.name] = {
            name: _blank(facts.test_rows or facts.train_rows, data.inputs.shape[1:]) for name, facts in others.items()
        }
    return _PublishedData(labelled, foreign)


def _published(source: str, spec: Spec) -> LabelledData:
    recipe = RECIPES.get(source)
    if recipe is None or recipe.embedded:
        root = None if recipe is not None or spec.data_root is None else Path(spec.data_root).expanduser()
        return load(source, target=spec.target, image_size=spec.image_size, data_root=root)
    facts = recipe.facts
    side = spec.image_size
    shape = facts.shape if side is None else (facts.shape[0], side, side)
    rows = facts.train_rows + facts.test_rows
    return LabelledData(
        name=source,
        kind="image",
        inputs=_blank(rows, shape),
        labels=np.arange(rows) % facts.classes,
        class_names=tuple(map(str, range(facts.classes))),
        test_rows=np.arange(facts.train_rows, rows) if facts.test_rows else None,
    )


def _blank(rows: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.zeros((), np.uint8), (rows, *shape))
