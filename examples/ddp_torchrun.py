"""Data parallelism: every rank gets the loss over the rows of all ranks, and the gradient of one process with them all.

    torchrun --nproc-per-node 2 examples/ddp_torchrun.py

When it is worth it: whenever GenCE trains on several devices, because each rank's own class mass is that of a smaller
batch; it costs one message of two numbers a class.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import gence

classes, rows = 50, 256
generator = torch.Generator().manual_seed(0)  # all ranks draw the same data, and take a share of it
target = torch.randint(classes, (rows,), generator=generator)
inputs = torch.randn(classes, 32, generator=generator)[target] + torch.randn(rows, 32, generator=generator)

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, classes))

# What one process with all rows would have.
alone = gence.generative_cross_entropy(model(inputs), target)
expected = torch.autograd.grad(alone, list(model.parameters()))

dist.init_process_group("gloo")  # "nccl" on GPUs
rank, ranks = dist.get_rank(), dist.get_world_size()
parallel = DistributedDataParallel(model)
loss = gence.GenCELoss(process_group=dist.group.WORLD)

value = loss(parallel(inputs[rank::ranks]), target[rank::ranks])
value.backward()
together = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

off = max((a - b).abs().max().item() for a, b in zip(together, expected, strict=True))
if rank == 0:
    print(f"{ranks} ranks: the loss {value.item():.6f}, that of one process {alone.item():.6f}")
    print(f"largest difference of a gradient {off:.1e}")
assert off < 1e-6

optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
for _ in range(100):
    optimizer.zero_grad()
    loss(parallel(inputs[rank::ranks]), target[rank::ranks]).backward()
    optimizer.step()
if rank == 0:
    print(f"after 100 steps {(model(inputs).argmax(1) == target).float().mean():.0%} of the rows are right")
dist.destroy_process_group()
