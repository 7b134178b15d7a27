from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from gence.training import AUGMENTATIONS, Recipe, batches_an_epoch, mixup, predict, shuffled_batches, train
from gence.training.loop import _STREAMS

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def problem() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(90) % 3
    inputs = F.one_hot(target, 3) + 0.3 * torch.randn(90, 3, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3))
    return model, inputs, target


@pytest.mark.parametrize(
    ("rows", "size", "expected"), [(80, 32, 2), (16, 32, 1), (127, 32, 3), (1, 32, 1), (64, 32, 2), (7, 2, 3)]
)
def test_an_epoch_is_every_row_once_in_batches_of_equal_size(rows: int, size: int, expected: int) -> None:
    batches = list(shuffled_batches(rows, size, torch.Generator().manual_seed(0)))
    assert len(batches) == batches_an_epoch(rows, size) == expected
    assert torch.cat(batches).sort().values.tolist() == list(range(rows))
    assert max(map(len, batches)) - min(map(len, batches)) <= 1


def test_training_learns_counts_its_steps_and_ends_in_evaluation_mode() -> None:
    model, inputs, target = problem()
    recipe = Recipe(epochs=20, batch_size=30)
    assert train(model, inputs, target, F.cross_entropy, recipe, seed=0) == recipe.updates(90) == 60
    assert not model.training
    assert (predict(model, inputs).argmax(1) == target).double().mean() > 0.9


def test_one_step_is_sgd_written_out() -> None:
    model = torch.nn.Linear(3, 2, bias=False)
    before = model.weight.detach().clone()
    inputs, target = torch.eye(3), torch.tensor([0, 1, 1])
    train(model, inputs, target, F.cross_entropy, Recipe(1, 3, 0.1, 0.01, 0.9), seed=0)
    copy = before.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(inputs @ copy.T, target), copy)[0] + 0.01 * before
    torch.testing.assert_close(model.weight.detach(), before - 0.1 * 1.9 * gradient)  # Nesterov's first step


def test_every_loss_sees_the_same_batches() -> None:
    seen: list[list[list[int]]] = []
    for loss in (F.cross_entropy, lambda z, y: 2 * F.cross_entropy(z, y)):
        order: list[list[int]] = []
        model = torch.nn.Linear(1, 2)
        inputs = torch.arange(10.0)[:, None]
        model.register_forward_pre_hook(lambda _, x, order=order: order.append(x[0].flatten().int().tolist()))
        train(model, inputs, torch.arange(10) % 2, loss, Recipe(2, 5, 0.01), seed=7)
        seen.append(order)
    assert seen[0] == seen[1]
    assert seen[0][:2] != seen[0][2:]


