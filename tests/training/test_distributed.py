"""One model trained by two gloo processes against one process with all rows.

Both processes are started once and run every case, as starting them takes seconds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from gence.losses import GenCELoss, MovingClassMass
from gence.losses.catalogue import build
from gence.losses.criterion import Criterion
from gence.losses.hybrid import gence_prior, gence_smoothing
from gence.training import Recipe, train
from gence.training.ranks import data_parallel, logits_of_all_ranks
from two_processes import start, take_part, what_went_wrong

COUNTS = [10, 8, 5]
# 23 rows in batches of 5, 6, 6 and 6: the slices of a batch of 5 are of 3 and 2 rows.
RECIPE = Recipe(2, 5, 0.05, augment=("crop", "flip"), warmup=1)
MIXED = replace(RECIPE, mixup=0.4, clip_norm=0.5)


def problem() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(23, 2, 8, 8, dtype=torch.float64, generator=generator),
        torch.tensor([0] * 10 + [1] * 8 + [2] * 5),
    )


def network(norm: nn.Module | None = None) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = nn.Conv2d(2, 4, 3), norm or nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
        return nn.Sequential(*parts).double()


def weights(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().double().cpu() for value in model.state_dict().values()])


def after(loss: Callable[..., Tensor], recipe: Recipe, group: dist.ProcessGroup | None, device: str = "cpu") -> Tensor:
    inputs, target = problem()
    model, modules = network(), ""
    modules = repr(model)
    validation = (inputs[:7] + 1, target[:7])
    train(model, inputs, target, loss, recipe, seed=4, validation=validation, device=device, group=group)
    assert repr(model) == modules
    return weights(model)


def assert_as_alone(built: Callable[[dist.ProcessGroup | None], Callable[..., Tensor]], recipe: Recipe) -> None:
    alone = after(built(None), recipe, None)
    assert (alone - weights(network())).abs().max() > 1e-2
    torch.testing.assert_close(after(built(dist.group.WORLD), recipe, dist.group.WORLD), alone, rtol=0, atol=1e-12)


GENCE: dict[str, Callable[[dist.ProcessGroup | None], Callable[..., Tensor]]] = {
    "plain": lambda group: GenCELoss(process_group=group),
    "moving": lambda group: GenCELoss(process_group=group, class_mass=MovingClassMass(3)).double(),
    "smoothing": lambda group: Criterion(gence_smoothing, process_group=group),
    "prior": lambda group: Criterion(gence_prior, class_counts=torch.tensor(COUNTS), process_group=group),
}


def case_cross_entropy_equals_one_process() -> None:
    for recipe in (RECIPE, MIXED):
        assert_as_alone(lambda _: F.cross_entropy, recipe)


def case_gence_equals_one_process() -> None:
    for name in GENCE:
        for recipe in (RECIPE, MIXED):
            assert_as_alone(GENCE[name], recipe)


def case_losses_that_know_no_ranks_equal_one_process_too() -> None:
    """Class weights, the batch, the neighbour and the row's history, validation rows, and a sum in a mean's place."""
    for name in ("class_balanced", "mdca", "crl", "cals", "gence"):
        assert_as_alone(lambda _, name=name: build(name, class_counts=COUNTS).double(), MIXED)
    assert_as_alone(lambda _: functools.partial(F.cross_entropy, reduction="sum"), MIXED)


def case_a_group_of_one_is_one_process() -> None:
    alone, _ = dist.new_group([0]), dist.new_group([1])
    alone = (alone, _)[dist.get_rank()]
    inputs, target = problem()
    results = []
    for group in (None, alone):
        model = network(nn.BatchNorm2d(4))
        train(model, inputs, target, F.cross_entropy, MIXED, seed=0, group=group)
        results.append(weights(model))
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)


def case_the_other_options_go_together_with_ranks() -> None:
    recipe = replace(MIXED, precision="bfloat16", channels_last=True)
    results = []
    for group in (None, dist.group.WORLD):
        inputs, target = problem()
        model = network().float()
        train(model, inputs.float(), target, F.cross_entropy, recipe, seed=4, group=group)
        results.append(weights(model))
    torch.testing.assert_close(*results, rtol=0.05, atol=0.01)


def case_ranks_that_diverge_stop_together() -> None:
    with pytest.raises(FloatingPointError, match="training diverged: the loss is nan after 4 of 8 steps"):
        after(lambda logits, target: logits.sum() * (float("nan") if 2 in target else 1.0), RECIPE, dist.group.WORLD)


def case_every_rank_needs_a_row_of_every_batch() -> None:
    with pytest.raises(ValueError, match="batches of 1 rows for 2 ranks: raise batch_size or take fewer ranks"):
        after(F.cross_entropy, Recipe(1, 1), dist.group.WORLD)


def case_ranks_must_be_given_the_same() -> None:
    inputs, target = problem()
    for seed, rows in ((dist.get_rank(), 23), (0, 22 + dist.get_rank())):
        given = f"'rows': .*, 'recipe': Recipe.*, 'seed': {seed}"
        with pytest.raises(ValueError, match=f"all ranks must train alike; this one was given .*{given}"):
            train(network(), inputs[:rows], target[:rows], F.cross_entropy, RECIPE, seed=seed, group=dist.group.WORLD)


def case_a_batch_norm_over_ranks_is_refused_on_the_cpu() -> None:
    inputs, target = problem()
    with pytest.raises(ValueError, match=r"runs on GPUs only; got a model on the CPU with BatchNorm2d '1': train it"):
        train(network(nn.BatchNorm2d(4)), inputs, target, F.cross_entropy, RECIPE, seed=0, group=dist.group.WORLD)


def case_cuda_with_batch_norm_equals_one_process() -> None:
    if not torch.cuda.is_available():
        return
    results = []
    for group in (None, dist.group.WORLD):
        inputs, target = problem()
        model = network(nn.BatchNorm2d(4))
        train(model, inputs, target, F.cross_entropy, MIXED, seed=0, device="cuda", group=group)
        assert type(model[1]) is nn.BatchNorm2d
        results.append(weights(model))
    torch.testing.assert_close(*results, rtol=0, atol=1e-8)


CASES = {name.removeprefix("case_"): case for name, case in list(globals().items()) if name.startswith("case_")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    start(__file__, folder)
    return folder


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_two_processes(name: str, rank: int, folder: Path) -> None:
    if "cuda" in name and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    trace = what_went_wrong(name, rank, folder)
    assert not trace, trace


def test_batch_norms_are_taken_over_the_ranks_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """On meta, where nothing runs: what is replaced by what, and that the tensors are the same."""
    monkeypatch.setattr(dist, "get_world_size", lambda group: 2)
    monkeypatch.setattr("gence.training.ranks.DistributedDataParallel", lambda model, process_group: model)
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4))).to("meta")
    norm = model[1][0]
    with data_parallel(model, "group") as parallel:  # type: ignore[arg-type]
        inside = parallel[1][0]
        assert type(inside) is nn.SyncBatchNorm
        assert inside.process_group == "group"
        assert inside.weight is norm.weight
        assert inside.running_mean is norm.running_mean
    assert model[1][0] is norm


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_gradient_of_own_rows_is_that_of_the_whole_batch_times_the_ranks(
    rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written out for seven rows on three ranks: slices of 3, 2 and 2 rows."""
    logits = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.tensor([0, 1, 2, 0, 1, 1, 0])
    own = slice(*((0, 3), (3, 5), (5, 7))[rank])

    def sum_over_ranks(tensor: Tensor, group: object) -> None:
        assert not tensor[: own.start].any()
        assert not tensor[own.stop :].any()
        tensor.copy_(logits.detach())

    monkeypatch.setattr(dist, "get_world_size", lambda group: 3)
    monkeypatch.setattr(dist, "get_rank", lambda group: rank)
    monkeypatch.setattr(dist, "all_reduce", sum_over_ranks)
    expected = torch.autograd.grad(F.cross_entropy(logits, target), logits)[0]
    whole = logits_of_all_ranks(lambda rows: rows * 1.0, logits, "group")  # type: ignore[arg-type]
    assert torch.equal(whole, logits)
    gradient = torch.autograd.grad(F.cross_entropy(whole, target), logits)[0]
    torch.testing.assert_close(gradient[own], 3 * expected[own], rtol=1e-14, atol=0)
    assert gradient.count_nonzero() == gradient[own].numel()


if __name__ == "__main__":
    take_part(CASES)
