"""Every way to compute GenCE gives what the definition gives, in value and gradient, for every option."""

from __future__ import annotations

import copy
import math
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from gence import GenCELoss, MovingClassMass, class_mass, generative_cross_entropy
from gence.kernels import autograd, eager
from gence.losses.by_classes import by_classes, kernel_for

small_batches = pytest.mark.filterwarnings("ignore:GenCE was given a batch of")
Loss = Callable[..., Tensor]


def composed(input: Tensor, target: Tensor, **options: Any) -> Tensor:
    """What torch.compile is given, run by autograd; where a twin leaves it to the definition, that."""
    if options.get("reduction") == "none" and options.get("class_mass") is not None:
        return generative_cross_entropy(input, target, **options, impl="compiled")
    defaults = {
        "weight": None,
        "ignore_index": -100,
        "reduction": "mean",
        "label_smoothing": 0.0,
        "strength": 1.0,
        "class_mass": None,
        "process_group": None,
    }
    return by_classes(input, target, **{**defaults, **options}, kernel="composed").to(input.dtype)


def by(impl: str) -> Loss:
    def loss(input: Tensor, target: Tensor, **options: Any) -> Tensor:
        return generative_cross_entropy(input, target, **options, impl=impl)

    return composed if impl == "composed" else loss


every_twin = pytest.mark.parametrize("impl", ["auto", "eager", "composed"])


def batch(shape: tuple[int, ...] = (13, 6), *, scale: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
    return logits, torch.randint(shape[1 if len(shape) > 1 else 0], rows, generator=generator)


def value_and_gradient(loss: Loss, input: Tensor, target: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """The gradient is that of the rows weighed by numbers of either sign, or of the value times a number not 1."""
    input = input.detach().requires_grad_()
    value = loss(input, target, **options)
    upstream = torch.linspace(-1.0, 2.0, value.numel(), dtype=value.dtype).view(value.shape) + 0.3
    return value.detach(), torch.autograd.grad(value, input, upstream)[0]


def same(impl: str, input: Tensor, target: Tensor, **options: Any) -> None:
    ours = value_and_gradient(by(impl), input, target, **options)
    truth = value_and_gradient(by("definition"), input, target, **options)
    assert_close(ours, truth, rtol=1e-10, atol=1e-12, equal_nan=True)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weight": {"weight": torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0, 0.1], dtype=torch.float64)},
    "smoothing": {"label_smoothing": 0.2},
    "all smoothing": {"label_smoothing": 1.0},
    "ignored": {"ignore_index": 2},
    "half": {"strength": 0.5},
    "none": {"strength": 0.0},
    "negative": {"strength": -1.5},
    "all": {
        "weight": torch.linspace(0.1, 2.0, 6, dtype=torch.float64),
        "label_smoothing": 0.1,
        "ignore_index": 0,
        "strength": 0.7,
    },
}


@small_batches
@every_twin
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(13, 6), (2, 6, 3), (2, 6, 2, 3), (6,)])
def test_every_option_as_in_the_definition(impl: str, options: str, reduction: str, shape: tuple[int, ...]) -> None:
    same(impl, *batch(shape), reduction=reduction, **OPTIONS[options])


@small_batches
@every_twin
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS)
def test_with_the_mass_of_a_whole_or_a_moving_one(impl: str, options: str, reduction: str) -> None:
    others = OPTIONS[options]
    of_mass = {name: value for name, value in others.items() if name != "strength"}
    logits, target = batch()
    total = class_mass(logits, target, **of_mass) + class_mass(*batch(seed=1), **of_mass)
    same(impl, logits, target, class_mass=total, reduction=reduction, **others)
    moving = MovingClassMass(6)
    moving(class_mass(*batch(seed=2)))
    same(impl, logits, target, class_mass=moving.eval(), reduction=reduction, **others)


