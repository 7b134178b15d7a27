from __future__ import annotations

import itertools
import math

import pytest
import torch
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from gence.metrics import accuracy, aurc, brier_score, negative_log_likelihood


def predictions(rows: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    probs = torch.randn(rows, 5, dtype=torch.float64, generator=generator).softmax(1)
    return probs, torch.multinomial(probs, 1, generator=generator).squeeze(1)


def test_they_agree_with_scikit_learn() -> None:
    probs, target = predictions()
    assert accuracy(probs, target).item() == pytest.approx(accuracy_score(target, probs.argmax(1)), abs=1e-12)
    assert negative_log_likelihood(probs, target).item() == pytest.approx(log_loss(target, probs), abs=1e-12)
    two = torch.stack([probs[:, 0], 1 - probs[:, 0]], 1)
    sides = (target != 0).long()
    assert brier_score(two, sides).item() == pytest.approx(2 * brier_score_loss(sides, two[:, 1]), abs=1e-12)


def test_brier_and_nll_equal_the_naive_loop() -> None:
    probs, target = predictions(20)
    rows = list(zip(probs.tolist(), target.tolist(), strict=True))
    brier = sum(sum((p - (k == y)) ** 2 for k, p in enumerate(row)) for row, y in rows) / 20
    assert brier_score(probs, target).item() == pytest.approx(brier, abs=1e-14)
    nll = -sum(math.log(row[y]) for row, y in rows) / 20
    assert negative_log_likelihood(probs, target).item() == pytest.approx(nll, abs=1e-14)


def test_proper_scores_are_best_in_expectation_at_the_truth() -> None:
    truth = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    target = torch.arange(3)
    for score in (brier_score, negative_log_likelihood):

        def expected(stated: torch.Tensor, score=score) -> float:
            return sum(truth[y] * score(stated[None], target[y : y + 1]) for y in range(3)).item()

        for other in ([0.6, 0.2, 0.2], [0.4, 0.3, 0.3], [1 / 3, 1 / 3, 1 / 3], [0.98, 0.01, 0.01]):
            assert expected(truth) < expected(torch.tensor(other, dtype=torch.float64)) - 1e-4


def test_a_true_class_of_probability_0_costs_708_nats_not_infinity() -> None:
    value = negative_log_likelihood(torch.tensor([[1.0, 0.0]]), torch.tensor([1])).item()
    assert value == pytest.approx(-math.log(torch.finfo(torch.float64).tiny))


def aurc_naive(confidence: list[float], error: list[int]) -> float:
    """The mean over all orders that confidence allows."""
    rows = range(len(confidence))
    orders = [
        o for o in itertools.permutations(rows) if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(o))
    ]
    curves = [sum(sum(error[i] for i in order[: n + 1]) / (n + 1) for n in rows) / len(confidence) for order in orders]
    return sum(curves) / len(curves)


@pytest.mark.parametrize("confidence", [[0.9, 0.8, 0.7, 0.6, 0.55], [0.9, 0.9, 0.7, 0.7, 0.7], [0.6] * 5])
@pytest.mark.parametrize("error", [[0, 0, 0, 0, 1], [1, 0, 0, 1, 0], [0, 1, 1, 0, 1]])
def test_aurc_is_the_mean_over_every_order_of_tied_rows(confidence: list[float], error: list[int]) -> None:
    stated = torch.tensor(confidence, dtype=torch.float64)
    value = aurc(torch.stack([stated, 1 - stated], 1), torch.tensor(error)).item()
    assert value == pytest.approx(aurc_naive(confidence, error), abs=1e-12)


def test_aurc_collapses_to_known_values() -> None:
    confidence = torch.linspace(0.9, 0.6, 4, dtype=torch.float64)
    probs = torch.stack([confidence, 1 - confidence], 1)
    assert aurc(probs, torch.tensor([0, 0, 0, 0])).item() == 0.0
    assert aurc(probs, torch.tensor([1, 1, 1, 1])).item() == 1.0
    assert aurc(probs, torch.tensor([1, 0, 0, 0])).item() == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
