"""GenCE against its definition. Fact numbers are those of the design: what must be true of the loss."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from torch.testing._internal.common_methods_invocations import op_db

from gence import GenCELoss, generative_cross_entropy

small_batches = pytest.mark.filterwarnings("ignore:GenCE was given a batch of")
CROSS_ENTROPY = next(op for op in op_db if op.name == "nn.functional.cross_entropy")


def batch(rows: int = 12, classes: int = 5, *, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    return logits, torch.randint(classes, (rows,), generator=generator)


def naive(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    strength: float = 1.0,
) -> list[float] | float:
    """The definition in plain loops over rows (N, C), with hard labels or class probabilities."""
    num_classes = logits.shape[1]
    soft = target.is_floating_point()
    counted = [i for i in range(len(logits)) if soft or int(target[i]) != ignore_index]
    q = [[math.exp(v) / sum(math.exp(u) for u in row) for v in row] for row in logits.tolist()]
    m = [sum(q[i][k] for i in counted) / len(counted) for k in range(num_classes)]
    terms, weights = [], []
    for i in range(len(logits)):
        if i not in counted:
            terms.append(0.0)
            continue
        labels = target[i].tolist() if soft else [float(k == int(target[i])) for k in range(num_classes)]
        labels = [(1 - label_smoothing) * p + label_smoothing / num_classes for p in labels]
        w = [1.0] * num_classes if weight is None else weight.tolist()
        terms.append(
            -sum(w[k] * labels[k] * (math.log(q[i][k]) - strength * math.log(m[k])) for k in range(num_classes))
        )
        weights.append(1.0 if soft else w[int(target[i])])
    if reduction == "none":
        return terms
    return sum(terms) if reduction == "sum" else sum(terms) / sum(weights)


def test_two_rows_worked_out_by_hand() -> None:
    # q = (2/3, 1/3) and (1/4, 3/4), so m = (11/24, 13/24).
    logits = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64).log()
    value = generative_cross_entropy(logits, torch.tensor([0, 1]))
    expected = -(math.log((2 / 3) / (11 / 24)) + math.log((3 / 4) / (13 / 24))) / 2
    assert value.item() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["hard", "ignored", "soft"])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_it_equals_the_naive_loop(kind: str, weighted: bool, smoothing: float, reduction: Any, strength: float) -> None:
    logits, target = batch()
    weight = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0], dtype=torch.float64) if weighted else None
    if kind == "ignored":
        target[::3] = 3
    if kind == "soft":
        target = batch(seed=1)[0].softmax(1)
    ignore_index = 3 if kind == "ignored" else -100
    arguments = (weight, ignore_index, reduction, smoothing)
    value = generative_cross_entropy(logits, target, *arguments, strength=strength)
    expected = naive(logits, target, *arguments, strength)
    assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fact_1_strength_0_is_cross_entropy_on_all_of_pytorchs_own_samples(dtype: torch.dtype) -> None:
    samples = list(CROSS_ENTROPY.sample_inputs("cpu", dtype, requires_grad=True))
    assert len(samples) > 15
    for sample in samples:
        ours = generative_cross_entropy(sample.input, *sample.args, **sample.kwargs, strength=0.0)
        theirs = F.cross_entropy(sample.input, *sample.args, **sample.kwargs)
        assert_close(ours, theirs, equal_nan=True)
        gradients = [torch.autograd.grad(value.sum(), sample.input)[0] for value in (ours, theirs)]
        assert_close(*gradients, equal_nan=True)


def test_fact_2_it_is_cross_entropy_plus_the_class_term() -> None:
    logits, target = batch(40)
    m = logits.softmax(1).mean(0)
    share = torch.bincount(target, minlength=5).double() / 40
    expected = F.cross_entropy(logits, target) + (share * m.log()).sum()
    assert_close(generative_cross_entropy(logits, target), expected, rtol=1e-13, atol=1e-13)


def test_fact_3_the_gradient_has_its_closed_form() -> None:
    logits, target = batch(40)
    target[target == 4] = 0  # class 4 is absent from the batch: its r is 0
    logits.requires_grad_()
    gradient = torch.autograd.grad(generative_cross_entropy(logits, target), logits)[0]
    q = logits.detach().softmax(1)
    r = torch.bincount(target, minlength=5).double() / 40 / q.mean(0)
    expected = (q * (1 + r - (q * r).sum(1, keepdim=True)) - F.one_hot(target, 5)) / 40
    assert r[4] == 0
    assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
    assert_close(gradient.sum(1), torch.zeros(40, dtype=torch.float64), rtol=0, atol=1e-15)


def test_fact_3_where_the_mass_is_the_label_histogram_the_gradient_is_that_of_cross_entropy() -> None:
    logits, target = batch(40)
    share = torch.bincount(target, minlength=5).double() / 40
    for _ in range(2000):  # scale the columns until the mean of q is the histogram
        logits = logits + share.log() - logits.softmax(1).mean(0).log()
    logits.requires_grad_()
    ours, theirs = (
        torch.autograd.grad(loss(logits, target), logits)[0] for loss in (generative_cross_entropy, F.cross_entropy)
    )
    assert_close(ours, theirs, rtol=0, atol=1e-12)


@small_batches
def test_fact_4_a_batch_of_one_gives_0_and_no_gradient() -> None:
    logits = torch.randn(1, 7, dtype=torch.float64, requires_grad=True)
    value = generative_cross_entropy(logits, torch.tensor([3]))
    assert_close(value.detach(), torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-15)
    assert_close(torch.autograd.grad(value, logits)[0], torch.zeros_like(logits), rtol=0, atol=1e-15)


def test_fact_4_a_uniform_predictor_gives_0() -> None:
    assert generative_cross_entropy(torch.full((9, 4), 3.0), torch.arange(9) % 4).item() == pytest.approx(0, abs=1e-6)


@small_batches
@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 20), classes=st.integers(2, 8), seed=st.integers(0, 10**6), scale=st.floats(0, 30))
def test_fact_4_invariances_and_the_lower_bound(rows: int, classes: int, seed: int, scale: float) -> None:
    logits, target = batch(rows, classes, seed=seed, scale=scale)
    value = generative_cross_entropy(logits, target)
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randn(rows, 1, dtype=torch.float64, generator=generator)
    row_order = torch.randperm(rows, generator=generator)
    class_order = torch.randperm(classes, generator=generator)
    near = {"rtol": 1e-9, "atol": 1e-9}
    assert_close(generative_cross_entropy(logits + shift, target), value, **near)
    assert_close(generative_cross_entropy(logits[row_order], target[row_order]), value, **near)
    relabelled = generative_cross_entropy(logits[:, class_order], class_order.argsort()[target])
    assert_close(relabelled, value, **near)
    share = torch.bincount(target, minlength=classes).double() / rows
    assert value.item() >= torch.special.xlogy(share, share).sum().item() - 1e-6


def test_the_gradient_passes_gradcheck_in_every_argument() -> None:
    logits, target = batch(6, 4)
    target[1] = -100
    weight = torch.rand(4, dtype=torch.float64) + 0.5
    for w, smoothing, reduction in product((None, weight), (0.0, 0.3), ("none", "mean", "sum")):
        kwargs: dict[str, Any] = {"weight": w, "label_smoothing": smoothing, "reduction": reduction}
        assert torch.autograd.gradcheck(
            lambda z, kwargs=kwargs: generative_cross_entropy(z, target, **kwargs), logits.clone().requires_grad_()
        )


def test_every_position_of_an_image_is_a_row() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    target = torch.randint(3, (2, 4, 5), generator=generator)
    target[0, 0] = -100
    rows = images.movedim(1, -1).reshape(-1, 3)
    for reduction in ("none", "mean", "sum"):
        value = generative_cross_entropy(images, target, reduction=reduction)
        flat = generative_cross_entropy(rows, target.flatten(), reduction=reduction)
        assert_close(value, flat.view(target.shape) if reduction == "none" else flat)


def test_an_ignored_row_changes_nothing_whatever_it_holds() -> None:
    logits, target = batch()
    value = generative_cross_entropy(logits, target)
    for content in (1e4, math.nan, math.inf):
        more = torch.cat([logits, torch.full((1, 5), content, dtype=torch.float64)])
        assert_close(generative_cross_entropy(more, torch.cat([target, torch.tensor([-100])])), value)


def test_without_a_row_that_counts_it_does_what_cross_entropy_does() -> None:
    logits, target = batch(4)[0].requires_grad_(), torch.full((4,), -100)
    for reduction in ("none", "sum"):
        value = generative_cross_entropy(logits, target, reduction=reduction)
        assert_close(value, F.cross_entropy(logits, target, reduction=reduction))
        assert not torch.autograd.grad(value.sum(), logits)[0].any()
    assert generative_cross_entropy(logits, target).isnan()
    assert generative_cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).isnan()


def test_a_class_ruled_out_by_minus_infinity_is_as_if_it_were_not_there() -> None:
    logits, target = batch(12, 4)
    ruled_out = torch.cat([logits, torch.full((12, 1), -math.inf, dtype=torch.float64)], 1)
    logits.requires_grad_(), ruled_out.requires_grad_()
    assert_close(generative_cross_entropy(ruled_out, target), generative_cross_entropy(logits, target))
    with_it = torch.autograd.grad(generative_cross_entropy(ruled_out, target), ruled_out)[0]
    without = torch.autograd.grad(generative_cross_entropy(logits, target), logits)[0]
    assert_close(with_it, torch.cat([without, torch.zeros(12, 1, dtype=torch.float64)], 1))


@pytest.mark.parametrize("scale", [200.0, 1e4])
def test_huge_logits_give_finite_values_and_gradients_near_those_of_float64(scale: float) -> None:
    logits, target = batch(64, 10, scale=scale)
    single = logits.float().requires_grad_()
    logits = single.detach().double().requires_grad_()
    ours, exact = generative_cross_entropy(single, target), generative_cross_entropy(logits, target)
    assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(value, z)[0].double() for value, z in ((ours, single), (exact, logits))]
    assert gradients[0].isfinite().all()
    assert_close(*gradients, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_returned_as_cross_entropy_returns_it(dtype: torch.dtype) -> None:
    logits, target = batch(4096, 10)
    half = logits.to(dtype)
    value = generative_cross_entropy(half, target)
    assert value.dtype == F.cross_entropy(half, target).dtype == dtype
    assert_close(value, generative_cross_entropy(half.double(), target).to(dtype), rtol=1e-2, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert generative_cross_entropy(half, target).dtype == F.cross_entropy(half, target).dtype == torch.float32


def test_it_compiles_whole() -> None:
    logits, target = batch()
    compiled = torch.compile(generative_cross_entropy, fullgraph=True, backend="aot_eager")
    assert_close(compiled(logits, target), generative_cross_entropy(logits, target))


def test_the_module_is_the_function_with_its_settings() -> None:
    logits, target = batch()
    weight = torch.arange(1.0, 6.0, dtype=torch.float64)
    module = GenCELoss(weight, 2, "sum", 0.1, strength=0.7)
    assert_close(module(logits, target), generative_cross_entropy(logits, target, weight, 2, "sum", 0.1, strength=0.7))
    assert list(module.state_dict()) == ["weight"]
    assert "strength=0.7" in repr(module)
    # What nn.CrossEntropyLoss's state holds, ours takes.
    GenCELoss(torch.zeros(5)).load_state_dict(torch.nn.CrossEntropyLoss(weight).state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reduction": "avg"}, "reduction must be one of none, mean, sum; got 'avg'"),
        ({"label_smoothing": 1.5}, r"label_smoothing must lie in \[0, 1\]; got 1.5"),
        ({"strength": math.nan}, "strength must be a finite number"),
        ({"input": torch.zeros(4, 3, dtype=torch.long)}, "input must be floating-point logits .* got torch.int64"),
        ({"input": torch.zeros(())}, r"input must be floating-point logits .* of shape \(\)"),
        (
            {"target": torch.zeros(5, dtype=torch.long)},
            r"target must be class numbers of shape \(4,\).*got shape \(5,\)",
        ),
        (
            {"target": torch.zeros(4, 3, dtype=torch.long)},
            "must be floating-point class probabilities; got torch.int64",
        ),
        ({"target": torch.zeros(4)}, "target must hold class numbers as int64; got torch.float32"),
        ({"target": torch.zeros(4, dtype=torch.int32)}, r"int64; got torch.int32: use target.long\(\)"),
        ({"weight": [1.0, 1.0, 1.0]}, r"weight must be a tensor; got list: use torch.as_tensor\(weight\)"),
        ({"target": [0, 1, 2, 0]}, "target must be a tensor; got list"),
        ({"weight": torch.ones(4)}, r"weight must have one entry a class, shape \(3,\); got shape \(4,\)"),
        ({"target": torch.ones(4, 3) / 3, "ignore_index": 0}, "ignore_index is for class numbers"),
        ({"target": torch.tensor([0, 1, 3, 0])}, r"class numbers from 0 to 2, .*; got 3 at \[2\]: mend that label"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"input": torch.zeros(4, 3), "target": torch.zeros(4, dtype=torch.long)} | change
    with pytest.raises(ValueError, match=message):
        generative_cross_entropy(**arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reduction": "avg"}, "reduction must be one of none, mean, sum; got 'avg'"),
        ({"strength": math.nan}, "strength must be a finite number"),
        ({"label_smoothing": 1.5}, r"label_smoothing must lie in \[0, 1\]; got 1.5"),
    ],
)
def test_a_wrong_setting_of_the_module_is_named_when_it_is_built(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenCELoss(**settings)
