"""A head of 50,000 classes without its logits, whose batch comes in parts.

When GenCE is worth it here: for a language model nobody has shown that yet, and we have not either; this shows that it
can be taken without the logits ever being there, and that a batch with fewer rows than classes is no obstacle.
"""

import torch
from torch import nn

import gence
from gence.losses import linear_class_mass

VOCABULARY, WIDTH, ROWS, PARTS = 50_000, 32, 512, 4

torch.manual_seed(0)
body = nn.Sequential(nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU())
head = nn.Linear(WIDTH, VOCABULARY, bias=False)
optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=3e-2)

# A little language: after word w comes 7 w + 1, among 200 words in use.
words = torch.randint(200, (ROWS,))
following = (7 * words + 1) % 200
parts = list(zip(words.chunk(PARTS), following.chunk(PARTS), strict=True))

for step in range(6):
    optimizer.zero_grad()
    with torch.no_grad():
        total = sum(linear_class_mass(body(x), head.weight, y) for x, y in parts)
    value = 0.0
    for x, y in parts:
        share = gence.linear_generative_cross_entropy(body(x), head.weight, y, class_mass=total)
        share.backward()
        value += share.item()
    optimizer.step()
    print(f"step {step}: GenCE {value:.3f}")

with torch.no_grad():
    right = (head(body(words[:256])).argmax(1) == following[:256]).float().mean()
whole = ROWS * VOCABULARY * 4 / 2**20
print(f"{right:.0%} of the words are right")
print(f"the logits of all rows, which are never there, would take {whole:.0f} MiB, and their gradient as much again")
