"""Histogram binning: in each bin of a class's probability, the frequency with which that class came true."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from gence.calibration._columns import edges_below, log_shares, of_column, padded
from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration._remarks import harm_remarks
from gence.calibration.calibrator import Calibrator
from gence.calibration.temperature import mean_nll

Binning = Literal["width", "mass"]

# Above every probability.
_NO_EDGE = 2.0


@dataclass(frozen=True)
class HistogramBinning(Calibrator):
    """A fitted histogram binning, one class against the rest: logits -> log-probabilities. Predictions may change.

    Attributes:
        edges: For each class the probabilities that part its bins (l, u], increasing.
        frequencies: For each class the frequency in each bin, between 0 and 1; one more than it has edges.
        rows: Calibration rows it was fitted on.
        nll_before: Their mean negative log-likelihood without calibration, in nats.
        nll_after: The same after it.
    """

    edges: tuple[tuple[float, ...], ...]
    frequencies: tuple[tuple[float, ...], ...]
    rows: int
    nll_before: float
    nll_after: float

    def __post_init__(self) -> None:
        if [len(e) + 1 for e in self.edges] != [len(f) for f in self.frequencies]:
            raise ValueError("every class must have one frequency more than it has edges")
        if not all(a < b for edges in self.edges for a, b in pairwise(edges)):
            raise ValueError("the edges of a class must increase")
        if not all(0.0 < f < 1.0 for frequencies in self.frequencies for f in frequencies):
            raise ValueError("frequencies must lie between 0 and 1, both excluded")

    @property
    def num_classes(self) -> int:
        """Columns of the logits it was fitted on."""
        return len(self.edges)

    @property
    def summary(self) -> str:
        bins = [len(frequencies) for frequencies in self.frequencies]
        return f"{min(bins)} to {max(bins)} bins for each of {self.num_classes} classes"

    @property
    def remarks(self) -> tuple[str, ...]:
        return harm_remarks(self.nll_before, self.nll_after)

    def tensors(self) -> dict[str, Tensor]:
        return {"edges": padded(self.edges, _NO_EDGE), "frequencies": padded(self.frequencies)}

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        probs = logits.softmax(1)
        stated = log_shares(of_column(tensors["frequencies"], edges_below(probs, tensors["edges"])))
        # A row that is no number lies in no bin.
        return torch.where(probs.isnan(), probs, stated)


def fit_histogram_binning(
    logits: AnyArray, target: AnyArray, *, bins: int = 15, binning: Binning = "mass"
) -> HistogramBinning:
    r"""Histogram binning of each class against the rest, the results divided by their sum.

    A bin (l, u] of class k with n rows, c of them of class k, states (c + 1) / (n + 2), Laplace's rule: never 0, which
    would forbid a class for good, nor 1. A bin without rows states its own centre.

    With many classes, or sharp logits, and few rows a bin the added ones weigh more than the counts: `remarks` says so
    where the negative log-likelihood has risen. It needs many rows; isotonic regression makes do with fewer.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
            Probabilities are refused.
        target: Class numbers, integers `(rows,)`.
        bins: Bins a class, at least 1.
        binning: Equal `"mass"`: the sorted rows are dealt into bins whose sizes differ by one at most; rows of equal
            probability stay together, so there may be fewer bins. Or equal `"width"` in probability.

    Returns:
        A frozen callable logits -> log-probabilities, with the fit's numbers as fields.

    Raises:
        ValueError: As in `fit_temperature`, and if the settings are not as described.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]]).repeat(8, 1)
        >>> fitted = fit_histogram_binning(logits, torch.tensor([0, 0, 0, 1, 0, 0, 0, 0]))
        >>> round(fitted(logits)[0].softmax(0)[0].item(), 6)  # (7 + 1) / (8 + 2)
        0.8

    Reference:
        Zadrozny and Elkan 2001; for several classes Guo et al. 2017, arXiv 1706.04599, section 4.2.
    """
    z, y = check_fit(logits, target)
    if bins < 1:
        raise ValueError(f"bins must be at least 1; got {bins}")
    if binning not in get_args(Binning):
        raise ValueError(f"binning must be one of {', '.join(get_args(Binning))}; got {binning!r}")
    probs = z.softmax(1)
    edges = [_mass_edges(column, bins) if binning == "mass" else _width_edges(bins) for column in probs.T]
    index = edges_below(probs, padded(edges, _NO_EDGE).to(z.device))
    frequencies = [_frequencies(index[:, k], y == k, [0.0, *own, 1.0]) for k, own in enumerate(edges)]
    fitted = HistogramBinning(
        tuple(map(tuple, edges)), tuple(map(tuple, frequencies)), len(z), mean_nll(z, y).item(), math.nan
    )
    return replace(fitted, nll_after=mean_nll(fitted(z), y).item())


def _width_edges(bins: int) -> list[float]:
    return [b / bins for b in range(1, bins)]


def _mass_edges(column: Tensor, bins: int) -> list[float]:
    values = column.sort().values
    # ceil(b n / bins); with fewer rows than bins some share a first row, and some have none.
    first_of_bin = -(-torch.arange(1, bins, device=column.device) * len(values) // bins)
    first_of_bin = first_of_bin[first_of_bin < len(values)]
    # Rows of equal probability cannot be parted: a cut into a group of them moves to the nearer end of the group.
    distinct, size = values.unique_consecutive(return_counts=True)
    ends = size.cumsum(0)[:-1]
    if len(ends) == 0:
        return []
    place = torch.searchsorted(ends, first_of_bin).clamp(max=len(ends) - 1)
    before = (place - 1).clamp(min=0)
    nearer = torch.where((first_of_bin - ends[before]).abs() < (first_of_bin - ends[place]).abs(), before, place)
    chosen = nearer.unique()
    return ((distinct[chosen] + distinct[chosen + 1]) / 2).tolist()


def _frequencies(index: Tensor, event: Tensor, borders: list[float]) -> list[float]:
    rows = torch.bincount(index, minlength=len(borders) - 1).tolist()
    events = torch.bincount(index[event], minlength=len(borders) - 1).tolist()
    return [
        (c + 1) / (n + 2) if n else (low + high) / 2
        for c, n, (low, high) in zip(events, rows, pairwise(borders), strict=True)
    ]
