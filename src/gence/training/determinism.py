"""The same numbers from the same seeds, on one machine type."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends import cudnn
from torch.utils import deterministic as _deterministic

# The setting exists at run time only: its module stands itself in for one with properties.
fill: Any = _deterministic

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic() -> Iterator[None]:
    """Inside of this context PyTorch computes the same bits each time; its settings are restored afterwards.

    An operation that has no such form warns, and runs. The settings are those of the process, so threads share them.
    The price: cuDNN may not try which of its algorithms is the quickest, some sums on a GPU are taken in order rather
    than all at once, and cuBLAS keeps a workspace of 8 x 4 MiB for each stream. On the CPU it is next to nothing.

    cuBLAS reads its setting once a process: enter the context before the first product of matrices on a GPU, or set
    the environment variable `CUBLAS_WORKSPACE_CONFIG=:4096:8`.

    Example:
        >>> with deterministic():
        ...     torch.are_deterministic_algorithms_enabled()
        True
        >>> torch.are_deterministic_algorithms_enabled()
        False
    """
    algorithms = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    fills = fill.fill_uninitialized_memory
    workspace = os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It guards against reading memory that nobody wrote, which is an error of another kind, at a tenth of the time.
    fill.fill_uninitialized_memory = False
    try:
        # Through this door, as a process that has imported PyTorch's own testing tools may use no other.
        with cudnn.flags(
            enabled=cudnn.enabled,
            benchmark=False,
            benchmark_limit=cudnn.benchmark_limit,
            deterministic=True,
            allow_tf32=cudnn.allow_tf32,
        ):
            yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=only_warn)
        fill.fill_uninitialized_memory = fills
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
