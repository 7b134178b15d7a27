"""Weights as counts: whole ones exactly, others on average, and always as many rows in all."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gence.training import Recipe, copies, shuffled_batches, train

WEIGHTS = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=30)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.floats(0.0, 1.0, exclude_max=True))
@example([1, 3], 0.9999999999999999)
def test_whole_weights_are_met_exactly(weights: list[int], offset: float) -> None:
    assert copies(torch.tensor(weights), offset).tolist() == weights


@given(WEIGHTS, st.floats(0.0, 1.0, exclude_max=True))
@example([1.0], 0.9999999999999999)  # 1 + offset is rounded to 2
def test_the_counts_add_up_and_stay_close(weights: list[float], offset: float) -> None:
    counts = copies(torch.tensor(weights, dtype=torch.float64), offset)
    assert int(counts.sum()) == round(sum(weights)) or abs(sum(weights) % 1 - 0.5) < 1e-9
    assert bool((counts >= 0).all())
    # All but the last rows, where the sum is rounded.
    upto = torch.tensor(weights, dtype=torch.float64).cumsum(0)
    inside = upto <= int(counts.sum())
    assert bool(((counts.cumsum(0) - upto).abs()[inside][:-1] <= 1.0).all())


def test_on_average_a_row_comes_as_often_as_its_weight_says() -> None:
    weights = torch.tensor([0.25, 1.5, 0.0, 2.25])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.zeros(4)
    for _ in range(4000):
        for batch in shuffled_batches(4, 2, generator, weights):
            drawn += torch.bincount(batch, minlength=4)
    assert torch.allclose(drawn / 4000, weights, atol=0.03)


@pytest.mark.parametrize("weight", [[1.0, -1.0], [float("nan"), 1.0], [float("inf"), 1.0]])
def test_weights_below_zero_or_not_finite_are_refused(weight: list[float]) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        copies(torch.tensor(weight), 0.5)


def trained(inputs: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, epochs: int = 30) -> torch.Tensor:
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 3
    model.double()
    train(model, inputs, target, torch.nn.CrossEntropyLoss(), Recipe(epochs, batch_size=64), seed=0, weight=weight)
    return model(inputs).detach()


def test_a_weight_of_two_is_a_second_copy() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 3, generator=generator).double()
    target = torch.arange(12) % 2
    weight = torch.tensor([2, 1, 0, 3, 1, 1, 0, 2, 1, 1, 1, 1]).double()
    rows = torch.arange(12).repeat_interleave(weight.long())[torch.randperm(13 + 1, generator=generator)]
    weighted = trained(inputs, target, weight)
    assert torch.allclose(weighted[rows], trained(inputs[rows], target[rows], None), rtol=0, atol=1e-12)
    assert not torch.allclose(weighted, trained(inputs, target, None), atol=1e-3)


def test_a_training_ends_where_it_is_told_to() -> None:
    seen: list[int] = []
    inputs, target = torch.randn(8, 3).double(), torch.arange(8) % 2
    model = torch.nn.Linear(3, 2).double()
    steps = train(
        model,
        inputs,
        target,
        torch.nn.CrossEntropyLoss(),
        Recipe(10, batch_size=4),
        seed=0,
        on_epoch=lambda epoch: seen.append(epoch) or epoch == 3,
    )
    assert seen == [0, 1, 2, 3]
    assert steps == 8
    assert not model.training
