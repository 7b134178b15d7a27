from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor
from torch.testing import assert_close

from gence.models.heads import CosineHead


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def head(features: int, num_classes: int, scale: float = 30.0) -> CosineHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CosineHead(features, num_classes, scale).double()


def test_one_row_worked_out_by_hand() -> None:
    layer = head(2, 3, scale=10.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.5], [-3.0, -4.0]]))
    assert_close(layer(torch.tensor([[3.0, 4.0]], dtype=torch.float64)).tolist(), [[6.0, 8.0, -10.0]])


def test_it_is_the_cosine_of_scikit_learn_times_the_scale() -> None:
    layer, rows = head(6, 4), normal(9, 6)
    expected = 30.0 * torch.from_numpy(cosine_similarity(rows.numpy(), layer.weight.detach().numpy()))
    assert_close(layer(rows), expected, rtol=1e-12, atol=1e-12)
    assert_close(layer(rows[0]), expected[0], rtol=1e-12, atol=1e-12)
    assert_close(layer(rows.view(3, 3, 6)), expected.view(3, 3, 4), rtol=1e-12, atol=1e-12)


def test_neither_the_length_of_a_row_nor_that_of_a_weight_matters() -> None:
    layer, rows = head(6, 4), normal(9, 6)
    logits = layer(rows)
    with torch.no_grad():
        layer.weight.mul_(7.0)
    assert_close(layer(0.1 * rows), logits)


def test_the_weights_start_as_those_of_a_linear_layer() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear = torch.nn.Linear(6, 4, bias=False)
    layer = head(6, 4)
    assert_close(layer.weight, linear.weight.double())
    assert (layer.in_features, layer.out_features) == (linear.in_features, linear.out_features)
    assert list(layer.state_dict()) == ["weight"]


def test_the_gradient_is_right() -> None:
    assert torch.autograd.gradcheck(head(3, 2), normal(4, 3).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_row_of_zeros_gives_zeros_and_a_finite_gradient(dtype: torch.dtype) -> None:
    layer = head(3, 2).to(dtype)
    rows = torch.zeros(1, 3, dtype=dtype, requires_grad=True)
    logits = layer(rows)
    assert logits.dtype == dtype
    assert not logits.any()
    assert torch.autograd.grad(logits.sum(), rows)[0].isfinite().all()


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_wrong_scale_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=f"scale must be a finite number above 0, such as 30; got {scale}"):
        CosineHead(3, 2, scale)


@pytest.mark.parametrize(("features", "num_classes"), [(0, 2), (3, 0)])
def test_a_head_without_inputs_or_classes_is_refused(features: int, num_classes: int) -> None:
    with pytest.raises(ValueError, match=f"must be at least 1; got {features} and {num_classes}"):
        CosineHead(features, num_classes)
