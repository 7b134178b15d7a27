"""GenCE over the ranks of a process group: two gloo processes against one, with DistributedDataParallel around a model.

Both processes are started once and run every case, as starting them takes seconds.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.testing import assert_close

from gence import (
    MovingClassMass,
    class_mass,
    generative_binary_cross_entropy_with_logits,
    generative_cross_entropy,
)
from gence.losses import GenCELoss
from two_processes import start, take_part, what_went_wrong

ROWS, FEATURES, CLASSES = 24, 6, 5
NEAR: dict[str, Any] = {"rtol": 0.0, "atol": 1e-10}
SPLITS = {"equal": (12, 12), "uneven": (18, 6), "empty": (24, 0)}


def data(kind: str = "hard") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(ROWS, FEATURES, dtype=torch.float64, generator=generator)
    target = torch.randint(CLASSES, (ROWS,), generator=generator)
    if kind == "soft":
        target = torch.randn(ROWS, CLASSES, dtype=torch.float64, generator=generator).softmax(1)
    if kind == "ignored":
        target[::4] = -100
    return inputs, target


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, CLASSES)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return model


def own(tensor: Tensor, split: tuple[int, int]) -> Tensor:
    return tensor.split(list(split))[dist.get_rank()]


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def distributed_and_alone(
    split: tuple[int, int], kind: str, compiled: bool = False, **arguments: Any
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Value and gradients of DDP with the group's loss, and of one process with all rows."""
    inputs, target = data(kind)
    alone = network()
    expected = generative_cross_entropy(alone(inputs), target, **arguments)
    expected.backward()
    model = nn.parallel.DistributedDataParallel(network())
    loss = torch.compile(generative_cross_entropy, fullgraph=True, backend="aot_eager") if compiled else None
    value = (loss or generative_cross_entropy)(
        model(own(inputs, split)), own(target, split), **arguments, process_group=dist.group.WORLD
    )
    value.backward()
    return value.detach(), expected.detach(), gradients(model), gradients(alone)


def assert_same(split: tuple[int, int], kind: str, **arguments: Any) -> None:
    value, expected, ours, theirs = distributed_and_alone(split, kind, **arguments)
    assert_close(value, expected, **NEAR)
    assert_close(ours, theirs, **NEAR)


def case_ddp_equals_one_process() -> None:
    weight = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0], dtype=torch.float64)
    for split in SPLITS.values():
        for kind in ("hard", "ignored", "soft"):
            assert_same(split, kind)
            assert_same(split, kind, weight=weight, label_smoothing=0.2)
            assert_same(split, kind, weight=weight, reduction="sum", strength=0.5)
            assert_same(split, kind, strength=0.0)


def case_the_scale_matters() -> None:
    """What DDP does without the group is not the same: the test above can fail."""
    inputs, target = data()
    alone = network()
    generative_cross_entropy(alone(inputs), target).backward()
    for split in (SPLITS["equal"], SPLITS["uneven"]):
        model = nn.parallel.DistributedDataParallel(network())
        generative_cross_entropy(model(own(inputs, split)), own(target, split)).backward()
        worst = max((a - b).abs().max().item() for a, b in zip(gradients(model), gradients(alone), strict=True))
        assert worst > 1e-3, worst


