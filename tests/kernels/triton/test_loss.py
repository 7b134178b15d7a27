"""The loss by the Triton kernels, through its public door: every option against the definition in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gence import GenCELoss, MovingClassMass, class_mass, generative_cross_entropy

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WEIGHT = torch.linspace(0.2, 2.0, 7, device=DEVICE)
pytestmark = pytest.mark.filterwarnings("ignore:GenCE was given a batch of")


def batch(shape: tuple[int, ...] = (31, 7), *, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(shape, generator=generator)
    rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
    target = torch.randint(shape[1 if len(shape) > 1 else 0], rows, generator=generator)
    return logits.to(DEVICE), target.to(DEVICE)


def in_double(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.double() if isinstance(value, Tensor | MovingClassMass) else value
        for name, value in options.items()
    }


def value_and_gradient(input: Tensor, target: Tensor, impl: str, **options: Any) -> tuple[Tensor, Tensor]:
    input = input.detach().requires_grad_()
    value = generative_cross_entropy(input, target, **options, impl=impl)
    upstream = torch.linspace(-1.0, 2.0, value.numel(), dtype=value.dtype, device=DEVICE).view(value.shape) + 0.3
    return value.detach(), torch.autograd.grad(value, input, upstream)[0]


def near(input: Tensor, target: Tensor, tolerance: float = 2e-6, **options: Any) -> None:
    ours = value_and_gradient(input, target, "triton", **options)
    truth = value_and_gradient(input.double(), target, "definition", **in_double(options))
    for own, right in zip(ours, truth, strict=True):
        assert_close(own.double(), right, rtol=tolerance, atol=tolerance, equal_nan=True)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weight": {"weight": WEIGHT},
    "smoothing": {"label_smoothing": 0.2},
    "ignored": {"ignore_index": 2},
    "none": {"strength": 0.0},
    "negative": {"strength": -1.5},
    "all": {"weight": WEIGHT, "label_smoothing": 0.1, "ignore_index": 0, "strength": 0.7},
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_as_in_the_definition(options: str, reduction: str) -> None:
    near(*batch(), reduction=reduction, **OPTIONS[options], tolerance=2e-5 if reduction == "sum" else 2e-6)


@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 7, 2, 3), (7,)])
def test_images_and_a_single_row(shape: tuple[int, ...]) -> None:
    for reduction in ("mean", "none"):
        near(*batch(shape), reduction=reduction)


@pytest.mark.parametrize("options", ["plain", "all"])
def test_with_the_mass_of_a_whole_or_a_moving_one(options: str) -> None:
    others = OPTIONS[options]
    of_mass = {name: value for name, value in others.items() if name != "strength"}
    logits, target = batch()
    total = class_mass(logits, target, **of_mass) + class_mass(*batch(seed=1), **of_mass)
    near(logits, target, class_mass=total, **others)
    moving = MovingClassMass(7).to(DEVICE)
    moving(class_mass(*batch(seed=2)))
    near(logits, target, class_mass=moving.eval(), **others)


@pytest.mark.parametrize("scale", [20.0, 200.0])
def test_sums_that_underflow(scale: float) -> None:
    logits, target = batch(scale=scale)
    target[:] = logits.argmin(1)
    near(logits, target, 1e-6 * scale)


def test_no_row_that_counts() -> None:
    logits, target = batch()
    for reduction in ("mean", "sum", "none"):
        near(logits, torch.full_like(target, -100), reduction=reduction)


@pytest.mark.parametrize("form", ["plain", "moving", "all"])
def test_it_compiles_whole_forward_and_backward(form: str) -> None:
    def loss() -> GenCELoss:
        mass = MovingClassMass(7) if form == "moving" else None
        settings = OPTIONS["all"] if form == "all" else {}
        return GenCELoss(**settings, class_mass=mass, impl="triton").to(DEVICE)

    results = []
    for one in (loss(), torch.compile(loss(), fullgraph=True, backend="aot_eager")):
        logits, target = batch()
        logits.requires_grad_()
        value = one(logits, target)
        results.append((value.detach(), torch.autograd.grad(value, logits)[0]))
    assert_close(*results)


def test_the_second_derivative() -> None:
    logits, target = batch()
    results = []
    for impl, z in (("triton", logits), ("definition", logits.double())):
        z = z.detach().requires_grad_()
        first = torch.autograd.grad(generative_cross_entropy(z, target, impl=impl), z, create_graph=True)[0]
        results.append(torch.autograd.grad((first * torch.linspace(-1, 1, 7).to(z)).sum(), z)[0].double())
    assert_close(*results, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(dtype: torch.dtype) -> None:
    logits, target = batch()
    logits = logits.to(dtype)
    own = value_and_gradient(logits, target, "triton")
    right = value_and_gradient(logits.double(), target, "definition")
    assert (own[0].dtype, own[1].dtype) == (dtype, dtype)
    assert_close([one.double() for one in own], list(right), rtol=2e-2, atol=1e-3)
    with torch.autocast(DEVICE, dtype):
        value = generative_cross_entropy(logits, target, impl="triton")
    assert value.dtype == torch.float32
    assert_close(value.double(), right[0], rtol=1e-5, atol=1e-5)
