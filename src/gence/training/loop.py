"""The training loop, on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from gence._epochs import EpochLoss
from gence.training.augment import AUGMENTATIONS, mixup
from gence.training.forward import training_forward
from gence.training.predict import predict
from gence.training.ranks import check_ranks
from gence.training.recipe import Recipe, batches_an_epoch
from gence.training.repeats import copies
from gence.training.schedule import learning_rate

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

# The order of the batches comes from the seed itself, as it did before there was anything else to draw. 32 bits, as the
# CPU's generator takes no more of a seed.
_STREAMS = (0, 0x9E3779B9, 0x7F4A7C15)


def shuffled_batches(
    rows: int, batch_size: int, generator: torch.Generator, weight: Tensor | None = None
) -> Iterator[Tensor]:
    """One epoch: every row number once, or as often as its weight says, in batches whose sizes differ by one at most.

    Args:
        rows: How many there are.
        batch_size: Rows a batch, at least.
        generator: Of the order.
        weight: How often each row comes on average, `(rows)`; see `copies`.
    """
    order = torch.randperm(rows, generator=generator)
    if weight is not None:
        offset = float(torch.rand((), generator=generator, dtype=torch.float64))
        order = order.repeat_interleave(copies(weight[order], offset))
        order = order[torch.randperm(len(order), generator=generator)]
    yield from order.tensor_split(batches_an_epoch(len(order), batch_size))


def train(
    model: nn.Module,
    inputs: Tensor,
    target: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] | EpochLoss,
    recipe: Recipe,
    *,
    seed: int,
    weight: Tensor | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    on_epoch: Callable[[int], bool] | None = None,
    device: torch.device | str | None = None,
    group: ProcessGroup | None = None,
) -> int:
    """Train `model` in place and leave it in evaluation mode.

    With a process group all its ranks train one model, and must be given the same. Each runs its slice of every batch,
    which is drawn, augmented and mixed whole; the loss gets the logits and labels of the whole batch on every rank, so
    that the result is that of one process, whatever the loss. A loss with a process group of its own gives the same.
    Only a model that draws by itself (dropout) draws on each rank for its own rows.

    Args:
        model: Maps `inputs[rows]` to logits.
        inputs: `(rows, ...)`.
        target: Class numbers, `(rows,)`.
        loss: (logits, target) -> scalar. A module is put in training mode; an `EpochLoss` is also told the row numbers
            and the end of every epoch. With mixup it is asked twice a step, the second time about the partners' rows.
        recipe: Epochs, batch size, learning rate and the rest.
        seed: Of the order of the batches, of augmentation and of mixup, each with draws of its own.
        weight: How often a row comes an epoch, `(rows)`, on the CPU: whole numbers exactly so, others on average, by a
            fresh draw every epoch. Once each if None.
        validation: Inputs and class numbers of other rows, for an `EpochLoss` that uses them.
        on_epoch: Called after every epoch with its number, from 0; where it says True the training ends.
        device: Where to train: model, loss and rows are moved there, and the model stays. The one of `inputs` if None.
        group: The ranks that train this model together. A batch norm is then taken over all of them, on GPUs only.

    Returns:
        The number of optimiser steps.

    Raises:
        ValueError: If the loss needs validation rows and there are none, or rows to augment are no images; if ranks
            are given different numbers, have no row of a batch, or share a batch norm on the CPU.
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
    # Once: from here on nothing but row numbers and draws goes to the device, and nothing comes back but once an epoch.
    inputs, target = inputs.to(device), target.to(device)
    validation = validation and (validation[0].to(device), validation[1].to(device))
    rows_an_epoch = len(inputs) if weight is None else int(copies(weight, 0.5).sum())
    batches = batches_an_epoch(rows_an_epoch, recipe.batch_size)
    if group is not None:
        check_ranks(group, rows_an_epoch // batches, device, rows=tuple(inputs.shape), recipe=recipe, seed=seed)

    step, total = 0, torch.zeros((), device=device)
    with training_forward(model, recipe, group) as forward:
        steps = optimiser_steps(forward, model.parameters(), inputs, target, loss, recipe, seed=seed, weight=weight)
        for value in steps:
            step, total = step + 1, total + value
            if step % batches:
                continue
            if not torch.isfinite(total):
                raise FloatingPointError(
                    f"training diverged: the loss is {total.item()} after {step} of {recipe.updates(rows_an_epoch)} "
                    "steps; lower the learning rate"
                )
            if told is not None:
                seen = validation if told.uses_validation else None
                told.end_epoch(step // batches, recipe.epochs, seen and (predict(model, seen[0]), seen[1]))
            total = torch.zeros_like(total)
            if on_epoch is not None and on_epoch(step // batches - 1):
                break
    model.eval()
    return step


def optimiser_steps(
    forward: Callable[[Tensor], Tensor],
    weights: Iterable[nn.Parameter],
    inputs: Tensor,
    target: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] | EpochLoss,
    recipe: Recipe,
    *,
    seed: int,
    weight: Tensor | None = None,
) -> Iterator[Tensor]:
    """Every step of a training, one a turn: it gives the loss of its batch, a scalar on the device."""
    weights = list(weights)

    def batch_loss(logits: Tensor, rows: Tensor) -> Tensor:
        if isinstance(loss, EpochLoss):
            return loss(logits, target[rows], rows=rows)
        return loss(logits, target[rows])

    # Apart from each other, so that the batches are the same with augmentation and without.
    order, augmenting, mixing = (torch.Generator().manual_seed(seed ^ stream) for stream in _STREAMS)
    optimizer = torch.optim.SGD(
        weights,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov and recipe.momentum > 0,
    )
    step = 0
    for _ in range(recipe.epochs):
        epoch = list(shuffled_batches(len(inputs), recipe.batch_size, order, weight))
        batches = len(epoch)
        for rows in epoch:
            rows = rows.to(inputs.device, non_blocking=True)
            for parameters in optimizer.param_groups:
                parameters["lr"] = learning_rate(recipe, step, batches)
            optimizer.zero_grad(set_to_none=True)
            batch = inputs[rows]
            for name in recipe.augment:
                batch = AUGMENTATIONS[name](batch, augmenting)
            if recipe.mixup > 0:
                batch, share, partner = mixup(batch, mixing, recipe.mixup)
                logits = forward(batch)
                value = share * batch_loss(logits, rows) + (1.0 - share) * batch_loss(logits, rows[partner])
            else:
                value = batch_loss(forward(batch), rows)
            value.backward()
            if recipe.clip_norm > 0:
                clip_grad_norm_(weights, recipe.clip_norm)
            optimizer.step()
            yield value.detach()
            step += 1
