"""One model trained by several processes: each runs its slice of a batch, and all see the logits of the whole.

So any loss is exact, also one that looks at the batch, and all its copies move alike. The logits that travel are few:
rows times classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@contextmanager
def data_parallel(model: nn.Module, group: ProcessGroup) -> Iterator[nn.Module]:
    """`model` as DistributedDataParallel trains it, its batch norms taking their statistics over all ranks.

    Afterwards `model` has its own modules again; they hold the same tensors.

    Raises:
        ValueError: If the model has batch norm and is not on a GPU.
    """
    norms = [
        (parent, name, norm)
        for parent in model.modules()
        for name, norm in parent.named_children()
        if isinstance(norm, _BatchNorm)
    ]
    if norms and dist.get_world_size(group) > 1:
        if next(model.parameters()).device.type == "cpu":
            raise ValueError(
                "batch norm over several processes needs torch.nn.SyncBatchNorm, which runs on GPUs only; got a model "
                f"on the CPU with {type(norms[0][2]).__name__} {norms[0][1]!r}: train it in one process"
            )
        nn.SyncBatchNorm.convert_sync_batchnorm(model, group)
    try:
        yield DistributedDataParallel(model, process_group=group)
    finally:
        for parent, name, norm in norms:
            setattr(parent, name, norm)


def logits_of_all_ranks(forward: Callable[[Tensor], Tensor], batch: Tensor, group: ProcessGroup) -> Tensor:
    """Logits `(N, classes)` of a batch that every rank has, each rank running an equal slice of it.

    The gradient of a rank goes through its own rows, times the number of ranks: the mean that DistributedDataParallel
    takes of all is then the gradient of one process with all rows, whatever the loss and the sizes of the slices.
    """
    ranks, rank = dist.get_world_size(group), dist.get_rank(group)
    slices = batch.tensor_split(ranks)
    own = forward(slices[rank])
    own.register_hook(lambda gradient: gradient * ranks)
    start = sum(map(len, slices[:rank]))
    stop = start + len(own)
    # A sum with zeros, as a gather wants slices of one size.
    whole = own.new_zeros(len(batch), *own.shape[1:])
    whole[start:stop] = own.detach()
    dist.all_reduce(whole, group=group)
    return torch.cat([whole[:start], own, whole[stop:]])


def check_ranks(group: ProcessGroup, smallest_batch: int, device: torch.device, **given: object) -> None:
    """Raise ValueError if some rank would have no row of a batch, or the ranks were not all given the same."""
    ranks = dist.get_world_size(group)
    if smallest_batch < ranks:
        raise ValueError(
            f"every rank needs a row of every batch; got batches of {smallest_batch} rows for {ranks} ranks: raise "
            "batch_size or take fewer ranks"
        )
    digest = int.from_bytes(hashlib.sha256(repr(given).encode()).digest()[:7])
    extremes = torch.tensor([digest, -digest], device=device)
    dist.all_reduce(extremes, dist.ReduceOp.MAX, group=group)
    largest, smallest = extremes.tolist()
    if largest != -smallest:
        raise ValueError(f"all ranks must train alike; this one was given {given}, and another something else")
