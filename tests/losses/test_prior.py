from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from gence.losses import label_smoothing
from gence.losses.criterion import Criterion
from gence.losses.prior import (
    balanced_softmax,
    class_balanced,
    effective_number_weights,
    logit_adjusted,
    logit_adjusted_smoothing,
)

COUNTS = torch.tensor([500.0, 60.0, 7.0, 1.0], dtype=torch.float64)
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
LOSSES = (class_balanced, balanced_softmax, logit_adjusted)


def batch(rows: int = 20, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, 4, dtype=torch.float64, generator=generator), torch.arange(rows) % 4


def naive_log_prob(logits: list[float], label: int) -> float:
    return logits[label] - math.log(sum(math.exp(z) for z in logits))


def test_the_weights_worked_out_by_hand() -> None:
    """1 - 0.5^1 = 1/2 and 1 - 0.5^2 = 3/4, so the weights are as 3 to 2."""
    assert_close(effective_number_weights([1, 2], beta=0.5), torch.tensor([1.2, 0.8]))


def test_the_weights_are_those_of_the_paper() -> None:
    """Section 4 of Cui et al., in numpy: (1 - beta) / (1 - beta^n), rescaled to sum C."""
    counts = np.array([5000.0, 299.0, 50.0, 6.0])
    raw = (1.0 - 0.999) / (1.0 - np.power(0.999, counts))
    assert_close(
        effective_number_weights(torch.from_numpy(counts), beta=0.999),
        torch.from_numpy(raw / raw.sum() * 4),
        rtol=1e-12,
        atol=0,
    )


def test_the_weights_go_from_none_to_the_inverse_counts() -> None:
    assert_close(effective_number_weights(COUNTS, beta=0.0), torch.ones(4, dtype=torch.float64))
    inverse = 1 / COUNTS
    assert_close(effective_number_weights(COUNTS, beta=1 - 1e-10), 4 * inverse / inverse.sum(), rtol=1e-7, atol=0)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 10**7), min_size=1, max_size=6),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_the_weights_have_sum_c_and_fall_with_the_count(counts: list[int], beta: float) -> None:
    weights = effective_number_weights(torch.tensor(counts, dtype=torch.float64), beta=beta)
    assert weights.sum().item() == pytest.approx(len(counts))
    assert weights.isfinite().all()
    order = torch.tensor(counts).argsort()
    assert (weights[order].diff() <= 1e-12 * len(counts)).all()


def test_the_weights_have_the_dtype_of_counts_in_floating_point() -> None:
    assert effective_number_weights(COUNTS).dtype == torch.float64
    assert effective_number_weights(COUNTS.long()).dtype == torch.float32
    assert_close(effective_number_weights(COUNTS.long()), effective_number_weights(COUNTS).float())


