"""Values and gradients of GenCE over its whole argument grid, against a closed form written in numpy, in float64."""

from __future__ import annotations

import inspect
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gence import generative_cross_entropy

GRID: dict[str, tuple[Any, ...]] = {
    "input": ("rows", "images", "one row"),
    "target": ("hard", "ignored", "all ignored but one", "soft"),
    "weight": (None, (0.5, 1.0, 2.0, 0.1, 3.0), (0.0, 1.0, 1.0, 1.0, 1.0)),
    "reduction": ("none", "mean", "sum"),
    "label_smoothing": (0.0, 0.3, 1.0),
    "strength": (1.0, 0.5, 0.0),
}
CLASSES = 5
Reference = tuple[np.ndarray, np.ndarray]


def closed_form(
    logits: np.ndarray,
    target: np.ndarray,
    counted: np.ndarray,
    weight: np.ndarray,
    upstream: np.ndarray,
    reduction: str,
    smoothing: float,
    strength: float,
    soft: bool,
) -> Reference:
    """Terms (or their reduction) and the gradient of `upstream` times that, from (rows, C) alone.

    With a_ik the weight of class k in row i, A their sums over rows, S the sums of q and r = A / S:
    L = - sum_ik a_ik (log q_ik - strength log m_k),
    dL/dz_ik = q_ik sum_c a_ic - a_ik + strength v_i q_ik (r_k - sum_c r_c q_ic).
    """
    top = logits.max(1, keepdims=True)
    log_q = logits - top - np.log(np.exp(logits - top).sum(1, keepdims=True))
    q = np.exp(log_q)
    sums = (q * counted[:, None]).sum(0)
    log_m = np.log(sums) - np.log(counted.sum())
    smoothed = (1 - smoothing) * target + smoothing / CLASSES
    a = smoothed * weight * counted[:, None]
    terms = -(a * (log_q - strength * log_m)).sum(1)
    if reduction == "mean":
        divisor = len(logits) if soft else (target * weight * counted[:, None]).sum()
        value, a = terms.sum() / divisor, a / divisor
    else:
        value = terms if reduction == "none" else terms.sum()
    a = a * upstream[:, None]
    r = a.sum(0) / sums
    pull = counted[:, None] * q * (r - (q * r).sum(1, keepdims=True))
    return value, q * a.sum(1, keepdims=True) - a + strength * pull


def case(kind_of_input: str, kind: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = {"rows": (12, CLASSES), "images": (2, CLASSES, 3, 2), "one row": (CLASSES,)}[kind_of_input]
    axis = 0 if kind_of_input == "one row" else 1
    logits = 2 * torch.randn(shape, dtype=torch.float64, generator=generator)
    if kind == "soft":
        return logits, torch.randn(shape, dtype=torch.float64, generator=generator).softmax(axis)
    target = torch.randint(1, CLASSES, (*shape[:axis], *shape[axis + 1 :]), generator=generator)
    if kind_of_input != "one row" and kind != "hard":
        flat = target.view(-1)
        flat[:: 3 if kind == "ignored" else 1] = -100
        flat[1] = 2
    return logits, target


def as_rows(tensor: Tensor) -> np.ndarray:
    return tensor.detach().movedim(0 if tensor.dim() == 1 else 1, -1).reshape(-1, CLASSES).numpy()


@pytest.mark.filterwarnings("ignore:GenCE was given a batch of")
@pytest.mark.parametrize(("kind_of_input", "kind"), list(product(GRID["input"], GRID["target"])))
def test_value_and_gradient_are_those_of_the_closed_form(kind_of_input: str, kind: str) -> None:
    logits, target = case(kind_of_input, kind)
    soft = target.is_floating_point()
    labels = target.flatten()
    counted = np.ones(logits.numel() // CLASSES) if soft else (labels != -100).double().numpy()
    share = as_rows(target) if soft else np.eye(CLASSES)[labels.clamp(min=0).numpy()]
    upstream = torch.rand(len(counted), dtype=torch.float64, generator=torch.Generator().manual_seed(4)) + 0.5
    rest = [GRID[name] for name in ("weight", "reduction", "label_smoothing", "strength")]
    for weight, reduction, smoothing, strength in product(*rest):
        z = logits.clone().requires_grad_()
        value = generative_cross_entropy(
            z,
            target,
            None if weight is None else torch.tensor(weight, dtype=torch.float64),
            reduction=reduction,
            label_smoothing=smoothing,
            strength=strength,
        )
        given = upstream.view(value.shape) if reduction == "none" else torch.ones(())
        (value * given).sum().backward()
        expected, gradient = closed_form(
            as_rows(logits),
            share,
            counted,
            np.ones(CLASSES) if weight is None else np.array(weight),
            upstream.numpy() if reduction == "none" else np.ones(len(counted)),
            reduction,
            smoothing,
            strength,
            soft,
        )
        where = f"{weight=} {reduction=} {smoothing=} {strength=}"
        np.testing.assert_allclose(value.detach().flatten(), np.ravel(expected), rtol=1e-12, atol=1e-12, err_msg=where)
        assert z.grad is not None
        np.testing.assert_allclose(as_rows(z.grad), gradient, rtol=1e-11, atol=1e-13, err_msg=where)


def test_the_grid_names_every_argument_of_the_loss() -> None:
    """One that is added to the loss must be added here; the parts of a batch and the twins have tests of their own."""
    elsewhere = {"ignore_index", "class_mass", "process_group", "impl"}
    assert set(inspect.signature(generative_cross_entropy).parameters) == set(GRID) | elsewhere


@pytest.mark.filterwarnings("ignore:GenCE was given a batch of")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 200.0, 1e4])
@pytest.mark.parametrize("classes", [10, 1000])
def test_huge_logits_in_every_dtype_are_finite_and_near_float64(dtype: torch.dtype, scale: float, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = 64
    logits = (scale * torch.randn(rows, classes, generator=generator)).to(dtype)
    target = torch.randint(min(classes, rows), (rows,), generator=generator)
    low, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
    values = generative_cross_entropy(low, target), generative_cross_entropy(exact, target)
    gradients = [torch.autograd.grad(value, z)[0].double() for value, z in zip(values, (low, exact), strict=True)]
    step = torch.finfo(dtype).eps if dtype.itemsize < 4 else 1e-5
    assert values[0].isfinite()
    assert abs(values[0].item() - values[1].item()) <= step * max(1.0, abs(values[1].item()))
    assert gradients[0].isfinite().all()
    # Entries are of the order of 1 / rows, so rows times the gradient is compared. Its error in float32 is that of
    # the exponents, which grows with the logits.
    worst = (rows * (gradients[0] - gradients[1])).abs().max().item()
    assert worst <= 2 * step + 4e-7 * scale, worst
