"""In how many digits a model computes its logits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gence.training.recipe import Precision


def logits_of(model: Callable[[Tensor], Tensor], batch: Tensor, precision: Precision) -> Tensor:
    """Logits `(N, classes)` of a batch `(N, ...)`, in float32 or better whatever the model computed in.

    With `"bfloat16"` the model, and only it, runs under autocast: its weights stay as they are.
    """
    if precision == "float32":
        return model(batch)
    with torch.autocast(batch.device.type, torch.bfloat16):
        logits = model(batch)
    # Softmax and logarithms of a loss lose too much in 8 bits.
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
