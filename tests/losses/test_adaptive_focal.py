"""AdaFocal: its terms, how its exponents move, and what it makes of the validation rows it is given."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from gence._epochs import EpochLoss
from gence.losses.adaptive_focal import AdaFocalLoss, adaptive_focal, updated_gammas
from gence.losses.focal import focal
from gence.metrics import reliability_bins

GAMMAS = torch.tensor([3.0, 0.5, -0.5, -2.0], dtype=torch.float64)
EDGES = torch.tensor([0.1, 0.4, 0.7], dtype=torch.float64)


def batch(rows: int = 40, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, 4, dtype=torch.float64, generator=generator)
    return logits, torch.randint(4, (rows,), generator=generator)


def with_confidence(confidence: list[float], right: list[bool]) -> tuple[Tensor, Tensor]:
    """Logits of three classes whose first has so much probability, and labels that make it right or wrong."""
    top = torch.tensor(confidence, dtype=torch.float64)
    probs = torch.stack([top, (1 - top) / 2, (1 - top) / 2], 1)
    return probs.log(), (~torch.tensor(right)).long()


def test_rows_worked_out_by_hand() -> None:
    logits = torch.tensor([[1.0, 3.0]], dtype=torch.float64).log().expand(2, 2)  # p = (1/4, 3/4)
    gammas, edges = torch.tensor([2.0, -0.5]), torch.tensor([0.5])
    terms = adaptive_focal(logits, torch.tensor([0, 1]), reduction="none", gammas=gammas, edges=edges)
    expected = [(3 / 4) ** 2 * math.log(4), (7 / 4) ** 0.5 * math.log(4 / 3)]
    assert terms.tolist() == pytest.approx(expected, rel=1e-12)


def test_it_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """-(1 - p_y)^g log p_y for g > 0 and -(1 + p_y)^|g| log p_y for g < 0, g that of the bin of p_y (Ghosh et al.)."""
    logits, target = batch()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    total = weights = 0.0
    bins = set()
    for row, label in zip(logits.softmax(1).tolist(), target.tolist(), strict=True):
        if label != 2:
            p = row[label]
            number = 0 if p < 0.1 else 1 if p < 0.4 else 2 if p < 0.7 else 3
            gamma = GAMMAS[number].item()
            bins.add(number)
            focus = (1 - p) ** gamma if gamma > 0 else (1 + p) ** -gamma
            total -= weight[label].item() * focus * math.log(p)
            weights += weight[label].item()
    assert bins == {0, 1, 2, 3}
    value = adaptive_focal(logits, target, weight, 2, gammas=GAMMAS, edges=EDGES)
    assert value.item() == pytest.approx(total / weights, rel=1e-12)


def test_one_exponent_for_all_is_focal_loss() -> None:
    logits, target = batch()
    for gamma in (0.0, 0.5, 3.0):
        same = adaptive_focal(logits, target, gammas=torch.full((4,), gamma), edges=EDGES)
        assert_close(same, focal(logits, target, gamma=gamma))
    assert_close(AdaFocalLoss(gamma=2.5)(logits, target), focal(logits, target, gamma=2.5))


def test_a_probability_at_an_edge_is_in_the_upper_bin() -> None:
    even, target = torch.zeros(1, 4, dtype=torch.float64), torch.tensor([0])
    value = adaptive_focal(even, target, gammas=torch.tensor([0.0, 2.0]), edges=torch.tensor([0.25]))
    assert_close(value, focal(even, target, gamma=2.0))


def test_its_gradient_is_right_away_from_the_edges_and_finite_for_rows_that_are_surely_right_or_wrong() -> None:
    logits, target = batch()
    assert torch.autograd.gradcheck(
        lambda z: adaptive_focal(z, target, gammas=GAMMAS, edges=EDGES), logits.requires_grad_()
    )
    sure = torch.tensor([[500.0, 0.0], [500.0, 0.0]], requires_grad=True)
    for gammas in (torch.tensor([0.5, 0.5]), torch.tensor([-0.5, -0.5]), torch.tensor([20.0, 20.0])):
        value = adaptive_focal(sure, torch.tensor([0, 1]), gammas=gammas, edges=torch.tensor([0.5]))
        assert torch.autograd.grad(value, sure)[0].isfinite().all()


def test_exponents_move_switch_and_stop_as_worked_out_by_hand() -> None:
    """g exp(lambda E) for g > 0, g exp(-lambda E) else; nearer to 0 than 0.2 to the other side; in [-2, 20]."""
    gammas = torch.tensor([1.0, 1.0, 0.21, -0.21, 15.0, -1.9, 0.0, 0.7], dtype=torch.float64)
    gaps = torch.tensor([0.2, -0.2, -0.1, 0.1, 0.5, -0.1, 0.3, 0.0], dtype=torch.float64)
    expected = [math.exp(0.4), math.exp(-0.4), -0.2, 0.2, 20.0, -2.0, 0.2, 0.7]
    assert updated_gammas(gammas, gaps, rate=2.0).tolist() == pytest.approx(expected, rel=1e-12)


def test_an_epoch_is_the_naive_loop_over_bins_of_equal_mass() -> None:
    """The gap of a bin is its mean top confidence less its accuracy (Ghosh et al.)."""
    logits, target = batch(rows=60)
    loss = AdaFocalLoss(bins=5, gamma=0.8).double()
    loss.end_epoch(1, 3, validation=(logits, target))
    confidence, predicted = logits.softmax(1).max(1)
    order = confidence.argsort()
    for number, members in enumerate(np.array_split(order.numpy(), 5)):
        gap = sum(confidence[i].item() - (predicted[i] == target[i]).item() for i in members) / 12
        assert loss.gammas[number].item() == pytest.approx(0.8 * math.exp(gap), rel=1e-6)
    assert_close(loss.edges, confidence[order[[12, 24, 36, 48]]])


def test_the_gaps_are_those_of_the_metrics_also_where_bins_cannot_be_of_one_size() -> None:
    logits, target = batch(rows=63)
    loss = AdaFocalLoss(bins=5).double()
    loss.end_epoch(1, 3, validation=(logits, target))
    outside = reliability_bins(logits.softmax(1), target, bins=5, binning="mass")
    gaps = (outside.confidence_sums - outside.event_sums) / outside.counts
    assert_close(loss.gammas.log(), gaps.flip(0))  # theirs start with the highest confidence


def test_overconfidence_raises_the_exponents_and_underconfidence_turns_them_negative() -> None:
    over = AdaFocalLoss(bins=3)
    under = AdaFocalLoss(bins=3)
    for epoch in range(1, 9):
        over.end_epoch(epoch, 8, with_confidence([0.7, 0.8, 0.9], [False] * 3))
        under.end_epoch(epoch, 8, with_confidence([0.5, 0.6, 0.7], [True] * 3))
    assert (over.gammas > 10).all()
    assert (under.gammas < 0).all()


def test_rows_of_one_confidence_share_the_upper_bin_and_empty_bins_keep_their_exponent() -> None:
    loss = AdaFocalLoss(bins=4).double()
    loss.end_epoch(1, 2, with_confidence([0.5, 0.8, 0.8, 0.8], [True, False, True, True]))
    # The edges are 0.8, 0.8, 0.8: the lowest bin has the first row, the highest the other three.
    expected = [math.exp(-0.5), 1.0, 1.0, math.exp(0.8 - 2 / 3)]
    assert loss.gammas.tolist() == pytest.approx(expected)


def test_fewer_rows_than_bins_leave_some_bins_empty() -> None:
    loss = AdaFocalLoss(bins=5).double()
    loss.end_epoch(1, 2, with_confidence([0.9, 0.6], [False, True]))
    assert loss.edges.tolist() == pytest.approx([0.6, 0.6, 0.9, 0.9])
    assert loss.gammas.tolist() == pytest.approx([1.0, 1.0, math.exp(-0.4), 1.0, math.exp(0.9)])
    single = AdaFocalLoss(bins=1)
    single.end_epoch(1, 2, with_confidence([0.9, 0.6], [False, True]))
    assert single.gammas.tolist() == pytest.approx([math.exp(0.25)])


@pytest.mark.parametrize("switch", [0.2, 0.3, 0.7])
def test_an_exponent_that_has_switched_stays_there_without_a_gap(switch: float) -> None:
    """0.7 in float32 is less than 0.7: compared with care, or it would go to and fro."""
    loss = AdaFocalLoss(bins=2, gamma=0.5 * switch, switch=switch)
    validation = with_confidence([0.5, 0.5], [True, False])  # no gap, and an empty bin
    for epoch in range(1, 4):
        loss.end_epoch(epoch, 3, validation)
        assert_close(loss.gammas, torch.tensor([-switch, -switch]))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from([0.4, 0.5, 0.6, 0.9]), st.booleans()), min_size=1, max_size=20), st.randoms())
def test_the_order_of_the_validation_rows_does_not_matter(rows: list[tuple[float, bool]], random) -> None:
    shuffled = random.sample(rows, len(rows))
    states = []
    for confidence, right in (zip(*rows, strict=True), zip(*shuffled, strict=True)):
        loss = AdaFocalLoss(bins=4)
        loss.end_epoch(1, 2, with_confidence(list(confidence), list(right)))
        states.append(loss.state_dict())
    assert_close(states[0], states[1])


def test_validation_rows_that_are_ignored_change_nothing() -> None:
    logits, target = batch()
    loss, other = AdaFocalLoss(ignore_index=2), AdaFocalLoss(ignore_index=2)
    loss.end_epoch(1, 2, (logits, target))
    other.end_epoch(1, 2, (logits[target != 2], target[target != 2]))
    assert_close(loss.state_dict(), other.state_dict())


def test_it_is_an_epoch_loss_whose_state_goes_round_and_whose_rows_and_weight_count_as_they_should() -> None:
    logits, target = batch()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    loss = AdaFocalLoss(weight, reduction="sum", bins=6)
    assert isinstance(loss, EpochLoss)
    assert loss.uses_validation
    untaught = loss(logits, target)
    loss.end_epoch(1, 2, validation=batch(seed=1))
    value = loss(logits, target, rows=torch.arange(40))
    assert value != untaught
    assert_close(value, adaptive_focal(logits, target, weight, reduction="sum", gammas=loss.gammas, edges=loss.edges))
    again = AdaFocalLoss(torch.ones(4), reduction="sum", bins=6).double()
    again.load_state_dict(loss.state_dict())
    assert_close(again(logits, target), value)
    assert_close(copy.deepcopy(loss)(logits, target), value)
    assert repr(loss) == "AdaFocalLoss(bins=6, rate=1.0, gamma_max=20.0, gamma_min=-2.0, switch=0.2)"


def test_the_validation_rows_get_no_gradient() -> None:
    logits, target = batch()
    loss = AdaFocalLoss()
    loss.end_epoch(1, 2, validation=(logits.requires_grad_(), target))
    assert not loss.gammas.requires_grad


def test_bins_that_do_not_fit_together_are_refused() -> None:
    logits, target = batch()
    with pytest.raises(ValueError, match=r"shape \(B\), and edges .* shape \(B - 1\); got shapes \(4,\) and \(4,\)"):
        adaptive_focal(logits, target, gammas=GAMMAS, edges=GAMMAS)
    with pytest.raises(ValueError, match=r"edges must rise; got \[0.7"):
        adaptive_focal(logits, target, gammas=GAMMAS, edges=EDGES.flip(0))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"gamma": 21.0}, "gamma must lie between gamma_min=-2.0 and gamma_max=20.0, all finite; got 21"),
        ({"rate": -1.0}, r"rate must be a finite number of at least 0 \(0 is a fixed gamma\); got -1"),
        ({"gamma_max": math.inf}, "gamma must lie between gamma_min=-2.0 and gamma_max=inf, all finite"),
        ({"rate": math.inf}, "rate must be a finite number of at least 0"),
        ({"bins": 2.5}, "bins must be a whole number of at least 1; got 2.5"),
        ({"switch": 3.0}, "switch must be at most 2.0, so that an exponent of either sign fits .*; got 3.0"),
        ({"gamma_max": 1.0, "switch": 1.5}, "switch must be at most 1.0"),
        ({"gamma": 0.0, "switch": 0.0}, "gamma must not be 0 with a switch of 0, as it would stay 0 for ever"),
        ({"bins": 0}, "bins must be a whole number of at least 1; got 0"),
        ({"switch": -0.1}, r"switch must be a finite number of at least 0 \(0 is no change of sign\); got -0.1"),
        ({"reduction": "max"}, "reduction must be one of none, mean, sum; got 'max'"),
    ],
)
def test_settings_out_of_range_are_refused(knobs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaFocalLoss(**knobs)


def test_validation_that_teaches_nothing_is_refused_and_leaves_the_state_as_it_was() -> None:
    logits, target = batch()
    loss = AdaFocalLoss()
    before = copy.deepcopy(loss.state_dict())
    with pytest.raises(ValueError, match=r"AdaFocalLoss learns from rows that are not trained on; got no validation"):
        loss.end_epoch(1, 2)
    with pytest.raises(ValueError, match="validation must have at least one row that counts; got none"):
        loss.end_epoch(1, 2, (logits, torch.full_like(target, -100)))
    with pytest.raises(ValueError, match="validation logits must not be NaN; got some: has the training diverged"):
        loss.end_epoch(1, 2, (logits * math.nan, target))
    assert_close(loss.state_dict(), before)


def test_a_switch_may_be_as_large_as_the_range_and_any_size_where_no_sign_changes() -> None:
    assert AdaFocalLoss(switch=2.0).switch == 2.0
    assert AdaFocalLoss(gamma_min=0.5, switch=3.0).switch == 3.0
