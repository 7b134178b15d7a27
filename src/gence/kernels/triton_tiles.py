"""How much of the logits one program of a Triton kernel works on: a plain table, so that a run is repeatable.

A number of programs never depends on the device: it decides in which order sums are taken, and so their last bits.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 262_144
"""More classes than this are left to `eager`."""

MOST_ROWS = 2**31 - 2**18
"""Rows are counted in 32 bits, and a program looks some beyond the last."""

_WARPS = {4096: 8, 8192: 8, 16_384: 16}  # by columns; 4 for fewer


@dataclass(frozen=True)
class Tile:
    """What one program holds at a time, and the warps that share it."""

    rows: int
    columns: int
    warps: int


def fits_on_chip(num_classes: int, itemsize: int, aligned: bool, smoothed: bool) -> bool:
    """Whether rows are held in registers, and so read once; longer ones are read in pieces, twice.

    The longest of them leave no registers for smoothing, nor for the next row in float32, nor for the addresses of rows
    that do not start at multiples of 16 bytes.
    """
    return num_classes <= 8192 or (num_classes * itemsize <= 32_768 and aligned and not smoothed)


def on_chip(num_classes: int) -> Tile:
    """Whole rows, for the forward and the backward pass.

    A thread holds 16 logits, or 32 of the longest rows: each takes three registers or so, and there are 128 a thread if
    512 are to work at a time.
    """
    columns = _power_of_two(num_classes)
    return Tile(rows=max(1, min(128, 2048 // columns)), columns=columns, warps=_WARPS.get(columns, 4))


LONG_ROW = Tile(rows=1, columns=4096, warps=8)
"""The softmax of one long row, in pieces."""

LONG_COLUMNS = Tile(rows=4, columns=1024, warps=4)
"""Sums down some columns of long rows."""


def final_sums(num_classes: int) -> Tile:
    """The last sums of some columns, over programs or, where they are tiny, over rows."""
    columns = 32 if num_classes <= 4096 else 128
    return Tile(rows=2048 // columns, columns=columns, warps=4)


def long_gradient(num_classes: int, itemsize: int, aligned: bool, smoothed: bool) -> Tile:
    """Some long rows at a time, in pieces, twice.

    The second time they should come from the cache, so all programs together may hold some 36 MB of it; but the fewer
    rows share what is read for each class, the more traffic that is. 32 warps, which have 64 registers a thread, keep a
    second program off; those cases that need more registers get half as many warps.
    """
    row = num_classes * itemsize
    rows = 4 if row <= 65_536 else 2 if row <= 300_000 else 1
    warps = 32 if aligned and not smoothed else 16
    return Tile(rows=rows, columns=256 * warps // rows, warps=warps)


def programs_on_chip(num_rows: int, tile: Tile) -> int:
    """How many programs share the rows; each writes one partial sum a class, which few rows a program do not repay.

    132 multiprocessors (of a Hopper GPU) are busy with 24 warps each, or with 16 that hold twice the logits. Their
    registers have room for these at once, if nothing is smoothed; one more would start when all others are done.
    """
    most = 132 * (16 if tile.columns >= 8192 else 24) // tile.warps
    return max(1, min(most, -(-num_rows // max(16, tile.rows))))


def programs_of_columns(num_rows: int, num_classes: int) -> int:
    """How many programs share the rows of each piece of the columns of long rows."""
    pieces = -(-num_classes // LONG_COLUMNS.columns)
    return max(1, min(1056 // pieces, -(-num_rows // (8 * LONG_COLUMNS.rows))))


def _power_of_two(number: int) -> int:
    """The least power of two that is no less than `number`."""
    return 1 << (number - 1).bit_length()
