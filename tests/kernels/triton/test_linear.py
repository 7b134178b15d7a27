"""The Triton kernels on the chunks of a linear layer, through the public loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence import generative_cross_entropy, linear_generative_cross_entropy
from gence.kernels.triton_support import available
from gence.losses import linear_class_mass

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(
    not available(torch.empty(1, 1, device=DEVICE)), reason="there is neither a GPU nor TRITON_INTERPRET=1"
)
WEIGHT = torch.linspace(0.5, 2.0, 11)


@pytest.mark.parametrize(
    ("form", "dtype"), [("options", torch.float32), ("rows", torch.float16), ("total", torch.float32)]
)
def test_it_equals_the_loss_of_the_logits(form: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = (14, 6), (11, 6), (11,)
    parts = [torch.randn(size, generator=generator).to(DEVICE, dtype).requires_grad_() for size in sizes]
    target = torch.randint(11, (14,), generator=generator).to(DEVICE)
    target[::9] = -100
    features, weight, bias = parts
    total = linear_class_mass(features, weight, target.roll(1), bias, impl="triton", chunk=8)
    settings: dict[str, Any] = {
        "options": {"class_weight": WEIGHT.to(DEVICE), "label_smoothing": 0.1},
        "rows": {"reduction": "none"},
        "total": {"class_mass": total},
    }[form]
    found = linear_generative_cross_entropy(features, weight, target, bias, **settings, impl="triton", chunk=8)
    exact = [part.detach().double().requires_grad_() for part in parts]
    class_weight = settings.pop("class_weight", None)
    expected = generative_cross_entropy(F.linear(*exact), target, class_weight, **settings, impl="definition")
    near = 1e-5 if dtype == torch.float32 else 1e-2
    assert_close(found.double(), expected, rtol=near, atol=near)
    for own, right in zip(gradients(found, parts), gradients(expected, exact), strict=True):
        assert (own.double() - right).norm() <= near * right.norm()


def gradients(value: Tensor, parts: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value, parts, torch.linspace(1.0, 2.0, value.numel()).view_as(value).to(value))
