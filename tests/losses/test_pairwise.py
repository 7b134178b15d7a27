from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from gence.losses.pairwise import cpc


def test_one_row_worked_out_by_hand() -> None:
    """Of odds 4 : 2 : 1 with the first right, the label has 2/3 and 4/5 of its pairs, the others split 2 : 1."""
    logits = torch.tensor([[4.0, 2.0, 1.0]], dtype=torch.float64).log()
    discrimination = -(math.log(2 / 3) + math.log(4 / 5)) / 2
    exclusion = -(0.5 * math.log(2 / 3) + 0.5 * math.log(1 / 3)) / 2
    expected = -math.log(4 / 7) + 0.3 * discrimination + 0.7 * exclusion
    assert cpc(logits, torch.tensor([0]), lambda1=0.3, lambda2=0.7).item() == pytest.approx(expected, rel=1e-12)


def test_it_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Cheng and Vasconcelos 2022: means over the classes, and the ordered pairs of classes, that are not the label."""
    logits = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.arange(20) % 4
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)

    def log_sigmoid(x: float) -> float:
        return -math.log(1.0 + math.exp(-x))

    total = weights = 0.0
    for row, y in zip(logits.tolist(), target.tolist(), strict=True):
        if y != 2:
            others = [k for k in range(4) if k != y]
            term = math.log(sum(math.exp(v) for v in row)) - row[y]
            term -= 0.3 * sum(log_sigmoid(row[y] - row[k]) for k in others) / 3
            term -= 0.7 * sum(0.5 * log_sigmoid(row[j] - row[k]) for j in others for k in others if j != k) / 6
            total += weight[y].item() * term
            weights += weight[y].item()
    value = cpc(logits, target, weight, 2, lambda1=0.3, lambda2=0.7)
    assert value.item() == pytest.approx(total / weights, rel=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_without_its_parts_it_is_cross_entropy(reduction) -> None:
    logits, target = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 4
    value = cpc(logits, target, reduction=reduction, lambda1=0.0, lambda2=0.0)
    assert_close(value, F.cross_entropy(logits, target, reduction=reduction))


def test_two_classes_have_no_exclusion_and_twice_the_same_discrimination() -> None:
    """Of two classes -log p_y is -log sigmoid of their difference, so the parts are the same number."""
    logits, target = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    assert_close(cpc(logits, target, lambda1=0.5, lambda2=9.0), 1.5 * F.cross_entropy(logits, target))


def test_the_gradient_is_right_and_finite_at_500() -> None:
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: cpc(z, torch.arange(6) % 4), logits)
    sure = torch.tensor([[500.0, -500.0, 0.0]], requires_grad=True)
    assert torch.autograd.grad(cpc(sure, torch.tensor([1])), sure)[0].isfinite().all()


@pytest.mark.parametrize("knob", ["lambda1", "lambda2"])
def test_a_negative_weight_is_refused(knob: str) -> None:
    with pytest.raises(ValueError, match=f"{knob} must be a finite number of at least 0; got -1"):
        cpc(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), **{knob: -1.0})
