from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gence.models import VisionTransformer, build


def small(shape: tuple[int, int, int] = (1, 8, 8), *, depth: int = 2) -> VisionTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(shape, 3, width=8, depth=depth, heads=2).double()


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_one_layer_is_the_equations_written_out() -> None:
    """Dosovitskiy et al. 2021, equations 1 to 3 with the mean for a class token, patch by patch and head by head."""
    model, image = small(depth=1), drawn(1, 8, 8)
    layer = model.layers[0]

    def norm(x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()

    patches = [image[:, i : i + 4, j : j + 4] for i in (0, 4) for j in (0, 4)]
    tokens = torch.stack([(model.patches.weight * patch).sum((1, 2, 3)) + model.patches.bias for patch in patches])
    tokens = tokens + model.positions
    q, k, v = (norm(tokens) @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).split(8, dim=1)
    heads = []
    for h in (slice(0, 4), slice(4, 8)):
        heads.append((q[:, h] @ k[:, h].T / 2).softmax(1) @ v[:, h])
    tokens = tokens + layer.self_attn.out_proj(torch.cat(heads, dim=1))
    tokens = tokens + layer.linear2(F.gelu(layer.linear1(norm(tokens))))
    torch.testing.assert_close(model.features(image[None])[0], norm(tokens).mean(0))


def test_without_positions_the_order_of_the_patches_does_not_matter() -> None:
    model, images = small(), drawn(2, 1, 8, 8)
    swapped = torch.cat([images[..., 4:], images[..., :4]], dim=-1)
    assert not torch.allclose(model(swapped), model(images))
    torch.nn.init.zeros_(model.positions)
    torch.testing.assert_close(model(swapped), model(images))


def test_sides_that_are_no_multiple_of_the_patch_are_padded_with_zeros_on_the_right_and_below() -> None:
    odd, even, images = small((1, 6, 9)), small((1, 8, 12)), drawn(2, 1, 6, 9)
    even.load_state_dict(odd.state_dict())
    padded = torch.zeros(2, 1, 8, 12, dtype=torch.float64)
    padded[:, :, :6, :9] = images
    torch.testing.assert_close(odd(images), even(padded), rtol=0, atol=0)


@pytest.mark.parametrize(("side", "tokens"), [(28, 49), (32, 64), (64, 256), (30, 64)])
def test_small_images_give_49_to_256_tokens(side: int, tokens: int) -> None:
    with torch.device("meta"):
        model = build("vit_small", (3, side, side), 10, seed=0)
        assert model(torch.zeros(2, 3, side, side)).shape == (2, 10)
    assert model.positions.shape == (tokens, 192)


def test_the_layers_start_with_different_weights() -> None:
    first, second = small().layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


def test_training_and_evaluation_agree_with_and_without_gradients() -> None:
    """Without gradients torch takes a fused path in evaluation."""
    model, images = small(), drawn(2, 1, 8, 8)
    training = model(images)
    torch.testing.assert_close(model.eval()(images), training)
    with torch.no_grad():
        torch.testing.assert_close(model(images), training)


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (2, 3, 8, 8), (1, 8, 8)])
def test_images_of_another_shape_than_the_positions_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images must be \(rows, 1, 8, 8\), .* got .*; resize them or build a model"):
        small()(drawn(*shape))
