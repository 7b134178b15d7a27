"""How a batch becomes logits while a model is trained: memory format, precision, compiling, and ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gence.training.precision import logits_of
from gence.training.ranks import data_parallel, logits_of_all_ranks
from gence.training.recipe import Recipe

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_GRAPHS = 256


@contextmanager
def training_forward(
    model: nn.Module, recipe: Recipe, group: ProcessGroup | None = None
) -> Iterator[Callable[[Tensor], Tensor]]:
    """The forward pass of a training: (batch) -> logits, with `model` made ready as the recipe says.

    What is trained are the weights of `model` itself; its modules and its memory format are afterwards as they were.
    """
    with ExitStack() as stack:
        run: Callable[[Tensor], Tensor] = model
        if recipe.channels_last:
            _lay_out(model, torch.channels_last)
            # Files of weights take contiguous tensors only.
            stack.callback(_lay_out, model, torch.contiguous_format)
        if group is not None:
            run = stack.enter_context(data_parallel(model, group))
        if recipe.compile:
            from torch._dynamo import config  # two seconds that nobody else need wait

            # A process that trains many models needs more graphs than the usual 8; beyond that nothing is compiled.
            stack.enter_context(config.patch(cache_size_limit=_GRAPHS))
            # The batches have two sizes at most, and a graph for one size is quicker than one for any.
            run = torch.compile(run, dynamic=False)

        def forward(batch: Tensor) -> Tensor:
            if recipe.channels_last and batch.ndim == 4:
                batch = batch.contiguous(memory_format=torch.channels_last)
            return logits_of(run, batch, recipe.precision)

        yield forward if group is None else partial(logits_of_all_ranks, forward, group=group)


def _lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    model.to(memory_format=memory_format)  # type: ignore[call-overload]  # missing among its overloads
