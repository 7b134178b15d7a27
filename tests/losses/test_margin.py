from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence.losses.margin import acls, margin_penalty, mbls

WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)


def batch() -> tuple[Tensor, Tensor]:
    """Rows of label 2 are to be ignored; some logits are further behind the largest than 1, some are not."""
    logits = 2.0 * torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.arange(20) % 4


def negative_log_p(row: list[float], label: int) -> float:
    return math.log(sum(math.exp(v) for v in row)) - row[label]


def test_the_penalty_is_what_exceeds_the_margin_averaged_over_all_classes() -> None:
    logits = torch.tensor([[5.0, 4.0, 1.0], [0.0, 0.0, 0.0]])
    assert_close(margin_penalty(logits, 2.0), torch.tensor([2 / 3, 0.0]))


def test_mbls_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Liu et al. 2022, section 3: the penalty is averaged over rows and classes, here with the weight of its row."""
    logits, target = batch()
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            penalty = sum(max(0.0, max(row) - v - 1.0) for v in row) / len(row)
            total += WEIGHT[label].item() * (negative_log_p(row, label) + 0.3 * penalty)
            weights += WEIGHT[label].item()
    assert mbls(logits, target, WEIGHT, 2, alpha=0.3, margin=1.0).item() == pytest.approx(total / weights, rel=1e-12)


def test_acls_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Park et al. 2023, the largest logit squared beyond the margin, and the squared distances of the others to it."""
    logits, target = batch()
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            top = row.index(max(row))
            others = [max(0.0, row[top] - v - 1.0) ** 2 for k, v in enumerate(row) if k != top]
            penalty = 0.7 * max(0.0, row[top] - 1.0) ** 2 + 0.2 * sum(others) / len(others)
            total += WEIGHT[label].item() * (negative_log_p(row, label) + 0.3 * penalty)
            weights += WEIGHT[label].item()
    value = acls(logits, target, WEIGHT, 2, alpha=0.3, lambda1=0.7, lambda2=0.2, margin=1.0)
    assert value.item() == pytest.approx(total / weights, rel=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("loss", [mbls, acls])
def test_within_the_margin_and_with_alpha_0_they_are_cross_entropy(loss, reduction) -> None:
    logits, target = batch()
    plain = F.cross_entropy(logits, target, WEIGHT, reduction=reduction)
    assert_close(loss(logits, target, WEIGHT, reduction=reduction, margin=100.0), plain)
    assert_close(loss(logits, target, WEIGHT, reduction=reduction, alpha=0.0, margin=0.0), plain)


@pytest.mark.parametrize("loss", [mbls, acls])
def test_a_posterior_within_the_margin_is_the_minimiser(loss) -> None:
    """log p needs no larger distance than log(8) and its largest logit is below it, so the penalty is flat there."""
    p = torch.tensor([0.8, 0.1, 0.1], dtype=torch.float64)
    logits = p.log().requires_grad_()

    def risk(margin: float) -> Tensor:
        terms = loss(logits.expand(3, 3), torch.arange(3), reduction="none", margin=margin)
        return torch.autograd.grad(p @ terms, logits)[0]

    assert_close(risk(2.1), torch.zeros(3, dtype=torch.float64), rtol=0.0, atol=1e-12)
    assert risk(1.0).abs().max() > 1e-2


def test_mbls_has_a_right_gradient_and_does_not_see_a_shift_of_a_row() -> None:
    logits, target = batch()
    assert torch.autograd.gradcheck(lambda z: mbls(z, target, margin=1.0), logits.clone().requires_grad_())
    assert_close(mbls(logits + 7.0, target, margin=1.0), mbls(logits, target, margin=1.0))


def test_acls_moves_the_others_only_by_their_distance_and_the_largest_only_by_its_size() -> None:
    """What stands under sg is a constant; so a shift of a row is seen."""
    logits = torch.tensor([[3.0, 0.0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0])
    rest = torch.autograd.grad(F.cross_entropy(logits, target), logits)[0]
    whole = torch.autograd.grad(acls(logits, target, alpha=1.0, lambda1=0.5, lambda2=0.25, margin=1.0), logits)[0]
    # 0.5 * 2 (3 - 1) for the largest, -0.25 * 2 (3 - 0 - 1) for the other.
    assert_close(whole - rest, torch.tensor([[2.0, -1.0]], dtype=torch.float64))
    assert acls(logits + 1.0, target, margin=1.0) > acls(logits, target, margin=1.0)


@pytest.mark.parametrize("loss", [mbls, acls])
def test_bad_settings_are_refused(loss) -> None:
    logits, target = torch.zeros(2, 2), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"alpha must be a finite number of at least 0 \(0 is cross-entropy\); got -1"):
        loss(logits, target, alpha=-1.0)
    with pytest.raises(ValueError, match="margin must be a finite number of at least 0; got nan"):
        loss(logits, target, margin=math.nan)
    with pytest.raises(ValueError, match=f"{loss.__name__} is defined for class numbers; got class probabilities"):
        loss(logits, logits)


@pytest.mark.parametrize("knob", ["lambda1", "lambda2"])
def test_a_negative_weight_of_a_part_of_acls_is_refused(knob: str) -> None:
    with pytest.raises(ValueError, match=f"{knob} must be a finite number of at least 0; got -0.5"):
        acls(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), **{knob: -0.5})
