"""The Triton kernels behind the two functions of `eager`, as operators that a compiled graph holds as they are.

They change no argument, wait for no result on the host, and start on the device of the logits. Who asks `autograd` for
this kernel imports this module first.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from gence.kernels import triton_tiles as tiles
from gence.kernels.autograd import differentiate

try:
    from gence.kernels import triton_backward as backward
    from gence.kernels import triton_forward as forward
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.split(".")[0] != "triton":
        raise
    raise ModuleNotFoundError(
        "the GPU kernels of gence need triton, which is not installed: pip install 'gence[kernels]'", name="triton"
    ) from missing


def statistics(
    logits: Tensor, target: Tensor, counts: Tensor | None, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As `eager.statistics`, for `(N, C)` logits that `triton_support.available` accepts; computed in float32.

    Returns:
        The log-likelihoods, the `(C)` logarithms of the class sums, and for `gradient` `(2, N)`: the largest logit of
        each row, and the logarithm of the sum of exp(logit - largest).
    """
    return torch.ops.gence.triton_statistics(logits, target, counts, weight, smoothing)


def gradient(
    logits: Tensor,
    saved: Tensor,
    target: Tensor,
    counts: Tensor | None,
    weight: Tensor | None,
    smoothing: float,
    own: Tensor,
    pull: Tensor,
    amount: Tensor,
    log_mass: Tensor,
) -> Tensor:
    """As `eager.gradient`, with the third result of `statistics` as `saved`; a new contiguous tensor."""
    return torch.ops.gence.triton_gradient(
        logits, saved, target, counts, weight, smoothing, own, pull, amount, log_mass
    )


