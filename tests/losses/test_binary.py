"""GenCE for binary and multi-label tasks against its definition, per label and side."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score
from torch import Tensor
from torch.testing import assert_close
from torch.testing._internal.common_methods_invocations import op_db

from gence import generative_cross_entropy
from gence.losses.binary import generative_binary_cross_entropy_with_logits

BINARY_CROSS_ENTROPY = next(op for op in op_db if op.name == "nn.functional.binary_cross_entropy_with_logits")
REDUCTIONS = ("none", "mean", "sum")


def batch(*shape: int, seed: int = 0, scale: float = 2.0, soft: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = shape or (12, 5)
    logits = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
    target = torch.rand(shape, dtype=torch.float64, generator=generator)
    return logits, target if soft else target.round()


def naive(
    logits: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: str, strength: float
) -> list[list[float]] | float:
    """The definition in plain loops over rows and labels, (N, L)."""
    rows, labels = logits.shape
    w = torch.ones_like(logits) if weight is None else weight.expand_as(logits)
    v = torch.ones_like(logits) if pos_weight is None else pos_weight.expand_as(logits)
    s = [[1 / (1 + math.exp(-z)) for z in row] for row in logits.tolist()]
    terms = [[0.0] * labels for _ in range(rows)]
    for k in range(labels):
        m = sum(s[i][k] for i in range(rows)) / rows
        for i in range(rows):
            y = float(target[i, k])
            present = math.log(s[i][k]) - strength * math.log(m)
            absent = math.log(1 - s[i][k]) - strength * math.log(1 - m)
            terms[i][k] = -float(w[i, k]) * (float(v[i, k]) * y * present + (1 - y) * absent)
    total = sum(map(sum, terms))
    return {"none": terms, "sum": total, "mean": total / (rows * labels)}[reduction]


def test_two_rows_of_two_labels_worked_out_by_hand() -> None:
    # sigma = (2/3, 1/4) and (1/2, 1/5), so m+ = 11/24 and 7/20.
    odds = torch.tensor([[2.0, 1.0], [1 / 3, 1 / 4]], dtype=torch.float64)
    target = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    value = generative_binary_cross_entropy_with_logits(odds.log(), target, reduction="none")
    expected = [
        [-math.log((2 / 3) / (11 / 24)), -math.log((1 / 2) / (7 / 20))],
        [-math.log((3 / 4) / (13 / 24)), -math.log((1 / 5) / (7 / 20))],
    ]
    assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weight_shape", [None, (), (5,), (12, 1), (12, 5)])
@pytest.mark.parametrize("pos_weight_shape", [None, (), (5,), (12, 5)])
def test_it_equals_the_naive_loop(pos_weight_shape: Any, weight_shape: Any, soft: bool) -> None:
    logits, target = batch(soft=soft)
    generator = torch.Generator().manual_seed(1)
    weight, pos_weight = (
        None if shape is None else 4 * torch.rand(shape, dtype=torch.float64, generator=generator)
        for shape in (weight_shape, pos_weight_shape)
    )
    for reduction, strength in product(REDUCTIONS, (1.0, 0.5)):
        arguments: Any = {"weight": weight, "pos_weight": pos_weight, "reduction": reduction, "strength": strength}
        value = generative_binary_cross_entropy_with_logits(logits, target, **arguments)
        expected = naive(logits, target, **arguments)
        assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strength_0_is_binary_cross_entropy_on_all_of_pytorchs_own_samples(dtype: torch.dtype) -> None:
    samples = list(BINARY_CROSS_ENTROPY.sample_inputs("cpu", dtype, requires_grad=True))
    assert len(samples) > 15
    for sample in samples:
        ours = generative_binary_cross_entropy_with_logits(sample.input, *sample.args, **sample.kwargs, strength=0.0)
        theirs = F.binary_cross_entropy_with_logits(sample.input, *sample.args, **sample.kwargs)
        assert_close(ours, theirs)
        tensors = [t for t in (sample.input, *sample.args, *sample.kwargs.values()) if getattr(t, "requires_grad", 0)]
        assert len(tensors) >= 2  # the targets too
        for pair in zip(*(torch.autograd.grad(value.sum(), tensors) for value in (ours, theirs)), strict=True):
            assert_close(*pair)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("shape", [(12,), (12, 1), (3, 1, 2, 2)])
def test_one_label_is_the_categorical_loss_of_two_classes(
    shape: tuple[int, ...], strength: float, soft: bool, reduction: Any
) -> None:
    logits, target = batch(12, soft=soft)
    logits.requires_grad_()
    binary = generative_binary_cross_entropy_with_logits(
        logits.view(shape), target.view(shape), reduction=reduction, strength=strength
    )
    classes = torch.stack([1 - target, target], 1) if soft else target.long()
    pair = torch.stack([torch.zeros_like(logits), logits], 1)
    categorical = generative_cross_entropy(pair, classes, reduction=reduction, strength=strength)
    assert_close(binary.flatten(), categorical.flatten(), rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(value.sum(), logits)[0] for value in (binary, categorical)]
    assert_close(*gradients, rtol=1e-12, atol=1e-14)


def test_at_the_true_posterior_it_is_minus_the_mutual_information_that_scikit_learn_finds() -> None:
    counts = torch.tensor([[3, 1], [2, 2], [1, 5]])  # rows: an x; columns: label absent, present
    x = torch.arange(3).repeat_interleave(counts.sum(1))
    y = torch.cat([torch.arange(2).repeat_interleave(c) for c in counts])
    posterior = (counts[:, 1] / counts[:, 0].double()).log()
    value = generative_binary_cross_entropy_with_logits(posterior[x], y.double())
    assert value.item() == pytest.approx(-mutual_info_score(x.numpy(), y.numpy()), abs=1e-12)


def test_pos_weight_leaves_the_true_posterior_stationary_where_binary_cross_entropy_does_not() -> None:
    probs = batch(9, 4, soft=True)[1]
    pos_weight = torch.tensor([0.1, 1.0, 3.0, 50.0], dtype=torch.float64)
    for strength in (1.0, 0.0):
        logits = probs.logit().requires_grad_()
        value = generative_binary_cross_entropy_with_logits(logits, probs, pos_weight=pos_weight, strength=strength)
        gradient = torch.autograd.grad(value, logits)[0]
        stationary = gradient.abs().amax(0) < 1e-14
        assert stationary.tolist() == [strength == 1.0, True, strength == 1.0, strength == 1.0]


def test_a_batch_of_one_gives_0_and_no_gradient() -> None:
    for shape, soft in product([(), (1,), (1, 7)], [False, True]):
        logits, target = batch(7, soft=soft)
        logits, target = (t[: math.prod(shape)].view(shape) for t in (logits, target))
        logits.requires_grad_()
        value = generative_binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(3.0))
        assert_close(value.detach(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-15)
        assert_close(torch.autograd.grad(value, logits)[0], torch.zeros_like(logits), rtol=0, atol=1e-15)


def test_a_label_present_in_every_row_or_in_none_gives_0_at_equal_logits_and_more_elsewhere() -> None:
    logits = torch.tensor([[-3.0, 1.0, 2.0, 2.0], [-3.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    target = torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 2, dtype=torch.float64)
    terms = generative_binary_cross_entropy_with_logits(logits, target, reduction="none").mean(0)
    assert_close(terms[:2], torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-15)
    assert (terms[2:] > 1e-3).all()


def test_the_lower_bound_is_reached_by_sure_and_right_logits() -> None:
    target = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    value = generative_binary_cross_entropy_with_logits(100 * (2 * target - 1), target)
    quarter = math.log(4) / 4 + 3 * math.log(4 / 3) / 4
    assert value.item() == pytest.approx(-(quarter + math.log(2)) / 2, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 20),
    labels=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    scale=st.floats(0, 30),
    soft=st.booleans(),
    strength=st.floats(0, 1),
)
def test_invariances_and_the_lower_bound(
    rows: int, labels: int, seed: int, scale: float, soft: bool, strength: float
) -> None:
    logits, target = batch(rows, labels, seed=seed, scale=scale, soft=soft)
    generator = torch.Generator().manual_seed(seed)
    row_order = torch.randperm(rows, generator=generator)
    label_order = torch.randperm(labels, generator=generator)
    flipped = torch.rand(labels, generator=generator) < 0.5

    def loss(z: Tensor, y: Tensor) -> Tensor:
        return generative_binary_cross_entropy_with_logits(z, y, strength=strength)

    value = loss(logits, target)
    near: Any = {"rtol": 1e-9, "atol": 1e-9}
    assert_close(loss(logits[row_order], target[row_order]), value, **near)
    assert_close(loss(logits[:, label_order], target[:, label_order]), value, **near)
    assert_close(loss(logits.repeat(3, 1), target.repeat(3, 1)), value, **near)
    assert_close(loss(torch.where(flipped, -logits, logits), torch.where(flipped, 1 - target, target)), value, **near)
    assert_close(torch.stack([loss(logits[:, k], target[:, k]) for k in range(labels)]).mean(), value, **near)
    f = target.mean(0)
    assert value.item() >= (torch.special.xlogy(f, f) + torch.special.xlogy(1 - f, 1 - f)).mean().item() - 1e-9


def test_the_gradient_has_its_closed_form() -> None:
    logits, y = batch(soft=True)
    v = torch.arange(1.0, 6.0, dtype=torch.float64)
    logits.requires_grad_()
    value = generative_binary_cross_entropy_with_logits(logits, y, pos_weight=v)
    s = logits.detach().sigmoid()
    pull = (v * y).sum(0) / s.sum(0) - (1 - y).sum(0) / (1 - s).sum(0)
    expected = (-v * y * (1 - s) + (1 - y) * s + s * (1 - s) * pull) / logits.numel()
    assert_close(torch.autograd.grad(value, logits)[0], expected, rtol=1e-12, atol=1e-14)


def test_the_gradient_passes_gradcheck_in_every_tensor() -> None:
    logits, target = batch(4, 3, soft=True)
    weight, pos_weight = batch(4, 1, seed=1)[0].exp(), batch(3, seed=2)[0].exp()
    tensors = tuple(t.requires_grad_() for t in (logits, target, weight, pos_weight))
    for reduction in REDUCTIONS:
        assert torch.autograd.gradcheck(
            lambda *t, r=reduction: generative_binary_cross_entropy_with_logits(*t, reduction=r), tensors
        )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_every_position_of_an_image_is_a_row(reduction: Any) -> None:
    images, target = batch(2, 3, 4, 5)
    weight = torch.arange(1.0, 4.0)
    rows, flat_target = (t.movedim(1, -1).reshape(-1, 3) for t in (images, target))
    value = generative_binary_cross_entropy_with_logits(
        images, target, weight.view(3, 1, 1), weight.flip(0).view(3, 1, 1), reduction
    )
    flat = generative_binary_cross_entropy_with_logits(rows, flat_target, weight, weight.flip(0), reduction)
    assert_close(value, flat.view(2, 4, 5, 3).movedim(-1, 1) if reduction == "none" else flat)


def test_a_mask_without_a_label_axis_needs_one() -> None:
    mask, target = batch(2, 4, 5)
    flat = generative_binary_cross_entropy_with_logits(mask.flatten(), target.flatten())
    assert_close(generative_binary_cross_entropy_with_logits(mask.unsqueeze(1), target.unsqueeze(1)), flat)
    assert abs(generative_binary_cross_entropy_with_logits(mask, target) - flat) > 1e-4


def test_an_entry_of_weight_0_leaves_the_sum_and_stays_in_the_mass() -> None:
    logits, target = batch()
    weight = torch.ones_like(logits)
    weight[0] = 0.0
    terms = generative_binary_cross_entropy_with_logits(logits, target, reduction="none")
    masked = generative_binary_cross_entropy_with_logits(logits, target, weight, reduction="none")
    assert_close(masked, terms * weight)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (0, 3, 2), (2, 3, 0)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_without_entries_it_does_what_binary_cross_entropy_does(shape: tuple[int, ...], reduction: Any) -> None:
    logits, target = torch.zeros(shape, requires_grad=True), torch.zeros(shape)
    value = generative_binary_cross_entropy_with_logits(logits, target, reduction=reduction)
    assert_close(value, F.binary_cross_entropy_with_logits(logits, target, reduction=reduction), equal_nan=True)
    assert torch.autograd.grad(value.sum(), logits)[0].shape == shape


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_label_ruled_out_or_in_by_infinity_where_that_is_right_costs_nothing(strength: float) -> None:
    logits, target = batch(12, 3)
    sides = torch.tensor([-math.inf, math.inf], dtype=torch.float64).expand(12, 2)
    more = torch.cat([logits, sides], 1).requires_grad_()
    logits.requires_grad_()
    values = [
        generative_binary_cross_entropy_with_logits(z, y, reduction="sum", strength=strength)
        for z, y in ((logits, target), (more, torch.cat([target, (sides > 0).double()], 1)))
    ]
    assert_close(*values)
    without, with_them = (torch.autograd.grad(v, z)[0] for v, z in zip(values, (logits, more), strict=True))
    assert_close(with_them, torch.cat([without, torch.zeros(12, 2, dtype=torch.float64)], 1))


def test_an_infinity_in_some_rows_is_the_limit_of_large_logits() -> None:
    logits, target = batch()
    large = torch.where(logits.abs() > 2, logits.sign() * 1e3, logits).requires_grad_()
    infinite = torch.where(logits.abs() > 2, logits.sign() * math.inf, logits).requires_grad_()
    target = torch.where(logits.abs() > 2, (logits > 0).double(), target)
    values = [generative_binary_cross_entropy_with_logits(z, target) for z in (infinite, large)]
    assert infinite.isinf().any()
    assert_close(*values)
    assert_close(*(torch.autograd.grad(v, z)[0] for v, z in zip(values, (infinite, large), strict=True)))


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_wrong_infinity_costs_infinity_and_no_more_than_its_own_gradient(strength: float) -> None:
    logits, target = batch()
    logits[0, 0], target[0, 0] = math.inf, 0.0
    logits.requires_grad_()
    value = generative_binary_cross_entropy_with_logits(logits, target, strength=strength)
    assert value.item() == math.inf
    assert torch.autograd.grad(value, logits)[0].isfinite().all()


def test_a_nan_reaches_every_row_of_its_label_and_no_other() -> None:
    logits, target = batch()
    expected = generative_binary_cross_entropy_with_logits(logits, target, reduction="none")
    logits[0, 0] = expected[:, 0] = math.nan
    terms = generative_binary_cross_entropy_with_logits(logits, target, reduction="none")
    assert_close(terms, expected, equal_nan=True)


@pytest.mark.parametrize("scale", [200.0, 1e4])
def test_huge_logits_give_finite_values_and_gradients_near_those_of_float64(scale: float) -> None:
    logits, target = batch(64, 10, scale=scale)
    single = logits.float().requires_grad_()
    logits = single.detach().double().requires_grad_()
    ours = generative_binary_cross_entropy_with_logits(single, target.float())
    exact = generative_binary_cross_entropy_with_logits(logits, target)
    assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(value, z)[0].double() for value, z in ((ours, single), (exact, logits))]
    assert gradients[0].isfinite().all()
    assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_the_mass_of_a_side_that_is_nearly_impossible_is_taken_in_log_space() -> None:
    # sigmoid(-200) is 0 in float32, and 1 - m+ too. Here -log sigmoid(-z) = z and m- = exp(-200) mean(exp(-k)).
    k = torch.arange(8.0)
    value = generative_binary_cross_entropy_with_logits(200 + k, torch.zeros(8))
    assert value.item() == pytest.approx(3.5 + math.log(sum(math.exp(-i) for i in range(8)) / 8), abs=1e-4)


HALVES = (torch.float16, torch.bfloat16)
FLOATS = (*HALVES, torch.float32, torch.float64)


def test_the_dtype_is_that_of_binary_cross_entropy_with_and_without_autocast() -> None:
    logits, target = batch()
    for input_dtype, target_dtype, reduction, autocast in product(FLOATS, FLOATS, ("none", "mean"), (False, True)):
        arguments: Any = logits.to(input_dtype), target.to(target_dtype), logits[0].abs(), None
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            ours = generative_binary_cross_entropy_with_logits(*arguments, reduction=reduction)
            theirs = F.binary_cross_entropy_with_logits(*arguments[:3], reduction=reduction)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits, target = batch(4096, 10)
    half, y = logits.to(dtype).requires_grad_(), target.to(dtype)
    terms = generative_binary_cross_entropy_with_logits(half, y, reduction="none")
    exact = generative_binary_cross_entropy_with_logits(half.double(), target, reduction="none")
    rounding = torch.finfo(dtype).eps / 2  # of the result, and hardly anything more
    assert_close(terms.double(), exact, rtol=1.01 * rounding, atol=2e-6)
    assert torch.autograd.grad(terms.sum(), half)[0].dtype == dtype


def test_it_compiles_whole_forward_and_backward_and_once_for_every_number_of_rows() -> None:
    compiled = torch.compile(
        generative_binary_cross_entropy_with_logits, fullgraph=True, backend="aot_eager", dynamic=True
    )
    for rows in (12, 5):
        logits, target = batch(rows, 5)
        logits.requires_grad_()
        with torch._dynamo.config.patch(error_on_recompile=rows == 5):
            values = [f(logits, target) for f in (compiled, generative_binary_cross_entropy_with_logits)]
        assert_close(*values)
        assert_close(*(torch.autograd.grad(value, logits)[0] for value in values))


def test_it_never_looks_at_a_value() -> None:
    tensors: Any = [torch.zeros(4, 3, device="meta") for _ in range(4)]
    assert generative_binary_cross_entropy_with_logits(*tensors).shape == ()
    assert generative_binary_cross_entropy_with_logits(*tensors, reduction="none").shape == (4, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reduction": "avg"}, "reduction must be one of none, mean, sum; got 'avg'"),
        ({"strength": math.inf}, "strength must be a finite number, 1 for GenCE .*; got inf"),
        ({"input": torch.zeros(4, 3, dtype=torch.long)}, r"input must be floating-point .*int64: use input.float\(\)"),
        ({"target": torch.zeros(4)}, r"target must have the shape of input, \(4, 3\); got shape \(4,\): give one"),
        ({"target": torch.zeros(4, 1)}, r"target must have the shape of input, \(4, 3\); got shape \(4, 1\)"),
        ({"target": torch.zeros(4, 3, dtype=torch.long)}, r"target must be .*got torch.int64: use target.float\(\)"),
        ({"weight": torch.ones(4)}, r"weight must broadcast to .*\(4, 3\); got shape \(4,\): .* has shape \(3,\)"),
        ({"weight": torch.ones(2, 4, 3)}, r"weight must broadcast to .* got shape \(2, 4, 3\)"),
        ({"pos_weight": torch.ones(2)}, r"pos_weight must broadcast to .*got shape \(2,\): .* has shape \(3,\)"),
        (
            {"input": torch.zeros(2, 3, 4, 5), "target": torch.zeros(2, 3, 4, 5), "pos_weight": torch.ones(3)},
            r"pos_weight must broadcast to .*\(2, 3, 4, 5\); got shape \(3,\): .* has shape \(3, 1, 1\)",
        ),
        (
            {"input": torch.zeros(()), "target": torch.zeros(()), "weight": torch.ones(1)},
            r"weight must broadcast to the shape of input, \(\); got shape \(1,\): .* has shape \(\)",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"input": torch.zeros(4, 3), "target": torch.zeros(4, 3)} | change
    with pytest.raises(ValueError, match=message):
        generative_binary_cross_entropy_with_logits(**arguments)
