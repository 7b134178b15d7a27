"""The class mass of parts: sums that add up, and shares whose values and gradients add up to the whole batch's."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from gence import class_mass, generative_cross_entropy
from gence.losses import ClassMass, GenCELoss, total_class_mass

EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}
CLASSES = 5


def batch(rows: int = 24, *, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, CLASSES, dtype=torch.float64, generator=generator)
    return logits, torch.randint(CLASSES, (rows,), generator=generator)


def targets(kind: str, rows: int = 24) -> tuple[Tensor, int]:
    """The target and the ignore_index to go with it."""
    logits, target = batch(rows, seed=1)
    if kind == "soft":
        return logits.softmax(1), -100
    if kind == "ignored":
        target[:6] = -100  # a part without any row that counts among them
        target[::5] = -100
    return target, -100


def in_parts(logits: Tensor, target: Tensor, sizes: list[int], **arguments: Any) -> tuple[Tensor, Tensor]:
    """Value and gradient of the shares of a batch cut into parts, added up."""
    made_with = {key: arguments[key] for key in ("weight", "ignore_index", "label_smoothing") if key in arguments}
    parts = list(zip(logits.detach().split(sizes), target.split(sizes), strict=True))
    total = sum(class_mass(z, y, **made_with) for z, y in parts)
    values, gradients = [], []
    for z, y in parts:
        z = z.clone().requires_grad_()
        share = generative_cross_entropy(z, y, **arguments, class_mass=total)
        gradients.append(torch.autograd.grad(share.sum(), z)[0])
        values.append(share.detach())
    whole = torch.cat(values) if arguments.get("reduction") == "none" else torch.stack(values).sum()
    return whole, torch.cat(gradients)


def test_the_sums_are_those_of_a_naive_loop() -> None:
    logits, target = batch()
    target[::4] = 3
    mass = class_mass(logits, target, ignore_index=3)
    counted = [i for i in range(24) if target[i] != 3]
    sums = [sum(math.exp(logits[i, k]) / sum(map(math.exp, logits[i])) for i in counted) for k in range(CLASSES)]
    assert mass.log_sums.exp().tolist() == pytest.approx(sums, abs=1e-12)
    assert mass.label_sums.tolist() == [sum(int(target[i]) == k for i in counted) for k in range(CLASSES)]
    assert mass.rows.item() == len(counted)
    assert mass.log_mass.exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    assert mass.label_share.sum().item() == pytest.approx(1.0, abs=1e-12)


def test_soft_labels_are_added_up() -> None:
    logits, _ = batch()
    target, _ = targets("soft")
    assert_close(class_mass(logits, target).label_sums, target.sum(0))


def test_it_is_frozen_and_without_gradient() -> None:
    logits, target = batch()
    mass = class_mass(logits.requires_grad_(), target)
    assert not mass.log_sums.requires_grad
    with pytest.raises(FrozenInstanceError):
        mass.rows = torch.zeros(())  # type: ignore[misc]


def test_labels_are_counted_beyond_what_float32_can_count_one_by_one() -> None:
    rows = 2**24 + 2
    target = torch.zeros(1, rows, dtype=torch.uint8)
    mass = class_mass(torch.zeros(1, 1, 1).expand(1, 1, rows), target)
    assert mass.label_sums.item() == rows == mass.rows.item()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["hard", "ignored", "soft"])
@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_shares_and_their_gradients_add_up_to_the_whole_batch(
    kind: str, weighted: bool, smoothing: float, reduction: str, strength: float
) -> None:
    logits, _ = batch()
    target, ignore_index = targets(kind)
    weight = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0], dtype=torch.float64) if weighted else None
    arguments: dict[str, Any] = {
        "weight": weight,
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": smoothing,
        "strength": strength,
    }
    logits.requires_grad_()
    whole = generative_cross_entropy(logits, target, **arguments)
    gradient = torch.autograd.grad(whole.sum(), logits)[0]
    for sizes in ([24], [6, 6, 6, 6], [1] * 24, [17, 0, 7]):
        value, gradient_in_parts = in_parts(logits, target, sizes, **arguments)
        assert_close(value, whole.detach(), **EXACT)
        assert_close(gradient_in_parts, gradient, **EXACT)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 24), max_size=5), seed=st.integers(0, 10**6), scale=st.floats(0.0, 300.0))
def test_however_a_batch_is_cut(cuts: list[int], seed: int, scale: float) -> None:
    logits, target = batch(seed=seed, scale=scale)
    edges = [0, *sorted(cuts), 24]
    sizes = [b - a for a, b in pairwise(edges)]
    logits.requires_grad_()
    whole = generative_cross_entropy(logits, target)
    value, gradient = in_parts(logits, target, sizes)
    assert_close(value, whole.detach(), rtol=1e-12, atol=1e-12)
    assert_close(gradient, torch.autograd.grad(whole, logits)[0], **EXACT)


def test_images_and_single_rows_are_parts_too() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 5, 6, dtype=torch.float64, generator=generator)
    target = torch.randint(3, (4, 5, 6), generator=generator)
    target[0, 0] = -100
    value, gradient = in_parts(images, target, [1, 3])
    images.requires_grad_()
    whole = generative_cross_entropy(images, target)
    assert_close(value, whole.detach(), **EXACT)
    assert_close(gradient, torch.autograd.grad(whole, images)[0], **EXACT)
    logits, labels = batch(3)
    total = sum(class_mass(z, y) for z, y in zip(logits, labels, strict=True))
    shares = sum(generative_cross_entropy(z, y, class_mass=total) for z, y in zip(logits, labels, strict=True))
    assert_close(shares, generative_cross_entropy(logits, labels, class_mass=class_mass(logits, labels)), **EXACT)


def test_a_class_ruled_out_by_minus_infinity_stays_out_in_parts() -> None:
    logits, target = batch()
    logits[:, 4], target[target == 4] = -math.inf, 0
    value, gradient = in_parts(logits, target, [12, 12])
    logits.requires_grad_()
    whole = generative_cross_entropy(logits, target)
    assert_close(value, whole.detach(), **EXACT)
    assert_close(gradient, torch.autograd.grad(whole, logits)[0], **EXACT)


def test_parts_without_a_row_that_counts_add_nothing() -> None:
    logits, target = batch()
    nothing = torch.full_like(target, -100)
    total = class_mass(logits, target)
    more = total + class_mass(logits, nothing)
    assert_close(more.log_sums, total.log_sums)
    assert more.rows.item() == 24
    logits.requires_grad_()
    share = generative_cross_entropy(logits, nothing, class_mass=total)
    assert share.item() == 0.0
    assert not torch.autograd.grad(share, logits)[0].any()
    for smoothing in (0.0, 0.1):
        none_at_all = class_mass(logits, nothing, label_smoothing=smoothing)
        share = generative_cross_entropy(logits, nothing, class_mass=none_at_all, label_smoothing=smoothing)
        assert share.isnan()  # as F.cross_entropy has it
        assert not torch.autograd.grad(share, logits)[0].any()


def test_half_precision_is_added_up_in_float32() -> None:
    logits, target = batch(4096)
    half = logits.bfloat16()
    total = sum(class_mass(z, y) for z, y in zip(half.split(64), target.split(64), strict=True))
    assert isinstance(total, ClassMass)
    assert total.log_sums.dtype == torch.float32
    assert_close(total.log_sums.double(), class_mass(half.double(), target).log_sums, rtol=1e-5, atol=1e-5)


def test_the_module_takes_a_total_for_one_call() -> None:
    logits, target = batch()
    loss = GenCELoss(label_smoothing=0.1)
    total = class_mass(logits, target, label_smoothing=0.1)
    shares = [loss(z, y, class_mass=total) for z, y in zip(logits.split(8), target.split(8), strict=True)]
    assert_close(sum(shares), loss(logits, target), **EXACT)


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, CLASSES)]
    return nn.Sequential(*layers).double()


def test_exact_accumulation_through_dropout_and_batch_norm() -> None:
    inputs = torch.randn(24, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    batches = list(zip(inputs.split(6), batch()[1].split(6), strict=True))
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(7)
    state = torch.get_rng_state()
    total = total_class_mass(model, batches)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    shares = []
    for x, y in batches:
        share = generative_cross_entropy(model(x), y, class_mass=total)
        share.backward()
        shares.append(share.item())

    other = network()
    torch.manual_seed(7)
    logits = torch.cat([other(x) for x, _ in batches])  # the same graph in one piece: the same masks, part by part
    whole = generative_cross_entropy(logits, torch.cat([y for _, y in batches]))
    whole.backward()
    assert sum(shares) == pytest.approx(whole.item(), abs=1e-12)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert_close(mine.grad, theirs.grad, **EXACT)
    for mine, theirs in zip(model.buffers(), other.buffers(), strict=True):
        assert_close(mine, theirs)  # the running statistics moved once


def test_the_first_pass_takes_no_gradient_from_the_second_under_autocast() -> None:
    model = nn.Linear(4, CLASSES)
    batches = [(torch.randn(8, 4), torch.arange(8) % CLASSES)]
    with torch.autocast("cpu", torch.bfloat16):
        total = total_class_mass(model, batches)
        generative_cross_entropy(model(batches[0][0]), batches[0][1], class_mass=total).backward()
    assert model.weight.grad is not None
    assert model.weight.grad.any()


def test_the_first_pass_leaves_the_model_as_it_was_when_it_fails() -> None:
    model = network()
    before = [buffer.clone() for buffer in model.buffers()]
    good, bad = (torch.randn(6, 4).double(), torch.zeros(6, dtype=torch.long)), (torch.randn(6, 3).double(), None)
    with pytest.raises(RuntimeError):
        total_class_mass(model, [good, bad])  # type: ignore[list-item]
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), before, strict=True))


@pytest.mark.parametrize(
    ("made", "used", "message"),
    [
        ({"weight": torch.ones(CLASSES)}, {}, r"made with the weight of the loss, None; got one made with \[1.0, "),
        ({}, {"weight": torch.ones(CLASSES)}, "got one made with None: give the same weight to both"),
        ({"weight": torch.ones(CLASSES)}, {"weight": 2 * torch.ones(CLASSES)}, r"weight of the loss, \[2.0, 2.0"),
        ({"label_smoothing": 0.1}, {}, "made with the label_smoothing of the loss, 0.0; got one made with 0.1"),
        ({"ignore_index": 1}, {}, "made with the ignore_index of the loss, -100; got one made with 1"),
    ],
)
def test_sums_made_for_another_loss_are_refused(made: dict[str, Any], used: dict[str, Any], message: str) -> None:
    logits, target = batch()
    with pytest.raises(ValueError, match=message):
        generative_cross_entropy(logits, target, **used, class_mass=class_mass(logits, target, **made))
    with pytest.raises(ValueError, match="class_mass must be made with"):
        class_mass(logits, target, **used) + class_mass(logits, target, **made)


def test_equal_weights_in_another_tensor_are_the_same_weights() -> None:
    logits, target = batch()
    weight = torch.rand(CLASSES, dtype=torch.float64)
    total = class_mass(logits, target, weight)
    generative_cross_entropy(logits, target, weight.clone(), class_mass=total)


def test_sums_over_other_classes_and_things_that_are_no_sums_are_refused() -> None:
    logits, target = batch()
    with pytest.raises(ValueError, match="class_mass must be of 5 classes, as input is; got one of 4"):
        generative_cross_entropy(logits, target, class_mass=class_mass(logits[:, :4], target.clamp(max=3)))
    with pytest.raises(ValueError, match=r"class_mass must be a ClassMass .* got Tensor"):
        generative_cross_entropy(logits, target, class_mass=logits.softmax(1).mean(0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be a MovingClassMass; got ClassMass: give the total"):
        GenCELoss(class_mass=class_mass(logits, target))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        class_mass(logits, target) + 1.0  # type: ignore[operator]


def test_a_model_whose_buffers_cannot_be_put_back_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model must be a torch.nn.Module .* got function: wrap the call in a module"):
        total_class_mass(lambda x: x, [batch()])  # type: ignore[arg-type]


def test_a_part_without_rows_is_a_part() -> None:
    model = nn.Linear(4, CLASSES)
    total = total_class_mass(model, [(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))])
    assert total.rows.item() == 0
    assert (total + class_mass(*batch())).rows.item() == 24


@pytest.mark.parametrize("made", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("used", [torch.float32, torch.float64, torch.bfloat16])
def test_a_total_serves_logits_of_another_dtype(made: torch.dtype, used: torch.dtype) -> None:
    logits, target = batch()
    logits[:, 4], target[target == 4] = -math.inf, 0  # its sum is the least number of the dtype
    total = class_mass(logits.to(made), target)
    used_logits = logits.to(used).requires_grad_()
    share = generative_cross_entropy(used_logits, target, class_mass=total)
    assert_close(share.double(), generative_cross_entropy(logits, target), rtol=2e-2, atol=2e-2)
    assert torch.autograd.grad(share, used_logits)[0].isfinite().all()
    assert_close((total + class_mass(logits.to(used), target)).rows.item(), 48.0)


def test_the_message_about_many_weights_is_short() -> None:
    logits, target = torch.randn(4, 1000), torch.arange(4)
    with pytest.raises(ValueError, match=r"1000 weights from 1.0 to 1.0") as error:
        generative_cross_entropy(logits, target, class_mass=class_mass(logits, target, torch.ones(1000)))
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], r"batches must hold at least one \(inputs, target\); got none"),
        (iter([]), r"batches must be a list .* got list_iterator: use list\(batches\)"),
    ],
)
def test_batches_that_cannot_be_gone_through_twice_are_refused(batches: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        total_class_mass(nn.Linear(1, 2), batches)


@pytest.mark.parametrize("label", [-1, 5, 255])
def test_a_class_number_out_of_range_is_named(label: int) -> None:
    logits, target = batch(4)
    target[2] = label
    message = rf"target must hold class numbers from 0 to 4, .* ignore_index=-100; got {label} at \[2\]"
    for function in (class_mass, generative_cross_entropy):
        with pytest.raises(ValueError, match=message):
            function(logits, target)
    generative_cross_entropy(logits.repeat(2, 1), target.repeat(2), ignore_index=label)


def test_uint8_class_numbers_do_not_wrap_around() -> None:
    logits, target = torch.randn(600, 300), (torch.arange(600) % 256).to(torch.uint8)
    value = generative_cross_entropy(logits, target, strength=0.0)
    assert_close(value, torch.nn.functional.cross_entropy(logits, target))
    with pytest.raises(ValueError, match=r"from 0 to 99, .*; got 156 at \[0\]"):  # 156 is -100 modulo 256
        generative_cross_entropy(torch.randn(200, 100), torch.full((200,), 156, dtype=torch.uint8))
