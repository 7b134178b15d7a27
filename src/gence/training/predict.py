"""Logits for rows, batch by batch, in evaluation mode."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn


@torch.no_grad()
def predict(model: nn.Module, inputs: Tensor, *, batch_size: int = 500) -> Tensor:
    """Logits `(rows, classes)` of `inputs` `(rows, ...)`, with the model in evaluation mode; its mode is restored.

    Each batch goes to the device of the model, and its logits come back to that of `inputs`.
    """
    device = next(chain(model.parameters(), model.buffers()), inputs).device
    training = model.training
    model.eval()
    try:
        return torch.cat([model(part.to(device)).to(inputs.device) for part in inputs.split(batch_size)])
    finally:
        model.train(training)
