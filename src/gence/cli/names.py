"""What a command calls its folder when it is not told."""

from __future__ import annotations

import re
from pathlib import Path


def folder_name(source: str | Path, command: str = "") -> Path:
    """A folder named after the source: `gence-digits`, `gence-audit-predictions`."""
    return Path("-".join(["gence", *([command] if command else []), _stem(source, "study")]))


def model_name(source: str) -> Path:
    """The folder of a model that is fitted to the source: `digits-model`."""
    return Path(f"{_stem(source.removeprefix('hf:'), 'my')}-model")


def _stem(source: str | Path, otherwise: str) -> str:
    return re.sub(r"[^\w.-]+", "-", Path(str(source).rstrip("/")).stem).strip("-.") or otherwise
