"""The moving class mass: what it averages, how well it stands in for the whole data, and that it is a good module."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from gence import GenCELoss, MovingClassMass, class_mass, generative_cross_entropy
from gence.losses import ClassMass


def batch(rows: int = 12, classes: int = 5, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    return logits, torch.randint(classes, (rows,), generator=generator)


def trained(steps: int, rows: int = 512, classes: int = 100) -> tuple[Tensor, Tensor]:
    """Logits of a small network that has had so many steps of cross-entropy, and their labels."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(classes, (rows,), generator=generator)
    inputs = torch.randn(classes, 32, generator=generator)[target] + torch.randn(rows, 32, generator=generator)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, classes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.15, 0.15, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        chosen = torch.randint(rows, (64,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[chosen]), target[chosen]).backward()
        optimizer.step()
    return model(inputs).detach().double(), target


def epoch(loss: nn.Module, logits: Tensor, target: Tensor, size: int, *, seed: int) -> Tensor:
    """The gradient averaged over an epoch of micro-batches, the model held still."""
    total = torch.zeros_like(logits)
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for rows in order.split(size):
            total += torch.autograd.grad(loss(logits[rows], target[rows]), logits)[0]
    return total * size / len(logits)


def cosine(a: Tensor, b: Tensor) -> float:
    return (a.flatten() @ b.flatten() / (a.norm() * b.norm())).item()


