from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from gence.losses import focal
from gence.losses.adaptive_focal import adaptive_focal
from gence.losses.focal import dual_focal, focal_sample_dependent


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels and class weights in float64; rows of label 2 are for being ignored."""
    logits = 2 * torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.arange(20) % 4, torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(z) for z in row)
    return [math.exp(z) / total for z in row]


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
    with pytest.raises(ValueError, match=r"gamma must be a finite number of at least 0 .* got -1"):
        focal(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), gamma=-1.0)


def test_a_nan_in_a_row_that_does_not_count_reaches_no_gradient() -> None:
    logits = torch.tensor([[1.0, 0.0], [torch.nan, 0.0]], requires_grad=True)
    gradient = torch.autograd.grad(focal(logits, torch.tensor([0, -100])), logits)[0]
    assert gradient.isfinite().all()
    assert gradient[1].tolist() == [0.0, 0.0]


def test_flsd_53_of_rows_worked_out_by_hand() -> None:
    """gamma = 5 for p_y in [0, 0.2) and 3 for p_y in [0.2, 1] (Mukhoti et al., FLSD-53)."""
    logits = torch.tensor([[1.0, 9.0], [5.0, 5.0], [2.0, 8.0]], dtype=torch.float64).log()  # p_y = 0.1, 0.5, 0.2
    terms = focal_sample_dependent(logits, torch.zeros(3, dtype=torch.long), reduction="none", threshold=0.199)
    expected = [0.9**5 * math.log(10), 0.5**3 * math.log(2), 0.8**3 * math.log(5)]
    assert terms.tolist() == pytest.approx(expected, rel=1e-12)


def test_a_row_at_the_threshold_has_the_exponent_of_those_above() -> None:
    even = torch.zeros(1, 4, dtype=torch.float64)
    value = focal_sample_dependent(even, torch.tensor([1]), threshold=0.25)
    assert value.item() == pytest.approx(0.75**3 * math.log(4), rel=1e-12)


def test_flsd_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """gamma = 5 for p_y in [0, 0.2) and 3 for p_y in [0.2, 1] (Mukhoti et al., FLSD-53)."""
    logits, target, weight = batch()
    total = weights = 0.0
    exponents = set()
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            p = softmax(row)[label]
            gamma = 5.0 if p < 0.2 else 3.0
            exponents.add(gamma)
            total -= weight[label].item() * (1 - p) ** gamma * math.log(p)
            weights += weight[label].item()
    assert exponents == {3.0, 5.0}
    assert focal_sample_dependent(logits, target, weight, 2).item() == pytest.approx(total / weights, rel=1e-12)


def test_flsd_collapses_to_focal_loss() -> None:
    logits, target, weight = batch()
    same = focal_sample_dependent(logits, target, weight, gamma_low=2.5, gamma_high=2.5)
    assert_close(same, focal(logits, target, weight, gamma=2.5))
    assert_close(focal_sample_dependent(logits, target, threshold=0.0), focal(logits, target, gamma=3.0))
    # Not 1.0, as rounding may give a p_y of 1, which is not below.
    assert_close(focal_sample_dependent(logits, target, threshold=0.9999), focal(logits, target, gamma=5.0))


def test_dual_focal_of_rows_worked_out_by_hand() -> None:
    """-(1 - p_y + p_j)^gamma log p_y, p_j the largest probability below p_y (Tao et al.)."""
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    terms = dual_focal(p.log().expand(3, 3), torch.arange(3), reduction="none", gamma=2.0)
    expected = [0.8**2 * math.log(1 / 0.5), 0.9**2 * math.log(1 / 0.3), 0.8**2 * math.log(1 / 0.2)]
    assert terms.tolist() == pytest.approx(expected, rel=1e-12)


def test_dual_focal_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """-(1 - p_y + p_j)^gamma log p_y, p_j the largest probability below p_y or 0 (Tao et al.)."""
    logits, target, weight = batch()
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            p = softmax(row)
            p_next = max([q for q in p if q < p[label]], default=0.0)
            total -= weight[label].item() * (1 - p[label] + p_next) ** 5 * math.log(p[label])
            weights += weight[label].item()
    assert dual_focal(logits, target, weight, 2).item() == pytest.approx(total / weights, rel=1e-12)


def test_dual_focal_of_two_classes_is_focal_loss_on_one_side_and_a_multiple_of_it_on_the_other() -> None:
    logits = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.arange(20) % 2
    right = logits.argmax(1) == target
    terms = focal(logits, target, reduction="none", gamma=3.0) * torch.where(right, 2.0**3, 1.0)
    assert_close(dual_focal(logits, target, reduction="none", gamma=3.0), terms)
    assert_close(dual_focal(logits, target, gamma=0.0), F.cross_entropy(logits, target))


def test_classes_that_tie_with_the_label_are_not_the_next_one() -> None:
    even = torch.zeros(1, 3, dtype=torch.float64)
    assert dual_focal(even, torch.tensor([1]), gamma=2.0).item() == pytest.approx((2 / 3) ** 2 * math.log(3))


def test_the_gradient_of_dual_focal_goes_through_the_next_class_and_is_shared_by_those_that_tie() -> None:
    logits, target, _ = batch()
    assert torch.autograd.gradcheck(lambda z: dual_focal(z, target, gamma=1.5), logits.requires_grad_())
    tied = torch.tensor([[1.0, 0.0, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(dual_focal(tied, torch.tensor([0])), tied)[0][0]
    assert gradient[1] == gradient[2]


def test_the_gradient_of_flsd_is_right_away_from_the_threshold() -> None:
    logits, target, _ = batch()
    assert torch.autograd.gradcheck(lambda z: focal_sample_dependent(z, target), logits.requires_grad_())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma_low": -1.0}, r"gamma_low must be a finite number of at least 0 .* got -1"),
        ({"gamma_high": math.nan}, r"gamma_high must be a finite number of at least 0 .* got nan"),
        ({"gamma_low": math.inf}, r"gamma_low must be a finite number of at least 0 .* got inf"),
        ({"threshold": 1.5}, r"threshold must be a probability, in \[0, 1\]; got 1.5"),
    ],
)
def test_settings_of_flsd_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        focal_sample_dependent(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), **settings)


def test_a_negative_gamma_of_dual_focal_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gamma must be a finite number of at least 0 .* got -1"):
        dual_focal(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), gamma=-1.0)


def test_an_infinite_gamma_is_refused() -> None:
    for loss in (focal, dual_focal):
        with pytest.raises(ValueError, match=r"gamma must be a finite number of at least 0 .*; got inf"):
            loss(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), gamma=math.inf)


@pytest.mark.parametrize("knob", ["gamma_low", "gamma_high"])
def test_a_gamma_of_0_on_one_side_of_flsd_is_cross_entropy_there(knob: str) -> None:
    logits, target, _ = batch()
    p = logits.softmax(1).gather(1, target[:, None]).squeeze(1)
    there = p < 0.2 if knob == "gamma_low" else p >= 0.2
    terms = focal_sample_dependent(logits, target, reduction="none", **{knob: 0.0})
    assert_close(terms[there], F.cross_entropy(logits, target, reduction="none")[there])


@pytest.mark.parametrize("top", [0.1, 0.6])
@pytest.mark.parametrize("gamma", [2.0, -2.0])
def test_with_many_classes_the_side_that_the_minimiser_errs_on_depends_on_the_posterior(
    top: float, gamma: float
) -> None:
    """A positive gamma makes less of a likely class and more of one that is merely the likeliest; a negative reverses.

    By direct minimisation, with one class of 100 above the others.
    """
    posterior = torch.full((100,), (1 - top) / 99, dtype=torch.float64)
    posterior[0] = top
    logits, target = posterior.log().requires_grad_(), torch.arange(100)

    def risk() -> torch.Tensor:
        optimizer.zero_grad()
        rows = logits.expand(100, 100)
        if gamma > 0.0:
            terms = focal(rows, target, reduction="none", gamma=gamma)
        else:
            terms = adaptive_focal(rows, target, reduction="none", gammas=torch.tensor([gamma]), edges=torch.empty(0))
        value = posterior @ terms
        value.backward()
        return value

    optimizer = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )
    optimizer.step(risk)
    expected = {(0.1, 2.0): 0.1131, (0.1, -2.0): 0.0801, (0.6, 2.0): 0.4787, (0.6, -2.0): 0.7987}
    assert logits.softmax(0)[0].item() == pytest.approx(expected[top, gamma], abs=1e-4)
