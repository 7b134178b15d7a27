from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from gence.calibration import TemperatureScaling, fit_temperature


def logits_and_target(rows: int = 400, *, temperature: float = 2.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels drawn from softmax(logits / temperature)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, 4, dtype=torch.float64, generator=generator)
    return logits, torch.multinomial((logits / temperature).softmax(1), 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0, 6.0])
def test_it_finds_the_minimum_that_scipy_finds(temperature: float) -> None:
    logits, target = logits_and_target(temperature=temperature)

    def nll(log_t: float) -> float:
        return -log_softmax(logits.numpy() / math.exp(log_t), axis=1)[np.arange(400), target.numpy()].mean()

    best = minimize_scalar(nll, bounds=(math.log(0.05), math.log(20)), method="bounded", options={"xatol": 1e-10})
    fitted = fit_temperature(logits, target)
    assert fitted.temperature == pytest.approx(math.exp(best.x), rel=1e-5)
    assert fitted.nll_after == pytest.approx(best.fun, abs=1e-10)
    assert fitted.nll_before == pytest.approx(nll(0.0), abs=1e-12)


def test_it_recovers_the_temperature_that_made_the_labels() -> None:
    assert fit_temperature(*logits_and_target(20000, temperature=2.5)).temperature == pytest.approx(2.5, rel=0.03)


def test_scaling_the_logits_scales_the_temperature() -> None:
    logits, target = logits_and_target()
    base = fit_temperature(logits, target).temperature
    assert fit_temperature(3 * logits, target).temperature == pytest.approx(3 * base, rel=1e-9)


def test_rows_that_are_all_right_run_into_the_lower_bound_and_say_so() -> None:
    logits = 4 * torch.eye(3).repeat(5, 1)
    fitted = fit_temperature(logits, torch.arange(3).repeat(5))
    assert fitted.temperature == 0.05
    assert fitted.at_bound


@pytest.mark.parametrize(("prior", "rows"), [(1.0, 40), (5.0, 400), (0.1, 15)])
def test_with_a_prior_it_finds_the_penalised_minimum_that_scipy_finds(prior: float, rows: int) -> None:
    logits, target = logits_and_target(rows)

    def penalised(log_t: float) -> float:
        nll = -log_softmax(logits.numpy() / math.exp(log_t), axis=1)[np.arange(rows), target.numpy()].sum()
        return nll + prior * (math.exp(-log_t) + log_t)

    best = minimize_scalar(penalised, bounds=(math.log(0.05), math.log(20)), method="bounded", options={"xatol": 1e-10})
    assert fit_temperature(logits, target, prior=prior).temperature == pytest.approx(math.exp(best.x), rel=1e-5)


def test_a_prior_keeps_few_right_rows_from_running_off_and_is_not_felt_by_many_rows() -> None:
    logits = 4 * torch.eye(3, dtype=torch.float64).repeat(5, 1)
    tamed = fit_temperature(logits, torch.arange(3).repeat(5), prior=1.0)
    assert 0.5 < tamed.temperature < 1.0
    assert not tamed.remarks
    logits, target = logits_and_target(20000, temperature=2.5)
    plain, with_prior = fit_temperature(logits, target), fit_temperature(logits, target, prior=1.0)
    assert with_prior.temperature == pytest.approx(plain.temperature, rel=1e-3)
    assert with_prior.nll_after >= plain.nll_after


@pytest.mark.parametrize("prior", [-1.0, math.nan, math.inf])
def test_a_prior_that_is_none_is_refused(prior: float) -> None:
    with pytest.raises(ValueError, match="prior must be a finite strength, at least 0; got"):
        fit_temperature(*logits_and_target(), prior=prior)


def test_logits_that_know_nothing_run_into_the_upper_bound() -> None:
    logits = 4 * torch.eye(3).repeat(5, 1)
    fitted = fit_temperature(logits, (torch.arange(3).repeat(5) + 1) % 3)
    assert fitted.temperature == pytest.approx(20.0, abs=0)
    assert fitted.at_bound
    assert fitted.nll_after < fitted.nll_before


def test_it_is_never_worse_than_no_calibration_on_its_own_rows() -> None:
    for seed in range(20):
        fitted = fit_temperature(*logits_and_target(8, temperature=1.0, seed=seed))
        assert fitted.nll_after <= fitted.nll_before
    flat = fit_temperature(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))
    assert flat.temperature == 1.0


@pytest.mark.parametrize("prior", [0.0, 2.0])
def test_balanced_it_finds_the_minimum_of_the_mean_over_the_classes(prior: float) -> None:
    logits, target = logits_and_target()
    kept = torch.cat([(target == k).nonzero().flatten()[:n] for k, n in enumerate((60, 20, 6, 0))])
    logits, target = logits[kept], target[kept]

    def penalised(log_t: float) -> float:
        each = -log_softmax(logits.numpy() / math.exp(log_t), axis=1)[np.arange(len(kept)), target.numpy()]
        by_class = [each[target.numpy() == k].mean() for k in range(3)]
        return float(np.mean(by_class)) + prior / len(kept) * (math.exp(-log_t) + log_t)

    best = minimize_scalar(penalised, bounds=(math.log(0.05), math.log(20)), method="bounded", options={"xatol": 1e-10})
    fitted = fit_temperature(logits, target, prior=prior, balanced=True)
    assert fitted.temperature == pytest.approx(math.exp(best.x), rel=1e-5)
    assert not math.isclose(fitted.temperature, fit_temperature(logits, target, prior=prior).temperature, rel_tol=1e-3)


def test_balanced_it_is_the_temperature_of_rows_repeated_until_all_classes_are_as_large() -> None:
    logits, target = logits_and_target()
    kept = torch.cat([(target == k).nonzero().flatten()[:n] for k, n in enumerate((60, 20, 6, 1))])
    again = torch.cat([kept[target[kept] == k].repeat(60 // n) for k, n in enumerate((60, 20, 6, 1))])
    fitted = fit_temperature(logits[kept], target[kept], balanced=True)
    repeated = fit_temperature(logits[again], target[again])
    assert (fitted.rows, repeated.rows, fitted.balanced) == (87, 240, True)
    assert (fitted.temperature, fitted.nll_before, fitted.nll_after) == pytest.approx(
        (repeated.temperature, repeated.nll_before, repeated.nll_after), rel=1e-9
    )


def test_a_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="temperature must be a positive finite number; got -1"):
        TemperatureScaling(-1.0, 1, 0.0, 0.0)


@pytest.mark.parametrize("cast", ["half", "bfloat16"])
def test_probabilities_are_refused_in_half_precision_and_rounded_too(cast: str) -> None:
    logits, target = logits_and_target(40)
    probs = logits.softmax(1)
    for given in (getattr(probs, cast)(), (1000 * probs).round() / 1000):
        with pytest.raises(ValueError, match="these rows are probabilities"):
            fit_temperature(given, target)