@pytest.mark.parametrize("steps", [50, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_micro_batches_of_4_rows_and_100_classes_follow_the_full_batch(steps: int, seed: int) -> None:
    logits, target = trained(steps)
    logits.requires_grad_()
    whole = torch.autograd.grad(generative_cross_entropy(logits, target), logits)[0]
    without = torch.autograd.grad(F.cross_entropy(logits, target), logits)[0]
    loss = GenCELoss(class_mass=MovingClassMass(100).double())
    epoch(loss, logits, target, 4, seed=10 + seed)  # the averages fill
    moving = epoch(loss, logits, target, 4, seed=20 + seed)
    plain = epoch(GenCELoss(), logits, target, 4, seed=20 + seed)
    assert cosine(moving, whole) >= 0.98
    assert cosine(moving - without, whole - without) >= 0.6  # cross-entropy dominates the norm and would hide errors
    assert 0.5 < ((moving - without).norm() / (whole - without).norm()).item() < 1.5  # at full weight
    assert cosine(plain, whole) < 0.6  # what it is for


def test_late_in_training_a_smaller_rate_follows_better() -> None:
    """The part beyond cross-entropy is small then, and the default window holds about two rows of a class."""
    logits, target = trained(150)
    logits.requires_grad_()
    whole = torch.autograd.grad(generative_cross_entropy(logits, target), logits)[0]
    without = torch.autograd.grad(F.cross_entropy(logits, target), logits)[0]
    excess = {}
    for rate in (0.02, 0.005):
        loss = GenCELoss(class_mass=MovingClassMass(100, rate).double())
        for seed in range(3):
            epoch(loss, logits, target, 4, seed=seed)
        moving = epoch(loss, logits, target, 4, seed=3)
        assert cosine(moving, whole) >= 0.98
        excess[rate] = ((moving - without).norm() / (whole - without).norm()).item()
    assert excess[0.02] > 2.0
    assert excess[0.005] < 1.6


def test_averaging_the_mass_alone_would_point_elsewhere() -> None:
    """Why the labels are averaged too: batch counts over a moving mass do not give the gradient."""
    logits, target = trained(steps=50)
    logits.requires_grad_()
    whole = torch.autograd.grad(generative_cross_entropy(logits, target), logits)[0]

    class MassOnly(MovingClassMass):
        def forward(self, batch: ClassMass) -> ClassMass:
            return replace(super().forward(batch), label_sums=batch.label_sums)

    loss = GenCELoss(class_mass=MassOnly(100).double())
    epoch(loss, logits, target, 4, seed=0)
    assert cosine(epoch(loss, logits, target, 4, seed=1), whole) < 0.5


def test_a_given_prior_is_worse_than_none_for_a_confident_model() -> None:
    """The noise of labels and mass in one window cancels in pi / u; with a given prior it does not."""
    logits, target = trained(steps=150)
    logits.requires_grad_()
    whole = torch.autograd.grad(generative_cross_entropy(logits, target), logits)[0]
    prior = torch.bincount(target, minlength=100) / len(target)
    found = {}
    for name, given in (("tracked", None), ("given", prior)):
        loss = GenCELoss(class_mass=MovingClassMass(100, prior=given).double())
        fresh = cosine(epoch(loss, logits, target, 4, seed=0), whole)
        found[name] = fresh, cosine(epoch(loss, logits, target, 4, seed=1), whole)
    assert found["tracked"][0] > found["given"][0] + 0.1  # while the averages fill, where it is worst
    assert found["tracked"][1] > found["given"][1]


def test_the_averages_are_those_of_a_naive_loop() -> None:
    moving = MovingClassMass(5, rate=0.25).double()
    u = pi = None
    for step in range(1, 9):
        logits, target = batch(seed=step)
        estimate = moving(class_mass(logits, target))
        m, share = logits.softmax(1).mean(0), torch.bincount(target, minlength=5) / 12
        rate = max(0.25, 1 / step)
        u = m if u is None else (1 - rate) * u + rate * m
        pi = share if pi is None else (1 - rate) * pi + rate * share
        assert_close(estimate.log_mass.exp(), u)
        assert_close(estimate.label_share, pi.double())
        assert estimate.rows.item() == 12


def test_the_gradient_has_r_equal_to_label_share_over_mass() -> None:
    moving = MovingClassMass(5).double()
    for seed in range(5):
        estimate = moving(class_mass(*batch(seed=seed)))
    moving.eval()
    logits, target = batch(seed=9)
    logits.requires_grad_()
    gradient = torch.autograd.grad(GenCELoss(class_mass=moving)(logits, target), logits)[0]
    q = logits.detach().softmax(1)
    r = estimate.label_share / estimate.log_mass.exp()
    expected = (q * (1 + r - (q * r).sum(1, keepdim=True)) - F.one_hot(target, 5)) / 12
    assert_close(gradient, expected, rtol=1e-12, atol=1e-13)


def test_the_first_batch_is_its_own_estimate() -> None:
    logits, target = batch()
    weight = torch.rand(5, dtype=torch.float64)
    for arguments in ({}, {"weight": weight}, {"label_smoothing": 0.2}, {"reduction": "sum"}):
        loss = GenCELoss(**arguments, class_mass=MovingClassMass(5).double())  # type: ignore[arg-type]
        assert_close(loss(logits, target), generative_cross_entropy(logits, target, **arguments))  # type: ignore[arg-type]


def test_batches_weigh_by_their_rows_and_empty_ones_change_nothing() -> None:
    logits, target = batch()
    moving = MovingClassMass(5, rate=0.01).double()
    for sizes in (slice(0, 8), slice(8, 9), slice(9, 12)):
        moving(class_mass(logits[sizes], target[sizes]))
        moving(class_mass(logits[:0], target[:0]))
        moving(class_mass(logits, torch.full_like(target, -100)))
    assert moving.batches.item() == 3
    whole = class_mass(logits, target)
    assert_close((moving.log_sums - moving.rows.log()).exp(), whole.log_mass.exp())
    assert_close(moving.label_sums / moving.rows, whole.label_share)


def test_a_row_with_nan_costs_its_batch_and_not_the_averages() -> None:
    loss = GenCELoss(class_mass=MovingClassMass(5).double())
    logits, target = batch()
    broken = logits.clone()
    broken[3, 2] = torch.nan
    for first in (True, False):
        before = copy.deepcopy(loss.state_dict())
        assert loss(broken, target).isnan()
        assert loss(torch.where(broken.isnan(), torch.inf, broken), target).isnan()
        assert all(torch.equal(before[name], tensor) for name, tensor in loss.state_dict().items())
        value = loss(logits, target)
        assert value.isfinite()
        if first:
            assert_close(value, generative_cross_entropy(logits, target))


def test_a_first_batch_without_rows_leaves_it_fresh() -> None:
    logits, target = batch()
    loss = GenCELoss(class_mass=MovingClassMass(5).double())
    nothing = torch.full_like(target, -100)
    value = loss(logits.requires_grad_(), nothing)
    assert value.isnan()  # as F.cross_entropy has it
    assert not torch.autograd.grad(value, logits)[0].any()
    assert_close(loss(logits, target), generative_cross_entropy(logits, target))


def test_a_given_prior_takes_the_place_of_the_label_shares() -> None:
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0], dtype=torch.float64)
    moving = MovingClassMass(5, prior=prior).double()
    for seed in range(3):
        assert_close(moving(class_mass(*batch(seed=seed))).label_share, prior)
    assert_close(moving.prior, prior)


