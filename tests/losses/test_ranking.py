from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from gence._epochs import EpochLoss
from gence.losses.ranking import CRLLoss, correctness_ranking


def batch(rows: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, class numbers and histories, some of them equal."""
    logits = torch.randn(rows, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.arange(rows) % 4, (torch.arange(rows) * 7 % 5).double() / 4


def naive_penalty(logits: Tensor, history: Tensor, counts: list[bool]) -> float:
    rows = [
        (max(math.exp(v) for v in row) / sum(math.exp(v) for v in row), h)
        for row, h, counted in zip(logits.tolist(), history.tolist(), counts, strict=True)
        if counted
    ]
    total = 0.0
    for (c, h), (d, g) in zip(rows, rows[1:] + rows[:1], strict=True):
        sign = (h > g) - (h < g)
        total += max(0.0, -sign * (c - d) + abs(h - g))
    return total / max(len(rows), 1)


def test_it_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Moon et al. 2020: neighbours in the batch, the last with the first, ignored rows taken out beforehand."""
    logits, target, history = batch()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    penalty = naive_penalty(logits, history, [y != 2 for y in target.tolist()])
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            nll = math.log(sum(math.exp(v) for v in row)) - row[label]
            total += weight[label].item() * (nll + 1.5 * penalty)
            weights += weight[label].item()
    value = correctness_ranking(logits, target, weight, 2, history=history, rank_weight=1.5)
    assert value.item() == pytest.approx(total / weights, rel=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=9).filter(any))
@settings(max_examples=40, deadline=None)
def test_ignored_rows_anywhere_change_nothing(counts: list[bool]) -> None:
    logits, target, history = batch(len(counts))
    keep = torch.tensor(counts)
    whole = correctness_ranking(logits, target.masked_fill(~keep, -100), history=history)
    assert_close(whole, correctness_ranking(logits[keep], target[keep], history=history[keep]))


def test_it_adds_the_margin_ranking_loss_of_pytorch_where_all_histories_differ() -> None:
    """PyTorch's has no margin of its own for each row, so it is taken off the confidence of the second."""
    logits, target, _ = batch()
    history = torch.linspace(0.0, 1.0, 20, dtype=torch.float64)[torch.arange(20) * 7 % 20]
    c = logits.softmax(1).amax(1)
    sign = (history - history.roll(-1)).sign()
    ranking = F.margin_ranking_loss(c, c.roll(-1) + sign * (history - history.roll(-1)).abs(), sign)
    value = correctness_ranking(logits, target, history=history) - F.cross_entropy(logits, target)
    assert_close(value, ranking)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_equal_histories_and_weight_0_give_cross_entropy(reduction) -> None:
    logits, target, history = batch()
    plain = F.cross_entropy(logits, target, reduction=reduction)
    same = torch.full_like(history, 0.3)
    assert_close(correctness_ranking(logits, target, reduction=reduction, history=same), plain)
    assert_close(correctness_ranking(logits, target, reduction=reduction, history=history, rank_weight=0.0), plain)


def test_the_gradient_is_right_and_finite_where_all_confidences_are_equal() -> None:
    logits, target, history = batch()
    assert torch.autograd.gradcheck(
        lambda z: correctness_ranking(z, target, history=history), logits.clone().requires_grad_()
    )
    flat = torch.zeros(20, 4, requires_grad=True)
    value = correctness_ranking(flat, target, history=history)
    assert torch.autograd.grad(value, flat)[0].isfinite().all()


def test_the_module_ranks_by_the_share_of_past_calls_that_were_right() -> None:
    loss = CRLLoss(num_rows=5)
    assert isinstance(loss, EpochLoss)
    assert not loss.uses_validation
    logits, target = torch.tensor([[2.0, 0.0], [2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1, -100])
    numbers = torch.tensor([4, 0, 2])
    plain = F.cross_entropy(logits, target)
    assert_close(loss(logits, target, rows=numbers), plain)  # nothing is known in the first epoch
    loss.end_epoch(1, 3)
    assert_close(loss.history, torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0]))  # the ignored row was not right
    # Both rows are as confident as each other, so each lacks the whole difference of 1.
    assert_close(loss(logits, target, rows=numbers), plain + 1.0)
    assert_close(loss(logits, target), plain)
    loss(logits[:1], 1 - target[:1], rows=numbers[:1])
    loss.end_epoch(2, 3)
    assert_close(loss.history[4], torch.tensor(2 / 3))
    assert loss.seen.tolist() == [2, 0, 0, 0, 3]


