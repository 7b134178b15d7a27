"""GenCE of a linear head by chunks: the same as the loss of its logits in everything but what it holds."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.multiprocessing.reductions import StorageWeakRef
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gence import MovingClassMass, class_mass, generative_cross_entropy, linear_generative_cross_entropy
from gence.losses import linear_class_mass
from two_processes import start, take_part, what_went_wrong

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-13}
CLASSES, FEATURES = 5, 4
CLASS_WEIGHT = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0], dtype=torch.float64)
Layer = tuple[Tensor, Tensor, Tensor]


def layer(rows: int = 13, *, classes: int = CLASSES, scale: float = 1.0, ignored: bool = False) -> tuple[Layer, Tensor]:
    """Features, weight and bias that want a gradient, and a target."""
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, dtype=torch.float64, generator=generator)

    target = torch.randint(classes, (rows,), generator=generator)
    if ignored:
        target[::3] = -100
    parts = (scale * normal(rows, FEATURES), normal(classes, FEATURES), normal(classes))
    return tuple(part.requires_grad_() for part in parts), target


def ours(parts: Layer, target: Tensor, **arguments: Any) -> Tensor:
    features, weight, bias = parts
    return linear_generative_cross_entropy(features, weight, target, bias, **arguments)


def dense(parts: Layer, target: Tensor, class_weight: Tensor | None = None, **arguments: Any) -> Tensor:
    return generative_cross_entropy(F.linear(*parts), target, class_weight, **arguments, impl="definition")


def value_and_gradients(
    loss: Callable[..., Tensor], parts: Layer, target: Tensor, **arguments: Any
) -> tuple[Tensor, tuple[Tensor, ...]]:
    value = loss(parts, target, **arguments)
    upstream = torch.linspace(1.0, 2.0, value.numel(), dtype=value.dtype).view(value.shape)
    return value.detach(), torch.autograd.grad(value, parts, upstream)


def assert_same(parts: Layer, target: Tensor, *, chunk: int | None = 4, **arguments: Any) -> None:
    found = value_and_gradients(ours, parts, target, chunk=chunk, **arguments)
    assert_close(found, value_and_gradients(dense, parts, target, **arguments), **EXACT, equal_nan=True)


def test_zero_weights_give_what_can_be_seen_at_once() -> None:
    features, weight = torch.randn(6, 3), torch.zeros(4, 3)
    assert linear_generative_cross_entropy(features, weight, torch.tensor([0, 1, 2, 3, 0, 0]), chunk=2).item() == 0.0


def test_it_is_what_a_naive_loop_gives() -> None:
    (features, weight, bias), target = layer(8)
    q = []
    for x in features.tolist():
        scores = [
            math.exp(sum(a * w for a, w in zip(x, row, strict=True)) + b)
            for row, b in zip(weight.tolist(), bias.tolist(), strict=True)
        ]
        q.append([score / sum(scores) for score in scores])
    mass = [sum(row[k] for row in q) / 8 for k in range(CLASSES)]
    expected = -sum(math.log(row[y] / mass[y]) for row, y in zip(q, target.tolist(), strict=True)) / 8
    value = linear_generative_cross_entropy(features, weight, target, bias, chunk=3)
    assert math.isclose(value.item(), expected, abs_tol=1e-12)


def test_without_the_class_mass_it_is_cross_entropy() -> None:
    parts, target = layer()
    value = ours(parts, target, strength=0.0, label_smoothing=0.2, class_weight=CLASS_WEIGHT, chunk=4)
    assert_close(value, F.cross_entropy(F.linear(*parts), target, CLASS_WEIGHT, label_smoothing=0.2), **EXACT)


@pytest.mark.parametrize("chunk", [None, 1, 5, 100])
@pytest.mark.parametrize("mass", [None, "frozen", "moving"])
def test_it_equals_the_loss_of_the_logits(mass: str | None, chunk: int | None) -> None:
    grid = itertools.product((None, CLASS_WEIGHT), (False, True), (0.0, 0.3), (1.0, 0.0, -0.5), ("mean", "sum"))
    for class_weight, ignored, smoothing, strength, reduction in grid:
        parts, target = layer(ignored=ignored)
        options = {"class_weight": class_weight, "label_smoothing": smoothing}
        settings = {**options, "strength": strength, "reduction": reduction}
        if mass is None:
            assert_same(parts, target, chunk=chunk, **settings)
            assert_same(parts, target, chunk=chunk, **{**settings, "reduction": "none"})
            continue
        (features, weight, bias), others = layer(6, scale=2.0)
        if mass == "frozen":
            total = linear_class_mass(features, weight, others, bias, **options, chunk=chunk)
        else:
            total = MovingClassMass(CLASSES).double()
            total(class_mass(F.linear(features, weight, bias), others))
            total.eval()
        assert_same(parts, target, chunk=chunk, **settings, class_mass=total)


def test_every_axis_before_the_last_holds_rows() -> None:
    (features, weight, bias), target = layer(12, ignored=True)
    sequences, labels = features.view(2, 3, 2, FEATURES), target.view(2, 3, 2)
    each = linear_generative_cross_entropy(sequences, weight, labels, bias, reduction="none", chunk=5)
    assert_close(each, ours((features, weight, bias), target, reduction="none").view(2, 3, 2), **EXACT)
    transposed = linear_generative_cross_entropy(sequences.transpose(0, 2), weight, labels.transpose(0, 2), bias)
    assert_close(transposed, ours((features, weight, bias), target), **EXACT)
    with torch.no_grad():
        one = linear_generative_cross_entropy(features[0], weight, torch.tensor(2), bias, reduction="none")
    assert one.shape == ()
    assert abs(one.item()) < 1e-15


def test_labels_may_be_bytes_and_another_class_may_be_the_ignored_one() -> None:
    parts, target = layer()
    assert_same(parts, target.to(torch.uint8))
    assert_same(parts, target, ignore_index=2)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("rows", [0, 1, 6])
def test_batches_of_few_or_no_rows(rows: int, reduction: str) -> None:
    parts, target = layer(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(parts, target, reduction=reduction)
        assert_same(parts, torch.full_like(target, -100), reduction=reduction)
        assert_same(parts, torch.full_like(target, -100), reduction=reduction, class_weight=CLASS_WEIGHT)


def test_an_ignored_row_with_nan_changes_nothing() -> None:
    (features, weight, bias), target = layer(ignored=True)
    spoilt = features.detach().masked_fill((target == -100)[:, None], torch.nan).requires_grad_()
    expected = value_and_gradients(dense, (features, weight, bias), target)
    for loss in (ours, vmap_of_one):
        assert_close(value_and_gradients(loss, (spoilt, weight, bias), target), expected, **EXACT)
    again = torch.autograd.grad(ours((spoilt, weight, bias), target), weight, create_graph=True)[0]
    assert_close(again.detach(), expected[1][1], **EXACT)
    assert torch.autograd.grad(again.sum(), weight)[0].isfinite().all()


def vmap_of_one(parts: Layer, target: Tensor) -> Tensor:
    return vmap(lambda features: ours((features, *parts[1:]), target))(parts[0][None])[0]


@pytest.mark.parametrize("scale", [0.0, 50.0, 200.0])
def test_logits_that_are_far_apart(scale: float) -> None:
    parts, target = layer(scale=scale)
    for settings in ({}, {"label_smoothing": 0.1}):
        found = value_and_gradients(ours, parts, target, chunk=4, **settings)
        assert_close(found, value_and_gradients(dense, parts, target, **settings), rtol=1e-12, atol=1e-12)


def test_classes_that_are_masked_by_the_bias() -> None:
    (features, weight, bias), _ = layer()
    bias = bias.detach().index_fill(0, torch.tensor([1]), -torch.inf).requires_grad_()
    assert_same((features, weight, bias), torch.tensor([0, 2, 3, 4] * 3 + [0]))


@pytest.mark.parametrize("needed", list(itertools.product([False, True], repeat=3)))
def test_only_what_needs_a_gradient_gets_one(needed: tuple[bool, ...]) -> None:
    parts, target = layer()
    expected = value_and_gradients(dense, parts, target)[1]
    own = tuple(part.detach().clone().requires_grad_(of_it) for part, of_it in zip(parts, needed, strict=True))
    value = ours(own, target, chunk=4)
    assert value.requires_grad == any(needed)
    if any(needed):
        value.backward()
    for part, of_it, one in zip(own, needed, expected, strict=True):
        assert (part.grad is not None) == of_it
        if of_it:
            assert_close(part.grad, one, **EXACT)


def test_features_made_from_the_weight_itself() -> None:
    """As in a language model whose head is its embedding: the weight is reached by two ways, each counted once."""
    table, target = layer(15)[0][1], torch.arange(15) % 3

    def features() -> Tensor:
        return table[torch.arange(15) % CLASSES].tanh()

    value = linear_generative_cross_entropy(features(), table, target, chunk=4)
    truth = generative_cross_entropy(F.linear(features(), table), target, impl="definition")
    first = [torch.autograd.grad(one, table, create_graph=True)[0] for one in (value, truth)]
    assert_close(*first, **EXACT)
    assert_close(*(torch.autograd.grad(one.square().sum(), table)[0] for one in first), **EXACT)


@pytest.mark.parametrize(("compiled", "create_graph"), [(False, False), (False, True), (True, False)])
def test_a_backward_pass_under_autocast_is_as_without(compiled: bool, create_graph: bool) -> None:
    parts, target = layer()
    single = tuple(part.detach().float().requires_grad_() for part in parts)
    loss = torch.compile(ours, backend="aot_eager") if compiled else ours
    value = loss(single, target, label_smoothing=0.1, chunk=4)
    truth = torch.autograd.grad(value, single, retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.autograd.grad(value, single, create_graph=create_graph)
    assert_close([one.detach() for one in found], list(truth), rtol=0, atol=1e-6)


def test_transforms_inside_of_a_compiled_function() -> None:
    (features, weight, bias), target = layer()
    of = grad(lambda x: linear_generative_cross_entropy(x, weight.detach(), target, bias.detach(), chunk=4))
    assert_close(torch.compile(of, backend="eager", fullgraph=True)(features.detach()), of(features.detach()), **EXACT)


def test_without_a_bias() -> None:
    (features, weight, _), target = layer()
    found = linear_generative_cross_entropy(features, weight, target, chunk=4)
    expected = generative_cross_entropy(F.linear(features, weight), target)
    assert_close(found, expected, **EXACT)
    both = [torch.autograd.grad(value, (features, weight)) for value in (found, expected)]
    assert_close(both[0], both[1], **EXACT)


@pytest.mark.parametrize(
    "settings", [{}, {"class_weight": CLASS_WEIGHT, "label_smoothing": 0.2}, {"reduction": "none"}], ids=str
)
def test_gradients_and_second_derivatives_are_those_of_differences(settings: dict[str, Any]) -> None:
    parts, target = layer(5, ignored=True)

    def loss(*parts: Tensor) -> Tensor:
        return ours(parts, target, chunk=2, **settings)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.autograd.gradcheck(loss, parts)
        assert torch.autograd.gradgradcheck(loss, parts)


def error_of(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> list[float]:
    return [(one.double() - right).norm().item() / right.norm().item() for one, right in zip(found, exact, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_rounding_is_no_worse_than_that_of_the_logits(dtype: torch.dtype, scale: float) -> None:
    parts, target = layer(257, classes=50, scale=scale)
    parts = tuple(part.detach().to(dtype).requires_grad_() for part in parts)
    truth = value_and_gradients(dense, tuple(part.detach().double().requires_grad_() for part in parts), target)
    errors = []
    for loss, arguments in ((ours, {"chunk": 16}), (dense, {})):
        value, gradients = value_and_gradients(loss, parts, target, **arguments)
        assert {value.dtype, *(one.dtype for one in gradients)} == {dtype}
        errors.append(error_of((value, *gradients), (truth[0], *truth[1])))
    floor = 4 * torch.finfo(dtype).eps
    assert all(own <= 2 * other + floor for own, other in zip(*errors, strict=True)), errors


def test_half_precision_adds_many_chunks_up_in_float32() -> None:
    """With one row a chunk, a sum in bfloat16 would stop growing; the error is that of the last rounding."""
    parts, target = layer(512)
    parts = tuple(part.detach().bfloat16().requires_grad_() for part in parts)
    exact = value_and_gradients(dense, tuple(part.detach().double().requires_grad_() for part in parts), target)
    errors = error_of(value_and_gradients(ours, parts, target, chunk=1)[1], exact[1])
    assert max(errors) < 2 * torch.finfo(torch.bfloat16).eps, errors


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_multiplies_in_its_dtype_and_gives_float32(dtype: torch.dtype) -> None:
    parts, target = layer(64)
    parts = tuple(part.detach().float().requires_grad_() for part in parts)
    for settings in ({}, {"label_smoothing": 0.3, "class_weight": CLASS_WEIGHT.float()}):
        with torch.autocast("cpu", dtype=dtype):
            found = value_and_gradients(ours, parts, target, chunk=16, **settings)
            value = dense(parts, target, **settings)
        expected = torch.autograd.grad(value, parts)
        assert found[0].dtype == torch.float32
        assert {one.dtype for one in found[1]} == {torch.float32}
        assert_close(found[0], value.detach(), rtol=1e-6, atol=1e-6)
        apart = error_of(found[1], tuple(one.double() for one in expected))
        assert max(apart) < 4 * torch.finfo(dtype).eps, apart


def test_autocast_leaves_float64_as_it_is() -> None:
    parts, target = layer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(parts, target)


def test_the_same_numbers_give_the_same_bits() -> None:
    parts, target = layer(100, classes=30)
    parts = tuple(part.detach().float().requires_grad_() for part in parts)
    first = value_and_gradients(ours, parts, target, chunk=16)
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(3):
            assert_close(value_and_gradients(ours, parts, target, chunk=16), first, rtol=0.0, atol=0.0)
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_graph_that_is_kept_gives_the_same_twice() -> None:
    parts, target = layer()
    value = ours(parts, target, chunk=4)
    first = torch.autograd.grad(value, parts, retain_graph=True)
    assert_close(torch.autograd.grad(value, parts), first, rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("form", "dtype"),
    [("plain", torch.bfloat16), ("options", torch.float64), ("total", torch.float64), ("autocast", torch.float32)],
)
def test_it_compiles_whole_forward_and_backward(form: str, dtype: torch.dtype) -> None:
    parts, target = layer(ignored=True)
    (features, weight, bias) = parts = tuple(part.detach().to(dtype).requires_grad_() for part in parts)
    total = linear_class_mass(features, weight, target, bias) + linear_class_mass(features.flip(0), weight, target)
    torch.compiler.reset()
    arguments = {
        "options": {"class_weight": CLASS_WEIGHT.to(dtype), "label_smoothing": 0.1, "reduction": "none"},
        "total": {"class_mass": total},
    }.get(form, {})

    def loss(parts: Layer, target: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.float16, enabled=form == "autocast"):
            return ours(parts, target, chunk=4, **arguments)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected = value_and_gradients(loss, parts, target)
    assert_close(value_and_gradients(compiled, parts, target), expected)
    frozen = (features, weight.detach(), bias.detach())
    only = torch.autograd.grad(compiled(frozen, target).sum(), features)[0]
    assert_close(only, torch.autograd.grad(loss(frozen, target).sum(), features)[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_transforms_and_forward_derivatives_are_right() -> None:
    (features, weight, bias), target = layer(12)
    batches, labels = features.detach().view(3, 4, FEATURES), target.view(3, 4)
    weight, bias = weight.detach(), bias.detach()

    def loss(weight: Tensor, features: Tensor, target: Tensor) -> Tensor:
        return linear_generative_cross_entropy(features, weight, target, bias, chunk=2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = vmap(grad(loss), (None, 0, 0))(weight, batches, labels)
        one_by_one = [
            torch.autograd.grad(loss(own := weight.clone().requires_grad_(), x, y), own)[0]
            for x, y in zip(batches, labels, strict=True)
        ]
        assert_close(each, torch.stack(one_by_one), **EXACT)
        sums = vmap(lambda x, y: linear_class_mass(x, weight, y, bias).log_sums)(batches, labels)
        assert_close(sums[1], linear_class_mass(batches[1], weight, labels[1], bias).log_sums, **EXACT)
    direction = torch.ones_like(weight)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(weight, direction)
        tangent = torch.autograd.forward_ad.unpack_dual(loss(dual, features.detach(), target)).tangent
    own = weight.clone().requires_grad_()
    expected = torch.autograd.grad(loss(own, features.detach(), target), own)[0]
    assert_close(tangent, (expected * direction).sum(), **EXACT)


class Watch(TorchDispatchMode):
    """The largest tensor any operator gives, in numbers, and the most bytes of all tensors that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.largest = max(self.largest, tensor.numel())
                self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result