def test_it_is_frozen_in_evaluation_mode() -> None:
    moving = MovingClassMass(5).double()
    moving(class_mass(*batch()))
    loss = GenCELoss(class_mass=moving).eval()
    before = copy.deepcopy(moving.state_dict())
    values = [loss(*batch(seed=seed)) for seed in (1, 2, 1)]
    assert_close(values[0], values[2])
    assert all(torch.equal(before[name], tensor) for name, tensor in moving.state_dict().items())
    fresh = MovingClassMass(5).double().eval()  # has seen nothing: the batch stands for itself
    assert_close(GenCELoss(class_mass=fresh).eval()(*batch()), generative_cross_entropy(*batch()))


def test_its_state_is_saved_with_the_loss_and_comes_back() -> None:
    loss = GenCELoss(class_mass=MovingClassMass(5, prior=torch.full((5,), 0.2))).double()
    for seed in range(3):
        loss(*batch(seed=seed))
    names = ["batches", "label_sums", "log_sums", "prior", "rows"]
    assert sorted(loss.state_dict()) == [f"class_mass.{name}" for name in names]
    other = GenCELoss(class_mass=MovingClassMass(5, prior=torch.full((5,), 0.2))).double()
    other.load_state_dict(loss.state_dict())
    assert_close(other(*batch(seed=7)), loss(*batch(seed=7)), rtol=0, atol=0)
    assert copy.deepcopy(loss).class_mass.batches.item() == 4
    assert {buffer.device.type for buffer in copy.deepcopy(loss).to("meta").buffers()} == {"meta"}


def test_weights_do_not_cancel_in_a_small_batch() -> None:
    """With a row a batch, PyTorch's mean would divide a row's weight by itself."""
    logits, target = batch(64)
    weight = torch.tensor([0.1, 1.0, 5.0, 1.0, 0.5], dtype=torch.float64)
    logits.requires_grad_()
    whole = torch.autograd.grad(generative_cross_entropy(logits, target, weight), logits)[0]
    loss = GenCELoss(weight, class_mass=MovingClassMass(5).double())
    epoch(loss, logits, target, 1, seed=0)
    loss.eval()
    assert cosine(epoch(loss, logits, target, 1, seed=1), whole) > 0.98


def test_a_total_of_micro_batches_goes_in_by_hand() -> None:
    logits, target = batch()
    moving = MovingClassMass(5).double()
    total = class_mass(logits[:6], target[:6]) + class_mass(logits[6:], target[6:])
    estimate = moving(total)
    shares = [
        generative_cross_entropy(z, y, class_mass=estimate)
        for z, y in zip(logits.split(6), target.split(6), strict=True)
    ]
    assert_close(sum(shares), generative_cross_entropy(logits, target))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1; got 0"),
        ({"rate": 0.0}, r"rate must lie in \(0, 1\]; got 0.0"),
        ({"rate": float("nan")}, r"rate must lie in \(0, 1\]; got nan"),
        ({"prior": torch.tensor([0.5, 0.4])}, r"shares of at least 0 that sum to 1; got a sum of 0.9 .* counts"),
        ({"prior": torch.tensor([1.5, -0.5])}, "smallest share of -0.5"),
        ({"prior": torch.tensor([float("nan"), 1.0])}, "got a sum of nan"),
        ({"prior": torch.full((3,), 1 / 3)}, r"prior must be a floating-point tensor of shape \(2,\).*shape \(3,\)"),
        ({"prior": torch.tensor([3, 4])}, "got torch.int64"),
        ({"prior": [0.5, 0.5]}, "got list"),
    ],
)
def test_a_setting_out_of_range_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MovingClassMass(**({"num_classes": 2} | arguments))


def test_float64_averages_serve_float32_and_half_precision_logits() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        loss = GenCELoss(class_mass=MovingClassMass(5).double())
        logits, target = batch()
        value = loss(logits.to(dtype), target)
        assert_close(value.double(), generative_cross_entropy(logits, target), rtol=2e-2, atol=2e-2)


def test_other_classes_and_half_precision_averages_are_refused() -> None:
    with pytest.raises(ValueError, match="MovingClassMass is of 7 classes, input has 5: give num_classes=5"):
        GenCELoss(class_mass=MovingClassMass(7))(*batch())
    with pytest.raises(ValueError, match=r"averages in float32 at least.*got torch.bfloat16: call .float\(\)"):
        GenCELoss(class_mass=MovingClassMass(5)).bfloat16()(*batch())
