from __future__ import annotations

import copy
import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gence.losses.catalogue import build
from gence.training import Recipe, StepTime, flops, predict, time_step, train

RECIPE = Recipe(2, 8, mixup=0.2)


def problem(rows: int = 21) -> tuple[nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
    return model, torch.randn(rows, 4, generator=torch.Generator().manual_seed(0)), torch.arange(rows) % 3


class Timed(nn.Module):
    """A model that moves a clock of its own on, and notes the sizes of its batches."""

    def __init__(self, seconds: float = 0.0, first: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.seconds, self.first = seconds, first
        self.clock = 0.0
        self.sizes: list[tuple[int, bool]] = []
        self.__dict__["seen_by"] = self  # not a part of it

    def __deepcopy__(self, memo: dict) -> Timed:
        twin = Timed(self.seconds, self.first)
        twin.__dict__["seen_by"] = self
        return twin

    def forward(self, batch: Tensor) -> Tensor:
        self.seen_by.clock += self.seconds if self.seen_by.sizes else self.first
        self.seen_by.sizes.append((len(batch), self.training))
        return self.linear(batch)


def test_the_seconds_are_those_of_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    _, inputs, target = problem()
    model = Timed(0.25, first=8.0)
    monkeypatch.setattr("gence.training.pilot.time", SimpleNamespace(perf_counter=lambda: model.clock))
    taken = time_step(model, inputs, target, F.cross_entropy, RECIPE, steps=4)
    assert taken == StepTime(start=8.5, step=0.25, row=0.25 / 128)


def test_the_clock_is_that_of_the_wall() -> None:
    model, inputs, target = problem()
    started = time.perf_counter()
    taken = time_step(model, inputs, target, F.cross_entropy, RECIPE, steps=4)
    assert 0 < taken.start + 4 * taken.step + 128 * taken.row < time.perf_counter() - started


def test_the_batches_are_those_of_the_training_and_of_prediction() -> None:
    _, inputs, target = problem()  # 21 rows in batches of 8 at least: one of 11 rows, one of 10
    model = Timed()
    time_step(model, inputs, target, F.cross_entropy, RECIPE, steps=4)
    assert model.sizes == [(10, True)] * 7 + [(128, False)] * 2


def test_a_training_shorter_than_the_pilot_is_timed_all_the_same() -> None:
    model, inputs, target = problem(rows=5)
    assert time_step(model, inputs, target, F.cross_entropy, Recipe(1), steps=2).step > 0


@pytest.mark.parametrize("name", ["ce", "gence_moving", "crl"])
def test_model_loss_and_generators_are_as_they_were(name: str) -> None:
    model, inputs, target = problem()
    model[0].train()
    model[1].eval()
    loss = build(name, class_counts=[7, 7, 7]).eval()
    before, states, state = copy.deepcopy((model, loss)), (model.state_dict(), loss.state_dict()), torch.get_rng_state()
    states = copy.deepcopy(states)
    assert isinstance(time_step(model, inputs, target, loss, RECIPE, steps=2), StepTime)
    assert torch.equal(torch.get_rng_state(), state)
    for now, old in zip((model.state_dict(), loss.state_dict()), states, strict=True):
        assert all(torch.equal(now[key], old[key]) for key in old)
    modes = [[part.training for part in module.modules()] for module in (model, loss)]
    assert modes == [[part.training for part in module.modules()] for module in before]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_pilot_beforehand_changes_nothing_of_the_training() -> None:
    results = []
    for timed in (False, True):
        model, inputs, target = problem()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            if timed:
                time_step(model, inputs, target, F.cross_entropy, RECIPE, steps=1)
            train(model, inputs, target, F.cross_entropy, RECIPE, seed=0)
        results.append(predict(model, inputs))
    assert torch.equal(*results)


def test_no_steps_are_nothing_to_time() -> None:
    model, inputs, target = problem()
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        time_step(model, inputs, target, F.cross_entropy, RECIPE, steps=0)


def test_the_operations_of_a_convolution_and_a_matrix_are_counted_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 64, 7))
    model.train()
    model[1].eval()
    per_row = 2 * (64 * 5 * 27 + 320 * 7)
    assert flops(model, torch.zeros(2, 3, 8, 8)) == 2 * per_row
    assert model.training
    assert flops(model.to("meta"), torch.empty(2, 3, 8, 8, device="meta")) == 2 * per_row


def test_counting_moves_no_batch_norm() -> None:
    model, inputs, _ = problem()
    before = copy.deepcopy(model.state_dict())
    flops(model, inputs)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
