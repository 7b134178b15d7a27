"""The seconds that work takes on this machine, found by doing a little of each kind."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from gence.bench.cost import Work
from gence.bench.inputs import StudyData
from gence.bench.plan import Trial
from gence.bench.records import trial_files
from gence.bench.trial import run_trial
from gence.data import LabelledData, fit_standardize
from gence.losses import catalogue as losses
from gence.losses.written import parse_loss
from gence.models import build
from gence.training import StepTime, time_step

_STEPS_SECONDS = 0.5
_MOST_STEPS = 50
_PILOT_STEPS = 4
"""Optimiser steps that the shortest measurement takes, with those to warm up."""

_FEW_LABELS = 10


@dataclass(frozen=True)
class Timed:
    """Training steps of one kind, as they were measured or, where that would take too long, scaled by operations."""

    data: str
    model: str
    batch_rows: int
    step: float
    measured: bool


@dataclass
class Stopwatch:
    """Times a little of each kind of work: a model at a size of batches, a loss, and what follows the training.

    A step is timed with cross-entropy; what another loss adds to it is timed on the logits alone. What follows the
    training is timed once for every data set and model. Kinds are timed from small to large; once `limit` would be
    passed, larger ones are scaled from those measured, by their operations.

    Attributes:
        data: Of the study.
        device: Where it would be run.
        limit: Seconds that all of it may take, about.
        timed: What was found out about steps.
    """

    data: StudyData
    device: torch.device
    limit: float = 60.0
    timed: list[Timed] = field(default_factory=list)

    def __call__(self, works: Sequence[Work]) -> list[float]:
        """The seconds of each piece of work, with one thread on a CPU, as trials have."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a loss that has something to say will say it in its trials
                return self._price(works)
        finally:
            torch.set_num_threads(threads)

    def _price(self, works: Sequence[Work]) -> list[float]:
        end = time.perf_counter() + self.limit
        rate = 0.0  # operations a second of the largest kind that was measured
        steps: dict[tuple[str, str, int], StepTime] = {}
        after: dict[tuple[str, str], float] = {}
        for work in sorted(works, key=lambda one: one.row_flops * one.batch_rows):
            cell, kind = work.job.cell, _kind(work)
            if kind in steps:
                continue
            step_flops = 3 * work.row_flops * work.batch_rows
            measured = not rate or time.perf_counter() + _PILOT_STEPS * step_flops / rate < end
            if measured:
                steps[kind] = self._time_step(work)
                rate = step_flops / steps[kind].step
            else:
                steps[kind] = StepTime(start=0.0, step=step_flops / rate, row=work.row_flops / rate)
            self.timed.append(Timed(cell.data, cell.model, work.batch_rows, steps[kind].step, measured))
        for work in sorted(works, key=lambda one: one.row_flops * one.tested_rows):
            cell = work.job.cell
            place, row = (cell.data, cell.model), steps[_kind(work)].row
            if isinstance(work.job, Trial) and place not in after:
                affordable = time.perf_counter() + row * work.tested_rows < end
                after[place] = self._time_after(work.job) if affordable else row * work.tested_rows
        extra = _Extra(self.device)
        return [self._seconds(work, steps[_kind(work)], after, extra) for work in works]

    def _seconds(self, work: Work, step: StepTime, after: dict[tuple[str, str], float], extra: _Extra) -> float:
        cell, classes = work.job.cell, self.data.labelled[work.job.cell.data].num_classes
        training = step.start + work.updates * (step.step + extra.seconds(work, classes))
        watching = step.row * work.epochs * work.watched_rows
        tested = after[cell.data, cell.model] if isinstance(work.job, Trial) else step.row * work.tested_rows
        return training + watching + tested

    def _time_step(self, work: Work) -> StepTime:
        data, cell = self.data.labelled[work.job.cell.data], work.job.cell
        raw = data.inputs[: work.batch_rows]
        inputs = torch.from_numpy(fit_standardize(data.kind, raw)(raw))
        model = build(cell.model, data.inputs.shape[1:], data.num_classes, seed=0)
        recipe = dataclasses.replace(work.recipe, batch_size=work.batch_rows)
        target = torch.from_numpy(data.labels[: work.batch_rows])
        loss = losses.build("ce")
        first = time_step(model, inputs, target, loss, recipe, steps=1, device=self.device)
        steps = min(round(_STEPS_SECONDS / first.step), _MOST_STEPS)
        if steps < 2:
            return first
        again = time_step(model, inputs, target, loss, recipe, steps=steps, device=self.device)
        return dataclasses.replace(again, start=first.start)

    def _time_after(self, trial: Trial) -> float:
        """All that a trial does but training, timed on one with few labels that is trained for one epoch."""
        data = self.data.labelled[trial.cell.data]
        cell = trial.cell.model_copy(
            update={"loss": "ce", "regime": "none", "labels_per_class": _few(data, trial), "seed": 0}
        )
        recipe = dataclasses.replace(trial.recipe, epochs=1, warmup=0.0, schedule="constant", milestones=())
        started = time.perf_counter()
        record, arrays = run_trial(
            dataclasses.replace(trial, cell=cell, recipe=recipe, knobs={}), self.data, self.device
        )
        trial_files(record, arrays)
        return time.perf_counter() - started - record.seconds["train"]


def _kind(work: Work) -> tuple[str, str, int]:
    return (work.job.cell.data, work.job.cell.model, work.batch_rows)


def _few(data: LabelledData, trial: Trial) -> int:
    held_out = np.zeros(0, np.int64) if data.test_rows is None else data.test_rows
    outside = np.bincount(np.delete(data.labels, held_out), minlength=data.num_classes).min()
    available = outside if len(held_out) else outside * (1 - trial.test_fraction)
    return max(min(_FEW_LABELS, int(available) - 1), 2)


class _Extra:
    """What losses add to a step, beyond cross-entropy: timed on logits of their shape, behind a model of no weight."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._known: dict[tuple[str, int, int], float] = {}

    def seconds(self, work: Work, classes: int) -> float:
        """Of one step."""
        text = work.job.cell.loss
        if text == "ce":
            return 0.0
        return max(self._step(text, work, classes) - self._step("ce", work, classes), 0.0)

    def _step(self, text: str, work: Work, classes: int) -> float:
        rows = work.batch_rows
        if (text, rows, classes) not in self._known:
            written = parse_loss(text)
            settings: dict[str, Any] = {"class_counts": [rows] * classes, **written.knobs()}
            loss = losses.build(written.name, **settings)
            recipe = dataclasses.replace(work.recipe, batch_size=rows, augment=(), compile=False, channels_last=False)
            target = torch.arange(rows) % classes
            model, inputs = nn.Linear(1, classes), torch.ones(rows, 1)
            timed = time_step(model, inputs, target, loss, recipe, steps=_MOST_STEPS, device=self._device)
            self._known[text, rows, classes] = timed.step
        return self._known[text, rows, classes]
