"""The kernels are tested where they can run: in the interpreter (`TRITON_INTERPRET=1`), or on a CUDA GPU."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

import pytest
import torch

_INSTALLED = importlib.util.find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_RUNS = _INSTALLED and (_INTERPRETED or torch.cuda.is_available())

collect_ignore = []
if not _RUNS:
    collect_ignore += ["test_contract.py", "test_edges.py", "test_loss.py", "test_operators.py", "test_cuda.py"]
if not _INSTALLED:
    collect_ignore += ["by_definition.py"]
if _INTERPRETED or not _INSTALLED:  # there is nothing to compile
    collect_ignore += ["test_compiles_for_hopper.py"]
if _INTERPRETED:  # the ordinary process has them
    collect_ignore += ["test_support.py"]


@pytest.fixture(autouse=True)
def _products_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton 3.9 does so anyway, and warns where nobody has said so."""
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")


@pytest.fixture
def rows_are_long(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Send all rows to the kernels for long ones, in pieces of 32 classes: what 20,000 classes do, in less time."""
    from gence.kernels import triton_tiles as tiles

    def long() -> None:
        monkeypatch.setattr(tiles, "fits_on_chip", lambda *_: False)
        monkeypatch.setattr(tiles, "LONG_ROW", tiles.Tile(rows=4, columns=32, warps=4))
        monkeypatch.setattr(tiles, "LONG_COLUMNS", tiles.Tile(rows=4, columns=32, warps=4))
        monkeypatch.setattr(tiles, "long_gradient", lambda *_: tiles.Tile(4, 32, 4))

    return long


@pytest.fixture(params=["short", "long"])
def either(request: pytest.FixtureRequest, rows_are_long: Callable[[], None]) -> None:
    """Both families of kernels."""
    if request.param == "long":
        rows_are_long()
