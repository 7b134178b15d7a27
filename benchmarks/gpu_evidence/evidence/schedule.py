"""In which order trials are run, and which of them may still be started before the machine is taken away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from gence.bench.inputs import StudyData
from gence.bench.plan import Trial
from gence.bench.rows import choose_rows
from gence.bench.spec import Spec
from gence.models import build, choose
from gence.training import batches_an_epoch, flops

_MARGIN = 1.15
_AROUND = 10.0
"""Seconds of a trial that no number of updates explains: predicting, calibrating, the first use of a GPU."""

_SHARE = 0.8
_SOON = 3
"""So many trials a worker are looked at to say how many workers there shall be."""

_YOUNG = 0.75
"""With this share of its time left a session starts what it knows nothing of, whatever was assumed."""


@dataclass(frozen=True)
class Piece:
    """A trial, its optimiser steps, and about how many floating-point operations it takes."""

    trial: Trial
    updates: int
    flops: float


@dataclass(frozen=True)
class Assumed:
    """What is assumed of a machine until a trial has been seen there.

    Attributes:
        tflops: 10^12 operations a second, sustained, of the GPU in all.
        step: Seconds that an optimiser step takes at the least, as its kernels are launched one by one.
        workers: How many trials share the GPU.
    """

    tflops: float
    step: float
    workers: int

    def seconds(self, piece: Piece) -> float:
        """Of a trial beside the others."""
        shared = piece.flops * self.workers / (1e12 * self.tflops)
        return _AROUND + max(piece.updates * self.step, shared)

    def minutes(self, pieces: Sequence[Piece]) -> float:
        """Of all of them."""
        return sum(map(self.seconds, pieces)) / min(self.workers, max(len(pieces), 1)) / 60

    def with_fitting_workers(self, pieces: Sequence[Piece], seconds: float) -> Assumed:
        """As many workers, at most these, as let each of the trials that come next end well within so many seconds."""
        for workers in range(self.workers, 1, -1):
            fewer = replace(self, workers=workers)
            if all(fewer.seconds(piece) <= _SHARE * seconds for piece in pieces[: _SOON * workers]):
                return fewer
        return replace(self, workers=1)


def pieces_in_order(trials: Sequence[Trial], data: StudyData, spec: Spec) -> list[Piece]:
    """The trials with their work; network after network, seed after seed, small budgets first, loss after loss.

    So wherever a study stops, every loss has been trained with the seeds that are there.
    """

    def place(trial: Trial) -> tuple[float, ...]:
        cell = trial.cell
        return (
            list(data.labelled).index(cell.data),
            spec.regime.index(cell.regime),
            models[cell.data].index(cell.model),
            cell.seed,
            math.inf if cell.labels_per_class == "all" else cell.labels_per_class,
            cell.batch_size,
            spec.losses.index(cell.loss),
        )

    models = {
        name: [choose(model, one.inputs.shape[1:]) for model in spec.model] for name, one in data.labelled.items()
    }
    row_flops: dict[tuple[str, str], float] = {}
    pieces = []
    for trial in sorted(trials, key=place):
        one = data.labelled[trial.cell.data]
        rows = choose_rows(one, trial.cell, trial.test_fraction, trial.calibration_fraction, test_seed=trial.test_seed)
        key = (trial.cell.data, trial.cell.model)
        if key not in row_flops:
            shape = one.inputs.shape[1:]
            built = build(trial.cell.model, shape, one.num_classes, seed=0).to("meta")
            row_flops[key] = flops(built, torch.empty(2, *shape, device="meta")) / 2
        steps = trial.recipe.epochs * batches_an_epoch(len(rows.train), trial.recipe.batch_size)
        passed = 3 * trial.recipe.epochs * len(rows.train) + len(rows.test)
        pieces.append(Piece(trial, steps, row_flops[key] * passed))
    return pieces


@dataclass
class Schedule:
    """The trials that wait, in order, and what is known of the time that they take.

    Attributes:
        waiting: First the one that matters most.
        assumed: Of the machine.
        started: When the session began, by `clock`.
        end: When no trial may run any more.
        clock: In seconds.
    """

    waiting: list[Piece]
    assumed: Assumed
    started: float
    end: float
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    _given: dict[str, Piece] = field(default_factory=dict)

    def next(self) -> Trial | None:
        """The first that will be done in time; None if none will be, or none waits."""
        for place, piece in enumerate(self.waiting):
            if self._fits(piece):
                del self.waiting[place]
                self._given[piece.trial.key] = piece
                return piece.trial
        return None

    def learn(self, trial: Trial, seconds: float) -> None:
        """The longest trial of a network is the best witness of the next ones."""
        updates = self._given[trial.key].updates
        if (updates, seconds) > self._seen.get(trial.cell.model, (0, 0.0)):
            self._seen[trial.cell.model] = (updates, seconds)

    def expected(self, piece: Piece) -> float:
        """Seconds of a trial, by the witness of its network if there is one."""
        seen = self._seen.get(piece.trial.cell.model)
        if seen is None:
            return self.assumed.seconds(piece)
        updates, seconds = seen
        return _AROUND + _MARGIN * seconds * piece.updates / updates

    def _fits(self, piece: Piece) -> bool:
        left = self.end - self.clock()
        if piece.trial.cell.model not in self._seen and left > _YOUNG * (self.end - self.started):
            return True
        return self.expected(piece) <= left