@every_twin
@pytest.mark.parametrize(("scale", "shift"), [(0.1, 0.0), (10.0, 0.0), (200.0, 0.0), (2000.0, 0.0), (1.0, 1e4)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sums_that_underflow_are_taken_in_log_space(impl: str, scale: float, shift: float, smoothing: float) -> None:
    logits, target = batch((40, 5), scale=scale)
    target[:] = logits.argmin(1)  # the labels are what the model finds least likely
    for reduction in ("mean", "none"):
        same(impl, logits + shift, target, label_smoothing=smoothing, reduction=reduction)
    total = class_mass(logits + shift, target) + class_mass(*batch((40, 5), scale=scale, seed=1))
    same(impl, logits + shift, target, class_mass=total)


@every_twin
def test_a_class_ruled_out_gets_gradient_0(impl: str) -> None:
    logits, target = batch()
    logits[:, 1] = -torch.inf
    logits[::2, 4] = -torch.inf
    target[:] = torch.tensor([0, 2, 3, 5]).repeat(4)[:13]
    same(impl, logits, target)
    value, gradient = value_and_gradient(by(impl), logits, target)
    assert value.isfinite()
    assert gradient[:, 1].eq(0).all()


@every_twin
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", ["plain", "smoothing", "none", "half"])
def test_classes_ruled_out_sum_to_no_nan(impl: str, options: str, reduction: str) -> None:
    logits, target = batch()
    logits[:, 1:3] = -torch.inf
    target[:] = torch.tensor([0, 3, 4, 5]).repeat(4)[:13]
    same(impl, logits, target, reduction=reduction, **OPTIONS[options])
    target[5:8] = 1  # a label that no row allows costs infinitely much, as in cross-entropy
    same(impl, logits, target, reduction=reduction, **OPTIONS[options])


@every_twin
def test_what_joins_with_value_0_takes_no_digits(impl: str) -> None:
    logits, target = batch((64, 6), scale=1.0)
    whole = class_mass(logits, target)
    rare = replace(whole, log_sums=whole.log_sums - torch.tensor([30.0, 0, 0, 0, 0, 0], dtype=torch.float64))
    same(impl, logits, target, class_mass=rare)


@every_twin
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_an_ignored_row_far_from_the_mass_gets_gradient_0(impl: str, reduction: str) -> None:
    logits, target = batch()
    total = class_mass(logits, target, ignore_index=2)
    total = replace(total, log_sums=total.log_sums - 1000.0 * (torch.arange(6) == 3))
    target[target == 3] = 4
    rows = target == 2
    logits[~rows, 3] = -2000.0
    options = {"ignore_index": 2, "reduction": reduction, "class_mass": replace(total, label_sums=total.label_sums + 1)}
    same(impl, logits, target, **options)
    for one in ("definition", impl):
        assert value_and_gradient(by(one), logits, target, **options)[1][rows].eq(0).all()


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("options", ["plain", "smoothing", "ignored"])
def test_a_backward_pass_under_autocast_is_as_exact(options: str, create_graph: bool) -> None:
    logits, target = batch((64, 40))
    logits = logits.float().requires_grad_()
    value = generative_cross_entropy(logits, target, **OPTIONS[options], impl="eager")
    truth = torch.autograd.grad(value, logits, retain_graph=True)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = torch.autograd.grad(value, logits, create_graph=create_graph)[0]
    assert_close(64 * ours.detach(), 64 * truth, rtol=0, atol=1e-5)


@small_batches
@every_twin
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_nan_in_a_row_that_does_not_count_changes_nothing(impl: str, reduction: str) -> None:
    logits, target = batch()
    target[::3] = -100
    clean = value_and_gradient(by("definition"), logits, target, reduction=reduction)
    logits[::3] = torch.nan
    value, gradient = value_and_gradient(by(impl), logits, target, reduction=reduction)
    counts = target != -100
    assert_close((value, gradient[counts]), (clean[0], clean[1][counts]), rtol=1e-10, atol=1e-12)
    if impl == "eager":  # for good measure; F.cross_entropy gives NaN
        assert gradient[~counts].eq(0).all()


@small_batches
@every_twin
@pytest.mark.parametrize("weight", [None, torch.rand(6, dtype=torch.float64)])
def test_no_rows_that_count(impl: str, weight: Tensor | None) -> None:
    logits, target = batch()
    for reduction in ("mean", "sum", "none"):
        same(impl, logits, torch.full_like(target, -100), reduction=reduction, weight=weight)
        same(impl, logits[:0], target[:0], reduction=reduction, weight=weight)


@small_batches
@every_twin
def test_one_row_and_one_class(impl: str) -> None:
    for rows, classes in product((1, 2, 7), (1, 2)):
        same(impl, *batch((rows, classes)))


@every_twin
def test_rows_apart_in_memory(impl: str) -> None:
    logits, target = batch((26, 12))
    for view in (logits[::2, ::2], logits[1:14, 3:9], logits[:13].T[:6].T, logits[:1, :6].expand(13, 6)):
        same(impl, view, target[: len(view)] % 6)


@every_twin
@pytest.mark.parametrize("options", ["plain", "all"])
@pytest.mark.parametrize("scale", [2.0, 300.0])
def test_a_second_backward_pass_and_the_logits_are_as_the_first(impl: str, options: str, scale: float) -> None:
    logits, target = batch(scale=scale)
    logits.requires_grad_()
    before = logits.detach().clone()
    value = by(impl)(logits, target, **OPTIONS[options])
    first = torch.autograd.grad(value, logits, retain_graph=True)[0]
    kept = first.clone()
    second = torch.autograd.grad(value, logits)[0]
    assert_close(second, kept, rtol=0, atol=0)
    assert_close(first, kept, rtol=0, atol=0)
    assert_close(logits.detach(), before, rtol=0, atol=0)


@small_batches
@every_twin
@pytest.mark.parametrize("options", ["plain", "all"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_second_derivative(impl: str, options: str, reduction: str, scale: float) -> None:
    logits, target = batch((4, 6), scale=scale)
    logits.requires_grad_()

    def of(twin: str) -> Tensor:
        value = by(twin)(logits, target, reduction=reduction, **OPTIONS[options]).sum()
        first = torch.autograd.grad(value, logits, create_graph=True)[0]
        return torch.autograd.grad((first * torch.linspace(-1, 1, 24).view(4, 6)).sum(), logits)[0]

    assert_close(of(impl), of("definition"), rtol=1e-8, atol=1e-10)


@small_batches
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forward_mode_goes_by_autograd() -> None:
    logits, target = batch()
    tangent = torch.randn_like(logits)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(logits, tangent)
        results = [torch.autograd.forward_ad.unpack_dual(by(impl)(dual, target)) for impl in ("auto", "definition")]
    assert_close(results[0].tangent, results[1].tangent)


@every_twin
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 200.0])
def test_rounding_is_no_worse_than_the_definition_s(impl: str, dtype: torch.dtype, scale: float) -> None:
    """On rows times the gradient, whose entries are then of order 1; float64 judges."""
    logits, target = batch((300, 40), scale=scale)
    logits = logits.to(dtype)
    truth = value_and_gradient(by("definition"), logits.double(), target)
    errors = {}
    for name in (impl, "definition"):
        value, gradient = value_and_gradient(by(name), logits, target)
        assert (value.dtype, gradient.dtype) == (dtype, dtype)
        error = 300 * (gradient.double() - truth[1]).abs().max().item()
        errors[name] = (error, (value.double() - truth[0]).abs().item())
    floor = torch.finfo(dtype).eps
    assert errors[impl][0] <= 2 * errors["definition"][0] + floor
    # The value is a difference of two means, of the rows and of the classes, each of about log C.
    assert errors[impl][1] <= 2 * errors["definition"][1] + floor * max(math.log(40), truth[0].abs().item())


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_many_logits_are_worked_on_in_blocks(reduction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "_BLOCK", 20)
    logits, target = batch((31, 6))
    for scale, options in product((1.0, 200.0), OPTIONS.values()):
        same("eager", scale * logits, target, reduction=reduction, **options)
    images, labels = batch((5, 6, 7))
    same("eager", images, labels, reduction=reduction)
    halves = images.bfloat16()
    assert_close(
        value_and_gradient(by("eager"), halves, labels, reduction=reduction)[1],
        value_and_gradient(by("definition"), halves, labels, reduction=reduction)[1],
        rtol=2e-2,
        atol=1e-3,
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler, and there is none")
def test_compiled_gives_the_same_inside_and_outside_of_a_compiled_function() -> None:
    logits, target = batch()
    same("compiled", logits, target)
    inside = torch.compile(lambda z, y: generative_cross_entropy(z, y, impl="compiled"), fullgraph=True)
    ours = value_and_gradient(inside, logits, target)
    assert_close(ours, value_and_gradient(by("definition"), logits, target), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("transform", [torch.func.grad, torch.vmap])
def test_transforms_inside_of_a_compiled_function(transform: Callable[..., Any]) -> None:
    logits, target = batch()
    z = torch.stack([logits, -logits]) if transform is torch.vmap else logits
    of = transform(lambda z: generative_cross_entropy(z, target))
    compiled = torch.compile(of, backend="eager", fullgraph=True)
    assert_close(compiled(z), of(z))


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_operators_of_a_compiled_graph_say_how_their_results_lie_in_memory(scale: float) -> None:
    logits, target = batch((12, 6), scale=scale)
    images, labels = batch((2, 6, 3, 2), scale=scale)
    across = logits.T.contiguous().T
    last = images.to(memory_format=torch.channels_last).flatten(2)
    for z, y in ((across, target), (last, labels.flatten(1))):
        torch.library.opcheck(torch.ops.gence.eager_statistics, (z, y, None, None, 0.0), test_utils="test_faketensor")


@pytest.mark.parametrize("counts", [None, torch.tensor([True, False, True, True])])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 0.5])])
def test_the_operators_of_a_compiled_graph_are_what_they_say(counts: Tensor | None, weight: Tensor | None) -> None:
    target = torch.tensor([0, 1, 2, 0])
    logits = torch.randn(4, 3, requires_grad=True)
    torch.library.opcheck(torch.ops.gence.eager_statistics, (logits, target, counts, weight, 0.1))
    labels = (target, counts, weight, 0.1)
    assert autograd.statistics(logits, *labels, kernel="eager")[0].requires_grad


