from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from gence.calibration import PriorShift, fit_prior_shift, fit_prior_shift_em

TRAIN = (0.5, 0.3, 0.2)
TARGET = (0.1, 0.2, 0.7)
MEANS = torch.tensor([0.0, 1.5, 3.0], dtype=torch.float64)


def log_joint(x: torch.Tensor, prior: tuple[float, ...]) -> torch.Tensor:
    """Log of prior times density of one unit Gaussian a class, so its softmax is the exact posterior."""
    return torch.tensor(prior, dtype=torch.float64).log() - 0.5 * (x[:, None] - MEANS) ** 2


def drawn(rows: int, prior: tuple[float, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    target = torch.multinomial(torch.tensor(prior, dtype=torch.float64), rows, replacement=True, generator=generator)
    return MEANS[target] + torch.randn(rows, dtype=torch.float64, generator=generator)


def naive_em(logits: torch.Tensor, train: tuple[float, ...], steps: int) -> tuple[list[float], list[float]]:
    """The shares after so many steps, and the mean log-likelihood (up to a constant) before each."""
    probs, shares, likelihoods = logits.softmax(1).tolist(), list(train), []
    for _ in range(steps):
        sums, likelihood = [0.0] * len(train), 0.0
        for p in probs:
            joint = [p[k] * shares[k] / train[k] for k in range(len(train))]
            likelihood += math.log(sum(joint)) / len(probs)
            for k in range(len(train)):
                sums[k] += joint[k] / sum(joint)
        shares = [s / len(probs) for s in sums]
        likelihoods.append(likelihood)
    return shares, likelihoods


def test_by_hand() -> None:
    shift = fit_prior_shift([0.5, 0.5], [0.8, 0.2])
    # Odds of 1:3 times a prior ratio of 4.
    expected = torch.tensor([[4 / 7, 3 / 7]], dtype=torch.float64)
    assert_close(shift(torch.tensor([[0.25, 0.75]], dtype=torch.float64).log()).softmax(1), expected)
    assert shift.rows == 0
    assert shift.converged
    assert shift.remarks == ()
    assert shift.summary == "class shares times 0.4 to 1.6"


def test_two_classes_get_the_difference_of_the_prior_log_odds() -> None:
    z = torch.linspace(-5, 5, 11, dtype=torch.float64)
    shifted = fit_prior_shift([0.7, 0.3], [0.05, 0.95])(torch.stack([torch.zeros_like(z), z], 1)).softmax(1)[:, 1]
    assert_close(shifted, torch.sigmoid(z + math.log(0.95 / 0.05) - math.log(0.3 / 0.7)))


def test_it_is_bayes_rule_for_the_other_prior() -> None:
    x = torch.linspace(-3, 6, 50, dtype=torch.float64)
    shifted = fit_prior_shift(TRAIN, TARGET)(log_joint(x, TRAIN))
    assert_close(shifted.softmax(1), log_joint(x, TARGET).softmax(1))


def test_the_same_prior_changes_nothing() -> None:
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    assert_close(fit_prior_shift(TRAIN, TRAIN)(logits), logits, rtol=0, atol=0)


@given(st.lists(st.integers(1, 1000), min_size=6, max_size=6))
@settings(max_examples=20, deadline=None)
def test_a_shift_there_and_back_changes_nothing(counts: list[int]) -> None:
    first, second = np.array(counts[:3]), np.array(counts[3:])
    there = fit_prior_shift(first / first.sum(), second / second.sum())
    back = fit_prior_shift(there.target_prior, there.train_prior)
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_close(back(there(logits)), logits)


@pytest.mark.parametrize("steps", [1, 7])
def test_em_is_the_naive_loop_and_its_likelihood_never_falls(steps: int) -> None:
    logits = log_joint(drawn(60, TARGET), TRAIN)
    shares, likelihoods = naive_em(logits, TRAIN, steps)
    fitted = fit_prior_shift_em(logits, TRAIN, max_iterations=steps)
    assert fitted.target_prior == pytest.approx(shares, rel=1e-12)
    _, one_more = naive_em(logits, TRAIN, steps + 1)
    assert one_more == sorted(one_more)
    assert fitted.log_likelihood_gain == pytest.approx(one_more[-1] - one_more[0], rel=1e-9)
    assert fitted.log_likelihood_gain > 0.0
    assert likelihoods == one_more[:-1]


def test_em_recovers_the_prior_that_the_rows_were_drawn_from() -> None:
    fitted = fit_prior_shift_em(log_joint(drawn(20000, TARGET), TRAIN), TRAIN)
    assert fitted.target_prior == pytest.approx(TARGET, abs=0.02)
    assert fitted.train_prior == TRAIN
    assert fitted.converged
    assert fitted.rows == 20000
    assert 1 < fitted.iterations < 1000
    assert fitted.remarks == ()
    x = torch.linspace(-3, 6, 50, dtype=torch.float64)
    assert_close(fitted(log_joint(x, TRAIN)).softmax(1), log_joint(x, TARGET).softmax(1), rtol=0, atol=0.02)


def test_em_is_a_maximum_of_the_likelihood() -> None:
    logits = log_joint(drawn(500, TARGET), TRAIN)
    fitted = fit_prior_shift_em(logits, TRAIN)
    ratio = logits.softmax(1) / torch.tensor(TRAIN, dtype=torch.float64)
    best = torch.tensor(fitted.target_prior, dtype=torch.float64)
    # At a maximum inside the simplex, the gradient is the same (here 1) in every direction.
    assert_close((ratio / (ratio @ best)[:, None]).mean(0), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-5)


def test_em_without_a_shift_stays_near_the_training_prior() -> None:
    fitted = fit_prior_shift_em(log_joint(drawn(20000, TRAIN), TRAIN), TRAIN)
    assert fitted.target_prior == pytest.approx(TRAIN, abs=0.02)
    assert 0.0 <= fitted.log_likelihood_gain < 1e-3


def test_numpy_and_torch_logits_and_priors_give_the_same() -> None:
    logits = log_joint(drawn(50, TARGET), TRAIN)
    expected = fit_prior_shift_em(logits, TRAIN)
    assert fit_prior_shift_em(logits.numpy(), np.array(TRAIN)) == expected
    assert fit_prior_shift_em(logits, torch.tensor(TRAIN, dtype=torch.float64)) == expected
    assert fit_prior_shift(np.array(TRAIN, dtype=np.float32), TARGET).train_prior == pytest.approx(TRAIN, rel=1e-6)


def test_em_that_stopped_early_says_so() -> None:
    fitted = fit_prior_shift_em(log_joint(drawn(60, TARGET), TRAIN), TRAIN, max_iterations=2)
    assert not fitted.converged
    assert fitted.iterations == 2
    assert fitted.remarks == ("EM had not come to rest after 2 iterations: give it a larger max_iterations",)


def test_a_class_that_em_does_not_find_keeps_a_tiny_share_and_is_named() -> None:
    logits = torch.tensor([[1000.0, 0.0, 0.0, 0.0]] * 6 + [[0.0, 1000.0, 0.0, 0.0]] * 4, dtype=torch.float64)
    fitted = fit_prior_shift_em(logits, (0.25, 0.25, 0.25, 0.25))
    assert fitted.target_prior == pytest.approx((0.6, 0.4, 1e-12, 1e-12))
    assert fitted.remarks == ("EM found none of 10 rows to be of 2 classes (2, 3), and all but rules out them",)
    assert fitted(logits).isfinite().all()
    one = fit_prior_shift_em(logits[:, :3], TRAIN)
    assert one.remarks == ("EM found none of 10 rows to be of class 2, and all but rules out it",)


def test_logits_of_another_number_of_classes_are_refused() -> None:
    shift = fit_prior_shift(TRAIN, TARGET)
    assert shift.num_classes == 3
    with pytest.raises(ValueError, match="numbers for each of 3 classes, logits has 4 columns: fit one on logits of"):
        shift(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ([60, 40], r"train_prior must hold shares with sum 1; got a sum of 100: use counts / counts.sum\(\)"),
        ([0.5, 0.4], "a sum of 0.9"),
        ([math.nan, 1.0], "a sum of nan"),
        ([0.0, 1.0], r"positive shares; got 0 for class 0: give every class a little, as \(counts \+ 1\)"),
        ([1.5, -0.5], "positive shares; got -0.5 for class 1"),
        ([1.0], "shares of at least 2 classes; got 1"),
        (np.eye(2), r"train_prior must hold one share a class, shape \(classes,\); got shape \(2, 2\)"),
        ([0.2, 0.3, 0.5], "one share a class is expected in both priors; got 3 in train_prior and 2 in target_prior"),
    ],
)
def test_a_prior_that_is_none_is_refused_with_the_reason(prior, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_prior_shift(prior, [0.5, 0.5])


def test_the_target_prior_is_checked_too() -> None:
    with pytest.raises(ValueError, match="target_prior must hold shares with sum 1; got a sum of 3"):
        fit_prior_shift([0.5, 0.5], [1, 2])
    with pytest.raises(ValueError, match="target_prior must hold positive shares; got 0 for class 1"):
        PriorShift((0.5, 0.5), (1.0, 0.0))


@pytest.mark.parametrize(
    ("logits", "settings", "message"),
    [
        (torch.zeros(4, 2), {}, "train_prior must hold one share for each of 2 columns of logits; got 3"),
        (torch.zeros(4, 3), {"max_iterations": 0}, "max_iterations must be at least 1; got 0"),
        (torch.zeros(4, 3), {"tolerance": 0.0}, "tolerance must be a positive finite number; got 0.0"),
        (torch.zeros(0, 3), {}, "logits has no rows"),
        (torch.full((4, 3), torch.inf), {}, "row 0 holds NaN or infinity"),
        (torch.full((4, 3), 1 / 3), {}, "these rows are probabilities"),
    ],
)
def test_what_em_cannot_use_is_refused_with_the_reason(logits, settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_prior_shift_em(logits, TRAIN, **settings)
