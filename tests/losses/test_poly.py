from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence.losses.poly import poly1


def batch() -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.arange(20) % 4


def test_one_row_worked_out_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0]], dtype=torch.float64).log()  # p = (3/4, 1/4)
    assert poly1(logits, torch.tensor([1]), epsilon=2.0).item() == pytest.approx(math.log(4) + 2 * 3 / 4)


def test_it_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """-log p_y + epsilon (1 - p_y) of Leng et al., the mean taken over the weights of the rows that count."""
    logits, target = batch()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    total = weights = 0.0
    for row, label in zip(logits.softmax(1).tolist(), target.tolist(), strict=True):
        if label != 2:
            total += weight[label].item() * (-math.log(row[label]) + 1.5 * (1 - row[label]))
            weights += weight[label].item()
    assert poly1(logits, target, weight, 2, epsilon=1.5).item() == pytest.approx(total / weights, rel=1e-12)


def test_epsilon_0_is_cross_entropy() -> None:
    logits, target = batch()
    assert_close(poly1(logits, target, epsilon=0.0), F.cross_entropy(logits, target))


@pytest.mark.parametrize("epsilon", [-1.0, 0.5])
def test_it_is_the_series_of_cross_entropy_with_another_first_coefficient(epsilon: float) -> None:
    """sum_j (1 - p_y)^j / j, epsilon added to the first coefficient (Leng et al.)."""
    p = 0.7
    series = sum((1 / j + (epsilon if j == 1 else 0.0)) * (1 - p) ** j for j in range(1, 60))
    logits = torch.tensor([[p, 1 - p]], dtype=torch.float64).log()
    assert poly1(logits, torch.tensor([0]), epsilon=epsilon).item() == pytest.approx(series, rel=1e-12)


@pytest.mark.parametrize(("epsilon", "sign"), [(1.0, 1.0), (-1.0, -1.0)])
def test_its_minimiser_is_more_confident_than_the_posterior_for_a_positive_epsilon(epsilon: float, sign: float) -> None:
    posterior = torch.tensor([0.7, 0.3], dtype=torch.float64)
    logits = posterior.log().requires_grad_()
    expected = posterior @ poly1(logits.expand(2, 2), torch.arange(2), reduction="none", epsilon=epsilon)
    uphill = torch.autograd.grad(expected, logits)[0]
    assert sign * uphill[0] < 0 < sign * uphill[1]


def test_its_gradient_is_right() -> None:
    logits, target = batch()
    assert torch.autograd.gradcheck(lambda z: poly1(z, target), logits.requires_grad_())


@pytest.mark.parametrize("epsilon", [-1.5, math.nan])
def test_an_epsilon_below_minus_1_is_refused(epsilon: float) -> None:
    with pytest.raises(
        ValueError, match=f"epsilon must be a finite number of at least -1, so that no coefficient is .* got {epsilon}"
    ):
        poly1(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), epsilon=epsilon)
