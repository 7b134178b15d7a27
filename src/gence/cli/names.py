"""What a command calls its folder when it is not told."""

from __future__ import annotations

import re
from pathlib import Path


def folder_name(source: str | Path, command: str = "") -> Path:
    """A folder named after the source: `gence-digits`, `gence-audit-predictions`."""
    name = re.sub(r"[^\w.-]+", "-", Path(str(source).rstrip("/")).stem).strip("-.") or "study"
    return Path("-".join(["gence", *([command] if command else []), name]))