def test_evaluation_counts_nothing_and_a_row_given_twice_counts_twice() -> None:
    loss = CRLLoss(num_rows=3)
    logits, target = torch.zeros(2, 2), torch.tensor([0, 1])
    loss.eval()
    loss(logits, target, rows=torch.tensor([0, 1]))
    assert loss.seen.tolist() == [0, 0, 0]
    loss.train()
    loss(torch.zeros(3, 2), torch.tensor([0, 1, 0]), rows=torch.tensor([1, 1, 0]))
    loss.end_epoch(1, 2)
    assert loss.history.tolist() == [1.0, 0.5, 0.0]


def test_an_ignored_row_whose_number_is_that_of_a_class_is_never_right() -> None:
    loss = CRLLoss(num_rows=2, ignore_index=0)
    loss(torch.zeros(2, 2), torch.tensor([0, 1]), rows=torch.tensor([0, 1]))
    assert (loss.right.tolist(), loss.seen.tolist()) == ([0, 0], [0, 1])


def test_the_state_survives_a_checkpoint() -> None:
    logits, target, _ = batch()
    loss, twin = CRLLoss(num_rows=20), CRLLoss(num_rows=20)
    loss(logits, target, rows=torch.arange(20))
    twin.load_state_dict(loss.state_dict())
    for one in (loss, twin):
        one.end_epoch(1, 2)
    numbers = torch.arange(20).flip(0)
    assert_close(twin(logits, target, rows=numbers), loss(logits, target, rows=numbers))
    assert loss.history.any()


def test_an_epoch_without_row_numbers_is_refused_at_its_end() -> None:
    loss = CRLLoss(num_rows=4)
    logits, target = torch.zeros(2, 2), torch.tensor([0, 1])
    loss(logits, target)
    message = r"got no call in epoch 1 that named a row that counts: call loss\(logits, target, rows=row_numbers\) in"
    with pytest.raises(ValueError, match=message):
        loss.end_epoch(1, 3)
    loss(logits, target, rows=torch.tensor([2, 3]))
    loss.end_epoch(1, 3)
    with pytest.raises(ValueError, match="got no call in epoch 2"):
        loss.end_epoch(2, 3)


def test_bad_row_numbers_are_refused_and_not_counted() -> None:
    loss = CRLLoss(num_rows=4)
    logits, target = torch.zeros(2, 2), torch.tensor([0, 1])
    for numbers in (torch.tensor([0, 4]), torch.tensor([-1, 3])):
        with pytest.raises(ValueError, match=r"rows must be numbers from 0 to 3, as num_rows is 4; got numbers from"):
            loss(logits, target, rows=numbers)
    with pytest.raises(ValueError, match=r"shape of target \(2,\); got torch.int64 of shape \(3,\)"):
        loss(logits, target, rows=torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"rows must be row numbers, int64, .* got torch.float32 of shape \(2,\)"):
        loss(logits, target, rows=torch.zeros(2))
    with pytest.raises(ValueError, match="rows must be a tensor; got list"):
        loss(logits, target, rows=[0, 1])
    assert not loss.seen.any()


def test_bad_arguments_are_refused() -> None:
    logits, target, history = batch()
    with pytest.raises(
        ValueError, match=r"rank_weight must be a finite number of at least 0 \(0 is cross-entropy\); got -1"
    ):
        correctness_ranking(logits, target, history=history, rank_weight=-1.0)
    with pytest.raises(ValueError, match=r"one floating-point number a row, shape \(20,\); got torch.float64 of shape"):
        correctness_ranking(logits, target, history=history[:3])
    with pytest.raises(ValueError, match=r"one floating-point number a row, shape \(20,\); got torch.int64 of shape"):
        correctness_ranking(logits, target, history=history.long())
    for wrong in (history + 0.5, history * torch.nan):
        with pytest.raises(ValueError, match=r"history must lie in \[0, 1\]; got values from .*: give the share of"):
            correctness_ranking(logits, target, history=wrong)
    with pytest.raises(ValueError, match=r"needs input of shape \(N, C\), .*; got shape \(5, 4, 4\): give logits"):
        correctness_ranking(logits.view(5, 4, 4), target.view(5, 4), history=history[:5])
    with pytest.raises(ValueError, match="num_rows must be a whole number of at least 1; got 0"):
        CRLLoss(num_rows=0)
    with pytest.raises(ValueError, match="rank_weight must be a finite number of at least 0"):
        CRLLoss(num_rows=3, rank_weight=-1.0)


def test_it_shows_its_settings() -> None:
    assert repr(CRLLoss(num_rows=3)) == "CRLLoss(num_rows=3, rank_weight=1.0)"


def test_labels_of_uint8_count_whatever_the_ignore_index() -> None:
    """-100 is 156 in uint8, and so is a class."""
    loss = CRLLoss(num_rows=2)
    logits = torch.zeros(2, 200)
    logits[:, 156] = 1.0
    loss(logits, torch.tensor([156, 3], dtype=torch.uint8), rows=torch.tensor([0, 1]))
    assert (loss.seen.tolist(), loss.right.tolist()) == ([1, 1], [1, 0])