def test_the_learning_rate_follows_a_cosine_from_its_start_to_near_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.SGD.step

    def record(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", record)
    model, inputs, target = problem()
    train(model, inputs, target, F.cross_entropy, Recipe(4, 90, 0.2), seed=0)
    assert rates == pytest.approx([0.2, 0.2 * (0.5 + 0.5 * 2**-0.5), 0.1, 0.2 * (0.5 - 0.5 * 2**-0.5)])


def test_training_that_diverges_stops_with_a_reason() -> None:
    model, inputs, target = problem()
    with pytest.raises(FloatingPointError, match="training diverged: the loss is nan after 1 of 3 steps"):
        train(model, inputs, target, lambda z, y: z.sum() * float("nan"), Recipe(3, 90), seed=0)


def test_prediction_is_batch_free_and_leaves_the_mode_alone() -> None:
    model, inputs, _ = problem()
    model.train()
    whole, parts = predict(model, inputs), predict(model, inputs, batch_size=7)
    torch.testing.assert_close(whole, parts)
    assert model.training
    assert not whole.requires_grad


def test_prediction_goes_to_the_device_of_the_model_and_comes_back() -> None:
    seen: list[str] = []
    model = torch.nn.Linear(3, 2, device="meta")
    model.register_forward_pre_hook(lambda _, x: seen.append(x[0].device.type))
    with pytest.raises(NotImplementedError, match="meta tensor"):  # there are no values to bring back
        predict(model, torch.eye(3))
    assert seen == ["meta"]
    assert torch.equal(predict(torch.nn.Identity(), torch.eye(3), batch_size=2), torch.eye(3))


def plain_loop(
    model: torch.nn.Module,
    inputs: torch.Tensor,
    target: torch.Tensor,
    loss: Callable[..., torch.Tensor],
    recipe: Recipe,
    seed: int,
) -> None:
    """The loop without augmentation and mixup, restated."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    model.train()
    batches = [rows for _ in range(recipe.epochs) for rows in shuffled_batches(len(inputs), recipe.batch_size, order)]
    for step, rows in enumerate(batches):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / len(batches)))
        optimizer.zero_grad()
        loss(model(inputs[rows]), target[rows]).backward()
        optimizer.step()


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def test_without_augmentation_and_mixup_every_bit_is_that_of_the_plain_loop() -> None:
    recipe = Recipe(epochs=4, batch_size=16)
    model, inputs, target = problem()
    train(model, inputs, target, F.cross_entropy, recipe, seed=3)
    plain, *_ = problem()
    plain_loop(plain, inputs, target, F.cross_entropy, recipe, seed=3)
    assert torch.equal(weights(model), weights(plain))


def image_problem() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    inputs = torch.randn(24, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(128, 3))
    return model, inputs, torch.arange(24) % 3


def batches_seen(recipe: Recipe, seed: int) -> list[torch.Tensor]:
    model, inputs, target = image_problem()
    seen: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    train(model, inputs, target, F.cross_entropy, recipe, seed=seed)
    return seen


@pytest.mark.parametrize("names", [(), ("crop",), ("flip",), ("crop", "flip")])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_model_sees_the_rows_augmented_in_order_and_then_mixed(names: tuple[str, ...], alpha: float) -> None:
    """Whatever is asked for, the order of the rows stays, and the shares and partners of mixup stay."""
    order, augmenting, mixing = (torch.Generator().manual_seed(5 ^ stream) for stream in _STREAMS)
    _, inputs, _ = image_problem()
    expected: list[torch.Tensor] = []
    for _ in range(2):
        for rows in shuffled_batches(24, 8, order):
            batch = inputs[rows]
            for name in names:
                batch = AUGMENTATIONS[name](batch, augmenting)
            expected.append(mixup(batch, mixing, alpha)[0] if alpha else batch)
    seen = batches_seen(Recipe(2, 8, augment=names, mixup=alpha), seed=5)
    assert torch.equal(torch.stack(seen), torch.stack(expected))
    if names or alpha:
        assert not torch.equal(torch.stack(seen), torch.stack(batches_seen(Recipe(2, 8), seed=5)))


def test_the_generators_of_neighbouring_seeds_are_all_different() -> None:
    drawn = [
        torch.randperm(9, generator=torch.Generator().manual_seed(s ^ t)).tolist() for s in range(4) for t in _STREAMS
    ]
    assert len({tuple(order) for order in drawn}) == 12
    assert all(0 <= stream < 2**32 for stream in _STREAMS)


def batch_looking(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A loss that is no mean over rows: it looks at the class mass of the batch."""
    return F.cross_entropy(z, y) + (z.softmax(1).mean(0) - F.one_hot(y, 3).double().mean(0)).square().sum().sqrt()


@pytest.mark.parametrize("loss", [F.cross_entropy, batch_looking])
def test_a_step_of_mixup_is_the_gradient_of_the_mixed_loss_written_out(loss: Callable[..., torch.Tensor]) -> None:
    """Zhang et al. 2018: lam l(z, y) + (1 - lam) l(z, y[partner]), of one forward pass."""
    inputs, target = (
        torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)),
        torch.arange(6) % 3,
    )
    model = torch.nn.Linear(4, 3, bias=False, dtype=torch.float64)
    before = model.weight.detach().clone()
    passes: list[int] = []
    model.register_forward_hook(lambda *_: passes.append(1))
    train(model, inputs, target, loss, Recipe(1, 6, 0.1, 0.0, 0.0, mixup=0.8), seed=9)
    assert len(passes) == 1

    rows = next(shuffled_batches(6, 6, torch.Generator().manual_seed(9)))
    _, share, partner = mixup(inputs[rows], torch.Generator().manual_seed(9 ^ _STREAMS[2]), 0.8)
    mixed = torch.stack([share * inputs[rows[i]] + (1 - share) * inputs[rows[partner[i]]] for i in range(6)])
    copy = before.clone().requires_grad_()
    logits = mixed @ copy.T
    other = torch.stack([target[rows[partner[i]]] for i in range(6)])
    assert other.tolist() != target[rows].tolist()
    value = share * loss(logits, target[rows]) + (1 - share) * loss(logits, other)
    gradient = torch.autograd.grad(value, copy)[0]
    torch.testing.assert_close(model.weight.detach(), before - 0.1 * gradient, rtol=1e-12, atol=1e-14)


