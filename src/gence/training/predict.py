"""Logits for rows, batch by batch, in evaluation mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def predict(model: nn.Module, inputs: Tensor, *, batch_size: int = 500) -> Tensor:
    """Logits `(rows, classes)` of `inputs` `(rows, ...)`, with the model in evaluation mode; its mode is restored."""
    training = model.training
    model.eval()
    try:
        return torch.cat([model(part) for part in inputs.split(batch_size)])
    finally:
        model.train(training)
