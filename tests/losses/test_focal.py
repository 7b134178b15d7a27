from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from gence.losses import focal


def test_one_row_worked_out_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0]], dtype=torch.float64).log()  # p = (3/4, 1/4)
    assert focal(logits, torch.tensor([0]), gamma=2.0).item() == pytest.approx(-((1 / 4) ** 2) * math.log(3 / 4))
    assert focal(logits, torch.tensor([1]), gamma=0.5).item() == pytest.approx(-((3 / 4) ** 0.5) * math.log(1 / 4))


def test_it_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Equation 4 of Lin et al., the mean taken over the weights of the rows that count."""
    logits = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.arange(20) % 4
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            p = math.exp(row[label]) / sum(math.exp(v) for v in row)
            total -= weight[label].item() * (1 - p) ** 3 * math.log(p)
            weights += weight[label].item()
    assert focal(logits, target, weight, 2, gamma=3.0).item() == pytest.approx(total / weights, rel=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gamma_0_is_cross_entropy(reduction) -> None:
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    target = torch.arange(20) % 4
    assert_close(
        focal(logits, target, reduction=reduction, gamma=0.0), F.cross_entropy(logits, target, reduction=reduction)
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_gradient_is_right_and_finite_for_a_row_that_is_surely_right(gamma: float) -> None:
    logits = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.arange(6) % 3
    assert torch.autograd.gradcheck(lambda z: focal(z, target, gamma=gamma), logits)
    sure = torch.tensor([[400.0, 0.0, 0.0]], requires_grad=True)
    assert torch.autograd.grad(focal(sure, torch.tensor([0]), gamma=gamma), sure)[0].isfinite().all()


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gamma must be at least 0 .* got -1"):
        focal(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), gamma=-1.0)