def test_mixup_with_a_share_of_one_is_no_mixup(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(
        inputs: torch.Tensor, generator: torch.Generator, alpha: float
    ) -> tuple[torch.Tensor, float, torch.Tensor]:
        return inputs, 1.0, torch.arange(len(inputs)).flip(0)

    monkeypatch.setattr("gence.training.loop.mixup", whole)
    model, inputs, target = problem()
    train(model, inputs, target, F.cross_entropy, Recipe(2, 30, mixup=1.0), seed=0)
    plain, *_ = problem()
    train(plain, inputs, target, F.cross_entropy, Recipe(2, 30), seed=0)
    torch.testing.assert_close(weights(model), weights(plain))


def test_training_with_augmentation_and_mixup_learns_and_repeats_with_its_seed() -> None:
    recipe = Recipe(30, 8, augment=("crop", "flip"), mixup=0.2)
    results = []
    for seed in (0, 0, 1):
        model, inputs, target = image_problem()
        inputs = inputs + 4 * F.one_hot(target % 2, 2)[:, :, None, None]
        train(model, inputs, target % 2, F.cross_entropy, recipe, seed=seed)
        results.append(weights(model))
        assert (predict(model, inputs).argmax(1) == target % 2).all()
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("alpha", [-0.1, 1e308, math.inf, math.nan])
def test_a_recipe_refuses_an_alpha_that_is_no_number_from_zero_on(alpha: float) -> None:
    told = re.escape(f"mixup must be 0 for none, or a positive alpha of at most 1e+06; got {alpha}")
    with pytest.raises(ValueError, match=told):
        Recipe(1, mixup=alpha)


def test_a_recipe_refuses_an_augmentation_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="unknown augmentation 'flop': did you mean 'flip'"):
        Recipe(1, augment=("crop", "flop"))


def test_rows_that_are_no_images_are_not_augmented() -> None:
    model, inputs, target = problem()
    with pytest.raises(ValueError, match=r"floating-point images of shape \(N, C, H, W\); got .* \(30, 3\)"):
        train(model, inputs, target, F.cross_entropy, Recipe(1, 30, augment=("flip",)), seed=0)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_a_run_on_a_named_device_is_the_run_it_would_be_here(device: str) -> None:
    recipe = Recipe(3, 8, augment=("crop", "flip"), mixup=0.3)
    model, inputs, target = image_problem()
    train(model, inputs, target, F.cross_entropy, recipe, seed=0)
    there, *_ = image_problem()
    criterion = torch.nn.CrossEntropyLoss(weight=torch.ones(3)).eval()
    train(there, inputs, target, criterion, recipe, seed=0, device=device)
    assert {value.device.type for value in (*there.parameters(), *criterion.buffers())} == {device}
    assert criterion.training
    assert predict(there, inputs).device.type == "cpu"
    torch.testing.assert_close(weights(there).cpu(), weights(model), rtol=1e-4, atol=1e-5)
