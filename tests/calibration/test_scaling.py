from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.testing import assert_close

from gence.calibration import (
    MatrixScaling,
    VectorScaling,
    fit_dirichlet,
    fit_matrix_scaling,
    fit_temperature,
    fit_vector_scaling,
)
from gence.calibration._newton import Local, minimise, solve_dense
from gence.calibration._penalised import matrix_objective, vector_objective

ONE = {"off_diagonal": (1.0,), "bias": (0.1,)}
fit_one_matrix = functools.partial(fit_matrix_scaling, **ONE)
fit_one_dirichlet = functools.partial(fit_dirichlet, **ONE)
every_fit = pytest.mark.parametrize(
    "fit", [fit_vector_scaling, fit_one_matrix, fit_one_dirichlet], ids=["vector", "matrix", "dirichlet"]
)


def rows_of(rows: int, *, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Labels drawn from softmax(W z + b), with W near a half of the identity."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    weights, bias = 0.5 * torch.eye(classes, dtype=torch.float64) + 0.1 * normal(classes, classes), normal(classes)
    logits = 3 * normal(rows, classes)
    probs = (logits @ weights.T + bias).softmax(1)
    return logits, torch.multinomial(probs, 1, generator=generator).squeeze(1)


def naive_vector(z: np.ndarray, y: np.ndarray, temperature: float, ridge: float, w: np.ndarray, b: np.ndarray) -> float:
    total = 0.0
    for row, label in zip(z, y, strict=True):
        total -= log_softmax([w[k] * row[k] + b[k] for k in range(len(row))])[label]
    return (total + ridge * sum((temperature * w[k] - 1) ** 2 + b[k] ** 2 for k in range(len(w)))) / len(z)


def naive_matrix(
    x: np.ndarray,
    y: np.ndarray,
    temperature: float,
    penalties: tuple[float, float, float],
    w: np.ndarray,
    b: np.ndarray,
) -> float:
    off_diagonal, bias, ridge = penalties
    classes, total = len(b), 0.0
    for row, label in zip(x, y, strict=True):
        total -= log_softmax([sum(w[i, j] * row[j] for j in range(classes)) + b[i] for i in range(classes)])[label]
    total /= len(x)
    for i in range(classes):
        total += bias / classes * b[i] ** 2 + ridge / len(x) * (temperature * w[i, i] - 1) ** 2
        total += sum(off_diagonal / (classes * (classes - 1)) * w[i, j] ** 2 for j in range(classes) if j != i)
    return total


def test_the_weights_and_biases_minimise_the_written_out_sum() -> None:
    z, y = rows_of(20)
    fitted, temperature = fit_vector_scaling(z, y, ridge=0.7), fit_temperature(z, y).temperature

    def naive(point: np.ndarray) -> float:
        return naive_vector(z.numpy(), y.numpy(), temperature, 0.7, point[:4], point[4:])

    found = np.concatenate([fitted.weights, fitted.bias])
    best = minimize(naive, np.concatenate([np.full(4, 1 / temperature), np.zeros(4)]), tol=1e-9)
    assert naive(found) <= best.fun + 1e-12
    np.testing.assert_allclose(found, best.x, atol=1e-4)


@pytest.mark.parametrize("fit", [fit_matrix_scaling, fit_dirichlet])
def test_the_matrix_and_biases_minimise_the_written_out_sum(fit) -> None:
    z, y = rows_of(15, classes=3)
    fitted = fit(z, y, off_diagonal=(0.3,), bias=(0.2,), ridge=0.7)
    x, temperature = (z if fit is fit_matrix_scaling else z.log_softmax(1)).numpy(), fit_temperature(z, y).temperature

    def naive(point: np.ndarray) -> float:
        return naive_matrix(x, y.numpy(), temperature, (0.3, 0.2, 0.7), point[:9].reshape(3, 3), point[9:])

    found = np.concatenate([np.ravel(fitted.weights), fitted.bias])
    best = minimize(naive, np.concatenate([np.ravel(np.eye(3) / temperature), np.zeros(3)]), tol=1e-9)
    assert naive(found) <= best.fun + 1e-12
    np.testing.assert_allclose(found, best.x, atol=1e-4)


def test_with_hardly_a_penalty_it_is_the_logistic_regression_of_scikit_learn() -> None:
    z, y = rows_of(400)
    fitted = fit_matrix_scaling(z, y, off_diagonal=(1e-8,), bias=(1e-8,), ridge=1e-6)
    theirs = LogisticRegression(C=1e8, tol=1e-8, max_iter=1000).fit(z.numpy(), y.numpy())
    assert fitted.converged
    np.testing.assert_allclose(fitted(z).softmax(1).numpy(), theirs.predict_proba(z.numpy()), atol=1e-4)


def test_with_huge_penalties_it_is_one_temperature() -> None:
    z, y = rows_of(200)
    expected = fit_temperature(z, y)(z).softmax(1)
    assert_close(fit_vector_scaling(z, y, ridge=1e7)(z).softmax(1), expected, rtol=0, atol=2e-3)
    for fit in (fit_matrix_scaling, fit_dirichlet):
        stiff = fit(z, y, off_diagonal=(1e5,), bias=(1e5,), ridge=1e7)
        assert stiff.converged
        assert_close(stiff(z).softmax(1), expected, rtol=0, atol=2e-3)


def test_dirichlet_is_matrix_scaling_of_log_probabilities() -> None:
    z, y = rows_of(200)
    ours, same = fit_one_dirichlet(z, y), fit_one_matrix(z.log_softmax(1), y)
    assert_close(torch.tensor(ours.weights), torch.tensor(same.weights))
    assert_close(ours(z + 7.0), ours(z), rtol=1e-9, atol=1e-9)


def test_it_recovers_the_weights_that_made_the_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    z = 3 * torch.randn(20000, 3, dtype=torch.float64, generator=generator)
    weights, bias = torch.tensor([0.4, 0.8, 0.6]), torch.tensor([0.5, -0.5, 0.0])
    y = torch.multinomial((weights * z + bias).softmax(1), 1, generator=generator).squeeze(1)
    fitted = fit_vector_scaling(z, y)
    assert fitted.weights == pytest.approx(weights.tolist(), rel=0.05)
    assert fitted.bias == pytest.approx(bias.tolist(), abs=0.05)


def test_where_classes_are_mixed_up_a_matrix_beats_a_vector_and_a_vector_a_temperature() -> None:
    z, y = rows_of(8000)
    new_z, new_y = z[2000:], y[2000:]
    z, y = z[:2000], y[:2000]
    fitted = (fit(z, y) for fit in (fit_temperature, fit_vector_scaling, fit_matrix_scaling))
    nll = [torch.nn.functional.cross_entropy(one(new_z), new_y).item() for one in fitted]
    assert nll[2] < nll[1] - 0.01 < nll[0] - 0.02


@every_fit
def test_it_is_never_worse_than_no_calibration_on_its_own_rows(fit) -> None:
    for seed in range(10):
        fitted = fit(*rows_of(6, seed=seed))
        assert fitted.nll_after <= fitted.nll_before
        assert fitted.converged


def test_scaling_the_logits_scales_the_weights() -> None:
    z, y = rows_of(100)
    base, scaled = fit_vector_scaling(z, y), fit_vector_scaling(3 * z, y)
    assert_close(scaled(3 * z), base(z), rtol=1e-8, atol=1e-8)


@every_fit
def test_rows_that_can_be_told_apart_give_finite_numbers(fit) -> None:
    fitted = fit(4 * torch.eye(3).repeat(5, 1), torch.arange(3).repeat(5))
    assert fitted.converged
    assert fitted.nll_after < 1e-6
    assert np.isfinite(fitted.weights).all()
    assert np.isfinite(fitted.bias).all()


@every_fit
def test_a_class_without_rows_gets_a_small_probability_and_no_infinite_number(fit) -> None:
    z, y = rows_of(400)
    z, y = z[y != 1], y[y != 1]
    fitted = fit(z, y)
    mean = fitted(z).softmax(1)[:, 1].mean()
    assert fitted.converged
    assert 0.1 / len(z) < mean < 0.5 * z.softmax(1)[:, 1].mean()


def test_at_the_default_ridge_a_class_without_rows_falls_to_about_one_over_the_rows() -> None:
    z, y = rows_of(400)
    z, y = z[y != 1], y[y != 1]
    assert 0.3 < len(z) * fit_vector_scaling(z, y)(z).softmax(1)[:, 1].mean() < 3


def test_without_rows_of_a_class_a_stronger_ridge_leaves_it_more() -> None:
    z, y = rows_of(400)
    z, y = z[y != 1], y[y != 1]
    left = [fit_vector_scaling(z, y, ridge=r)(z).softmax(1)[:, 1].mean() for r in (0.01, 0.1, 1.0, 10.0)]
    assert left == sorted(left)


def test_the_choice_is_the_candidate_with_the_lowest_cross_validated_nll() -> None:
    fitted = fit_matrix_scaling(*rows_of(150), off_diagonal=(0.1, 10.0, 1.0), bias=(1.0, 0.01))
    scores = {(o, b): nll for o, b, nll in fitted.cross_validated_nll}
    assert list(scores) == [(10.0, 1.0), (10.0, 0.01), (1.0, 1.0), (1.0, 0.01), (0.1, 1.0), (0.1, 0.01)]
    assert (fitted.off_diagonal, fitted.bias_penalty) == min(scores, key=lambda candidate: scores[candidate])


@pytest.mark.parametrize("fit", [fit_matrix_scaling, fit_dirichlet])
def test_a_score_is_the_held_out_nll_of_fits_to_the_other_folds(fit) -> None:
    z, y = rows_of(60)
    fitted = fit(z, y, off_diagonal=(0.1, 1.0), bias=(0.5,), folds=3, seed=4)
    fold = torch.randperm(60, generator=torch.Generator().manual_seed(4)) % 3
    for off_diagonal, bias, score in fitted.cross_validated_nll:
        total = 0.0
        for k in range(3):
            one = fit(z[fold != k], y[fold != k], off_diagonal=(off_diagonal,), bias=(bias,))
            total += torch.nn.functional.cross_entropy(one(z[fold == k]), y[fold == k], reduction="sum").item()
        assert score == pytest.approx(total / 60, abs=1e-3)


def test_with_fewer_rows_than_folds_or_one_candidate_nothing_is_cross_validated() -> None:
    few = fit_matrix_scaling(*rows_of(4))
    assert few.cross_validated_nll == ()
    assert (few.off_diagonal, few.bias_penalty) == (10000.0, 1.0)
    assert fit_one_matrix(*rows_of(50)).cross_validated_nll == ()


def test_the_seed_alone_decides_the_folds() -> None:
    z, y = rows_of(100)
    fit = functools.partial(fit_matrix_scaling, z, y, off_diagonal=(1.0, 10.0), bias=(1.0,))
    assert fit() == fit()
    assert fit(seed=1).cross_validated_nll != fit().cross_validated_nll


def test_many_classes_are_solved_by_products_to_the_same_minimum() -> None:
    z, y = rows_of(300, classes=18)  # 18 * 19 numbers are more than the dense solver takes
    fitted = fit_one_matrix(z, y)
    temperature = fit_temperature(z, y).temperature
    weights = torch.tensor(fitted.weights, requires_grad=True, dtype=torch.float64)
    bias = torch.tensor(fitted.bias, requires_grad=True, dtype=torch.float64)
    off = weights - weights.diagonal().diag()
    value = torch.nn.functional.cross_entropy(z @ weights.T + bias, y) + off.square().sum() / (18 * 17)
    value = value + 0.1 / 18 * bias.square().sum() + 0.1 / 300 * (temperature * weights.diagonal() - 1).square().sum()
    value.backward()
    assert fitted.converged
    assert_close(weights.grad, torch.zeros_like(weights), rtol=0, atol=1e-9)
    assert_close(bias.grad, torch.zeros_like(bias), rtol=0, atol=1e-9)


def test_the_derivatives_are_those_of_the_value() -> None:
    z, y = rows_of(30, classes=3)
    generator = torch.Generator().manual_seed(1)
    for objective, x, shape in ((vector_objective, z, (2, 3)), (matrix_objective, z, (3, 3))):
        point = torch.randn(shape, dtype=torch.float64, generator=generator)
        at = objective(x, y, torch.zeros_like(point), torch.full_like(point, 0.05))
        gradient = torch.autograd.functional.jacobian(lambda p, at=at: at(p).value, point)
        hessian = torch.autograd.functional.hessian(lambda p, at=at: at(p).value, point).reshape(point.numel(), -1)
        assert_close(at(point).gradient, gradient)
        step = -torch.linalg.solve(hessian, gradient.flatten()).view(shape)
        assert_close(at(point).newton_step(), step)


def test_a_step_that_is_too_long_is_halved() -> None:
    def objective(x: Tensor) -> Local:
        value = (1 + x.square()).sqrt().sum()  # a full Newton step from 2 leads to -8
        gradient = x / (1 + x.square()).sqrt()
        return Local(value, gradient, lambda: -gradient * (1 + x.square()) ** 1.5)

    best, converged = minimise(objective, torch.tensor([2.0], dtype=torch.float64), tolerance=1e-12)
    assert converged
    assert best.item() == pytest.approx(0.0, abs=1e-10)


def test_a_hessian_without_full_rank_gives_a_step_downhill() -> None:
    gradient = torch.tensor([2.0, -1.0], dtype=torch.float64)
    step = solve_dense(torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=torch.float64), gradient)
    assert (step * gradient).sum() < 0


