"""The training loop, on one page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gence._epochs import EpochLoss
from gence._errors import unknown_name
from gence.training.augment import AUGMENTATIONS, LARGEST_ALPHA, mixup
from gence.training.predict import predict

# The order of the batches comes from the seed itself, as it did before there was anything else to draw. 32 bits, as the
# CPU's generator takes no more of a seed.
_STREAMS = (0, 0x9E3779B9, 0x7F4A7C15)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: SGD with Nesterov momentum and a cosine that ends at 0, step by step.

    Attributes:
        epochs: Passes over the training rows.
        batch_size: Rows a step, at least: an epoch is dealt into batches of equal size, so that no last batch is short.
        learning_rate: At the start.
        weight_decay: L2 penalty, as SGD has it.
        momentum: Nesterov momentum.
        augment: What is done to the images of a batch, in this order: names of `AUGMENTATIONS`.
        mixup: The alpha of mixup, at most 1e6; 0 is none.

    Raises:
        InputError: If there is no such augmentation.
        ValueError: If `mixup` is negative or above 1e6.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    momentum: float = 0.9
    augment: tuple[str, ...] = ()
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in self.augment:
            if name not in AUGMENTATIONS:
                raise unknown_name("augmentation", name, AUGMENTATIONS)
        if not 0.0 <= self.mixup <= LARGEST_ALPHA:
            raise ValueError(
                f"mixup must be 0 for none, or a positive alpha of at most {LARGEST_ALPHA:g}; got {self.mixup}"
            )

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
    loss: Callable[[Tensor, Tensor], Tensor] | EpochLoss,
    recipe: Recipe,
    *,
    seed: int,
    validation: tuple[Tensor, Tensor] | None = None,
    device: torch.device | str | None = None,
) -> int:
    """Train `model` in place and leave it in evaluation mode.

    Args:
        model: Maps `inputs[rows]` to logits.
        inputs: `(rows, ...)`.
        target: Class numbers, `(rows,)`.
        loss: (logits, target) -> scalar. A module is put in training mode; an `EpochLoss` is also told the row numbers
            and the end of every epoch. With mixup it is asked twice a step, the second time about the partners' rows.
        recipe: Epochs, batch size, learning rate and the rest.
        seed: Of the order of the batches, of augmentation and of mixup, each with draws of its own.
        validation: Inputs and class numbers of other rows, for an `EpochLoss` that uses them.
        device: Where to train: model, loss and rows are moved there, and the model stays. The one of `inputs` if None.

    Returns:
        The number of optimiser steps.

    Raises:
        ValueError: If the loss needs validation rows and there are none, or rows to augment are no images.
        FloatingPointError: If the loss stops being finite.
    """
    told = loss if isinstance(loss, EpochLoss) else None
    if told is not None and told.uses_validation and validation is None:
        raise ValueError(
            f"{type(loss).__name__} learns from validation rows; got validation=None: give (inputs, class numbers) of "
            "rows that are neither trained, calibrated nor tested on"
        )
    device = torch.device(device or inputs.device)
    model.to(device).train()
    if isinstance(loss, nn.Module):
        loss.to(device).train()
    inputs, target = inputs.to(device), target.to(device)
    validation = validation and (validation[0].to(device), validation[1].to(device))

    def batch_loss(logits: Tensor, rows: Tensor) -> Tensor:
        return loss(logits, target[rows]) if told is None else told(logits, target[rows], rows=rows)

    # Apart from each other, so that the batches are the same with augmentation and without.
    order, augmenting, mixing = (torch.Generator().manual_seed(seed ^ stream) for stream in _STREAMS)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    steps = recipe.updates(len(inputs))
    step = 0
    for epoch in range(1, recipe.epochs + 1):
        total = torch.zeros((), device=device)
        for rows in shuffled_batches(len(inputs), recipe.batch_size, order):
            rows = rows.to(device, non_blocking=True)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))
            optimizer.zero_grad(set_to_none=True)
            batch = inputs[rows]
            for name in recipe.augment:
                batch = AUGMENTATIONS[name](batch, augmenting)
            if recipe.mixup > 0:
                batch, share, partner = mixup(batch, mixing, recipe.mixup)
                logits = model(batch)
                value = share * batch_loss(logits, rows) + (1.0 - share) * batch_loss(logits, rows[partner])
            else:
                value = batch_loss(model(batch), rows)
            value.backward()
            optimizer.step()
            total += value.detach()
            step += 1
        if not torch.isfinite(total):
            raise FloatingPointError(
                f"training diverged: the loss is {total.item()} after {step} of {steps} steps; lower the learning rate"
            )
        if told is not None:
            seen = validation if told.uses_validation else None
            told.end_epoch(epoch, recipe.epochs, seen and (predict(model, seen[0]), seen[1]))
    model.eval()
    return step
