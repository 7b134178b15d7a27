"""Where a number was made: versions, hardware, threads, device."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import torch

import gence


def environment(device: torch.device | None = None) -> dict[str, str | int]:
    """Versions of what computes, the processor, the number of threads it computes with, and the device, if one is told.

    A GPU is called by its name, with the version of CUDA.
    """
    found: dict[str, str | int] = {
        "gence": gence.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
    }
    if device is None:
        return found
    if device.type != "cuda":
        return {**found, "device": device.type}
    return {**found, "device": torch.cuda.get_device_name(device), "cuda": torch.version.cuda or ""}


def _processor() -> str:
    # platform.processor() is empty on most Linux systems.
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