@every_fit
def test_a_fit_that_cannot_go_on_says_so_and_is_no_worse(fit) -> None:
    z, y = rows_of(40)
    fitted = fit(1e200 * z, y)
    assert not fitted.converged
    assert fitted.remarks == ("the fit stopped before it reached its minimum",)
    assert fitted.nll_after <= fitted.nll_before


@every_fit
def test_where_nothing_is_better_the_logits_are_left_alone(fit) -> None:
    fitted = fit(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]))
    assert fitted.fell_back
    assert fitted.remarks == ("no weights did better than none: the logits are left alone",)
    z = torch.tensor([[1.0, 3.0]])
    assert_close(fitted(z).softmax(1), z.softmax(1))
    assert not fit(*rows_of(50)).fell_back
    assert fit(*rows_of(50)).remarks == ()


@every_fit
def test_a_fit_that_would_do_harm_is_not_taken(fit, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(objective, start: Tensor, tolerance: float) -> tuple[Tensor, bool]:
        return -3.0 * start, False

    monkeypatch.setattr("gence.calibration.scaling.minimise", lost)
    monkeypatch.setattr("gence.calibration._odir.minimise", lost)
    z, y = rows_of(50)
    fitted = fit(z, y)
    assert fitted.fell_back
    assert fitted.nll_after == fitted.nll_before
    assert len(fitted.remarks) == 2
    assert_close(fitted(z).softmax(1), z.softmax(1))


@every_fit
def test_logits_of_other_classes_are_refused(fit) -> None:
    with pytest.raises(ValueError, match="each of 4 classes, logits has 3 columns"):
        fit(*rows_of(50))(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"off_diagonal": (0.0,)}, r"every candidate of off_diagonal must be a positive finite number; got 0\.0"),
        ({"bias": ()}, "every candidate of bias must be a positive finite number; got none"),
        ({"bias": (1.0, math.inf)}, r"every candidate of bias must be a positive finite number; got 1\.0, inf"),
        ({"ridge": -1.0}, r"ridge must be a positive finite number; got -1\.0"),
        ({"folds": 1}, "folds must be at least 2; got 1"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], message: str) -> None:
    for fit in (fit_matrix_scaling, fit_dirichlet):
        with pytest.raises(ValueError, match=message):
            fit(*rows_of(10), **settings)


def test_a_wrong_ridge_of_a_vector_is_named() -> None:
    with pytest.raises(ValueError, match="ridge must be a positive finite number; got nan"):
        fit_vector_scaling(*rows_of(10), ridge=math.nan)


def test_fields_that_cannot_be_are_refused() -> None:
    vector, matrix = VectorScaling((1.0, 2.0), (0.0, 0.0), 1, 1.0, 1.0, True), fit_one_matrix(*rows_of(20, classes=2))
    assert isinstance(matrix, MatrixScaling)
    with pytest.raises(ValueError, match="one weight a bias is expected; got 1 for 2"):
        dataclasses.replace(vector, weights=(1.0,))
    with pytest.raises(ValueError, match="weights and bias must be finite"):
        dataclasses.replace(vector, bias=(0.0, math.nan))
    with pytest.raises(ValueError, match="weights must be square, as wide as the 2 biases"):
        dataclasses.replace(matrix, weights=((1.0, 0.0),))
    with pytest.raises(ValueError, match="weights and bias must be finite"):
        dataclasses.replace(matrix, weights=((1.0, 0.0), (math.inf, 1.0)))
