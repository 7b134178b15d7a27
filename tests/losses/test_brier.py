from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import brier_score_loss
from torch import Tensor
from torch.testing import assert_close

from gence.losses.brier import brier
from gence.metrics import brier_score


def batch(classes: int = 4) -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(20, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.arange(20) % classes


def test_one_row_worked_out_by_hand() -> None:
    logits = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64).log()
    assert brier(logits, torch.tensor([1])).item() == pytest.approx(0.7**2 + 0.8**2 + 0.1**2)


def test_it_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Equation 2 of Brier 1950, the mean taken over the weights of the rows that count."""
    logits, target = batch()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    total = weights = 0.0
    for row, label in zip(logits.softmax(1).tolist(), target.tolist(), strict=True):
        if label != 2:
            total += weight[label].item() * sum((p - (k == label)) ** 2 for k, p in enumerate(row))
            weights += weight[label].item()
    assert brier(logits, target, weight, 2).item() == pytest.approx(total / weights, rel=1e-12)


def test_of_two_classes_it_is_twice_the_score_of_sklearn() -> None:
    logits, target = batch(classes=2)
    outside = brier_score_loss(target.numpy(), logits.softmax(1)[:, 1].numpy())
    assert brier(logits, target).item() == pytest.approx(2 * outside, rel=1e-12)


def test_it_is_the_brier_score_of_the_metrics() -> None:
    logits, target = batch()
    assert_close(brier(logits, target), brier_score(logits.softmax(1), target))


def test_it_is_strictly_proper() -> None:
    """Its expectation under any posterior is least at that posterior."""
    posterior = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)

    def expected(logits: Tensor) -> Tensor:
        return posterior @ brier(logits.expand(3, 3), torch.arange(3), reduction="none")

    best = posterior.log().requires_grad_()
    assert_close(torch.autograd.grad(expected(best), best)[0], torch.zeros(3, dtype=torch.float64))
    for seed in range(5):
        other = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        assert expected(other) > expected(best)


def test_its_gradient_is_right_and_nearly_none_where_a_row_is_surely_wrong() -> None:
    logits, target = batch()
    assert torch.autograd.gradcheck(lambda z: brier(z, target), logits.requires_grad_())
    wrong = torch.tensor([[500.0, 0.0, -500.0]], requires_grad=True)
    assert brier(wrong, torch.tensor([2])).item() == 2.0
    assert torch.autograd.grad(brier(wrong, torch.tensor([2])), wrong)[0].abs().max() < 1e-6


def test_class_probabilities_as_target_are_refused() -> None:
    target = F.one_hot(torch.tensor([0, 1]), 3).float()
    with pytest.raises(ValueError, match="brier is defined for class numbers; got class probabilities of shape"):
        brier(torch.zeros(2, 3), target)
