"""Every kernel is compiled ahead of time for GPUs that are not here: none may spill registers or exceed shared memory.

In the interpreter there is nothing to compile, so this file belongs to the ordinary process of the tests.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gence.kernels import triton_backward as backward
from gence.kernels import triton_forward as forward
from gence.kernels import triton_tiles as tiles

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"

pytestmark = pytest.mark.skipif(not CUOBJDUMP.exists(), reason="this triton comes without cuobjdump")

TYPES = {
    "target": "*i64",
    "counts": "*u8",
    "direct": "*i32",
    "smoothing": "fp32",
    "num_rows": "i32",
    "num_programs": "i32",
    "row_stride": "i32",
    "own_stride": "i32",
    "pull_stride": "i32",
}
"""Of the arguments; all others are pointers to float32, or to the dtype of the logits."""

SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}


@dataclass(frozen=True)
class Case:
    num_classes: int
    dtype: str = "bf16"
    everything: bool = False  # counts, weight, smoothing, and own and pull of each row
    capability: int = 90

    @property
    def aligned_to(self) -> int:
        return next(size for size in (16, 8, 4, 2, 1) if self.num_classes % size == 0)

    @property
    def itemsize(self) -> int:
        return 2 if self.dtype == "bf16" else 4

    @property
    def aligned(self) -> bool:
        return self.aligned_to * self.itemsize >= 16

    @property
    def on_chip(self) -> bool:
        return tiles.fits_on_chip(self.num_classes, self.itemsize, self.aligned, self.everything)

    @property
    def long_gradient(self) -> tiles.Tile:
        return tiles.long_gradient(self.num_classes, self.itemsize, self.aligned, self.everything)

    def __str__(self) -> str:
        return f"{self.num_classes}-{self.dtype}-{'everything' if self.everything else 'plain'}-sm{self.capability}"


CASES = [
    *(Case(c) for c in (1, 2, 100, 1000, 2048, 4096, 8192, 16_384, 32_000, 128_256)),
    *(Case(c, "fp32") for c in (16_384, 128_256)),
    *(Case(c, "fp32", everything=True) for c in (7, 1000, 8191, 20_001)),
    Case(16_384, capability=80),
]


@pytest.fixture(autouse=True)
def _fresh_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_compiles_without_spills(case, tmp_path):
    for kernel, tile in kernels(case):
        use = resources(kernel, tile, case, tmp_path)
        assert use["STACK"] == use["LOCAL"] == 0, (kernel.__name__, tile, use)
        assert use["SHARED"] <= SHARED_MEMORY[case.capability], (kernel.__name__, tile, use)
        assert use["REG"] * 32 * tile.warps <= 65_536, (kernel.__name__, tile, use)


@pytest.mark.parametrize("case", [Case(1000), Case(32_000), Case(16_384, "fp32")], ids=str)
def test_reads_logits_sixteen_bytes_at_a_time(case):
    """All but those of the labels, which are one a row: read one by one, logits would take several times as long."""
    for kernel, tile in kernels(case):
        if "logits" in kernel.arg_names:
            loads = re.findall(r"ld\.global\S*", compiled(kernel, tile, case).asm["ptx"])
            if case.dtype == "bf16":
                assert sum(name.endswith(".b16") for name in loads) <= 2, (kernel.__name__, tile, loads)
            assert any("v4.b32" in name for name in loads), (kernel.__name__, tile, loads)


def test_would_see_a_spill(tmp_path):
    """Smoothing of the longest rows: why `fits_on_chip` sends them elsewhere."""
    case = Case(16_384, everything=True)
    assert not case.on_chip
    assert resources(forward.row_statistics, tiles.on_chip(16_384), case, tmp_path)["STACK"] > 0


def kernels(case: Case):
    """The kernels that logits of this kind are worked on by, and their tiles."""
    if case.on_chip:
        tile = tiles.on_chip(case.num_classes)
        yield forward.row_statistics, tile
        yield backward.row_gradients, tile
    else:
        yield forward.long_row_statistics, tiles.LONG_ROW
        yield forward.long_row_sums, tiles.LONG_COLUMNS
        yield backward.long_row_gradients, case.long_gradient
        yield backward.class_ratios, case.long_gradient
    yield forward.class_sums, tiles.final_sums(case.num_classes)


def resources(kernel, tile: tiles.Tile, case: Case, folder: Path) -> dict[str, int]:
    """Registers a thread, and bytes of stack, local and shared memory."""
    binary = folder / "kernel.cubin"
    binary.write_bytes(compiled(kernel, tile, case).asm["cubin"])
    told = subprocess.run([CUOBJDUMP, "--dump-resource-usage", binary], capture_output=True, text=True, check=True)
    return {name: int(number) for name, number in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", told.stdout)}


def compiled(kernel, tile: tiles.Tile, case: Case):
    """The kernel as it would run on logits of this kind."""
    known = {
        "SMOOTHED": case.everything,
        "NUM_CLASSES": case.num_classes,
        "ALIGNMENT": case.aligned_to,
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
    }
    # Triton makes a constant of every stride that is 1.
    known |= {"own_stride": 1, "pull_stride": 1} if case.everything else {"counts": None, "weight": None}
    types = TYPES | {"logits": f"*{case.dtype}", "gradient": f"*{case.dtype}"}
    names = kernel.arg_names
    signature = {name: "constexpr" if name in known else types.get(name, "*fp32") for name in names}
    constants = {(i,): known[name] for i, name in enumerate(names) if name in known}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name].startswith("*")}
    return triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget("cuda", case.capability, 32),
        options={"num_warps": tile.warps},
    )
