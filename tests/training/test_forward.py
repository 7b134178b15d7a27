"""What a recipe says of the gradient, of precision, memory format and compiling."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gence.training import Recipe, predict, train

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
RECIPE = Recipe(3, 8, augment=("crop",), mixup=0.2)


class Net(nn.Module):
    """A small convolutional network that writes down how its batches come."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten()
            )
            self.head = nn.Linear(64, 3)
        self.seen: list[tuple[bool, torch.dtype]] = []

    def forward(self, batch: Tensor) -> Tensor:
        logits = self.head(self.body(batch))
        if not torch.compiler.is_compiling():
            self.seen.append((batch.is_contiguous(memory_format=torch.channels_last), logits.dtype))
        return logits


def problem() -> tuple[Tensor, Tensor]:
    target = torch.arange(26) % 3
    inputs = 0.5 * torch.randn(26, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return inputs + 2 * F.one_hot(target, 3)[:, :, None, None], target


def trained(recipe: Recipe, *, loss=F.cross_entropy, device: str = "cpu") -> Net:
    net = Net()
    train(net, *problem(), loss, recipe, seed=1, device=device)
    return net


def weights(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().flatten().double().cpu() for value in model.state_dict().values()])


def sgd(gradients: list[float], recipe: Recipe) -> float:
    """Where a weight that starts at 0 ends, written out, under a constant learning rate."""
    weight = velocity = 0.0
    for gradient in gradients:
        velocity = recipe.momentum * velocity + gradient
        weight -= recipe.learning_rate * (gradient + recipe.momentum * velocity if recipe.nesterov else velocity)
    return weight


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("clip_norm", [0.0, 0.5, 7.0])
def test_the_gradient_of_all_weights_together_is_cut_to_the_norm(nesterov: bool, clip_norm: float) -> None:
    recipe = Recipe(3, 4, 0.1, 0.0, 0.9, nesterov=nesterov, schedule="constant", clip_norm=clip_norm)
    model = nn.Linear(1, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    # The gradient is 3 for the weight and 4 for the bias, of norm 5, in every step.
    train(model, torch.full((4, 1), 0.75), torch.zeros(4), lambda z, y: 4.0 * z.mean(), recipe, seed=0)
    cut = 0.1 if clip_norm == 0.5 else 1.0
    assert model.weight.item() == pytest.approx(sgd([3.0 * cut] * 3, recipe), rel=1e-5)
    assert model.bias.item() == pytest.approx(sgd([4.0 * cut] * 3, recipe), rel=1e-5)


def test_a_recipe_for_sums_over_the_batch_is_one_for_means() -> None:
    """What `Recipe` says of published recipes, with batches of 13 rows."""
    inputs, target = problem()
    results = []
    for size, reduction in ((1, "sum"), (13, "mean")):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).double()
        recipe = Recipe(4, 13, 0.01 * size, 0.05 / size, clip_norm=2.0 / size)
        train(model, inputs.double(), target, functools.partial(F.cross_entropy, reduction=reduction), recipe, seed=0)
        results.append(weights(model))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_a_training_in_bfloat16_gives_the_loss_float32_and_keeps_the_weights_in_it() -> None:
    given: list[torch.dtype] = []

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        given.append(logits.dtype)
        assert not torch.is_autocast_enabled("cpu")
        return F.cross_entropy(logits, target)

    net = trained(replace(RECIPE, precision="bfloat16"), loss=loss)
    assert {dtype for _, dtype in net.seen} == {torch.bfloat16}
    assert set(given) == {torch.float32}
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    full = weights(trained(RECIPE))
    assert not torch.equal(weights(net), full)
    torch.testing.assert_close(weights(net), full, rtol=0.1, atol=0.02)


def test_logits_better_than_float32_stay_so() -> None:
    linear = nn.Linear(3, 2).double()
    rows = torch.eye(3, dtype=torch.float64)
    assert torch.equal(predict(linear, rows, precision="bfloat16"), predict(linear, rows))
    assert predict(linear, rows, precision="bfloat16").dtype == torch.float64


def test_prediction_is_in_float32_unless_asked_and_gives_it_either_way() -> None:
    net, (inputs, _) = Net(), problem()
    full, half = predict(net, inputs), predict(net, inputs, precision="bfloat16")
    assert [dtype for _, dtype in net.seen] == [torch.float32, torch.bfloat16]
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_prediction_on_a_named_device_moves_the_model_there(device: str) -> None:
    model, rows = nn.Linear(3, 2), torch.eye(3)
    here = predict(model, rows)
    there = predict(model, rows, device=device)
    assert (there.device.type, model.weight.device.type) == ("cpu", device)
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-3)


def test_prediction_on_a_named_device_moves_the_model_first() -> None:
    model = nn.Linear(3, 2)
    with pytest.raises(NotImplementedError, match="meta tensor"):  # there are no values to bring back
        predict(model, torch.eye(3), device="meta")
    assert model.weight.device.type == "meta"


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_channels_last_is_another_order_in_memory_and_no_other_training(device: str) -> None:
    first, last = (trained(replace(RECIPE, channels_last=asked), device=device) for asked in (False, True))
    assert {seen for seen, _ in first.seen} == {False}
    assert {seen for seen, _ in last.seen} == {True}
    assert all(parameter.is_contiguous() for parameter in last.parameters())
    torch.testing.assert_close(weights(last), weights(first), rtol=1e-3, atol=1e-4)


def test_channels_last_leaves_rows_that_are_no_images_alone() -> None:
    results = []
    for asked in (False, True):
        model = nn.Linear(3, 3)
        with torch.no_grad():
            model.weight.copy_(torch.eye(3))
            model.bias.zero_()
        train(model, torch.eye(3), torch.arange(3), F.cross_entropy, Recipe(2, channels_last=asked), seed=0)
        results.append(weights(model))
    assert torch.equal(*results)


@pytest.fixture
def without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """torch.compile as far as it goes without a C++ compiler; gives what it was asked for."""
    asked: list[dict] = []
    compile = torch.compile

    def traced(model: nn.Module, **options: object):
        asked.append(options)
        return compile(model, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", traced)
    return asked


def test_a_compiled_training_lands_in_the_model_it_was_given(without_a_compiler: list[dict]) -> None:
    from torch._dynamo import config

    before, plain = config.recompile_limit, trained(RECIPE)
    assert without_a_compiler == []
    compiled = trained(replace(RECIPE, compile=True))
    assert without_a_compiler == [{"dynamic": False}]
    assert compiled.seen == []  # no step ran outside of a graph
    assert torch.equal(weights(compiled), weights(plain))
    assert list(compiled.state_dict()) == list(Net().state_dict())
    assert config.recompile_limit == before


@needs_cuda
def test_a_step_on_cuda_waits_for_nothing() -> None:
    net, (inputs, target) = Net().cuda(), problem()
    recipe = replace(RECIPE, clip_norm=1.0, precision="bfloat16", channels_last=True)
    train(net, inputs, target, F.cross_entropy, recipe, seed=0, device="cuda")
    from gence.training.forward import training_forward
    from gence.training.loop import optimiser_steps

    with training_forward(net.train(), recipe) as forward:
        turns = optimiser_steps(
            forward, net.parameters(), inputs.cuda(), target.cuda(), F.cross_entropy, recipe, seed=0
        )
        next(turns)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in turns:
                pass
        finally:
            torch.cuda.set_sync_debug_mode("default")
