"""The training loop, on one page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: SGD with Nesterov momentum and a cosine that ends at 0, step by step.

    Attributes:
        epochs: Passes over the training rows.
        batch_size: Rows a step, at least: an epoch is dealt into batches of equal size, so that no last batch is short.
        learning_rate: At the start.
        weight_decay: L2 penalty, as SGD has it.
        momentum: Nesterov momentum.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    momentum: float = 0.9

    def updates(self, rows: int) -> int:
        """Optimiser steps over the whole training of `rows` rows."""
        return self.epochs * batches_an_epoch(rows, self.batch_size)


def batches_an_epoch(rows: int, batch_size: int) -> int:
    """How many equal batches of at least `batch_size` rows there are; one where there are fewer rows."""
    return max(rows // batch_size, 1)


def shuffled_batches(rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """One epoch: every row number once, in batches whose sizes differ by one at most."""
    order = torch.randperm(rows, generator=generator)
    yield from order.tensor_split(batches_an_epoch(rows, batch_size))


def train(
    model: nn.Module,
    inputs: Tensor,
    target: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    recipe: Recipe,
    *,
    seed: int,
) -> int:
    """Train `model` in place and leave it in evaluation mode.

    Args:
        model: Maps `inputs[rows]` to logits.
        inputs: `(rows, ...)`.
        target: Class numbers, `(rows,)`.
        loss: (logits, target) -> scalar.
        recipe: Epochs, batch size, learning rate and the rest.
        seed: Of the order of the batches.

    Returns:
        The number of optimiser steps.

    Raises:
        FloatingPointError: If the loss stops being finite.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    steps = recipe.updates(len(inputs))
    step = 0
    model.train()
    for _ in range(recipe.epochs):
        total = torch.zeros(())
        for rows in shuffled_batches(len(inputs), recipe.batch_size, generator):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            optimizer.zero_grad(set_to_none=True)
            value = loss(model(inputs[rows]), target[rows])
            value.backward()
            optimizer.step()
            total += value.detach()
            step += 1
        if not torch.isfinite(total):
            raise FloatingPointError(
                f"training diverged: the loss is {total.item()} after {step} of {steps} steps; lower the learning rate"
            )
    model.eval()
    return step
