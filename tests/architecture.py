"""Which part of gence may import which: the rules, and a reader of imports that runs nothing."""

from __future__ import annotations

import ast
from pathlib import Path

FOUNDATION = frozenset({"_arrays", "_epochs", "_errors", "_files"})
"""Top-level modules below every part: they import nothing of gence but each other, and everybody may import them."""

ALLOWED: dict[str, frozenset[str]] = {
    "_arrays": frozenset(),
    "_epochs": frozenset(),
    "_errors": frozenset(),
    "_files": frozenset(),
    "kernels": frozenset(),
    "metrics": frozenset(),
    "losses": frozenset({"kernels"}),
    "calibration": frozenset({"metrics"}),
    "ood": frozenset(),
    "audit": frozenset({"metrics", "calibration", "data"}),
    "data": frozenset(),
    "models": frozenset(),
    "training": frozenset(),
    "classifier": frozenset({"metrics", "losses", "calibration", "audit", "data", "models", "training"}),
    "bench": frozenset(
        {"kernels", "metrics", "losses", "calibration", "classifier", "data", "models", "ood", "training"}
    ),
    "report": frozenset({"bench.records", "audit.records"}),
    "integrations": frozenset(
        {"kernels", "metrics", "losses", "calibration", "classifier", "data", "models", "training"}
    ),
    "cli": frozenset({"bench", "audit", "classifier", "report", "integrations"}),
}
"""Part -> the parts (or modules of a part) it may import besides itself and the foundation."""

OUTSIDE: dict[str, frozenset[str]] = {
    "_arrays": frozenset({"torch", "numpy"}),
    "_epochs": frozenset({"torch"}),
    "_errors": frozenset(),
    "_files": frozenset(),
    "kernels": frozenset({"torch", "triton"}),
    "metrics": frozenset({"torch", "numpy"}),
    "losses": frozenset({"torch"}),
    "calibration": frozenset({"torch", "numpy", "sklearn", "safetensors", "probmetrics"}),
    "ood": frozenset({"torch", "numpy"}),
    "models": frozenset({"torch"}),
    "training": frozenset({"torch"}),
}
"""Part -> the third-party packages it may import anywhere; parts not named here may use any of the `lab` extra."""


def imports(source: str, module: str) -> list[str]:
    """Every module that `source` imports, at any depth, absolute. `module` is its own dotted name."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            found += [f"{base}.{alias.name}" for alias in node.names] if base == "gence" else [base]
    return found


def violations(source: str, module: str, standard_library: frozenset[str]) -> list[str]:
    """Sentences about the imports of `source` that the rules forbid; `module` is like `gence.losses.focal`."""
    part = module.split(".")[1]
    if part not in ALLOWED:
        return [f"{module}: no rule says what {part} may import"]
    broken = []
    for name in imports(source, module):
        top, _, inner = name.partition(".")
        if top != "gence":
            if part in OUTSIDE and top not in OUTSIDE[part] | standard_library:
                broken.append(
                    f"{module} imports {name}; {part} stands on {', '.join(sorted(OUTSIDE[part])) or 'nothing'}"
                )
            continue
        target = inner.split(".")[0]
        allowed = ALLOWED[part] | {part} | FOUNDATION | ({"__version__"} if part == "cli" else set())
        if target and not any(inner == one or inner.startswith(one + ".") for one in allowed):
            broken.append(f"{module} imports {name}; {part} may import {', '.join(sorted(ALLOWED[part])) or 'nothing'}")
    return broken


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of every module under `root`/gence, package files by the name of the package."""
    files = sorted((root / "gence").rglob("*.py"))
    names = {".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): f for f in files}
    return {name: file for name, file in names.items() if name != "gence"}


def cycles(graph: dict[str, set[str]]) -> list[str]:
    """The modules that can be reached from themselves."""

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph.get(start, ()))
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += graph.get(node, ())
        return seen

    return sorted(node for node in graph if node in reachable(node))
