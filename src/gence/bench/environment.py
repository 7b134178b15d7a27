"""Where a number was made: versions, hardware, threads."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import torch

import gence


def environment() -> dict[str, str | int]:
    """Versions of what computes, the processor, and the number of threads it computes with."""
    return {
        "gence": gence.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    # platform.processor() is empty on most Linux systems.
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
