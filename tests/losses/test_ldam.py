from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence._epochs import EpochLoss
from gence.losses.ldam import LDAMLoss, ldam
from gence.losses.prior import effective_number_weights
from gence.models.heads import CosineHead

COUNTS = torch.tensor([500.0, 60.0, 7.0, 2.0], dtype=torch.float64)
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)


def batch(rows: int = 20, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, 4, dtype=torch.float64, generator=generator), torch.arange(rows) % 4


def test_two_rows_worked_out_by_hand() -> None:
    """Counts 16 and 1 have margins 1/4 and 1/2, times the scale 4 is 1 and 2."""
    loss = ldam(
        torch.zeros(2, 2, dtype=torch.float64),
        torch.tensor([0, 1]),
        reduction="none",
        class_counts=[16, 1],
        scale=4.0,
    )
    assert loss.tolist() == pytest.approx([math.log(1 + math.e), math.log(1 + math.e**2)])


def test_it_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Section 3.2 of Cao et al.: s (cos - m_y 1{k = y}) in the softmax, m_k = 0.3 n_k^-1/4 / max_j n_j^-1/4."""
    logits, target = batch()
    roots = [n**-0.25 for n in COUNTS.tolist()]
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            lowered = [z - 10.0 * 0.3 * roots[label] / max(roots) * (k == label) for k, z in enumerate(row)]
            total -= WEIGHT[label].item() * (lowered[label] - math.log(sum(math.exp(z) for z in lowered)))
            weights += WEIGHT[label].item()
    loss = ldam(logits, target, WEIGHT, 2, class_counts=COUNTS, max_margin=0.3, scale=10.0)
    assert loss.item() == pytest.approx(total / weights, rel=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_without_a_margin_it_is_cross_entropy(reduction) -> None:
    logits, target = batch()
    assert_close(
        ldam(logits, target, WEIGHT, 2, reduction, class_counts=COUNTS, max_margin=0.0),
        F.cross_entropy(logits, target, WEIGHT, ignore_index=2, reduction=reduction),
    )


def test_a_label_that_is_ahead_by_its_margin_is_as_one_that_is_level_without() -> None:
    margin = 30.0 * 0.5 * (2.0 / 60.0) ** 0.25
    ahead = torch.tensor([[0.0, margin, 0.0, 0.0]], dtype=torch.float64)
    assert ldam(ahead, torch.tensor([1]), class_counts=COUNTS).item() == pytest.approx(math.log(4))


def test_the_gradient_is_right_and_finite_at_the_ends() -> None:
    logits, target = batch(6)
    assert torch.autograd.gradcheck(lambda z: ldam(z, target, WEIGHT, class_counts=COUNTS), logits.requires_grad_())
    for rows in ([[500.0, -500.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, -math.inf]], [[0.0] * 4]):
        z = torch.tensor(rows, requires_grad=True)
        value = ldam(z, torch.tensor([1]), class_counts=COUNTS)
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()


def test_it_compiles_whole_and_runs_without_values() -> None:
    logits, target = batch()
    compiled = torch.compile(ldam, fullgraph=True, backend="aot_eager")
    for counts in (COUNTS, COUNTS.long()):
        assert_close(compiled(logits, target, class_counts=counts), ldam(logits, target, class_counts=counts))
    meta = torch.zeros(5, 4, device="meta", requires_grad=True)
    counts = torch.zeros(4, dtype=torch.long, device="meta")
    ldam(meta, torch.zeros(5, dtype=torch.long, device="meta"), class_counts=counts).backward()


def test_the_module_defers_its_weights_and_takes_them_back_in_a_new_training() -> None:
    logits, target = batch()
    loss = LDAMLoss(WEIGHT, 2, "sum", class_counts=COUNTS, max_margin=0.3, scale=10.0, deferral=0.55, beta=0.99)
    knobs: dict[str, Any] = {"class_counts": COUNTS, "max_margin": 0.3, "scale": 10.0}
    before = ldam(logits, target, WEIGHT, 2, "sum", **knobs)
    weight = WEIGHT * effective_number_weights(COUNTS, beta=0.99)
    after = ldam(logits, target, weight, 2, "sum", **knobs)
    assert_close(loss(logits, target), before)
    for epoch in range(1, 101):
        loss.end_epoch(epoch, 100)
        assert_close(loss(logits, target, rows=torch.arange(20)), before if epoch < 55 else after)
    loss.end_epoch(1, 100)
    assert_close(loss(logits, target), before)


def test_with_the_weights_on_the_mean_divides_by_them() -> None:
    logits, target = batch()
    loss = LDAMLoss(class_counts=COUNTS, deferral=0.0, max_margin=0.0)
    assert_close(loss(logits, target), F.cross_entropy(logits, target, effective_number_weights(COUNTS)))


@pytest.mark.parametrize(("deferral", "first"), [(0.0, 0), (0.5, 2), (0.6, 3), (1.0, None)])
def test_the_first_epoch_with_weights_is_the_one_after_the_share(deferral: float, first: int | None) -> None:
    loss = LDAMLoss(class_counts=COUNTS, deferral=deferral)
    on = [bool((loss.deferred_weight != 1).any())]
    for epoch in range(1, 5):
        loss.end_epoch(epoch, 4)
        on.append(bool((loss.deferred_weight != 1).any()))
    assert on == [first is not None and epoch >= first for epoch in range(5)]


def test_a_state_dict_resumes_where_it_was() -> None:
    loss, resumed = (LDAMLoss(WEIGHT, class_counts=COUNTS) for _ in range(2))
    loss.end_epoch(4, 5)
    resumed.load_state_dict(loss.state_dict())
    assert_close(resumed(*batch()), loss(*batch()), rtol=0, atol=0)
    assert resumed(*batch()) != LDAMLoss(WEIGHT, class_counts=COUNTS)(*batch())


def test_it_keeps_the_protocol_and_says_what_it_is() -> None:
    loss = LDAMLoss(class_counts=[50, 5])
    assert isinstance(loss, EpochLoss)
    assert not loss.uses_validation
    assert "num_classes=2, max_margin=0.5, scale=30.0, deferral=0.8, beta=0.9999" in repr(loss)


def test_over_epochs_with_a_cosine_head_it_learns_and_its_softmax_is_sure() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.tensor([0] * 60 + [1] * 6)
    rows = torch.eye(2)[target] + 0.1 * torch.randn(66, 2, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = CosineHead(2, 2)
    loss = LDAMLoss(class_counts=torch.bincount(target), deferral=0.5)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for epoch in range(1, 41):
        optimizer.zero_grad()
        loss(head(rows), target).backward()
        optimizer.step()
        loss.end_epoch(epoch, 40)
    probs = head(rows).softmax(1)
    assert (probs.argmax(1) == target).all()
    assert probs.amax(1).min() > 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_margin": -0.1}, r"max_margin must be a finite number of at least 0 \(0 is cross-entropy\); got -0.1"),
        ({"max_margin": math.inf}, "max_margin must be a finite number"),
        ({"scale": 0.0}, "scale must be that of the cosine head, a finite number above 0; got 0.0"),
        ({"class_counts": [1, 0, 1, 1]}, "class_counts must be above 0 and finite, .* got 0 for class 1"),
        ({"reduction": "avg"}, "reduction must be one of none, mean, sum; got 'avg'"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ldam(*batch(), **({"class_counts": COUNTS} | change))
    with pytest.raises(ValueError, match=message):
        LDAMLoss(**({"class_counts": COUNTS} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deferral": 1.1}, r"deferral must be a share of the epochs, in \[0, 1\]; got 1.1"),
        ({"beta": 1.0}, r"beta must lie in \[0, 1\)"),
        ({"weight": torch.ones(3)}, r"weight must have one entry a class, shape \(4,\) .*; got shape \(3,\)"),
        ({"weight": [1.0] * 4}, "weight must be a tensor; got list"),
    ],
)
def test_a_wrong_setting_of_the_module_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LDAMLoss(**({"class_counts": COUNTS} | change))


@pytest.mark.parametrize(("epoch", "epochs"), [(0, 4), (5, 4)])
def test_an_epoch_that_there_is_not_is_refused(epoch: int, epochs: int) -> None:
    with pytest.raises(ValueError, match=f"epoch must lie in 1 to epochs={epochs}, 1 after the first epoch; got"):
        LDAMLoss(class_counts=COUNTS).end_epoch(epoch, epochs)


@pytest.mark.parametrize("deferral", [0.0, 0.5])
def test_the_weights_of_integer_counts_are_of_float64(deferral: float) -> None:
    loss = LDAMLoss(class_counts=[5000, 300, 20], deferral=deferral)
    loss.end_epoch(1, 1)
    exact = [1 / (1 - 0.9999**n) for n in (5000, 300, 20)]
    expected = torch.tensor([3 * w / sum(exact) for w in exact], dtype=torch.float64)
    assert_close(loss.deferred_weight, expected, rtol=1e-11, atol=0)
