"""What a training will cost, found by doing a little of it on a copy."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gence._epochs import EpochLoss
from gence.training.forward import training_forward
from gence.training.loop import optimiser_steps
from gence.training.predict import predict, rows_at_a_time
from gence.training.recipe import Recipe, batches_an_epoch

_WARM_UP = 3


@dataclass(frozen=True)
class StepTime:
    """Seconds of a training, by its parts.

    Attributes:
        start: Of the first steps, which compile, allocate and choose algorithms; once a training.
        step: Of an optimiser step after them.
        row: Of predicting a row.
    """

    start: float
    step: float
    row: float


def time_step(
    model: nn.Module,
    inputs: Tensor,
    target: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] | EpochLoss,
    recipe: Recipe,
    *,
    steps: int = 10,
    device: torch.device | str | None = None,
) -> StepTime:
    """How long an optimiser step and a predicted row take, measured on copies of model and loss after warm-up steps.

    The batches have the size they would have in `train`, so give all training rows, or any number of them whose
    batches are as large. A whole training takes about `start + step * updates`, and what an `EpochLoss` does once an
    epoch. Model, loss and random generators are as they were.

    Args:
        model: As in `train`.
        inputs: `(rows, ...)`.
        target: Class numbers, `(rows,)`.
        loss: As in `train`.
        recipe: As in `train`.
        steps: How many steps to measure, at least 1.
        device: As in `train`.

    Returns:
        The seconds.

    Raises:
        ValueError: If `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    device = torch.device(device or inputs.device)
    # In the training there are two sizes of batches, a row apart; here one, which is all that is compiled.
    batches = batches_an_epoch(len(inputs), recipe.batch_size)
    rows = len(inputs) // batches * batches
    inputs, target = inputs[:rows].to(device), target[:rows].to(device)
    recipe = replace(recipe, epochs=max(recipe.epochs, -(-(_WARM_UP + steps) // batches)))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model, loss = copy.deepcopy(model).to(device).train(), copy.deepcopy(loss)
        if isinstance(loss, nn.Module):
            loss.to(device).train()
        with training_forward(model, recipe) as forward:
            turns = optimiser_steps(forward, model.parameters(), inputs, target, loss, recipe, seed=0)
            start = _seconds(device, lambda: sum(islice(turns, _WARM_UP)))
            stepping = _seconds(device, lambda: sum(islice(turns, steps)))
        full = inputs[torch.arange(rows_at_a_time(device), device=device) % rows]
        predict(model, full)
        predicting = _seconds(device, lambda: predict(model, full))
    return StepTime(start=start, step=stepping / steps, row=predicting / len(full))


def flops(model: nn.Module, inputs: Tensor) -> int:
    """Floating-point operations of one forward pass, a product and its sum counting as two; its mode is restored.

    Only products of matrices and convolutions count, as nothing else weighs. A training step takes about three times
    as many.

    Args:
        model: Maps `inputs` to logits. On the device `"meta"` it is counted without being run.
        inputs: A batch `(N, ...)` on the device of the model.

    Returns:
        The number of operations.

    Example:
        >>> flops(nn.Linear(10, 3), torch.zeros(4, 10))
        240
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(inputs)
    finally:
        model.train(training)
    return counter.get_total_flops()


def _seconds(device: torch.device, work: Callable[[], object]) -> float:
    _wait_for(device)
    started = time.perf_counter()
    work()
    _wait_for(device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
