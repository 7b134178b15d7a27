"""Balanced GenCE: written out, and what it is where one of its parts is nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence.losses import (
    BalancedGenCELoss,
    GenCELoss,
    MovingClassMass,
    gence_prior,
    label_smoothing,
    logit_adjusted,
    logit_adjusted_smoothing,
)

COUNTS = torch.tensor([50.0, 20.0, 6.0, 4.0])
PRIOR = COUNTS.double() / COUNTS.sum()
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)


def batch(seed: int, rows: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(4, (rows,), generator=generator)


def loss_of(**settings: object) -> BalancedGenCELoss:
    return BalancedGenCELoss(**{"class_counts": COUNTS.double(), **settings}).double()  # type: ignore[arg-type]


def both(loss: object, logits: Tensor, target: Tensor, *args: object, **settings: object) -> tuple[Tensor, Tensor]:
    value = loss(logits, target, *args, **settings)  # type: ignore[operator]
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_it_is_what_a_loop_over_three_batches_gives(weight: Tensor | None) -> None:
    tau, smoothing, strength, rate = 0.8, 0.1, 0.7, 0.5
    loss = loss_of(weight=weight, tau=tau, smoothing=smoothing, strength=strength, rate=rate)
    w = torch.ones(4, dtype=torch.float64) if weight is None else weight
    moving = torch.zeros(4, dtype=torch.float64)
    for number in range(3):
        logits, target = batch(number)
        value, gradient = both(loss, logits, target)
        with torch.no_grad():
            q = (logits + tau * PRIOR.log()).softmax(1)
            now = max(rate, 1 / (number + 1))
            moving = (1 - now) * moving + now * q.mean(0)
            terms, wanted = [], torch.zeros_like(q)
            for i, y in enumerate(target.tolist()):
                t = smoothing * PRIOR
                t[y] += 1 - smoothing
                terms.append(-w[y] * (t * (q[i].log() - strength * moving.log())).sum())
                wanted[i] = w[y] * (q[i] - t) / w[target].sum()
            # Of every row the same: the share of class k in the weighted, smoothed labels, over its mass.
            share = PRIOR * ((1 - smoothing) * w / (w * PRIOR).sum() + smoothing)
            r = strength * share / moving
            wanted += q * (r - (q * r).sum(1, keepdim=True)) / len(q)
        assert_close(value, torch.stack(terms).sum() / w[target].sum())
        assert_close(gradient, wanted)


def test_reductions_ignored_rows_and_images() -> None:
    logits, target = batch(0)
    target[::5] = -100
    for reduction in ("mean", "sum", "none"):
        flat = both(loss_of(reduction=reduction, weight=WEIGHT), logits, target)
        kept = target != -100
        part = both(loss_of(reduction=reduction, weight=WEIGHT), logits, target[kept][:0].new_zeros(24))[0].shape
        assert flat[0].shape == part
        assert (flat[1][~kept] == 0).all()
        images = logits.T.reshape(4, 4, 6)[None]
        whole = both(loss_of(reduction=reduction, weight=WEIGHT), images, target.view(1, 4, 6))
        assert_close(whole[0].flatten(), flat[0].flatten())
        assert_close(whole[1][0].reshape(4, 24).T, flat[1])
    by_rows, by_sum = (
        both(loss_of(reduction=reduction, weight=WEIGHT), logits, target) for reduction in ("none", "sum")
    )
    assert_close(by_rows[0].sum(), by_sum[0])
    assert_close(by_rows[1], by_sum[1])


def test_without_strength_and_smoothing_it_is_logit_adjustment() -> None:
    logits, target = batch(1)
    mine = both(loss_of(strength=0.0, smoothing=0.0, tau=0.6, weight=WEIGHT), logits, target)
    assert_close(mine, both(logit_adjusted, logits, target, WEIGHT, class_counts=COUNTS, tau=0.6))


def test_without_strength_it_is_smoothed_logit_adjustment_to_the_bit() -> None:
    logits, target = batch(1)
    mine = both(loss_of(strength=0.0, smoothing=0.1, tau=0.6, weight=WEIGHT), logits, target)
    knobs = {"class_counts": COUNTS.double(), "tau": 0.6, "smoothing": 0.1}
    other = both(logit_adjusted_smoothing, logits, target, WEIGHT, **knobs)
    assert torch.equal(mine[0], other[0])
    assert torch.equal(mine[1], other[1])


def test_without_strength_on_equal_counts_it_is_label_smoothing() -> None:
    logits, target = batch(2)
    mine = both(loss_of(class_counts=[7, 7, 7, 7], strength=0.0, smoothing=0.2), logits, target)
    assert_close(mine, both(label_smoothing, logits, target, smoothing=0.2))


def test_on_equal_counts_it_is_moving_gence_of_smoothed_labels() -> None:
    prior = torch.full((4,), 0.25, dtype=torch.float64)
    other = GenCELoss(label_smoothing=0.1, class_mass=MovingClassMass(4, 0.1, prior=prior)).double()
    mine = loss_of(class_counts=[3, 3, 3, 3], smoothing=0.1, rate=0.1)
    for seed in range(3):
        logits, target = batch(seed)
        assert_close(both(mine, logits, target), both(other, logits, target))


def test_a_batch_that_is_its_own_estimate_has_the_gradient_of_prior_aware_gence() -> None:
    target = torch.arange(4).repeat_interleave(torch.tensor([25, 10, 3, 2]))  # the shares of COUNTS
    logits, _ = batch(3, rows=40)
    mine = both(loss_of(smoothing=0.0, rate=1.0), logits, target)
    assert_close(mine, both(gence_prior, logits, target, class_counts=COUNTS))
    soft = 0.8 * F.one_hot(target, 4).double() + 0.2 * PRIOR
    assert_close(
        both(loss_of(smoothing=0.2, rate=1.0), logits, target), both(gence_prior, logits, soft, class_counts=COUNTS)
    )


def test_its_minimiser_is_the_posterior_smoothed_towards_the_prior() -> None:
    # Three points x with linearly independent posteriors; every row of the batch is one, as often as it occurs.
    posterior = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]], dtype=torch.float64)
    often = torch.tensor([60, 30, 10])
    x = torch.arange(3).repeat_interleave(10 * often)
    y = torch.cat(
        [torch.arange(3).repeat_interleave((10 * n * p).round().long()) for n, p in zip(often, posterior, strict=True)]
    )
    prior = torch.bincount(y).double() / len(y)
    z = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    loss = BalancedGenCELoss(class_counts=torch.bincount(y), smoothing=0.2, rate=1.0).double()
    optimizer = torch.optim.LBFGS([z], lr=0.5, max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> Tensor:
        optimizer.zero_grad()
        # The value does not have this gradient, which a line search would notice; a fixed step does not look.
        value = loss(z[x], y)
        value.backward()
        return value

    optimizer.step(closure)
    fitted = (z.detach() + prior.log()).softmax(1)
    assert_close(fitted, 0.8 * posterior + 0.2 * prior, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smoothing": 1.5}, "label_smoothing must lie"),
        ({"tau": -1.0}, "tau must be"),
        ({"class_counts": [3, 0]}, "class_counts"),
        ({"rate": 0.0}, "rate must lie"),
        ({"strength": float("nan")}, "strength must be"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_of(**settings)
