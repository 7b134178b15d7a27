from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from gence import InputError
from gence.models import CosineHead, build, choose, names
from gence.models.catalogue import CATALOGUE

SMALL = ("small_resnet", "mlp", "resnet32", "vit_small")
"""Those built with real weights; the others are built without, on the device "meta"."""


@pytest.mark.parametrize("name", names())
def test_every_model_takes_images_of_its_least_side_and_any_head_of_its_features(name: str) -> None:
    least, seen = CATALOGUE[name].least_side, []
    with torch.device("meta"):
        model = build(name, (1, least, least + 1), 3, seed=0)
        assert isinstance(model.head, nn.Linear)
        assert model.head.out_features == 3
        model.head = nn.Linear(model.head.in_features, 5)
        model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
        assert model(torch.empty(2, 1, least, least + 1)).shape == (2, 5)
    assert seen == [(2, model.head.in_features)]


@pytest.mark.parametrize("name", SMALL)
def test_the_logits_are_the_head_of_the_features_and_the_gradient_is_finite(name: str) -> None:
    model = build(name, (3, 12, 12), 7, seed=0)
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    logits = model(images)
    assert logits.shape == (2, 7)
    torch.testing.assert_close(model.head(model.features(images)), logits)
    logits[:, 0].square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_in_evaluation_a_row_gets_the_same_logits_alone_and_in_a_batch(name: str) -> None:
    model = build(name, (1, 8, 8), 3, seed=0).double().eval()
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = model(images)
    torch.testing.assert_close(model(images), together, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([model(row[None]) for row in images]), together)


@pytest.mark.parametrize("head", ["linear", "cosine"])
@pytest.mark.parametrize("name", SMALL)
def test_the_seed_decides_the_weights_and_the_global_random_state_is_left_alone(name: str, head) -> None:
    state = torch.get_rng_state()
    first, same, other = (build(name, (1, 8, 8), 3, seed=seed, head=head).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize("name", SMALL)
def test_a_cosine_head_takes_the_place_of_the_linear_one_on_the_same_weights(name: str) -> None:
    linear, cosine = (build(name, (1, 8, 8), 3, seed=0, head=head) for head in ("linear", "cosine"))
    assert isinstance(cosine.head, CosineHead)
    assert (cosine.head.in_features, cosine.head.out_features) == (linear.head.in_features, 3)
    body = {key: value for key, value in cosine.state_dict().items() if not key.startswith("head.")}
    assert body
    assert all(torch.equal(value, linear.state_dict()[key]) for key, value in body.items())


def test_the_data_choose_the_model_unless_one_is_named() -> None:
    assert choose("auto", (3, 8, 8)) == "small_resnet"
    assert choose("auto", (5,)) == "mlp"
    assert choose("mlp", (3, 8, 8)) == "mlp"


def test_every_model_takes_digits_of_8x8_pixels() -> None:
    assert [choose(name, (1, 8, 8)) for name in names()] == list(names())


def test_a_model_that_is_unknown_or_cannot_take_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="unknown model 'small_resent': did you mean 'small_resnet'"):
        choose("small_resent", (3, 8, 8))
    with pytest.raises(InputError, match=r"'small_resnet' takes images, the data are a table of 5 columns; use: mlp$"):
        choose("small_resnet", (5,))
    told = re.escape(
        "model 'densenet121' takes images of at least 8x8 pixels, these have 28x7; enlarge them or use: "
        "small_resnet, mlp, resnet32, wrn16_8, wrn28_10, wrn26_10"
    )
    with pytest.raises(InputError, match=f"^{told}$"):
        build("densenet121", (3, 28, 7), 10, seed=0)
    with pytest.raises(InputError, match=r"'resnet32' takes images of at least 4x4 .* use: small_resnet, mlp$"):
        choose("resnet32", (3, 3, 3))


def test_a_line_of_the_list_of_models_is_short() -> None:
    name, title, reference = (
        max(map(len, column))
        for column in zip(*((name, entry.title, entry.reference) for name, entry in CATALOGUE.items()), strict=True)
    )
    assert name + title + reference + 4 <= 110


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(InputError, match="unknown head 'cosin': did you mean 'cosine'"):
        build("mlp", (5,), 3, seed=0, head="cosin")  # type: ignore[arg-type]