torch.library.define(
    "gence::triton_statistics",
    "(Tensor logits, Tensor target, Tensor? counts, Tensor? weight, float smoothing) -> (Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
torch.library.define(
    "gence::triton_gradient",
    "(Tensor logits, Tensor saved, Tensor target, Tensor? counts, Tensor? weight, float smoothing, Tensor own, "
    "Tensor pull, Tensor amount, Tensor log_mass) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


@torch.library.impl("gence::triton_statistics", ("cpu", "cuda"))
def _statistics(
    logits: Tensor, target: Tensor, counts: Tensor | None, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    logits, target, counts, weight = _as_read(logits, target, counts, weight)
    num_rows, num_classes = logits.shape
    likelihood, log_sums, saved = _empty_statistics(logits, target)
    common: dict[str, int] = {"NUM_CLASSES": num_classes, "ALIGNMENT": _alignment(logits)}
    smoothed = {"SMOOTHED": smoothing > 0.0, **common}
    stride = logits.stride(0)
    labels = (logits, target, counts, weight, likelihood, saved)
    with torch.cuda.device_of(logits):
        if tiles.fits_on_chip(num_classes, logits.element_size(), _aligned(logits), smoothing > 0.0):
            tile = tiles.on_chip(num_classes)
            programs = tiles.programs_on_chip(num_rows, tile)
            sums = logits.new_empty((programs, num_classes), dtype=torch.float32)
            numbers = (sums, smoothing, num_rows, stride)
            _launch(forward.row_statistics, (programs,), *labels, *numbers, **smoothed, tile=tile)
        else:
            if num_rows:
                tile, numbers = tiles.LONG_ROW, (smoothing, num_rows, stride)
                grid = (_pieces(num_rows, tile.rows),)
                _launch(forward.long_row_statistics, grid, *labels, *numbers, **smoothed, tile=tile)
            tile = tiles.LONG_COLUMNS
            programs = tiles.programs_of_columns(num_rows, num_classes)
            sums = logits.new_empty((programs, num_classes), dtype=torch.float32)
            grid = (_pieces(num_classes, tile.columns), programs)
            _launch(forward.long_row_sums, grid, logits, counts, saved, sums, num_rows, stride, **common, tile=tile)
        tile = tiles.final_sums(num_classes)
        arguments = (sums, logits, counts, saved, log_sums, programs, num_rows, stride)
        _launch(forward.class_sums, (_pieces(num_classes, tile.columns),), *arguments, **common, tile=tile)
    return likelihood, log_sums, saved


@torch.library.impl("gence::triton_gradient", ("cpu", "cuda"))
def _gradient(
    logits: Tensor,
    saved: Tensor,
    target: Tensor,
    counts: Tensor | None,
    weight: Tensor | None,
    smoothing: float,
    own: Tensor,
    pull: Tensor,
    amount: Tensor,
    log_mass: Tensor,
) -> Tensor:
    logits, target, counts, weight = _as_read(logits, target, counts, weight)
    amount, log_mass = amount.contiguous(), log_mass.contiguous()
    num_rows, num_classes = logits.shape
    result = torch.empty_like(logits, memory_format=torch.contiguous_format)
    if num_rows == 0:
        return result
    strides = [number.stride(0) if number.dim() else 0 for number in (own, pull)]
    numbers = (smoothing, num_rows, logits.stride(0), *strides)
    common = {"SMOOTHED": smoothing > 0.0, "NUM_CLASSES": num_classes, "ALIGNMENT": _alignment(logits)}
    labels = (logits, saved.contiguous(), target, counts, weight, own, pull, amount, log_mass)
    with torch.cuda.device_of(logits):
        if tiles.fits_on_chip(num_classes, logits.element_size(), _aligned(logits), smoothing > 0.0):
            tile = tiles.on_chip(num_classes)
            grid = (_pieces(num_rows, tile.rows),)
            _launch(backward.row_gradients, grid, *labels, result, *numbers, **common, tile=tile)
        else:
            tile = tiles.long_gradient(num_classes, logits.element_size(), _aligned(logits), smoothing > 0.0)
            pieces = _pieces(num_classes, tile.columns)
            ratio = torch.empty_like(amount, dtype=torch.float32)
            direct = target.new_empty(pieces, dtype=torch.int32)
            _launch(
                backward.class_ratios, (pieces,), amount, log_mass, ratio, direct, NUM_CLASSES=num_classes, tile=tile
            )
            grid = (_pieces(num_rows, tile.rows),)
            _launch(backward.long_row_gradients, grid, *labels, ratio, direct, result, *numbers, **common, tile=tile)
    return result


@torch.library.register_fake("gence::triton_statistics")
def _(
    logits: Tensor, target: Tensor, counts: Tensor | None, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_statistics(logits, target)


@torch.library.register_fake("gence::triton_gradient")
def _(logits: Tensor, *others: object) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _empty_statistics(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    num_rows, num_classes = logits.shape
    empty = functools.partial(logits.new_empty, dtype=torch.float32)
    return empty((num_rows,)), empty((num_classes,)), empty((2, num_rows))


def _as_read(
    logits: Tensor, target: Tensor, counts: Tensor | None, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """The arguments as the kernels read them: rows of neighbouring numbers, any distance apart, and plain vectors."""
    if len(logits) > tiles.MOST_ROWS:
        raise ValueError(f"there must be at most {tiles.MOST_ROWS} rows, not {len(logits)}: use impl='eager'")
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    counts = None if counts is None else counts.contiguous().view(torch.uint8)
    return logits, target.contiguous(), counts, None if weight is None else weight.contiguous()


def _alignment(logits: Tensor) -> int:
    """What the distance of two rows can be divided by: rows that start at even places are read in larger pieces."""
    return math.gcd(logits.stride(0), 16)


def _aligned(logits: Tensor) -> bool:
    """Whether all rows start at multiples of 16 bytes, if the first one does."""
    return _alignment(logits) * logits.element_size() >= 16


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, tile: tiles.Tile, **constants: int) -> None:
    kernel[grid](*arguments, **constants, ROWS=tile.rows, COLUMNS=tile.columns, num_warps=tile.warps)


def _pieces(number: int, size: int) -> int:
    return -(-number // size)


differentiate("triton", gradient)
