from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from gence.bench import pilot
from gence.bench.cost import estimate_cost
from gence.bench.inputs import StudyData
from gence.bench.pilot import Stopwatch
from gence.bench.spec import Spec
from gence.bench.spec_parts import TrainingSpec, TuneSpec
from gence.data import LabelledData
from gence.training import StepTime

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Steps take as many seconds as their batch has rows, focal takes one more, and no clock runs."""
    timed: list[tuple[str, int]] = []

    def time_step(model, inputs, target, loss, recipe, *, steps, device):
        tiny = isinstance(model, torch.nn.Linear)
        timed.append(("loss" if tiny else "model", len(inputs)))
        extra = 1.0 if type(loss).__name__ == "Criterion" and loss.function.__name__ == "focal" else 0.0
        return StepTime(start=5.0, step=(0.25 if tiny else len(inputs)) + extra, row=0.5)

    monkeypatch.setattr(pilot, "time_step", time_step)
    monkeypatch.setattr(Stopwatch, "_time_after", lambda self, trial: 1000.0)
    return timed


def test_a_trial_takes_its_start_its_steps_and_what_follows(table: LabelledData, clock: list[tuple[str, int]]) -> None:
    spec = Spec(
        data="x", losses=("ce", "focal"), labels_per_class=(10,), seeds=2, training=TrainingSpec(epochs=7, batch_size=8)
    )
    cost = estimate_cost(spec, StudyData({"blobs": table}), Stopwatch(StudyData({"blobs": table}), CPU))
    # 24 training rows: three batches of 8, 21 updates; focal adds a second to each.
    assert cost.seconds == 2 * (5 + 21 * 8 + 1000) + 2 * (5 + 21 * (8 + 1) + 1000)
    assert clock == [("model", 8), ("loss", 8), ("loss", 8)]


def test_a_loss_that_looks_at_validation_rows_predicts_them_every_epoch(
    table: LabelledData, clock: list[tuple[str, int]]
) -> None:
    spec = Spec(
        data="x", losses=("adafocal",), labels_per_class=(10,), seeds=1, training=TrainingSpec(epochs=7, batch_size=8)
    )
    cost = estimate_cost(spec, StudyData({"blobs": table}), Stopwatch(StudyData({"blobs": table}), CPU))
    # Of 8 rows a class two are looked at: 18 train, in two batches of 9, and 6 are predicted after each of 7 epochs.
    assert cost.seconds == 5 + 14 * 9 + 7 * 6 * 0.5 + 1000


def test_a_trial_of_a_tuning_ends_with_its_validation_rows(table: LabelledData, clock: list[tuple[str, int]]) -> None:
    spec = Spec(
        data="x",
        losses=("ce",),
        labels_per_class=(10,),
        seeds=1,
        training=TrainingSpec(epochs=7, batch_size=8),
        tune=TuneSpec(trials=3),
    )
    cost = estimate_cost(spec, StudyData({"blobs": table}), Stopwatch(StudyData({"blobs": table}), CPU))
    # A quarter of the 8 training rows a class judges: 18 train in two batches of 9, and 6 are predicted.
    assert cost.seconds == (5 + 21 * 8 + 1000) + 3 * (5 + 14 * 9 + 6 * 0.5)


def test_what_would_take_too_long_is_scaled_by_its_operations(
    table: LabelledData, clock: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(pilot.time, "perf_counter", lambda: float(next(ticks)))
    spec = Spec(
        data="x", losses=("ce",), labels_per_class=(40,), seeds=1, training=TrainingSpec(epochs=1, batch_size=(8, 48))
    )
    stopwatch = Stopwatch(StudyData({"blobs": table}), CPU, limit=30.0)
    cost = estimate_cost(spec, stopwatch.data, stopwatch)
    assert [(one.batch_rows, one.step, one.measured) for one in stopwatch.timed] == [(8, 8.0, True), (48, 48.0, False)]
    assert clock == [("model", 8)]
    assert cost.updates == 12 + 2


def test_the_parts_are_timed_for_real(table: LabelledData) -> None:
    spec = Spec(data="x", losses=("ce", "gence"), labels_per_class=(10,), seeds=1, training=TrainingSpec(epochs=2))
    stopwatch = Stopwatch(StudyData({"blobs": dataclasses.replace(table)}), CPU)
    threads = torch.get_num_threads()
    cost = estimate_cost(spec, stopwatch.data, stopwatch)
    assert cost.seconds > 0
    assert [(one.data, one.model, one.batch_rows, one.measured) for one in stopwatch.timed] == [
        ("blobs", "mlp", 24, True)
    ]
    assert torch.get_num_threads() == threads
