"""Gradient accumulation that gives the gradient of the whole batch, in two passes over its parts.

When it is worth it: where memory holds fewer rows than there are classes, because there GenCE of each part alone points
elsewhere; where every part has many rows of every class, the plain loop will do.
"""

import warnings

import torch
from torch import Tensor, nn

import gence
from gence.losses import total_class_mass

torch.manual_seed(0)
classes, rows, part = 100, 256, 32
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, classes))
target = torch.randint(classes, (rows,))
inputs = torch.randn(classes, 64)[target] + torch.randn(rows, 64)
parts = list(zip(inputs.split(part), target.split(part), strict=True))
loss = gence.GenCELoss()


def gradient() -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def whole_batch() -> None:
    loss(model(inputs), target).backward()


def each_part_alone() -> None:
    with warnings.catch_warnings(action="ignore"):  # the loss says what is wrong with this
        for x, y in parts:
            (loss(model(x), y) / len(parts)).backward()


def exact() -> None:
    total = total_class_mass(model, parts)  # 2 C + 1 numbers, from one pass without gradient
    for x, y in parts:
        loss(model(x), y, class_mass=total).backward()  # not divided: the shares add up


model.eval()  # dropout would draw other masks for the whole batch than for its parts
found = {}
for way in (whole_batch, each_part_alone, exact):
    model.zero_grad()
    way()
    found[way.__name__] = gradient()
    off = (found[way.__name__] - found["whole_batch"]).norm() / found["whole_batch"].norm()
    print(f"{way.__name__:16} gradient off by {off:.1e} of its length")
torch.testing.assert_close(found["exact"], found["whole_batch"], rtol=1e-3, atol=1e-7)

# In training, with dropout: both passes draw the same masks.
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for _ in range(20):
    optimizer.zero_grad()
    exact()
    optimizer.step()
model.eval()
print(f"after 20 steps {(model(inputs).argmax(1) == target).float().mean():.0%} of the rows are right")