def test_class_balanced_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Section 4 of Cui et al.; the mean over the weights of the user, not over those of the counts."""
    logits, target = batch()
    raw = [(1 - 0.99) / (1 - 0.99**n) for n in COUNTS.tolist()]
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            total -= WEIGHT[label].item() * 4 * raw[label] / sum(raw) * naive_log_prob(row, label)
            weights += WEIGHT[label].item()
    loss = class_balanced(logits, target, WEIGHT, 2, class_counts=COUNTS, beta=0.99)
    assert loss.item() == pytest.approx(total / weights, rel=1e-12)


@pytest.mark.parametrize("tau", [None, 0.7])
def test_the_adjusted_losses_equal_the_naive_loop_with_weights_and_ignored_rows(tau: float | None) -> None:
    """Theorem 1 of Ren et al.; equation 10 of Menon et al."""
    logits, target = batch()
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            adjusted = [
                z + (math.log(n) if tau is None else tau * math.log(n / 568.0))
                for z, n in zip(row, COUNTS.tolist(), strict=True)
            ]
            total -= WEIGHT[label].item() * naive_log_prob(adjusted, label)
            weights += WEIGHT[label].item()
    knobs: dict[str, Any] = {"class_counts": COUNTS} | ({} if tau is None else {"tau": tau})
    loss = (balanced_softmax if tau is None else logit_adjusted)(logits, target, WEIGHT, 2, **knobs)
    assert loss.item() == pytest.approx(total / weights, rel=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_smoothed_logit_adjustment_equals_the_naive_loop_with_weights_and_ignored_rows(reduction: Any) -> None:
    logits, target = batch()
    tau, smoothing, prior = 0.7, 0.2, [n / 568.0 for n in COUNTS.tolist()]
    total = weights = 0.0
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        if label != 2:
            adjusted = [z + tau * math.log(p) for z, p in zip(row, prior, strict=True)]
            term = -(1 - smoothing) * naive_log_prob(adjusted, label)
            term -= smoothing * sum(p * naive_log_prob(adjusted, k) for k, p in enumerate(prior))
            total += WEIGHT[label].item() * term
            weights += WEIGHT[label].item()
    knobs: Any = {"class_counts": COUNTS, "tau": tau, "smoothing": smoothing}
    value = logit_adjusted_smoothing(logits, target, WEIGHT, 2, reduction, **knobs)
    assert value.item() == pytest.approx(total / weights if reduction == "mean" else total, rel=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_smoothed_logit_adjustment_is_the_cross_entropy_of_soft_labels_and_two_known_losses(reduction: Any) -> None:
    logits, target = batch()
    prior = COUNTS / COUNTS.sum()
    soft = 0.9 * F.one_hot(target, 4).double() + 0.1 * prior
    outside = F.cross_entropy(logits + prior.log(), soft, reduction=reduction)
    mine = logit_adjusted_smoothing(logits, target, reduction=reduction, class_counts=COUNTS, smoothing=0.1)
    assert_close(mine, outside, rtol=1e-12, atol=1e-12)
    common: Any = {"weight": WEIGHT, "ignore_index": 1, "reduction": reduction, "class_counts": COUNTS}
    hard = logit_adjusted_smoothing(logits, target, **common, smoothing=0.0)
    assert_close(hard, logit_adjusted(logits, target, **common), rtol=1e-12, atol=1e-12)
    even = logit_adjusted_smoothing(logits, target, reduction=reduction, class_counts=[3, 3, 3, 3], smoothing=0.3)
    assert_close(even, label_smoothing(logits, target, reduction=reduction, smoothing=0.3), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_each_collapses_to_cross_entropy(reduction) -> None:
    logits, target = batch()
    target[3] = -100
    expected = F.cross_entropy(logits, target, WEIGHT, reduction=reduction)
    equal = [7, 7, 7, 7]
    for loss, knobs in (
        (class_balanced, {"class_counts": COUNTS, "beta": 0.0}),
        (class_balanced, {"class_counts": equal}),
        (balanced_softmax, {"class_counts": equal}),
        (logit_adjusted, {"class_counts": equal}),
        (logit_adjusted, {"class_counts": COUNTS, "tau": 0.0}),
    ):
        assert_close(loss(logits, target, WEIGHT, reduction=reduction, **knobs), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=20)
@given(st.floats(0.1, 1e4))
def test_balanced_softmax_is_logit_adjustment_at_tau_1_whatever_the_scale_of_the_counts(scale: float) -> None:
    logits, target = batch()
    expected = balanced_softmax(logits, target, class_counts=COUNTS)
    assert_close(logit_adjusted(logits, target, class_counts=scale * COUNTS), expected, rtol=1e-12, atol=1e-12)
    assert_close(balanced_softmax(logits, target, class_counts=scale * COUNTS), expected, rtol=1e-12, atol=1e-12)


def test_class_balanced_sums_to_the_cross_entropy_with_its_weights() -> None:
    logits, target = batch(6)  # six rows of four classes, so that the weights of the rows have no mean of 1
    weights = effective_number_weights(COUNTS)
    for reduction in ("none", "sum"):
        assert_close(
            class_balanced(logits, target, reduction=reduction, class_counts=COUNTS),
            F.cross_entropy(logits, target, weights, reduction=reduction),
        )
    apart = class_balanced(logits, target, class_counts=COUNTS) - F.cross_entropy(logits, target, weights)
    assert apart.abs() > 0.01


def minimiser_at(loss, *, class_counts: Tensor, optimum: Tensor, posterior: Tensor) -> None:
    """Each label of each point of x counts as often as the posterior says, so the gradient must vanish."""
    logits = optimum.log().requires_grad_()
    terms = [loss(logits, torch.full((len(logits),), k), reduction="none", class_counts=class_counts) for k in range(3)]
    risk = (posterior * torch.stack(terms, 1)).sum()
    assert_close(torch.autograd.grad(risk, logits)[0], torch.zeros_like(logits), rtol=0, atol=1e-12)


def test_the_minimisers_are_the_posteriors_the_docstrings_name() -> None:
    posterior = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]], dtype=torch.float64)
    share = posterior.mean(0)
    weights = effective_number_weights(100 * share)
    minimiser_at(class_balanced, class_counts=100 * share, optimum=posterior * weights, posterior=posterior)
    for loss in (balanced_softmax, logit_adjusted):
        minimiser_at(loss, class_counts=100 * share, optimum=posterior / share, posterior=posterior)
    smoothed = 0.95 * posterior + 0.05 * share
    minimiser_at(logit_adjusted_smoothing, class_counts=100 * share, optimum=smoothed / share, posterior=posterior)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_is_right_and_finite_at_the_ends(loss) -> None:
    logits, target = batch(6)
    assert torch.autograd.gradcheck(lambda z: loss(z, target, WEIGHT, class_counts=COUNTS), logits.requires_grad_())
    for rows in ([[500.0, -500.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, -math.inf]], [[0.0] * 4]):
        z = torch.tensor(rows, requires_grad=True)
        value = loss(z, torch.tensor([1]), class_counts=COUNTS)
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_counts_may_be_a_list_an_array_or_a_tensor_of_any_number(loss) -> None:
    logits, target = batch()
    expected = loss(logits, target, class_counts=COUNTS)
    for counts in ([500, 60, 7, 1], (500.0, 60.0, 7.0, 1.0), COUNTS.numpy(), COUNTS.long(), COUNTS.int()):
        assert_close(loss(logits, target, class_counts=counts), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("loss", "counts"), [(class_balanced, COUNTS.long()), (logit_adjusted, [500, 60, 7, 1])])
def test_it_compiles_whole(loss, counts: Any) -> None:
    logits, target = batch()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert_close(compiled(logits, target, class_counts=counts), loss(logits, target, class_counts=COUNTS))


@pytest.mark.parametrize("loss", LOSSES)
def test_it_runs_without_values(loss) -> None:
    logits = torch.zeros(5, 4, device="meta", requires_grad=True)
    for counts in (torch.zeros(4, dtype=torch.long, device="meta"), [1, 2, 3, 4]):
        loss(logits, torch.zeros(5, dtype=torch.long, device="meta"), class_counts=counts).backward()


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_and_images_come_back_as_from_cross_entropy(loss) -> None:
    logits = batch(24)[0].view(2, 3, 4, 4).permute(0, 3, 1, 2)
    target = torch.arange(24).view(2, 3, 4) % 4
    value = loss(logits.bfloat16(), target, reduction="none", class_counts=COUNTS)
    assert (value.dtype, value.shape) == (torch.bfloat16, target.shape)
    flat = loss(logits.movedim(1, -1).reshape(-1, 4), target.flatten(), reduction="none", class_counts=COUNTS)
    assert_close(loss(logits, target, reduction="none", class_counts=COUNTS).flatten(), flat)


def test_as_a_module_the_counts_are_a_buffer() -> None:
    logits, target = batch()
    module = Criterion(logit_adjusted, class_counts=COUNTS, tau=0.5)
    assert list(module.state_dict()) == ["class_counts"]
    assert_close(module(logits, target), logit_adjusted(logits, target, class_counts=COUNTS, tau=0.5))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([5, 0, 3, 1], r"class_counts must be above 0 and finite, .*; got 0 for class 1: leave it out, or count a row"),
        ([5.0, 1.0, 3.0, -2.0], r"got -2.0 for class 3"),
        ([5.0, 1.0, math.inf, 1.0], r"got inf for class 2"),
        ([math.nan, 1.0, 1.0, 1.0], r"got nan for class 0"),
        ([5, 3], r"training rows of each class, shape \(4,\); got shape \(2,\): use torch.bincount"),
        (5, r"shape \(4,\); got shape \(\)"),
        (None, r"shape \(4,\); got NoneType, which makes no tensor: use torch.bincount"),
        ({0: 5}, r"got dict, which makes no tensor"),
        ([[5], [3, 4]], r"got list, which makes no tensor"),
    ],
)
@pytest.mark.parametrize("loss", LOSSES)
def test_wrong_counts_are_named_with_a_cure(loss, counts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(*batch(), class_counts=counts)


def test_wrong_counts_of_the_weights_alone_are_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(C,\); got shape \(1, 2\)"):
        effective_number_weights(torch.ones(1, 2))


@pytest.mark.parametrize("beta", [-0.1, 1.0, math.nan])
def test_a_wrong_beta_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match=rf"beta must lie in \[0, 1\): 0 weighs all classes alike; got {beta}"):
        class_balanced(*batch(), class_counts=COUNTS, beta=beta)


@pytest.mark.parametrize("tau", [-0.1, math.inf, math.nan])
def test_a_wrong_tau_is_refused(tau: float) -> None:
    with pytest.raises(ValueError, match=f"tau must be a finite number of at least 0, .*; got {tau}"):
        logit_adjusted(*batch(), class_counts=COUNTS, tau=tau)
