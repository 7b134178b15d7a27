"""Doctests are looked for in every module, and some cannot be imported where Triton cannot be installed."""

from __future__ import annotations

import importlib.util

collect_ignore = []
if importlib.util.find_spec("triton") is None:
    collect_ignore += [f"src/gence/kernels/triton_{part}.py" for part in ("backward", "forward", "ops")]
