from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence._epochs import EpochLoss
from gence.losses.constrained import CALSLoss, cals, margin_constraint, next_multipliers, next_rho, phr_penalty

MULTIPLIERS = torch.tensor([0.5, 0.0, 2.0, 0.1], dtype=torch.float64)
RHO = torch.tensor([1.0, 2.0, 4.0, 0.5], dtype=torch.float64)


def batch() -> tuple[Tensor, Tensor]:
    logits = 2.0 * torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.arange(20) % 4


def test_it_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Liu et al. 2023 with the penalty of Powell, Hestenes and Rockafellar, case by case, averaged over the classes."""
    logits, target = batch()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            term = math.log(sum(math.exp(v) for v in row)) - row[label]
            for v, m, r in zip(row, MULTIPLIERS.tolist(), RHO.tolist(), strict=True):
                d = (max(row) - v) / 1.5 - 1
                term += ((m + r * d) ** 2 - m**2 if m + r * d >= 0 else -(m**2)) / (2 * r) / 4
            total += weight[label].item() * term
            weights += weight[label].item()
    value = cals(logits, target, weight, 2, multipliers=MULTIPLIERS, rho=RHO, margin=1.5)
    assert value.item() == pytest.approx(total / weights, rel=1e-12)


def test_the_slope_of_the_penalty_is_the_multiplier_at_the_constraint_and_0_below() -> None:
    for d, slope in [(0.0, MULTIPLIERS), (1.0, MULTIPLIERS + RHO), (-9.0, torch.zeros(4, dtype=torch.float64))]:
        constraint = torch.full((1, 4), d, dtype=torch.float64, requires_grad=True)
        penalty = phr_penalty(constraint, MULTIPLIERS, RHO)
        assert_close(torch.autograd.grad(penalty.sum(), constraint)[0], slope[None])
    assert_close(phr_penalty(torch.zeros(1, 4), MULTIPLIERS, RHO), torch.zeros(1, 4, dtype=torch.float64))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_with_multipliers_0_and_logits_within_the_margin_it_is_cross_entropy(reduction) -> None:
    logits, target = batch()
    value = cals(logits, target, reduction=reduction, multipliers=torch.zeros(4), rho=torch.ones(4), margin=100.0)
    assert_close(value, F.cross_entropy(logits, target, reduction=reduction))


def test_the_gradient_is_right() -> None:
    logits, target = batch()
    assert torch.autograd.gradcheck(
        lambda z: cals(z, target, multipliers=MULTIPLIERS, rho=RHO, margin=1.5), logits.requires_grad_()
    )


def test_multipliers_are_the_mean_of_the_clipped_slopes() -> None:
    slopes = torch.tensor([[3.0, 0.0, 1e9], [1.0, 0.0, 0.0]])
    assert_close(next_multipliers(slopes, 1e-6), torch.tensor([2.0, 1e-6, 5e5]))


def test_rho_grows_where_a_violation_did_not_fall_below_its_share_and_not_above_10() -> None:
    violation = torch.tensor([0.95, 0.85, 0.95, 0.01, -0.5, -0.5, 5.0])
    previous = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, 0.5, torch.inf])
    rho = torch.tensor([1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0])
    assert_close(next_rho(rho, violation, previous, 1.2, 0.9), torch.tensor([1.2, 1.0, 10.0, 1.2, 1.0, 1.0, 1.0]))


def validation(gap: float, rows: int = 3) -> tuple[Tensor, Tensor]:
    """The second class is behind the first by `gap`."""
    return torch.tensor([[gap, 0.0]]).repeat(rows, 1), torch.zeros(rows, dtype=torch.long)


def test_an_epoch_learns_the_multipliers_by_hand() -> None:
    """With margin 10, gaps of 30, 50 and 10 are constraints of 2, 4 and 0; the first class is at -1, its slope 0."""
    loss = CALSLoss(num_classes=2)
    assert isinstance(loss, EpochLoss)
    assert loss.uses_validation
    logits = torch.tensor([[30.0, 0.0], [50.0, 0.0], [10.0, 0.0], [999.0, 0.0]])
    loss.end_epoch(1, 100, validation=(logits, torch.tensor([0, 1, 0, -100])))  # the last row does not count
    assert_close(loss.multipliers, torch.tensor([1e-6, (2 + 4 + 0) / 3 + 1e-6]))
    assert_close(loss.violation, torch.tensor([-1.0, 2.0]))
    logits, target = torch.tensor([[0.0, 3.0]]), torch.tensor([1])
    assert_close(loss(logits, target), cals(logits, target, multipliers=loss.multipliers, rho=loss.rho))


def test_multipliers_change_once_a_period_and_rho_once_its_own() -> None:
    loss = CALSLoss(num_classes=2, period=2, rho_period=3)
    moved = []
    for epoch in range(1, 7):
        before = loss.multipliers.clone(), loss.rho.clone()
        loss.end_epoch(epoch, 6, validation=validation(30.0))
        moved.append((not torch.equal(before[0], loss.multipliers), not torch.equal(before[1], loss.rho)))
    assert moved == [(False, False), (True, False), (False, True), (True, False), (False, False), (True, True)]
    assert_close(loss.rho, torch.tensor([1.0, 1.44]))  # the first class was well all the time


def test_the_state_survives_a_checkpoint() -> None:
    loss, twin = CALSLoss(num_classes=2, rho_period=1), CALSLoss(num_classes=2, rho_period=1)
    loss.end_epoch(1, 9, validation=validation(30.0))
    twin.load_state_dict(loss.state_dict())
    for one in (loss, twin):
        one.end_epoch(2, 9, validation=validation(31.0))
    assert_close(twin.state_dict(), loss.state_dict())
    assert loss.rho[1] == pytest.approx(1.2)


def test_a_class_held_hard_is_pulled_up() -> None:
    """Training on one row under the loss keeps the gap near the margin, where cross-entropy widens it."""
    gaps = []
    for loss in (CALSLoss(num_classes=2, margin=2.0), torch.nn.CrossEntropyLoss()):
        logits, target = torch.zeros(1, 2, requires_grad=True), torch.tensor([0])
        for epoch in range(1, 31):
            step = torch.autograd.grad(loss(logits, target), logits)[0]
            logits = (logits - step).detach().requires_grad_()
            if isinstance(loss, CALSLoss):
                loss.end_epoch(epoch, 30, validation=(logits, target))
        gaps.append((logits[0, 0] - logits[0, 1]).item())
    assert gaps[0] < 2.2 < 3.5 < gaps[1]


def test_the_constraint_is_in_margins() -> None:
    assert_close(margin_constraint(torch.tensor([[6.0, 2.0, -4.0]]), 5.0), torch.tensor([[-1.0, -0.2, 1.0]]))


def test_bad_arguments_of_the_function_are_refused() -> None:
    logits, target = torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="margin must be a finite number above 0; got 0"):
        cals(logits, target, multipliers=torch.zeros(3), rho=torch.ones(3), margin=0.0)
    with pytest.raises(ValueError, match=r"multipliers must have one entry a class, shape \(3,\); got shape \(2,\)"):
        cals(logits, target, multipliers=torch.zeros(2), rho=torch.ones(3))
    with pytest.raises(ValueError, match=r"rho must have one entry a class, shape \(3,\); got shape \(\)"):
        cals(logits, target, multipliers=torch.zeros(3), rho=torch.tensor(1.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": -1.0}, "margin must be a finite number above 0; got -1"),
        ({"multiplier": 0.0}, r"multiplier must be above 0 and at most 1e\+06; got 0"),
        ({"rho": 11.0}, "rho must be above 0 and at most 10; got 11"),
        ({"gamma": 0.9}, r"gamma must be a finite number of at least 1 \(1 keeps rho as it is\); got 0.9"),
        ({"tau": 1.1}, r"tau must lie in \[0, 1\]; got 1.1"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1; got 0"),
        ({"gamma": math.inf}, r"gamma must be a finite number of at least 1 .*; got inf"),
        ({"margin": math.inf}, "margin must be a finite number above 0; got inf"),
        ({"period": 1.5}, "period must be a whole number of at least 1; got 1.5"),
        ({"rho_period": True}, "rho_period must be a whole number of at least 1; got True"),
        ({"period": 0}, "period must be a whole number of at least 1; got 0"),
        ({"rho_period": 0}, "rho_period must be a whole number of at least 1; got 0"),
        ({"reduction": "max"}, "reduction must be one of none, mean, sum; got 'max'"),
    ],
)
def test_bad_settings_of_the_module_are_refused(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CALSLoss(**{"num_classes": 3, **settings})


def test_bad_validation_rows_are_refused() -> None:
    loss = CALSLoss(num_classes=2)
    with pytest.raises(ValueError, match=r"learns from rows that are not trained on; got validation=None: give end_ep"):
        loss.end_epoch(1, 10)
    with pytest.raises(ValueError, match="validation logits must be of 2 classes, as num_classes says; got 3"):
        loss.end_epoch(1, 10, validation=(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)))
    with pytest.raises(ValueError, match="validation must have a row that counts; got none among 4: give rows with"):
        loss.end_epoch(1, 10, validation=(torch.zeros(4, 2), torch.full((4,), -100)))


def test_it_shows_its_settings() -> None:
    assert repr(CALSLoss(num_classes=3)) == (
        "CALSLoss(num_classes=3, margin=10.0, gamma=1.2, tau=0.9, period=1, rho_period=10)"
    )


def test_a_gamma_of_1_keeps_rho_as_it_is() -> None:
    loss = CALSLoss(num_classes=2, gamma=1.0, rho_period=1)
    for epoch, far in ((1, 30.0), (2, 60.0)):
        loss.end_epoch(epoch, 2, validation=(torch.tensor([[far, 0.0]]), torch.tensor([0])))
    assert (loss.rho == 1).all()
