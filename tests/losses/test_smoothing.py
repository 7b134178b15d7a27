from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical
from torch.testing import assert_close

from gence.losses.smoothing import confidence_penalty, label_relaxation, label_smoothing

WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)


def batch() -> tuple[Tensor, Tensor]:
    """Logits and labels; rows of label 2 are for being ignored."""
    logits = 2 * torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.arange(20) % 4


def rows(logits: Tensor, target: Tensor) -> list[tuple[list[float], int]]:
    """The probabilities and the label of each row that counts."""
    pairs = zip(logits.softmax(1).tolist(), target.tolist(), strict=True)
    return [(p, label) for p, label in pairs if label != 2]


def test_smoothing_of_one_row_worked_out_by_hand() -> None:
    logits = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64).log()
    expected = -0.8 * math.log(0.7) - 0.1 * math.log(0.2) - 0.1 * math.log(0.1)
    assert label_smoothing(logits, torch.tensor([0]), smoothing=0.3).item() == pytest.approx(expected)


def test_smoothing_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """The target (1 - e) 1{k = y} + e / K of Szegedy et al., section 7, each class's part with its own weight."""
    logits, target = batch()
    total = weights = 0.0
    for p, label in rows(logits, target):
        for k, p_k in enumerate(p):
            total -= WEIGHT[k].item() * (0.8 * (k == label) + 0.2 / 4) * math.log(p_k)
        weights += WEIGHT[label].item()
    value = label_smoothing(logits, target, WEIGHT, 2, smoothing=0.2)
    assert value.item() == pytest.approx(total / weights, rel=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothing_is_that_of_pytorch_also_for_images_and_class_probabilities(reduction, smoothing: float) -> None:
    logits, target = batch()
    image, labels = logits.view(2, 10, 4).movedim(-1, 1), target.view(2, 10)
    soft = logits.flip(0).softmax(1)
    for input, wanted, ignore_index in [(logits, target, 2), (image, labels, 2), (logits, soft, -100)]:
        ours = label_smoothing(input, wanted, WEIGHT, ignore_index, reduction, smoothing=smoothing)
        theirs = F.cross_entropy(
            input, wanted, WEIGHT, ignore_index=ignore_index, reduction=reduction, label_smoothing=smoothing
        )
        assert_close(ours, theirs)


def test_a_nan_in_a_row_that_does_not_count_reaches_no_gradient_of_smoothing() -> None:
    logits = torch.tensor([[1.0, 0.0], [torch.nan, 0.0]], requires_grad=True)
    gradient = torch.autograd.grad(label_smoothing(logits, torch.tensor([0, -100])), logits)[0]
    assert gradient.isfinite().all()


def test_smoothing_of_a_class_ruled_out_by_minus_infinity_is_infinite() -> None:
    assert label_smoothing(torch.tensor([[0.0, -torch.inf]]), torch.tensor([0])).item() == math.inf


def test_relaxation_of_rows_worked_out_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.5], [0.8, 0.2], [0.9, 0.1]], dtype=torch.float64).log()
    terms = label_relaxation(logits, torch.zeros(3, dtype=torch.long), reduction="none", alpha=0.25)
    assert terms.tolist() == pytest.approx([0.75 * math.log(1.5) + 0.25 * math.log(0.5), 0.0, 0.0], rel=1e-12)


def test_relaxation_equals_the_naive_loop_over_the_nearest_distribution_of_the_set() -> None:
    """KL(q || p), q giving 1 - alpha to the label and the rest in the proportions of p; 0 where p is in the set."""
    logits, target = batch()
    total = weights = 0.0
    inside = 0
    for p, label in rows(logits, target):
        if p[label] >= 0.6:
            inside += 1
        else:
            q = [0.6 if k == label else 0.4 * p_k / (1 - p[label]) for k, p_k in enumerate(p)]
            total += WEIGHT[label].item() * sum(q_k * math.log(q_k / p_k) for q_k, p_k in zip(q, p, strict=True))
        weights += WEIGHT[label].item()
    assert 0 < inside < 15
    value = label_relaxation(logits, target, WEIGHT, 2, alpha=0.4)
    assert value.item() == pytest.approx(total / weights, rel=1e-12)


def test_relaxation_collapses_to_cross_entropy_and_to_nothing() -> None:
    logits, target = batch()
    assert_close(label_relaxation(logits, target, WEIGHT, alpha=0.0), F.cross_entropy(logits, target, WEIGHT))
    assert label_relaxation(logits, target, alpha=1.0).item() == 0.0


def test_relaxation_meets_0_smoothly_and_stays_there() -> None:
    p = torch.tensor([0.9 - 1e-6, 0.9 + 1e-6, 1.0 - 1e-12], dtype=torch.float64)
    logits = torch.stack([p, 1 - p], 1).log().requires_grad_()
    terms = label_relaxation(logits, torch.zeros(3, dtype=torch.long), reduction="none")
    gradient = torch.autograd.grad(terms.sum(), logits)[0]
    assert 0.0 < terms[0] < 1e-10
    assert terms[1:].tolist() == [0.0, 0.0]
    assert 0.0 < gradient[0].abs().max() < 1e-5
    assert gradient[1:].abs().max() == 0.0


def test_penalty_of_one_row_worked_out_by_hand() -> None:
    even = torch.zeros(1, 4, dtype=torch.float64)
    assert confidence_penalty(even, torch.tensor([0]), beta=0.3).item() == pytest.approx(0.7 * math.log(4))


def test_penalty_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """-log p_y - beta H(p) of Pereyra et al., the mean taken over the weights of the rows that count."""
    logits, target = batch()
    total = weights = 0.0
    for p, label in rows(logits, target):
        entropy = -sum(p_k * math.log(p_k) for p_k in p)
        total += WEIGHT[label].item() * (-math.log(p[label]) - 0.2 * entropy)
        weights += WEIGHT[label].item()
    value = confidence_penalty(logits, target, WEIGHT, 2, beta=0.2)
    assert value.item() == pytest.approx(total / weights, rel=1e-12)


def test_penalty_takes_the_entropy_of_torch_distributions() -> None:
    logits, target = batch()
    cross_entropy = F.cross_entropy(logits, target, reduction="none")
    assert_close(confidence_penalty(logits, target, reduction="none", beta=0.0), cross_entropy)
    expected = cross_entropy - 0.1 * Categorical(logits=logits).entropy()
    assert_close(confidence_penalty(logits, target, reduction="none"), expected)


@pytest.mark.parametrize("loss", [label_smoothing, label_relaxation, confidence_penalty])
def test_the_gradient_is_right(loss) -> None:
    logits, target = batch()
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


@pytest.mark.parametrize("loss", [label_smoothing, confidence_penalty])
def test_the_minimiser_is_less_confident_than_the_posterior(loss) -> None:
    posterior = torch.tensor([0.7, 0.3], dtype=torch.float64)
    logits = posterior.log().requires_grad_()
    uphill = torch.autograd.grad(posterior @ loss(logits.expand(2, 2), torch.arange(2), reduction="none"), logits)[0]
    assert uphill[1] < 0 < uphill[0]


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        (label_smoothing, {"smoothing": 1.5}, r"smoothing must lie in \[0, 1\] \(0 is cross-entropy\); got 1.5"),
        (label_relaxation, {"alpha": -0.1}, r"alpha must lie in \[0, 1\] \(0 is cross-entropy\); got -0.1"),
        (
            confidence_penalty,
            {"beta": -1.0},
            r"beta must be a finite number of at least 0 \(0 is cross-entropy\); got -1",
        ),
    ],
)
def test_settings_out_of_range_are_refused(loss, settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), **settings)
