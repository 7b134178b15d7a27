from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor
from torch.testing import assert_close

from gence.calibration import EnsembleTemperatureScaling, fit_ensemble_temperature, fit_temperature


def mixture(rows: int, weights: tuple[float, float, float], *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Labels drawn from a mixture at temperature 3."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, 4, dtype=torch.float64, generator=generator)
    probs = weights[0] * (logits / 3).softmax(1) + weights[1] * logits.softmax(1) + weights[2] / 4
    return logits, torch.multinomial(probs, 1, generator=generator).squeeze(1)


def ensemble(weights: tuple[float, ...], temperature: float = 2.0) -> EnsembleTemperatureScaling:
    return EnsembleTemperatureScaling(temperature, weights, 1, 1.0, 1.0)  # type: ignore[arg-type]


def naive_nll(z: Tensor, y: Tensor, temperature: float, weights: np.ndarray) -> float:
    total = 0.0
    for row, label in zip(z.tolist(), y.tolist(), strict=True):
        scaled = math.exp(row[label] / temperature) / sum(math.exp(v / temperature) for v in row)
        plain = math.exp(row[label]) / sum(math.exp(v) for v in row)
        total -= math.log(weights[0] * scaled + weights[1] * plain + weights[2] / len(row))
    return total / len(z)


def test_a_row_by_hand() -> None:
    probs = ensemble((0.5, 0.25, 0.25))(torch.tensor([[2 * math.log(3.0), 0.0]], dtype=torch.float64)).softmax(1)
    # 3/4 at temperature 2, 9/10 at 1, 1/2 of knowing nothing
    assert probs[0, 0].item() == pytest.approx(0.5 * 0.75 + 0.25 * 0.9 + 0.25 * 0.5)


def test_the_result_is_log_probabilities() -> None:
    z, _ = mixture(20, (1.0, 0.0, 0.0))
    assert_close(ensemble((0.2, 0.3, 0.5))(z).exp().sum(1), torch.ones(20, dtype=torch.float64))


def test_all_weight_on_one_part_is_that_part() -> None:
    z, _ = mixture(20, (1.0, 0.0, 0.0))
    assert_close(ensemble((1.0, 0.0, 0.0))(z), (z / 2).log_softmax(1))
    assert_close(ensemble((0.0, 1.0, 0.0))(1e4 * z), (1e4 * z).log_softmax(1))


@pytest.mark.parametrize("weights", [(0.6, 0.1, 0.3), (0.3, 0.7, 0.0), (0.0, 0.8, 0.2), (1.0, 0.0, 0.0)])
def test_the_weights_are_the_best_of_a_fine_grid_and_of_scipy(weights: tuple[float, float, float]) -> None:
    z, y = mixture(150, weights)
    fitted = fit_ensemble_temperature(z, y)
    assert fitted.temperature == fit_temperature(z, y).temperature

    def nll(point: np.ndarray) -> float:
        return naive_nll(z, y, fitted.temperature, np.array([*point, 1 - point.sum()]))

    grid = min(nll(np.array([i, j]) / 20) for i, j in product(range(21), repeat=2) if i + j < 20)
    constraint = {"type": "ineq", "fun": lambda point: 0.999999 - point.sum()}
    best = minimize(nll, [0.4, 0.4], bounds=[(0, 1)] * 2, constraints=constraint, tol=1e-12)
    assert fitted.nll_after == pytest.approx(nll(np.array(fitted.weights[:2])), abs=1e-10)
    assert fitted.nll_after <= min(grid, best.fun) + 1e-9


def test_it_recovers_a_share_of_wrong_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    z = 4 * torch.randn(5000, 4, dtype=torch.float64, generator=generator)
    y = torch.multinomial(0.8 * z.softmax(1) + 0.2 / 4, 1, generator=generator).squeeze(1)
    fitted = fit_ensemble_temperature(z, y)
    assert fitted.weights[2] == pytest.approx(0.2, abs=0.03)
    assert not fitted.fell_back
    assert fitted.nll_after < fit_temperature(z, y).nll_after - 0.01


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 30), scale=st.floats(0.1, 100))
def test_it_is_never_worse_than_one_temperature_and_keeps_every_prediction(seed: int, rows: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(rows, 3, dtype=torch.float64, generator=generator)
    y = torch.randint(3, (rows,), generator=generator)
    fitted = fit_ensemble_temperature(z, y)
    assert fitted.nll_after <= fit_temperature(z, y).nll_after + 1e-12
    after = fitted(z)
    assert (after.gather(1, z.argmax(1, keepdim=True)).squeeze(1) == after.amax(1)).all()


def test_where_no_mixture_is_better_it_is_one_temperature_and_says_so() -> None:
    z = torch.tensor([[4.0, 0.0]]).repeat(4, 1)
    fitted = fit_ensemble_temperature(z, torch.tensor([0, 0, 0, 1]))
    assert fitted.fell_back
    assert fitted.remarks == ("no mixture did better than one temperature: it is one temperature",)
    assert_close(fitted(z).softmax(1), fit_temperature(z, torch.tensor([0, 0, 0, 1]))(z).softmax(1))


def test_logits_that_mislead_get_hardly_any_weight_and_keep_their_order() -> None:
    z = 8 * torch.eye(3, dtype=torch.float64).repeat(5, 1)
    fitted = fit_ensemble_temperature(z, (torch.arange(3).repeat(5) + 1) % 3)
    assert fitted.weights[2] == pytest.approx(0.999)
    assert fitted.remarks[0].startswith("the logits did no better than knowing nothing")
    assert (fitted(z.float()).argmax(1) == z.argmax(1)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, r"temperature must be a positive finite number; got 0\.0"),
        ({"weights": (0.5, 0.4, 0.0)}, "weights must be three shares that sum to 1"),
        ({"weights": (1.5, -0.5, 0.0)}, "weights must be three shares that sum to 1"),
        ({"weights": (0.5, 0.5)}, "weights must be three shares that sum to 1"),
    ],
)
def test_fields_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    fields = {"temperature": 1.0, "weights": (1.0, 0.0, 0.0), "rows": 1, "nll_before": 1.0, "nll_after": 1.0}
    with pytest.raises(ValueError, match=message):
        EnsembleTemperatureScaling(**(fields | change))
