from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from gence.losses import MovingClassMass, _cautions, class_mass, focal, generative_cross_entropy
from gence.losses.criterion import Criterion
from gence.losses.hybrid import gence_focal, gence_margin, gence_prior, gence_smoothing
from gence.losses.margin import mbls
from gence.losses.prior import balanced_softmax, logit_adjusted

COUNTS = torch.tensor([500.0, 60.0, 7.0, 1.0], dtype=torch.float64)
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
# Knobs at which each differs from GenCE on logits of scale 2.
LOSSES = {
    "focal": partial(gence_focal, gamma=1.5, strength=0.7),
    "smoothing": partial(gence_smoothing, smoothing=0.2, strength=0.7),
    "margin": partial(gence_margin, alpha=0.3, margin=1.0, strength=0.7),
    "prior": partial(gence_prior, class_counts=COUNTS, tau=0.8, strength=0.7),
}
each = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
small_batches = pytest.mark.filterwarnings("ignore:GenCE was given a batch of")

# A uniform x-space of six points; columns are linearly independent, and the third class is rare.
POSTERIOR = torch.tensor(
    [
        [0.70, 0.28, 0.02],
        [0.15, 0.80, 0.05],
        [0.50, 0.10, 0.40],
        [0.60, 0.39, 0.01],
        [0.25, 0.70, 0.05],
        [0.90, 0.05, 0.05],
    ],
    dtype=torch.float64,
)
SHARE = POSTERIOR.mean(0)


def batch(rows: int = 20, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, 4, dtype=torch.float64, generator=generator), torch.arange(rows) % 4


def naive(
    logits: Tensor, target: Tensor, ignored: int, term: Callable[[list[float], list[float], int], float]
) -> float:
    """The mean, over the weights of the rows that count, of a term of (logits, log q - 0.7 log m, label)."""
    rows = [(z, y) for z, y in zip(logits.tolist(), target.tolist(), strict=True) if y != ignored]
    q = [[math.exp(v) / sum(map(math.exp, z)) for v in z] for z, _ in rows]
    mass = [sum(column) / len(q) for column in zip(*q, strict=True)]
    total = weights = 0.0
    for (z, y), row in zip(rows, q, strict=True):
        scores = [math.log(p) - 0.7 * math.log(m) for p, m in zip(row, mass, strict=True)]
        total += WEIGHT[y].item() * term(z, scores, y)
        weights += WEIGHT[y].item()
    return total / weights


def focal_term(z: list[float], scores: list[float], label: int) -> float:
    q = math.exp(z[label]) / sum(map(math.exp, z))
    return -((1 - q) ** 1.5) * scores[label]


def margin_term(z: list[float], scores: list[float], label: int) -> float:
    return -scores[label] + 0.3 * sum(max(max(z) - v - 1.0, 0.0) for v in z) / len(z)


def test_each_worked_out_by_hand() -> None:
    """Rows (1/2, 1/2) and (1/4, 3/4) have the mass (3/8, 5/8)."""
    logits, target = torch.tensor([[1.0, 1.0], [1.0, 3.0]], dtype=torch.float64).log(), torch.tensor([0, 1])
    ratios = [math.log(4 / 3), math.log(6 / 5)]
    value = gence_focal(logits, target, reduction="none")
    assert value.tolist() == pytest.approx([-ratios[0] / 4, -ratios[1] / 16])
    value = gence_margin(logits, target, reduction="none", alpha=0.5, margin=1.0)
    assert value.tolist() == pytest.approx([-ratios[0], -ratios[1] + 0.5 * (math.log(3) - 1) / 2])
    value = gence_smoothing(logits, target, reduction="none", smoothing=0.2)
    others = [math.log(4 / 5), math.log(2 / 3)]
    assert value.tolist() == pytest.approx([-0.9 * a - 0.1 * b for a, b in zip(ratios, others, strict=True)])
    # The prior (2/3, 1/3) brings them to (2/3, 1/3) and (2/5, 3/5), of mass (8/15, 7/15).
    value = gence_prior(logits, target, reduction="none", class_counts=[2, 1])
    assert value.tolist() == pytest.approx([-math.log(5 / 4), -math.log(9 / 7)])


