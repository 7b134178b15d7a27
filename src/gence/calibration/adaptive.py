"""Adaptive piecewise temperature scaling (ATS): a temperature that depends on the confidence.

The paper gives ATS no exact rule (post-hoc, gradient-free, driven by the confidences of bins); this is a
reconstruction, and where the paper is silent the choices are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration.calibrator import Calibrator
from gence.calibration.temperature import BOUNDS, at_bound_remarks, best_temperature, mean_nll

_HALVINGS = 40
_FEWEST_ROWS_A_BIN = 20


@dataclass(frozen=True)
class AdaptiveTemperatureScaling(Calibrator):
    """A fitted ATS: each row's logits are divided by the temperature of its confidence.

    Attributes:
        base_temperature: The one temperature that all pieces are shrunken towards, and all there is without pieces.
        knots: Mean uncalibrated top confidence of each bin, increasing; empty when no pieces were chosen.
        temperatures: The temperature at each knot.
        bins: The chosen number of bins; 0 when no pieces were chosen. Bins of equal confidence were merged, so there
            may be fewer knots.
        shrinkage: The chosen kappa: a bin of n rows keeps the share n / (n + kappa) of its own log temperature.
        rows: Calibration rows it was fitted on.
        nll_before: Their mean negative log-likelihood without calibration, in nats.
        nll_after: The same after it.
        cross_validated_nll: The score of every candidate `(bins, shrinkage, nll)`; `(0, 0.0, nll)` is no pieces.
            Empty when there were too few rows to cross-validate.
    """

    base_temperature: float
    knots: tuple[float, ...]
    temperatures: tuple[float, ...]
    bins: int
    shrinkage: float
    rows: int
    nll_before: float
    nll_after: float
    cross_validated_nll: tuple[tuple[int, float, float], ...]

    def __post_init__(self) -> None:
        if len(self.knots) != len(self.temperatures):
            raise ValueError(f"one temperature a knot is expected; got {len(self.temperatures)} for {len(self.knots)}")
        if not all(a < b for a, b in pairwise(self.knots)):
            raise ValueError(f"knots must increase; got {self.knots}")
        if not all(math.isfinite(t) and t > 0.0 for t in (self.base_temperature, *self.temperatures)):
            raise ValueError(f"temperatures must be positive finite numbers; got {self.temperatures}")

    @property
    def fell_back(self) -> bool:
        """Whether one temperature was chosen over every piecewise candidate."""
        return not self.knots

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know about this fit; empty when pieces were chosen."""
        if not self.fell_back:
            return ()
        tried = bool(self.cross_validated_nll)
        why = "no pieces did better in cross-validation" if tried else "too few calibration rows for pieces"
        return (f"{why}: it is one temperature", *at_bound_remarks(self.base_temperature))

    @property
    def summary(self) -> str:
        if self.fell_back:
            return f"one temperature, {self.base_temperature:.4g}"
        low, high = min(self.temperatures), max(self.temperatures)
        return f"{len(self.knots)} pieces with temperatures from {low:.4g} to {high:.4g}"

    def temperature_of(self, confidence: Tensor) -> Tensor:
        """The temperature at each uncalibrated top confidence: log-linear between the knots, flat outside them."""
        held = {name: value.to(confidence) for name, value in self.tensors().items()}
        return _interpolate(confidence, held["knots"], held["log_temperatures"]).exp()

    def tensors(self) -> dict[str, Tensor]:
        # One temperature is a single piece, at any place.
        knots, temperatures = (self.knots, self.temperatures) if self.knots else ((0.0,), (self.base_temperature,))
        return {
            "knots": torch.tensor(knots, dtype=torch.float64),
            "log_temperatures": torch.tensor(temperatures, dtype=torch.float64).log(),
        }

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        confidence = _confidence(logits, 1.0)
        return logits / _interpolate(confidence, tensors["knots"], tensors["log_temperatures"]).exp()[:, None]


def fit_adaptive_temperature(
    logits: AnyArray,
    target: AnyArray,
    *,
    bins: Sequence[int] = (3, 5, 10, 20),
    shrinkage: Sequence[float] = (30.0, 100.0, 300.0),
    folds: int = 5,
    seed: int = 0,
) -> AdaptiveTemperatureScaling:
    r"""Fit ATS; the number of pieces and their shrinkage are cross-validated, with no pieces among the candidates.

    1. :math:`T_0` is the temperature of lowest NLL. 2. The rows are sorted by uncalibrated top confidence and dealt
    into M bins of equal mass; :math:`T_b` is found by bisection so that the mean top confidence of bin b equals its
    accuracy, taken as (right + 1) / (n + 2). 3. :math:`\log T_b \leftarrow w \log T_b + (1 - w) \log T_0` with
    :math:`w = n_b / (n_b + \kappa)`. 4. M and kappa are those with the lowest cross-validated NLL, and pieces are used
    only if they beat :math:`T_0` alone. 5. A row's temperature is log-linear in its confidence between the bins' means.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
            Probabilities are refused.
        target: Class numbers, integers `(rows,)`.
        bins: Candidates for M. One that would leave fewer than 20 rows a bin is passed over.
        shrinkage: Candidates for kappa, in rows.
        folds: Folds of the cross-validation, at least 2.
        seed: Seed of the folds.

    Returns:
        A frozen callable logits -> logits, with the fit's numbers and the choice as fields.

    Raises:
        ValueError: As in `fit_temperature`, and if a candidate, the folds or the shrinkage are out of range.

    Reference:
        Zhan, Zhou and Shen, arXiv 2604.06689 (a reconstruction, see above).
    """
    z, y = check_fit(logits, target)
    _check_settings(bins, shrinkage, folds)
    candidates = _candidates(len(z), bins, shrinkage, folds)
    scores = _cross_validate(z, y, candidates, folds, seed) if candidates else ()
    chosen_bins, chosen_shrinkage, _ = min(scores, key=lambda s: (s[2], s[0])) if scores else (0, 0.0, 0.0)
    base = best_temperature(z, y)
    knots, own, counts = _pieces(z, y, chosen_bins) if chosen_bins else _no_pieces()
    temperatures = _shrink(own, counts, base, chosen_shrinkage)
    fitted = AdaptiveTemperatureScaling(
        base_temperature=base,
        knots=tuple(knots.tolist()),
        temperatures=tuple(temperatures.tolist()),
        bins=chosen_bins,
        shrinkage=chosen_shrinkage,
        rows=len(z),
        nll_before=mean_nll(z, y).item(),
        nll_after=math.nan,
        cross_validated_nll=scores,
    )
    return replace(fitted, nll_after=mean_nll(fitted(z), y).item())


