"""Doctests are looked for in every module, and some cannot be imported without the library that they are for."""

from __future__ import annotations

import importlib.util

collect_ignore = []
if importlib.util.find_spec("triton") is None:
    collect_ignore += [f"src/gence/kernels/triton_{part}.py" for part in ("backward", "forward", "ops")]
for module, needed in (("jax", "jax"), ("lightning", "lightning"), ("sklearn", "sklearn")):
    if importlib.util.find_spec(needed) is None:
        collect_ignore.append(f"src/gence/integrations/{module}.py")
