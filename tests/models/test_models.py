from __future__ import annotations

import pytest
import torch

from gence import InputError
from gence.models import MLP, SmallResNet, build, choose, names


@pytest.mark.parametrize("name", names())
def test_every_model_gives_logits_and_features_and_a_gradient_to_every_weight(name: str) -> None:
    model = build(name, (3, 16, 16), 7, seed=0)
    images = torch.randn(4, 3, 16, 16)
    logits = model(images)
    assert logits.shape == (4, 7)
    torch.testing.assert_close(model.head(model.features(images)), logits)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_parameter_counts_are_those_of_the_layers_written_out() -> None:
    def count(model: torch.nn.Module) -> int:
        return sum(weight.numel() for weight in model.parameters())

    conv = 9 * (1 * 16 + 16 * 16 * 2 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 16 * 32 + 32 * 64
    norm = 2 * (16 + 2 * 16 + 3 * 32 + 3 * 64)
    assert count(SmallResNet(1, 10)) == conv + norm + 64 * 10 + 10
    assert count(MLP(5, 3, hidden=(8,))) == 5 * 8 + 8 + 2 * 8 + 8 * 3 + 3


@pytest.mark.parametrize("name", names())
def test_the_seed_decides_the_weights_and_the_global_random_state_is_left_alone(name: str) -> None:
    state = torch.get_rng_state()
    first, same, other = (build(name, (1, 8, 8), 3, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_the_data_choose_the_model_unless_one_is_named() -> None:
    assert choose("auto", (3, 8, 8)) == "small_resnet"
    assert choose("auto", (5,)) == "mlp"
    assert choose("mlp", (3, 8, 8)) == "mlp"


def test_a_model_that_is_unknown_or_cannot_take_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="unknown model 'small_resent': did you mean 'small_resnet'"):
        choose("small_resent", (3, 8, 8))
    with pytest.raises(InputError, match="'small_resnet' takes images, the data are a table of 5 columns; use: mlp"):
        choose("small_resnet", (5,))
