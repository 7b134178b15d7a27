"""Segmentation: logits (N, C, H, W), a class mask (N, H, W), borders that do not count, a class weighted up.

When GenCE is worth it: where the rare class is weighted up and its probabilities are used as such, because there
weighted cross-entropy exaggerates them; every pixel is a row, so that even small batches have a class mass to speak of.
"""

import torch
from torch import Tensor, nn

import gence
from gence.metrics import expected_calibration_error

BORDER = 255


def draw(images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images with one small bright disc each; the pixels of its border are of no class."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.rand(images, 2, 1, 1, generator=generator) * 20 + 6
    grid = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij"))
    distance = (grid - place).square().sum(1).sqrt()
    mask = (distance < 4).long()
    noisy = mask + 0.8 * torch.randn(images, 32, 32, generator=generator)
    return noisy[:, None], mask.masked_fill((distance - 4).abs() < 0.5, BORDER)


def trained(criterion: nn.Module, images: Tensor, masks: Tensor) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(6):
        for batch in torch.randperm(len(images)).split(8):
            optimizer.zero_grad()
            criterion(model(images[batch]), masks[batch]).backward()
            optimizer.step()
    return model


images, masks = draw(160, seed=0)
new, truth = draw(100, seed=1)
counted = truth != BORDER
counts = torch.bincount(masks[masks != BORDER])
weight = counts.sum() / (2 * counts)
print(f"{counts[1] / counts.sum():.1%} of the pixels are disc")
print("                          recall of the disc   mean p(disc)      ECE")
print(f"{'the truth':25} {'':18} {truth[counted].float().mean():14.3f}")
for name, criterion in {
    "cross-entropy": nn.CrossEntropyLoss(ignore_index=BORDER),
    "cross-entropy, weighted": nn.CrossEntropyLoss(weight=weight, ignore_index=BORDER),
    "GenCE": gence.GenCELoss(ignore_index=BORDER),
    "GenCE, weighted": gence.GenCELoss(weight=weight, ignore_index=BORDER),
}.items():
    probs = trained(criterion, images, masks)(new).detach().softmax(1).movedim(1, -1)[counted]
    labels = truth[counted]
    recall = (probs.argmax(1) == labels)[labels == 1].float().mean()
    ece = expected_calibration_error(probs, labels)
    print(f"{name:25} {recall:18.3f} {probs[:, 1].mean():14.3f} {ece:8.4f}")
