"""What GenCE finds and when it is cross-entropy: facts 5, 6 and 7 of the design, and the page that shows them."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence import generative_cross_entropy

PAGE = Path(__file__).parents[2] / "docs/theory.md"
Loss = Callable[..., Tensor]

# Rows are the points of a finite x-space, uniformly distributed; columns are linearly independent.
POSTERIOR = torch.tensor(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64
)
# The third class split 4 : 1 into two that no feature tells apart.
TWINS = torch.cat([POSTERIOR[:, :2], 0.8 * POSTERIOR[:, 2:], 0.2 * POSTERIOR[:, 2:]], 1)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def minimise(loss: Loss, *start: Tensor) -> list[Tensor]:
    parameters = [value.clone().requires_grad_() for value in start]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=1000, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(*parameters)
        value.backward()
        return value

    optimizer.step(closure)
    return [value.detach() for value in parameters]


def fitted_tables(loss: Loss, posterior: Tensor, *arguments: Tensor, starts: int = 3) -> list[Tensor]:
    """The q that each of several random starts ends at."""
    tables = [normal(*posterior.shape, seed=seed) for seed in range(starts)]
    return [minimise(lambda z: loss(z, posterior, *arguments), z)[0].softmax(1) for z in tables]


def information(posterior: Tensor) -> Tensor:
    share = posterior.mean(0)
    return (torch.special.xlogy(posterior, posterior) - torch.special.xlogy(posterior, share)).sum(1).mean()


def assert_minimisers_differ_by_class_constants(tables: Sequence[Tensor], posterior: Tensor) -> None:
    floor = -information(posterior)
    for q in tables:
        c = q / posterior
        assert_close(c, c.mean(0).expand_as(c), rtol=0, atol=1e-5)
        assert_close(generative_cross_entropy(q.log(), posterior), floor, rtol=0, atol=1e-10)
    assert max((a - b).abs().max().item() for a, b in combinations(tables, 2)) > 0.02


@pytest.mark.parametrize("seed", range(5))
def test_fact_5_the_population_risk_is_divergences_over_minus_the_mutual_information(seed: int) -> None:
    posterior = normal(6, 4, seed=seed).softmax(1)
    q = (3 * normal(6, 4, seed=100 + seed)).softmax(1)
    p_x_given_y, model_x_given_y = posterior / posterior.sum(0), q / q.sum(0)
    divergence = (p_x_given_y * (p_x_given_y / model_x_given_y).log()).sum(0)
    expected = -information(posterior) + (posterior.mean(0) * divergence).sum()
    assert_close(generative_cross_entropy(q.log(), posterior), expected, rtol=1e-12, atol=1e-12)


def test_fact_5_with_independent_posteriors_every_start_finds_the_true_posterior() -> None:
    assert torch.linalg.matrix_rank(POSTERIOR) == 3
    for q in fitted_tables(generative_cross_entropy, POSTERIOR, starts=4):
        assert_close(q, POSTERIOR, rtol=0, atol=1e-7)
        assert_close(generative_cross_entropy(q.log(), POSTERIOR), -information(POSTERIOR), rtol=0, atol=1e-12)


def test_fact_5_classes_with_proportional_posteriors_share_as_the_start_has_it() -> None:
    tables = fitted_tables(generative_cross_entropy, TWINS)
    assert_minimisers_differ_by_class_constants(tables, TWINS)
    for q in tables:
        assert_close(q[:, :2], POSTERIOR[:, :2], rtol=0, atol=1e-6)
        assert_close(q[:, 2] + q[:, 3], POSTERIOR[:, 2], rtol=0, atol=1e-6)
    for q in fitted_tables(F.cross_entropy, TWINS):
        assert_close(q, TWINS, rtol=0, atol=1e-7)


def test_fact_5_without_signal_every_constant_is_a_minimiser() -> None:
    posterior = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64).expand(5, 3)
    assert_minimisers_differ_by_class_constants(fitted_tables(generative_cross_entropy, posterior), posterior)
    for q in fitted_tables(F.cross_entropy, posterior):
        assert_close(q, posterior, rtol=0, atol=1e-7)


@pytest.mark.filterwarnings("ignore:GenCE was given a batch of 2 rows")
def test_fact_5_fewer_points_than_classes_are_always_a_family() -> None:
    posterior = POSTERIOR[:2]
    assert_minimisers_differ_by_class_constants(fitted_tables(generative_cross_entropy, posterior), posterior)


def test_fact_5_a_class_that_never_occurs_may_keep_any_share() -> None:
    absent = torch.cat([POSTERIOR, torch.zeros(5, 1, dtype=torch.float64)], 1)
    for share in (0.0001, 0.1, 0.9):
        q = torch.cat([(1 - share) * POSTERIOR, torch.full((5, 1), share, dtype=torch.float64)], 1)
        assert_close(generative_cross_entropy(q.log(), absent), -information(POSTERIOR), rtol=0, atol=1e-12)


def test_fact_5_a_strength_below_1_leaves_the_true_posterior_alone() -> None:
    def loss(z: Tensor, posterior: Tensor) -> Tensor:
        return generative_cross_entropy(z, posterior, strength=0.9)

    for q in fitted_tables(loss, TWINS):
        assert_close(q, TWINS, rtol=0, atol=1e-6)


def test_fact_5_a_strength_above_1_falls_without_end_as_a_class_is_starved() -> None:
    def starved(by: float, strength: float) -> Tensor:
        logits = POSTERIOR.log() - by * torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
        return generative_cross_entropy(logits, POSTERIOR, strength=strength)

    for strength in (1.1, 2.0):
        slope = (starved(500, strength) - starved(400, strength)) / 100
        assert_close(slope, -(strength - 1) * POSTERIOR[:, 2].mean(), rtol=1e-9, atol=0)
    assert_close(starved(500, 1.0), starved(400, 1.0), rtol=1e-12, atol=0)


@pytest.mark.filterwarnings("ignore:GenCE was given a batch of 2 rows")
def test_fact_5_the_mean_over_mini_batches_of_two_rows_has_the_same_minimiser() -> None:
    batches = torch.tensor(list(combinations(range(5), 2)))

    def mean_over_batches(z: Tensor, posterior: Tensor) -> Tensor:
        return torch.stack([generative_cross_entropy(z[batch], posterior[batch]) for batch in batches]).mean()

    for q in fitted_tables(mean_over_batches, POSTERIOR, starts=1):
        assert_close(q, POSTERIOR, rtol=0, atol=1e-6)


def test_fact_6_class_weights_leave_gence_at_the_posterior() -> None:
    weight = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    for q in fitted_tables(generative_cross_entropy, POSTERIOR, weight):
        assert_close(q, POSTERIOR, rtol=0, atol=1e-6)


def test_fact_6_class_weights_move_cross_entropy_to_the_reweighted_posterior() -> None:
    weight = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    reweighted = weight * POSTERIOR / (weight * POSTERIOR).sum(1, keepdim=True)
    assert (reweighted - POSTERIOR).abs().max() > 0.2
    for q in fitted_tables(F.cross_entropy, POSTERIOR, weight):
        assert_close(q, reweighted, rtol=0, atol=1e-6)


# Three classes that overlap, about 6 : 3 : 1, so that no linear model separates them.
U = torch.rand(150, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = (U > 0.6).long() + (U > 0.9).long()
X = torch.tensor([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]], dtype=torch.float64)[Y] + normal(150, 2, seed=1)
SHARE = torch.bincount(Y).double() / 150
LOSSES: tuple[Loss, Loss] = (F.cross_entropy, generative_cross_entropy)


def penalised(
    loss: Loss, x: Tensor, y: Tensor, weight_decay: float = 0.0, bias_decay: float = 0.0, bias: bool = True
) -> Loss:
    def objective(w: Tensor, b: Tensor) -> Tensor:
        return loss(x @ w + bias * b, y) + (weight_decay * w.square().sum() + bias_decay * b.square().sum()) / 2

    return objective


def fit(objective: Loss, features: int = 2, *, seed: int = 0) -> list[Tensor]:
    return minimise(objective, normal(features, 3, seed=seed), normal(3, seed=seed + 1))


def steepest_slope(objective: Loss, *parameters: Tensor) -> float:
    leaves = [value.clone().requires_grad_() for value in parameters]
    return max(slope.abs().max().item() for slope in torch.autograd.grad(objective(*leaves), leaves))


def log_r(logits: Tensor, target: Tensor) -> Tensor:
    share = F.one_hot(target, logits.shape[1]).double().mean(0) if target.dim() == 1 else target.mean(0)
    return share.log() - logits.softmax(1).mean(0).log()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_fact_7_gence_bounds_the_cross_entropy_of_the_model_with_moved_biases(seed: int, soft: bool) -> None:
    logits = 2 * normal(40, 4, seed=seed)
    target = normal(40, 4, seed=50).softmax(1) if soft else torch.arange(40) % 4
    share = target.mean(0) if soft else torch.full((4,), 0.25, dtype=torch.float64)
    shift = log_r(logits, target)
    gap = -(logits.softmax(1) @ shift.exp()).log().mean()
    expected = F.cross_entropy(logits + shift, target) + torch.special.xlogy(share, share).sum() + gap
    assert gap > 1e-5
    assert_close(generative_cross_entropy(logits, target), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_fact_7_the_slope_in_the_biases_is_that_of_cross_entropy_through_the_soft_confusions(seed: int) -> None:
    logits = (2 * normal(20, 4, seed=seed)).requires_grad_()
    target = torch.arange(20) % 3  # class 3 has no row
    ce, gence = (torch.autograd.grad(loss(logits, target), logits)[0].sum(0) for loss in LOSSES)
    q = logits.detach().softmax(1)
    assert_close(gence, (q.T @ q / 20 / q.mean(0)) @ ce, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_fact_7_a_full_batch_and_a_free_bias_give_the_model_of_cross_entropy(weight_decay: float) -> None:
    ce, gence = (penalised(loss, X, Y, weight_decay) for loss in LOSSES)
    w, b = fit(ce)
    q = (X @ w + b).softmax(1)
    assert_close(q.mean(0), SHARE, rtol=0, atol=1e-8)
    assert steepest_slope(gence, w, b) < 1e-8
    assert_close(gence(w, b), ce(w, b) + (SHARE * SHARE.log()).sum(), rtol=1e-12, atol=1e-12)
    for seed in (10, 20):
        w, b = fit(gence, seed=seed)
        assert steepest_slope(ce, w, b) < 1e-7
        assert_close((X @ w + b).softmax(1), q, rtol=0, atol=1e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_fact_7_where_predictions_are_dependent_only_the_biases_are_left_open(weight_decay: float) -> None:
    x = (torch.arange(60) % 2).double()[:, None]  # one feature, two values, three classes
    y = torch.tensor([0, 0, 0, 1, 0, 1, 1, 2, 1, 2, 2, 2]).repeat(5)
    ce, gence = (penalised(loss, x, y, weight_decay) for loss in LOSSES)
    at_ce = (x @ (best := fit(ce, 1))[0] + best[1]).softmax(1)
    for seed in range(2):
        w, b = fit(gence, 1, seed=seed)
        assert steepest_slope(gence, w, b) < 1e-8
        assert steepest_slope(ce, w, b) > 0.01
        b = b + log_r(x @ w + b, y)
        assert steepest_slope(ce, w, b) < 1e-7
        assert_close((x @ w + b).softmax(1), at_ce, rtol=0, atol=1e-6)


@pytest.mark.parametrize("change", [{"bias": False}, {"weight_decay": 0.01, "bias_decay": 0.01}])
def test_fact_7_without_a_free_bias_the_two_differ(change: dict[str, Any]) -> None:
    ce, gence = (penalised(loss, X, Y, **change) for loss in LOSSES)
    fits = [(X @ w + change.get("bias", True) * b).softmax(1) for w, b in (fit(ce), fit(gence))]
    assert (fits[0] - fits[1]).abs().max() > 0.05


def test_fact_7_class_weights_make_the_two_differ_and_gence_stays_near_the_shares() -> None:
    def rare(loss: Loss) -> float:
        w, b = fit(penalised(lambda z, y: loss(z, y, 1 / SHARE), X, Y))
        return (X @ w + b).softmax(1)[:, 2].mean().item()

    ce, gence = (rare(loss) for loss in LOSSES)
    assert ce > 2 * SHARE[2]
    assert gence == pytest.approx(SHARE[2].item(), abs=0.03)


def test_fact_7_at_the_common_fit_the_slopes_on_mini_batches_differ() -> None:
    w, b = fit(penalised(F.cross_entropy, X, Y))
    order = torch.randperm(150, generator=torch.Generator().manual_seed(2))
    for rows in order.split(15):
        leaf = (X[rows] @ w + b).requires_grad_()
        ce, gence = (torch.autograd.grad(loss(leaf, Y[rows]), leaf)[0].sum(0) for loss in LOSSES)
        assert 1e-4 < gence.norm() < 0.6 * ce.norm()


def test_fact_7_the_curvature_in_the_biases_is_that_of_cross_entropy_times_beta() -> None:
    w, b = fit(penalised(F.cross_entropy, X, Y))
    ce, gence = (
        torch.autograd.functional.hessian(lambda shift, loss=loss: loss(X @ w + b + shift, Y), torch.zeros_like(b))
        for loss in LOSSES
    )
    q = (X @ w + b).softmax(1)
    a_over_d = q.T @ q / 150 / q.mean(0)
    beta = torch.linalg.eigvals(a_over_d).real.sort().values
    assert_close(gence, a_over_d @ ce, rtol=0, atol=1e-8)
    assert 0 < beta[0] < beta[1] < 0.6
    assert beta[2].item() == pytest.approx(1)


def test_for_two_classes_beta_is_the_share_of_the_label_variance_that_is_explained() -> None:
    q = (normal(30, 1, seed=0) * torch.tensor([0.0, 1.0])).softmax(1)
    mean = q[:, 1].mean()
    beta = torch.linalg.eigvals(q.T @ q / 30 / q.mean(0)).real.min()
    assert_close(beta, q[:, 1].var(correction=0) / (mean * (1 - mean)), rtol=1e-10, atol=0)


def test_the_page_prints_what_it_quotes() -> None:
    dtype, seen = torch.get_default_dtype(), 0
    names: dict[str, object] = {}
    try:
        with torch.random.fork_rng():
            for code, quoted in re.findall(
                r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", PAGE.read_text(), re.MULTILINE | re.DOTALL
            ):
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    exec(code, names)
                assert printed.getvalue() == quoted
                seen += bool(quoted)
    finally:
        torch.set_default_dtype(dtype)
    assert seen > 5