def watched(loss: Callable[..., Tensor], parts: Layer, target: Tensor, **arguments: Any) -> Watch:
    with Watch() as watch:
        torch.autograd.grad(loss(parts, target, **arguments).sum(), parts)
    return watch


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_logits_of_all_rows_never_exist(dtype: torch.dtype) -> None:
    rows, classes = 128, 150
    parts, target = layer(rows, classes=classes, ignored=True)
    parts = tuple(part.detach().to(dtype).requires_grad_() for part in parts)
    total = linear_class_mass(parts[0], parts[1], target, parts[2])
    options = {"class_weight": torch.ones(classes), "label_smoothing": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for arguments in ({}, options, {"class_mass": total}, {"reduction": "none"}):
            assert watched(ours, parts, target, chunk=8, **arguments).largest <= 8 * classes
        assert watched(dense, parts, target).largest == rows * classes


@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_it_holds_less_than_three_chunks(scale: float) -> None:
    rows, classes, chunk = 1024, 2048, 256  # so many that what eager holds of a block is little beside a chunk
    parts, target = layer(rows, classes=classes, scale=scale)
    parts = tuple(part.detach().float().requires_grad_() for part in parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert watched(ours, parts, target, chunk=chunk).peak < 3 * 4 * chunk * classes
        assert watched(dense, parts, target).peak > 2 * 4 * rows * classes


def test_parts_add_up_to_the_whole() -> None:
    (features, weight, bias), target = layer(24, ignored=True)
    settings = {"class_weight": CLASS_WEIGHT, "label_smoothing": 0.1}
    whole = value_and_gradients(ours, (features, weight, bias), target, **settings)
    parts = list(zip(features.detach().split(7), target.split(7), strict=True))
    total = sum(linear_class_mass(x, weight, y, bias, **settings, chunk=3) for x, y in parts)
    dense_total = class_mass(F.linear(features, weight, bias), target, CLASS_WEIGHT, label_smoothing=0.1)
    assert_close(total.log_sums, dense_total.log_sums, **EXACT)
    assert_close((total.label_sums, total.rows), (dense_total.label_sums, dense_total.rows), **EXACT)
    value, to_weight = torch.zeros((), dtype=torch.float64), torch.zeros_like(weight)
    for x, y in parts:
        share = linear_generative_cross_entropy(x, weight, y, bias, **settings, class_mass=total, chunk=3)
        value += share.detach()
        to_weight += torch.autograd.grad(share, weight)[0]
    assert_close((value, to_weight), (whole[0], whole[1][1]), **EXACT)


def over_the_vocabulary(
    features: Tensor, weights: list[Tensor], target: Tensor
) -> tuple[Tensor, Tensor, list[Tensor], int]:
    """GenCE where each rank has a part of the classes: value, gradients, and how many numbers a rank sends.

    Each list has one entry a rank, and nothing goes from one to another but by `all_reduce`.
    """
    sent = 0

    def all_reduce(parts: list[Tensor], operation: Callable[..., Tensor]) -> Tensor:
        nonlocal sent
        sent += parts[0].numel()
        return operation(torch.stack(parts), 0)

    rows, ranks = len(target), range(len(weights))
    firsts = [sum(len(weight) for weight in weights[:p]) for p in ranks]
    logits = [features @ weight.T for weight in weights]
    one_hot = [
        (target[:, None] == first + torch.arange(len(w))).double() for first, w in zip(firsts, weights, strict=True)
    ]

    top = all_reduce([z.amax(1) for z in logits], torch.amax)
    sums = [
        torch.stack([(z - top[:, None]).exp().sum(1), (z * y).sum(1)]) for z, y in zip(logits, one_hot, strict=True)
    ]
    exponentials, of_label = all_reduce(sums, torch.sum)
    normaliser = top + exponentials.log()
    q = [(z - normaliser[:, None]).exp() for z in logits]

    mass = [one.sum(0) for one in q]
    ratio = [y.sum(0) / m for y, m in zip(one_hot, mass, strict=True)]
    class_term = [y.sum(0) @ (m / rows).log() for y, m in zip(one_hot, mass, strict=True)]
    pulls = [torch.cat([q[p] @ ratio[p], class_term[p][None]]) for p in ranks]
    pull, class_term = all_reduce(pulls, torch.sum).split([rows, 1])

    of_logits = [(q[p] * (1 + ratio[p] - pull[:, None]) - one_hot[p]) / rows for p in ranks]
    to_features = torch.stack([of_logits[p] @ weights[p] for p in ranks]).sum(0)
    to_weights = [one.T @ features for one in of_logits]
    return ((normaliser - of_label).sum() + class_term[0]) / rows, to_features, to_weights, sent


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_vocabulary_in_parts_gives_the_gradient_of_the_whole(scale: float) -> None:
    (features, weight, _), target = layer(16, classes=11, scale=scale)
    expected = generative_cross_entropy(F.linear(features, weight), target)
    gradients = torch.autograd.grad(expected, (features, weight))
    with torch.no_grad():
        value, to_features, to_weights, sent = over_the_vocabulary(features, list(weight.split([4, 4, 3])), target)
    assert_close(value, expected.detach(), **EXACT)
    assert_close((to_features, torch.cat(to_weights)), gradients, **EXACT)
    assert sent == 4 * 16 + 1


def refused(match: str, **changes: Any) -> None:
    (features, weight, bias), target = layer()
    arguments = {"features": features, "weight": weight, "target": target, "bias": bias, **changes}
    with pytest.raises(ValueError, match=match):
        linear_generative_cross_entropy(**arguments)


def messages() -> Iterator[tuple[str, dict[str, Any]]]:
    ones, long = torch.ones, torch.long
    yield r"features must be a tensor; got list: use torch.as_tensor\(features\)", {"features": [1.0]}
    yield r"bias must be a tensor; got float", {"bias": 1.0}
    yield (
        r"features must be floating-point numbers of shape \(..., D\).*torch.int64 of",
        {"features": ones(13, 4, dtype=long)},
    )
    yield r"features must be floating-point .* of shape \(\)", {"features": torch.tensor(1.0)}
    yield (
        r"weight must have shape \(C, 4\), .*got shape \(4, 5\): give the weight of the nn.Linear",
        {"weight": ones(4, 5)},
    )
    yield r"weight must have shape \(C, 4\), .*got shape \(0, 4\)", {"weight": ones(0, 4)}
    yield (
        r"target must hold class numbers; got torch.float64 of shape \(13, 5\): give class numbers of shape \(13,\)",
        {"target": ones(13, 5).double()},
    )
    yield (
        r"target must have shape \(13,\), that of features without their last axis; got \(12,\)",
        {"target": ones(12, dtype=long)},
    )
    yield (
        r"target must hold class numbers as int64; got torch.int32: use target.long\(\)",
        {"target": ones(13, dtype=torch.int32)},
    )
    yield r"target must hold class numbers from 0 to 4.*got 7 at \[0\]", {"target": torch.full((13,), 7)}
    yield r"bias must have one entry a class, shape \(5,\); got shape \(4,\)", {"bias": ones(4).double()}
    yield r"class_weight must have one entry a class, shape \(5,\); got shape \(1,\)", {"class_weight": ones(1)}
    yield r"class_weight must be constant, it has no gradient; got one: use", {"class_weight": ones(5).requires_grad_()}
    yield r"weight must have the dtype of features, torch.float64; got torch.float32: cast one", {"weight": ones(5, 4)}
    yield r"bias must have the dtype of features, torch.float64; got torch.float16", {"bias": ones(5).half()}
    yield (
        r"weight must be on the device of features, cpu; got it on meta: use weight.to\(features.device\)",
        {"weight": ones(5, 4, device="meta", dtype=torch.float64)},
    )
    yield r"label_smoothing must lie in \[0, 1\]; got 2", {"label_smoothing": 2.0}
    yield r"strength must be a finite number.*got nan", {"strength": math.nan}
    yield r"reduction must be one of none, mean, sum; got 'batchmean'", {"reduction": "batchmean"}
    yield r"impl must be one of auto, eager, triton; got 'definition'", {"impl": "definition"}
    yield r'impl="triton" cannot be had: .*float64', {"impl": "triton"}
    yield r"chunk must be a whole number of at least 1; got 0", {"chunk": 0}
    yield (
        r"class_mass must be a ClassMass \(the sum of gence.losses.linear_class_mass.*got Tensor",
        {"class_mass": ones(5)},
    )
    yield (
        r"class_mass must be of 5 classes, as input is; got one of 3",
        {"class_mass": class_mass(ones(3, 3), ones(3, dtype=long))},
    )
    yield (
        r"reduction='none' is for a whole batch; got it with class_mass: use 'mean'",
        {"reduction": "none", "class_mass": MovingClassMass(5)},
    )
    yield (
        r"reduction='none' is for a whole batch; got it with process_group",
        {"reduction": "none", "process_group": "world"},
    )
    yield r"process_group must be a torch.distributed.ProcessGroup", {"process_group": "world"}


@pytest.mark.parametrize(
    ("match", "changes"), list(messages()), ids=lambda value: value[:40] if isinstance(value, str) else ""
)
def test_what_does_not_fit_is_refused(match: str, changes: dict[str, Any]) -> None:
    refused(match, **changes)


def test_autocast_does_not_join_float64_and_float32() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refused("weight must have the dtype of features, torch.float64; got torch.float32", weight=torch.ones(5, 4))


def test_few_rows_are_warned_of_once() -> None:
    from gence.losses import _cautions

    parts, target = layer(4)
    _cautions._said.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            ours(parts, target)
    assert ["4 rows that count, and an input of 5 classes" in str(warning.message) for warning in caught] == [True]
    assert caught[0].filename == __file__
    _cautions._said.clear()
    with torch.no_grad():
        ours(parts, target)
    ours(parts, target, class_mass=linear_class_mass(parts[0], parts[1], target, parts[2]))
    ours(parts, target, strength=0.0)
    _cautions._said.clear()


SPLITS = {"equal": (12, 12), "uneven": (17, 7), "empty": (24, 0)}


def case_every_rank_gets_the_loss_of_all_rows() -> None:
    for sizes, ignored in itertools.product(SPLITS.values(), (False, True)):
        parts, target = layer(24, ignored=ignored)
        for settings in ({}, {"class_weight": CLASS_WEIGHT, "label_smoothing": 0.2}, {"reduction": "sum"}):
            expected = ours(parts, target, **settings)
            gradients = torch.autograd.grad(expected, parts)
            own = parts[0].detach().split(sizes)[dist.get_rank()].requires_grad_()
            labels = target.split(sizes)[dist.get_rank()]
            value = ours((own, *parts[1:]), labels, **settings, process_group=dist.group.WORLD, chunk=5)
            assert_close(value, expected, **EXACT)
            mine = torch.autograd.grad(value, (own, *parts[1:]))
            assert_close(mine[0] / 2, gradients[0].split(sizes)[dist.get_rank()], **EXACT)
            for found, right in zip(mine[1:], gradients[1:], strict=True):
                dist.all_reduce(found)
                assert_close(found / 2, right, **EXACT)  # what DistributedDataParallel would make of it


def case_accumulation_over_ranks() -> None:
    (features, weight, bias), target = layer(24)
    head = nn.parallel.DistributedDataParallel(Head(weight, bias))
    for sizes in SPLITS.values():
        x, y = (tensor.detach().split(sizes)[dist.get_rank()] for tensor in (features, target))
        pieces = list(zip(x.split(5), y.split(5), strict=True))
        sums = [linear_class_mass(piece, weight, labels, bias) for piece, labels in pieces]
        total = sum(sums[1:], sums[0]).all_reduce(dist.group.WORLD)
        head.zero_grad()
        with head.no_sync():
            for piece, labels in pieces[1:]:
                head(piece, labels, class_mass=total, process_group=dist.group.WORLD).backward()
        head(*pieces[0], class_mass=total, process_group=dist.group.WORLD).backward()
        expected = torch.autograd.grad(ours((features, weight, bias), target), (weight, bias))
        assert_close((head.module.weight.grad, head.module.bias.grad), expected, **EXACT)


class Head(nn.Module):
    """A head that gives its loss in the place of logits, as DistributedDataParallel must see it."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())

    def forward(self, features: Tensor, target: Tensor, **arguments: Any) -> Tensor:
        return ours((features, self.weight, self.bias), target, **arguments)


CASES = {name.removeprefix("case_"): case for name, case in list(globals().items()) if name.startswith("case_")}


def test_two_processes(tmp_path: Path) -> None:
    start(__file__, tmp_path)
    for name, rank in itertools.product(CASES, (0, 1)):
        assert what_went_wrong(name, rank, tmp_path) == ""


if __name__ == "__main__":
    take_part(CASES)