def case_one_collective_forward_and_none_backward() -> None:
    inputs, target = data()
    calls: list[str] = []
    names = ("all_reduce", "all_gather", "broadcast", "reduce_scatter", "all_gather_into_tensor")
    originals = {name: getattr(dist, name) for name in names}

    def counted(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return originals[name](*args, **kwargs)

        return call

    try:
        for name in names:
            setattr(dist, name, counted(name))
        logits = own(inputs, (12, 12))[:, :CLASSES].clone().requires_grad_()
        value = generative_cross_entropy(logits, own(target, (12, 12)), process_group=dist.group.WORLD)
        assert calls == ["all_reduce"], calls
        value.backward()
        assert calls == ["all_reduce"], calls
    finally:
        for name in names:
            setattr(dist, name, originals[name])


def case_none_gives_the_terms_of_the_own_rows() -> None:
    inputs, target = data()
    logits = inputs[:, :CLASSES].clone().requires_grad_()
    expected = generative_cross_entropy(logits, target, reduction="none")
    gradient = torch.autograd.grad(expected.sum(), logits)[0]
    mine = own(logits.detach(), (18, 6)).clone().requires_grad_()
    rows = generative_cross_entropy(mine, own(target, (18, 6)), reduction="none", process_group=dist.group.WORLD)
    assert_close(rows.detach(), own(expected.detach(), (18, 6)), **NEAR)
    assert_close(torch.autograd.grad(rows.sum(), mine)[0], own(gradient, (18, 6)), **NEAR)


def case_accumulation_over_ranks() -> None:
    inputs, target = data()
    alone = network()
    expected = generative_cross_entropy(alone(inputs), target)
    expected.backward()
    for split in SPLITS.values():
        model = nn.parallel.DistributedDataParallel(network())
        parts = list(zip(own(inputs, split).split(7), own(target, split).split(7), strict=True))
        with torch.no_grad():
            sums = [class_mass(model.module(x), y) for x, y in parts]
        total = sum(sums[1:], sums[0]).all_reduce(dist.group.WORLD)
        # DDP counts backward passes, so all ranks take part in the same number of synchronised ones: one.
        shares = torch.zeros((), dtype=torch.float64)
        with model.no_sync():
            for x, y in parts[1:]:
                share = generative_cross_entropy(model(x), y, class_mass=total, process_group=dist.group.WORLD)
                share.backward()
                shares += share.detach()
        x, y = parts[0]
        share = generative_cross_entropy(model(x), y, class_mass=total, process_group=dist.group.WORLD)
        share.backward()
        shares += share.detach()
        dist.all_reduce(shares)
        assert_close(shares, expected.detach(), **NEAR)
        assert_close(gradients(model), gradients(alone), **NEAR)


def case_the_moving_mass_is_the_same_on_every_rank() -> None:
    inputs, target = data()
    alone, apart = MovingClassMass(CLASSES).double(), MovingClassMass(CLASSES).double()
    for split in ((12, 12), (18, 6), (24, 0)):
        expected = GenCELoss(class_mass=alone)(inputs[:, :CLASSES], target)
        loss = GenCELoss(class_mass=apart, process_group=dist.group.WORLD)
        value = loss(own(inputs, split)[:, :CLASSES], own(target, split))
        assert_close(value, expected, **NEAR)
        for mine, theirs in zip(apart.buffers(), alone.buffers(), strict=True):
            assert_close(mine, theirs, **NEAR)


def case_it_compiles_whole() -> None:
    for split in (SPLITS["uneven"], SPLITS["equal"]):
        value, expected, ours, theirs = distributed_and_alone(split, "hard", compiled=True)
        assert_close(value, expected, **NEAR)
        assert_close(ours, theirs, **NEAR)


def case_fsdp_takes_the_same_average() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    inputs, target = data()
    alone = network()
    generative_cross_entropy(alone(inputs), target).backward()
    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    loss = generative_cross_entropy(model(own(inputs, (18, 6))), own(target, (18, 6)), process_group=dist.group.WORLD)
    loss.backward()
    ours = [parameter.grad.full_tensor() for parameter in model.parameters()]  # type: ignore[union-attr]
    assert_close(ours, gradients(alone), **NEAR)


def case_classes_that_hardly_exist_are_exact_too() -> None:
    inputs, target = data()
    for scale, lowered in ((1.0, 1000.0), (200.0, 0.0), (1.0, 3000.0), (1e4, 0.0)):
        logits = scale * inputs[:, :CLASSES]
        logits[:, 4] -= lowered
        logits.requires_grad_()
        expected = generative_cross_entropy(logits, target)
        gradient = torch.autograd.grad(expected, logits)[0]
        for split in SPLITS.values():
            mine = own(logits.detach(), split).clone().requires_grad_()
            value = generative_cross_entropy(mine, own(target, split), process_group=dist.group.WORLD)
            assert_close(value.detach(), expected.detach(), rtol=1e-12, atol=1e-10)
            assert_close(torch.autograd.grad(value, mine)[0], 2 * own(gradient, split), **NEAR)


def case_with_many_classes_the_least_probable_counts_as_a_little() -> None:
    logits = torch.zeros(4, 2**16, dtype=torch.float64)
    logits[:, 1] = -1e5  # below what two bands hold
    target = torch.tensor([0, 1, 0, 1])
    mine = own(logits, (2, 2)).clone().requires_grad_()
    value = generative_cross_entropy(mine, own(target, (2, 2)), process_group=dist.group.WORLD)
    assert value.isfinite()
    assert torch.autograd.grad(value, mine)[0].isfinite().all()


def case_a_copy_trains_in_the_same_group() -> None:
    loss = GenCELoss(process_group=dist.group.WORLD, class_mass=MovingClassMass(CLASSES))
    twin = copy.deepcopy(nn.ModuleDict({"loss": loss}))["loss"]
    assert twin.process_group is dist.group.WORLD
    assert twin.class_mass is not loss.class_mass


def case_a_process_outside_of_the_group_is_told_so() -> None:
    first = dist.new_group([0])
    if dist.get_rank() == 0:
        GenCELoss(process_group=first)(data()[0][:, :CLASSES], data()[1])
        return
    with pytest.raises(ValueError, match="process_group must contain this process"):
        GenCELoss(process_group=first)
    with pytest.raises(ValueError, match="process_group must contain this process"):
        generative_cross_entropy(data()[0], data()[1], process_group=first)


def case_ranks_apart_are_warned_of_once() -> None:
    inputs, target = data()
    logits = inputs[:, :CLASSES]
    from gence.losses import _cautions

    for function in (
        generative_cross_entropy,
        GenCELoss(),
        torch.compile(generative_cross_entropy, fullgraph=True, backend="aot_eager"),
    ):
        _cautions._said.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                function(logits, target)
        said = [str(warning.message) for warning in caught if "ranks" in str(warning.message)]
        assert len(said) == 1, said
        assert "process_group=torch.distributed.group.WORLD" in said[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generative_binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    assert ["no exact form for ranks yet" in str(warning.message) for warning in caught] == [True]
    for in_parts in (
        lambda: GenCELoss(class_mass=MovingClassMass(CLASSES))(logits, target),
        lambda: generative_cross_entropy(logits, target, class_mass=class_mass(logits, target)),
    ):
        _cautions._said.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            in_parts()
        assert ["process_group=" in str(warning.message) for warning in caught] == [True]
    _cautions._said.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generative_cross_entropy(logits, target, process_group=dist.group.WORLD)
        generative_cross_entropy(logits, target, strength=0.0)


CASES = {name.removeprefix("case_"): case for name, case in list(globals().items()) if name.startswith("case_")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    start(__file__, folder)
    return folder


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_two_processes(name: str, rank: int, folder: Path) -> None:
    trace = what_went_wrong(name, rank, folder)
    assert not trace, trace


def test_what_is_no_group_is_refused() -> None:
    logits, target = data()[0][:, :CLASSES], data()[1]
    with pytest.raises(ValueError, match=r"process_group must be a torch.distributed.ProcessGroup, .* got 'world'"):
        generative_cross_entropy(logits, target, process_group="world")  # type: ignore[arg-type]


if __name__ == "__main__":
    take_part(CASES)
