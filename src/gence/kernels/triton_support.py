"""Whether the Triton kernels can be used here; to ask imports no Triton."""

from __future__ import annotations

import importlib.util
import os

import torch
from torch import Tensor

from gence.kernels.triton_tiles import LONGEST

_INSTALLED = importlib.util.find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton, too, looks once, when a kernel is defined


def available(logits: Tensor) -> bool:
    """Whether `triton_ops` can work on these logits."""
    return why_not(logits) is None


def why_not(logits: Tensor) -> str | None:
    """What stands against the Triton kernels for these logits, as a clause with its cure; None if nothing does.

    They need a CUDA GPU of compute capability 8.0 or above and the triton package; or, to be tested without a GPU,
    tensors on the CPU and the interpreter (`TRITON_INTERPRET=1` in the environment before gence is imported).
    """
    if not _INSTALLED:
        return "triton is not installed: pip install 'gence[kernels]'"
    if logits.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return f"logits must be float16, bfloat16 or float32, not {logits.dtype}: use impl='eager'"
    if logits.dim() != 2:
        return f"logits must be (N, C), not of shape {tuple(logits.shape)}: move the classes last and flatten the rows"
    if not 1 <= logits.shape[1] <= LONGEST:
        return f"there must be 1 to {LONGEST} classes, not {logits.shape[1]}: use impl='eager'"
    if logits.device.type == "cpu":
        return None if _INTERPRETED else "logits are on the CPU: use impl='eager'"
    if logits.device.type != "cuda":
        return f"logits are on {logits.device.type}, not on a CUDA GPU: use impl='eager'"
    if _INTERPRETED:
        return None
    major = torch.cuda.get_device_properties(logits.device).major
    return None if major >= 8 else f"the GPU has compute capability {major}, not 8 or above: use impl='eager'"