def test_what_auto_takes() -> None:
    logits, target = batch((64, 1000))
    labels = (target, None, "mean", None, None)
    assert kernel_for(logits, *labels, "auto") == "eager"
    assert kernel_for(logits[:, :10], *labels, "auto") is None
    assert kernel_for(logits[:, :10], *labels, "eager") == "eager"
    assert kernel_for(logits.to("meta"), *labels, "auto") == "composed"
    assert kernel_for(logits, logits.softmax(1), None, "mean", None, None, "auto") is None
    assert kernel_for(logits, target, None, "none", MovingClassMass(6), None, "auto") is None
    assert kernel_for(logits, *labels, "definition") is None
    assert kernel_for(logits[:0], target[:0], None, "mean", None, None, "eager") is None


@pytest.mark.parametrize("impl", ["auto", "eager", "compiled"])
def test_class_weights_have_no_gradient_and_no_wrong_one(impl: str) -> None:
    logits, target = batch()
    weight = torch.rand(6, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="not differentiable"):
        generative_cross_entropy(logits, target, weight, impl=impl).backward()


def test_the_module_passes_it_on() -> None:
    logits, target = batch()
    loss = GenCELoss(impl="definition")
    assert "impl='definition'" in repr(loss)
    assert_close(loss(logits, target), GenCELoss()(logits, target))
    assert "impl" not in repr(GenCELoss())
    assert isinstance(nn.Sequential(nn.Identity(), loss)[1], GenCELoss)


def test_a_module_saved_before_there_was_a_choice_still_runs() -> None:
    logits, target = batch()
    old = GenCELoss()
    del old.__dict__["impl"]
    loss = pickle.loads(pickle.dumps(old))
    assert_close(loss(logits, target), generative_cross_entropy(logits, target))
    assert "impl" not in repr(copy.deepcopy(loss))


def test_an_unknown_implementation_is_refused() -> None:
    message = "impl must be one of auto, definition, eager, compiled, triton; got 'fast'"
    with pytest.raises(ValueError, match=message):
        generative_cross_entropy(*batch(), impl="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        GenCELoss(impl="fast")  # type: ignore[arg-type]


def test_triton_where_it_cannot_be_had_is_refused() -> None:
    with pytest.raises(ValueError, match='impl="triton" cannot be had: '):
        generative_cross_entropy(*batch(), impl="triton")