def _check_settings(bins: Sequence[int], shrinkage: Sequence[float], folds: int) -> None:
    if any(b < 2 for b in bins):
        raise ValueError(f"every candidate of bins must be at least 2; got {tuple(bins)}")
    if any(not (math.isfinite(k) and k >= 0.0) for k in shrinkage):
        raise ValueError(f"every candidate of shrinkage must be a finite number of rows, at least 0; got {shrinkage}")
    if folds < 2:
        raise ValueError(f"folds must be at least 2; got {folds}")


def _candidates(
    rows: int, bins: Sequence[int], shrinkage: Sequence[float], folds: int
) -> tuple[tuple[int, float], ...]:
    fitting_rows = rows - math.ceil(rows / folds)
    return tuple((b, float(k)) for b in bins for k in shrinkage if fitting_rows >= _FEWEST_ROWS_A_BIN * b)


def _cross_validate(
    z: Tensor, y: Tensor, candidates: tuple[tuple[int, float], ...], folds: int, seed: int
) -> tuple[tuple[int, float, float], ...]:
    """Mean held-out NLL of no pieces and of every candidate, each row held out once."""
    fold = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed)).to(z.device) % folds
    sums = dict.fromkeys(((0, 0.0), *candidates), 0.0)
    for held_out in range(folds):
        train, test = fold != held_out, fold == held_out
        base = best_temperature(z[train], y[train])
        sums[0, 0.0] += mean_nll(z[test] / base, y[test]).item() * int(test.sum())
        confidence = _confidence(z[test], 1.0)
        pieces = {b: _pieces(z[train], y[train], b) for b in {b for b, _ in candidates}}
        for b, k in candidates:
            knots, own, counts = pieces[b]
            temperature = _interpolate(confidence, knots, _shrink(own, counts, base, k).log()).exp()
            sums[b, k] += mean_nll(z[test] / temperature[:, None], y[test]).item() * int(test.sum())
    return tuple((b, k, total / len(z)) for (b, k), total in sums.items())


def _no_pieces() -> tuple[Tensor, Tensor, Tensor]:
    nothing = torch.zeros(0, dtype=torch.float64)
    return nothing, nothing, nothing


def _pieces(z: Tensor, y: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean confidence, own temperature (not yet shrunken) and row count of each bin of equal mass."""
    confidence, order = _confidence(z, 1.0).sort()
    z, correct = z[order], (z.argmax(1) == y)[order].to(z.dtype)
    dealt = torch.arange(len(z), device=z.device) * bins // len(z)
    # Saturated rows all have confidence 1, so several bins can share one mean; they are one piece.
    means = _mean_by(confidence, dealt, bins)
    merged = (means.diff() > 1e-12).cumsum(0)
    index = torch.cat([merged.new_zeros(1), merged])[dealt]
    pieces = int(index[-1]) + 1
    counts = torch.bincount(index, minlength=pieces).to(z.dtype)
    accuracy = (_mean_by(correct, index, pieces) * counts + 1.0) / (counts + 2.0)
    return _mean_by(confidence, index, pieces), _matching_temperatures(z, index, accuracy), counts


def _matching_temperatures(z: Tensor, index: Tensor, accuracy: Tensor) -> Tensor:
    """For each bin the temperature at which its mean top confidence, which falls as T grows, equals its accuracy."""
    low = torch.full_like(accuracy, math.log(BOUNDS[0]))
    high = torch.full_like(accuracy, math.log(BOUNDS[1]))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        confidence = _mean_by(_confidence(z, middle.exp()[index][:, None]), index, len(accuracy))
        too_sure = confidence > accuracy
        low, high = torch.where(too_sure, middle, low), torch.where(too_sure, high, middle)
    return ((low + high) / 2).exp()


def _shrink(temperatures: Tensor, counts: Tensor, base: float, shrinkage: float) -> Tensor:
    weight = counts / (counts + shrinkage)
    return (weight * temperatures.log() + (1.0 - weight) * math.log(base)).exp()


def _confidence(z: Tensor, temperature: Tensor | float) -> Tensor:
    return 1.0 / ((z - z.amax(1, keepdim=True)) / temperature).exp().sum(1)


def _mean_by(value: Tensor, index: Tensor, size: int) -> Tensor:
    total = torch.zeros(size, dtype=value.dtype, device=value.device).index_add(0, index, value)
    return total / torch.bincount(index, minlength=size).clamp(min=1)


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear through (knots, values), flat outside; one knot makes a constant."""
    if len(knots) == 1:
        return values.expand(len(x))
    right = torch.searchsorted(knots, x.contiguous()).clamp(1, len(knots) - 1)
    left = right - 1
    share = ((x - knots[left]) / (knots[right] - knots[left])).clamp(0.0, 1.0)
    return values[left] + share * (values[right] - values[left])
