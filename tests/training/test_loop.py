from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gence.training import Recipe, batches_an_epoch, predict, shuffled_batches, train


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