@pytest.mark.parametrize(("name", "term"), [("focal", focal_term), ("margin", margin_term)])
def test_it_equals_the_naive_loop_with_weights_and_ignored_rows(name: str, term: Callable[..., float]) -> None:
    logits, target = batch()
    value = LOSSES[name](logits, target, WEIGHT, 2).item()
    assert value == pytest.approx(naive(logits, target, 2, term), rel=1e-12)


def test_the_prior_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Equation 10 of Menon et al. before GenCE."""
    logits, target = batch()
    adjusted = [[z + 0.8 * math.log(n / 568) for z, n in zip(row, COUNTS.tolist(), strict=True)] for row in logits]
    expected = naive(torch.tensor(adjusted, dtype=torch.float64), target, 2, lambda z, scores, y: -scores[y])
    assert LOSSES["prior"](logits, target, WEIGHT, 2).item() == pytest.approx(expected, rel=1e-12)


def test_smoothing_equals_the_naive_loop_with_ignored_rows() -> None:
    """As F.cross_entropy smooths: every class has its own weight in the even part, so here without weights."""
    logits, target = batch()
    keep = target != 2
    log_q = logits[keep].log_softmax(1)
    scores = log_q - 0.7 * (log_q.exp().mean(0)).log()
    terms = [-0.8 * row[y] - 0.2 * row.mean() for row, y in zip(scores, target[keep], strict=True)]
    assert_close(LOSSES["smoothing"](logits, target, None, 2), torch.stack(terms).mean(), rtol=1e-12, atol=0)


def both(loss: Callable[..., Tensor], *arguments: Any, **knobs: Any) -> tuple[Tensor, Tensor]:
    """Value and gradient."""
    logits = arguments[0].detach().clone().requires_grad_()
    value = loss(logits, *arguments[1:], **knobs)
    return value.detach(), torch.autograd.grad(value.sum(), logits)[0]


def assert_same(ours: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
    for a, b in zip(ours, other, strict=True):
        assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_each_collapses_to_gence_on_one_side_and_to_its_other_parent_on_the_other(reduction) -> None:
    logits, target = batch()
    settings = (logits, target, WEIGHT, 2, reduction)
    gence = both(generative_cross_entropy, *settings)
    assert_same(both(gence_focal, *settings, gamma=0.0), gence)
    assert_same(both(gence_smoothing, *settings, smoothing=0.0), gence)
    assert_same(both(gence_margin, *settings, alpha=0.0), gence)
    assert_same(both(gence_margin, *settings, margin=100.0), gence)
    assert_same(both(gence_prior, *settings, class_counts=COUNTS, tau=0.0), gence)
    assert_same(both(gence_prior, *settings, class_counts=[9, 9, 9, 9]), gence)
    assert_same(both(gence_focal, *settings, gamma=1.5, strength=0.0), both(focal, *settings, gamma=1.5))
    assert_same(
        both(gence_smoothing, *settings, smoothing=0.2, strength=0.0),
        both(F.cross_entropy, logits, target, WEIGHT, ignore_index=2, reduction=reduction, label_smoothing=0.2),
    )
    knobs = {"alpha": 0.3, "margin": 1.0}
    assert_same(both(gence_margin, *settings, **knobs, strength=0.0), both(mbls, *settings, **knobs))
    assert_same(
        both(gence_prior, *settings, class_counts=COUNTS, strength=0.0),
        both(balanced_softmax, *settings, class_counts=COUNTS),
    )
    knobs = {"class_counts": COUNTS, "tau": 0.8}
    assert_same(both(gence_prior, *settings, **knobs, strength=0.0), both(logit_adjusted, *settings, **knobs))


@pytest.mark.parametrize("name", ["focal", "smoothing", "prior"])
def test_probabilities_that_are_sure_are_class_numbers_and_others_their_mean(name: str) -> None:
    logits, target = batch()
    sure = F.one_hot(target, 4).double()
    assert_same(both(LOSSES[name], logits, sure), both(LOSSES[name], logits, target))
    mixed = 0.3 * sure + 0.7 * sure.roll(1, 0)
    value = LOSSES[name](logits, mixed, reduction="none")
    parts = [LOSSES[name](logits, labels, reduction="none") for labels in (target, target.roll(1, 0))]
    assert_close(value, 0.3 * parts[0] + 0.7 * parts[1])


def test_the_margin_refuses_probabilities() -> None:
    with pytest.raises(ValueError, match=r"gence_margin is defined for class numbers; got class probabilities"):
        gence_margin(torch.zeros(5, 4), torch.full((5, 4), 0.25))


@each
def test_an_ignored_row_changes_nothing(loss: Callable[..., Tensor]) -> None:
    logits, target = batch()
    more = torch.cat([logits, torch.full((3, 4), 7.0, dtype=torch.float64).tril()])
    value, gradient = both(loss, more, torch.cat([target, torch.full((3,), -100)]))
    assert_same((value, gradient[:20]), both(loss, logits, target))
    assert not gradient[20:].any()
    more[20:] = math.nan
    assert_close(loss(more, torch.cat([target, torch.full((3,), -100)])), value)


@pytest.mark.parametrize("name", ["focal", "margin", "prior"])
def test_a_nan_in_an_ignored_row_does_not_reach_the_gradient(name: str) -> None:
    logits, target = batch()
    logits[3], target[3] = math.nan, -100
    assert both(LOSSES[name], logits, target)[1].isfinite().all()


@each
@settings(max_examples=15)
@given(shift=st.floats(-50, 50), seed=st.integers(0, 1000))
def test_a_shift_of_a_row_of_logits_and_the_order_of_rows_do_not_matter(
    loss: Callable[..., Tensor], shift: float, seed: int
) -> None:
    logits, target = batch(seed=seed)
    expected = loss(logits, target, reduction="none")
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    assert_close(loss((logits + shift)[order], target[order], reduction="none"), expected[order], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["smoothing", "margin", "prior"])
def test_the_gradient_is_that_of_the_value(name: str) -> None:
    logits, target = batch(6)
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, target, WEIGHT), logits.requires_grad_())


def test_the_gradient_of_focal_takes_the_factor_of_the_mass_for_a_constant() -> None:
    logits, target = batch()
    factor = (1 - logits.softmax(1).gather(1, target[:, None]).squeeze(1)) ** 1.5

    def by_parts(z: Tensor) -> Tensor:
        log_mass = z.softmax(1).mean(0).log()[target]
        return (focal(z, target, reduction="none", gamma=1.5) + 0.7 * factor * log_mass).mean()

    assert_same(both(LOSSES["focal"], logits, target), both(by_parts, logits))


@small_batches
@pytest.mark.parametrize("loss", [*LOSSES.values(), partial(gence_focal, gamma=0.5)], ids=[*LOSSES, "root"])
@pytest.mark.parametrize("target", [0, 3])
def test_value_and_gradient_are_finite_at_the_ends(loss: Callable[..., Tensor], target: int) -> None:
    for rows in (
        [[500.0, -500.0, 0.0, 0.0]],
        [[500.0, -500.0, 0.0, 0.0], [-500.0, 500.0, 0.0, -500.0]],
        [[0.0] * 4] * 3,
    ):
        value, gradient = both(loss, torch.tensor(rows), torch.full((len(rows),), target))
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("strength", [1.0, 2.0])
@pytest.mark.parametrize("name", ["focal", "prior"])
def test_a_class_ruled_out_by_minus_infinity_has_gradient_0(name: str, strength: float) -> None:
    logits, _ = batch()
    logits[:, 3] = -math.inf
    gradient = both(partial(LOSSES[name], strength=strength), logits, torch.arange(20) % 3)[1]
    assert gradient.isfinite().all()
    assert not gradient[:, 3].any()


def test_no_row_that_counts_has_sum_0() -> None:
    for loss in LOSSES.values():
        value, gradient = both(loss, batch()[0], torch.full((20,), -100), reduction="sum")
        assert value == 0
        assert not gradient.any()


@pytest.mark.parametrize("name", ["focal", "prior"])
def test_it_compiles_whole(name: str) -> None:
    logits, target = batch()
    compiled = torch.compile(LOSSES[name].func, fullgraph=True, backend="aot_eager")
    assert_close(compiled(logits, target, WEIGHT, **LOSSES[name].keywords), LOSSES[name](logits, target, WEIGHT))


@each
def test_it_runs_without_values(loss: Callable[..., Tensor]) -> None:
    meta = torch.zeros(5, 4, device="meta", requires_grad=True)
    loss(meta, torch.zeros(5, dtype=torch.long, device="meta")).backward()


@each
def test_half_precision_and_images_come_back_as_from_cross_entropy(loss: Callable[..., Tensor]) -> None:
    logits = batch(24)[0].view(2, 3, 4, 4).permute(0, 3, 1, 2)
    target = torch.arange(24).view(2, 3, 4) % 4
    value = loss(logits.bfloat16(), target, reduction="none")
    assert (value.dtype, value.shape) == (torch.bfloat16, target.shape)
    flat = loss(logits.movedim(1, -1).reshape(-1, 4), target.flatten(), reduction="none")
    assert_close(loss(logits, target, reduction="none").flatten(), flat)


@each
def test_few_rows_are_cautioned_of_as_by_gence(loss: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cautions, "_said", set())
    logits, target = torch.zeros(3, 4, requires_grad=True), torch.tensor([0, 1, 2])
    loss(logits, target, strength=0.0)
    with pytest.warns(UserWarning, match="batch of 3 rows that count, and an input of 4 classes"):
        loss(logits, target)


@pytest.mark.parametrize("name", ["focal", "margin"])
def test_ranks_apart_are_cautioned_of(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cautions, "_said", set())
    monkeypatch.setattr(_cautions.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(_cautions.dist, "get_world_size", lambda: 2)
    with pytest.warns(UserWarning, match=f"gence_{name} has no exact form for ranks yet"):
        LOSSES[name](*batch())


def test_parts_of_a_batch_with_their_class_mass_add_up_to_the_whole() -> None:
    logits, target = batch()
    parts = [slice(0, 3), slice(3, 20)]
    adjusted = logits + 0.8 * COUNTS.log()
    total = sum(class_mass(adjusted[rows], target[rows]) for rows in parts)
    values = [LOSSES["prior"](logits[rows], target[rows], class_mass=total) for rows in parts]
    assert_close(values[0] + values[1], LOSSES["prior"](logits, target))
    total = sum(class_mass(logits[rows], target[rows], label_smoothing=0.2) for rows in parts)
    values = [LOSSES["smoothing"](logits[rows], target[rows], class_mass=total) for rows in parts]
    assert_close(values[0] + values[1], LOSSES["smoothing"](logits, target))


def test_as_a_module_it_holds_a_moving_class_mass() -> None:
    logits, target = batch()
    loss = Criterion(gence_prior, class_counts=COUNTS, class_mass=MovingClassMass(4).double())
    assert_close(loss(logits, target), gence_prior(logits, target, class_counts=COUNTS))  # the first batch is its own
    assert loss.class_mass.batches == 1


def fitted(loss: Callable[[Tensor, Tensor], Tensor], posterior: Tensor = POSTERIOR, *, seed: int = 0) -> Tensor:
    """The logits with the least loss, from a random start."""
    logits = torch.randn(posterior.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    logits.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=1000, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(logits, posterior)
        value.backward()
        return value

    optimizer.step(closure)
    return logits.detach()


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)])
@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_prior_finds_the_posterior_of_the_training_data_and_at_tau_1_that_of_balanced_data(
    weight: Tensor | None, tau: float
) -> None:
    for seed in range(2):
        z = fitted(lambda z, p: gence_prior(z, p, weight, class_counts=6 * SHARE, tau=tau), seed=seed)
        assert_close((z + tau * SHARE.log()).softmax(1), POSTERIOR, rtol=0, atol=1e-6)
        balanced = POSTERIOR / SHARE
        balanced = balanced / balanced.sum(1, keepdim=True)
        assert torch.allclose(z.softmax(1), balanced, rtol=0, atol=1e-6) == (tau == 1.0)
        target_prior = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
        moved = POSTERIOR / SHARE * target_prior
        if tau == 1.0:
            found = (z + target_prior.log()).softmax(1)
            assert_close(found, moved / moved.sum(1, keepdim=True), rtol=0, atol=1e-6)


def test_labels_smoothed_evenly_ruin_the_balanced_posterior_and_those_smoothed_to_the_prior_do_not() -> None:
    balanced = (POSTERIOR / SHARE) / (POSTERIOR / SHARE).sum(1, keepdim=True)
    wrong = {}
    for name, towards in (("evenly", torch.full((3,), 1 / 3).double()), ("prior", SHARE)):
        z = fitted(lambda z, p: gence_prior(z, p, class_counts=SHARE), 0.7 * POSTERIOR + 0.3 * towards)
        wrong[name] = int((z.argmax(1) != balanced.argmax(1)).sum())
    assert wrong["prior"] == 0
    assert wrong["evenly"] >= 2


def test_smoothing_finds_the_smoothed_posterior() -> None:
    z = fitted(partial(gence_smoothing, smoothing=0.2))
    assert_close(z.softmax(1), 0.8 * POSTERIOR + 0.2 / 3, rtol=0, atol=1e-6)


def margin_risk(logits: Tensor, posterior: Tensor, margin: float) -> Tensor:
    """The expectation over labels, as the loss itself takes no probabilities."""
    labels = torch.arange(3).repeat(len(posterior))
    terms = gence_margin(logits.repeat_interleave(3, 0), labels, reduction="none", margin=margin, alpha=0.1)
    return (posterior.flatten() * terms).sum() / len(posterior)


def test_margin_finds_the_posterior_where_its_probabilities_lie_within_the_margin_and_only_there() -> None:
    z = fitted(partial(margin_risk, margin=10.0))
    assert_close(z.softmax(1), POSTERIOR, rtol=0, atol=1e-6)
    at_truth = POSTERIOR.log().requires_grad_()
    assert torch.autograd.grad(margin_risk(at_truth, POSTERIOR, 1.0), at_truth)[0].abs().max() > 1e-3


def test_focal_falls_where_classes_are_starved_but_its_gradient_does_not_lead_there() -> None:
    """What makes its factor a constant where it multiplies log m."""
    starved = POSTERIOR.log() - torch.tensor([0.0, 20.0, 20.0], dtype=torch.float64)
    assert gence_focal(starved, POSTERIOR) < gence_focal(POSTERIOR.log(), POSTERIOR) - 0.1
    logits = torch.zeros(30, 3, dtype=torch.float64, requires_grad=True)
    target = torch.arange(30) % 3
    for _ in range(200):
        slope = torch.autograd.grad(gence_focal(logits, target, reduction="sum"), logits)[0]
        with torch.no_grad():
            logits -= slope
    assert (logits.argmax(1) == target).all()
    assert 0.9 < logits.softmax(1).amax(1).min() < 1.0


def test_focal_is_not_proper_and_errs_to_less_confidence() -> None:
    logits = POSTERIOR.log().requires_grad_()
    for _ in range(300):
        slope = torch.autograd.grad(gence_focal(logits, POSTERIOR), logits)[0]
        with torch.no_grad():
            logits -= 10 * slope
    assert slope.abs().max() < 1e-5
    assert (logits.softmax(1).amax(1) < POSTERIOR.amax(1)).all()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("focal", {"gamma": -1.0}, r"gamma must be a finite number of at least 0 \(0 is GenCE\); got -1.0"),
        ("focal", {"strength": math.nan}, "strength must be a finite number"),
        ("focal", {"reduction": "avg"}, "reduction must be one of none, mean, sum; got 'avg'"),
        ("smoothing", {"smoothing": 1.5}, r"label_smoothing must lie in \[0, 1\]; got 1.5"),
        ("margin", {"alpha": -0.1}, r"alpha must be a finite number of at least 0 \(0 is GenCE\); got -0.1"),
        ("margin", {"margin": math.nan}, r"margin must be a finite number of at least 0; got nan"),
        ("margin", {"strength": math.inf}, "strength must be a finite number"),
        ("prior", {"tau": -1.0}, "tau must be a finite number of at least 0"),
        ("prior", {"class_counts": [1, 2]}, r"class_counts must hold .* shape \(4,\); got shape \(2,\)"),
        ("prior", {"strength": math.nan}, "strength must be a finite number"),
        ("prior", {"target": torch.zeros(3)}, r"target must be class numbers of shape \(20,\)"),
    ],
)
def test_a_wrong_argument_is_named(name: str, change: dict[str, Any], message: str) -> None:
    logits, target = batch()
    with pytest.raises(ValueError, match=message):
        LOSSES[name](**({"input": logits, "target": target} | change))
