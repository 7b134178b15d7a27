"""What calibrators of single columns share: where a probability lies among a column's edges, and columns that sum to 1.

Everything here exports to ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def edges_below(values: Tensor, edges: Tensor) -> Tensor:
    """How many of the increasing `edges` `(columns, m)` of its column lie below each of `values` `(rows, columns)`.

    A binary search whose number of steps depends on m alone.
    """
    columns, most = values.T, edges.shape[1]
    below = torch.zeros_like(columns, dtype=torch.int64)
    for power in reversed(range(most.bit_length())):
        ahead = below + 2**power
        edge = edges.gather(1, (ahead - 1).clamp(max=most - 1))
        below = torch.where((ahead <= most) & (edge < columns), ahead, below)
    return below.T


def of_column(table: Tensor, index: Tensor) -> Tensor:
    """The entry of `table` `(columns, m)` that `index` `(rows, columns)` names in each column."""
    return table.gather(1, index.T).T


def padded(ragged: Sequence[Sequence[float]], fill: float | None = None) -> Tensor:
    """Rows of unequal length as one float64 tensor, a column wider than the longest; filled up with their last number.

    Args:
        ragged: The rows.
        fill: What to fill up with instead.
    """
    width = max(map(len, ragged)) + 1
    return torch.tensor(
        [[*row, *[row[-1] if fill is None else fill] * (width - len(row))] for row in ragged], dtype=torch.float64
    )


def log_shares(frequencies: Tensor) -> Tensor:
    """The log of positive `frequencies` `(rows, columns)`, divided by their sum over the columns."""
    return frequencies.log() - frequencies.sum(1, keepdim=True).log()
