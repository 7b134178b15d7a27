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
from torch.nn.functional import cross_entropy

from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration.calibrator import Calibrator
from gence.calibration.monotone import log_odds, rising, scaled_to_log_odds, wanted_log_odds
from gence.calibration.pieces import Pieces, fit_pieces, interpolate, top_confidence
from gence.calibration.temperature import at_bound_remarks, best_temperature, mean_nll

_FEWEST_ROWS_A_BIN = 20
_MARGIN = 2.0


@dataclass(frozen=True)
class AdaptiveTemperatureScaling(Calibrator):
    """A fitted ATS: each row's logits are divided by the temperature of its confidence.

    Attributes:
        base_temperature: The one temperature that all pieces are shrunken towards, and all there is without pieces.
        knots: Mean uncalibrated top confidence of each bin, increasing; empty when no pieces were chosen.
        temperatures: The temperature at each knot.
        bins: The number of bins that cross-validation chose; 0 for no pieces. Bins of equal confidence were merged, so
            there may be fewer knots.
        shrinkage: The kappa it chose: a bin of n rows keeps the share n / (n + kappa) of its own log temperature.
        rows: Calibration rows it was fitted on, without the shifted ones.
        nll_before: Mean negative log-likelihood of all rows, shifted ones too, without calibration, in nats.
        nll_after: The same after it; never more than that of the one temperature, unless it was fitted without it.
        cross_validated_nll: The score of every candidate `(bins, shrinkage, nll)`; `(0, 0.0, nll)` is no pieces.
            Empty when there was one candidate only, as with too few rows.
        shifted_rows: Rows of the shifted sets it was fitted on too.
        uncalibrated_log_odds: Of a monotone fit, the log-odds of certainty spread over all classes, which stays as it
            is, and of the confidence at each knot; else empty.
        calibrated_log_odds: What a monotone fit makes of them, non-decreasing.
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
    shifted_rows: int = 0
    uncalibrated_log_odds: tuple[float, ...] = ()
    calibrated_log_odds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.knots) != len(self.temperatures):
            raise ValueError(f"one temperature a knot is expected; got {len(self.temperatures)} for {len(self.knots)}")
        if not all(a < b for a, b in pairwise(self.knots)):
            raise ValueError(f"knots must increase; got {self.knots}")
        if not all(math.isfinite(t) and t > 0.0 for t in (self.base_temperature, *self.temperatures)):
            raise ValueError(f"temperatures must be positive finite numbers; got {self.temperatures}")
        if len(self.uncalibrated_log_odds) != len(self.calibrated_log_odds):
            raise ValueError(
                f"one calibrated log-odds an uncalibrated one is expected; got {len(self.calibrated_log_odds)} for "
                f"{len(self.uncalibrated_log_odds)}"
            )

    @property
    def fell_back(self) -> bool:
        """Whether one temperature was chosen over every piecewise candidate."""
        return not self.knots

    @property
    def monotone(self) -> bool:
        """Whether calibrated confidence never falls where uncalibrated confidence rises, but for rows (nearly) tied."""
        return self.fell_back or bool(self.uncalibrated_log_odds)

    @property
    def remarks(self) -> tuple[str, ...]:
        if not self.fell_back:
            return ()
        return (f"{self._why_no_pieces}: it is one temperature", *at_bound_remarks(self.base_temperature))

    @property
    def _why_no_pieces(self) -> str:
        if not self.cross_validated_nll:
            return "too few calibration rows for pieces"
        if self.bins:
            return "the pieces that cross-validation chose fit all rows together worse"
        return "no pieces did better in cross-validation"

    @property
    def summary(self) -> str:
        if self.fell_back:
            return f"one temperature, {self.base_temperature:.4g}"
        low, high = min(self.temperatures), max(self.temperatures)
        return f"{len(self.knots)} pieces with temperatures from {low:.4g} to {high:.4g}"

    def temperature_of(self, confidence: Tensor) -> Tensor:
        """The temperature at each uncalibrated top confidence: log-linear between the knots, flat outside them.

        A monotone fit goes through the same knots, but the temperature of its rows depends on all their logits.
        """
        held = {name: value.to(confidence.device) for name, value in self.tensors().items()}
        temperature = interpolate(confidence.double(), held["knots"], held["log_temperatures"]).exp()
        return temperature.to(confidence.dtype)

    def tensors(self) -> dict[str, Tensor]:
        # One temperature is a single piece, at any place.
        knots, temperatures = (self.knots, self.temperatures) if self.knots else ((0.0,), (self.base_temperature,))
        held = {"knots": _double(knots), "log_temperatures": _double(temperatures).log()}
        if self.uncalibrated_log_odds:
            held["uncalibrated_log_odds"] = _double(self.uncalibrated_log_odds)
            held["calibrated_log_odds"] = _double(self.calibrated_log_odds)
        return held

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        if "calibrated_log_odds" in tensors:
            at, values = tensors["uncalibrated_log_odds"], tensors["calibrated_log_odds"]
            temperatures = tensors["log_temperatures"].exp()
            wanted = wanted_log_odds(log_odds(logits), at, values, 1.0 / temperatures[-1])
            return scaled_to_log_odds(logits, wanted, temperatures.min() / _MARGIN, temperatures.max() * _MARGIN)
        log_temperature = interpolate(top_confidence(logits), tensors["knots"], tensors["log_temperatures"])
        return logits / log_temperature.exp()[:, None]


def fit_adaptive_temperature(
    logits: AnyArray,
    target: AnyArray,
    *,
    shifted: Sequence[tuple[AnyArray, AnyArray]] = (),
    bins: Sequence[int] = (3, 5, 10, 20),
    shrinkage: Sequence[float] = (30.0, 100.0, 300.0, 1000.0),
    monotone: bool = False,
    fallback: bool = True,
    folds: int = 5,
    seed: int = 0,
) -> AdaptiveTemperatureScaling:
    r"""Fit ATS; the number of pieces and their shrinkage are cross-validated, with no pieces among the candidates.

    1. :math:`T_0` is the temperature of lowest NLL. 2. The rows are sorted by uncalibrated top confidence and dealt
    into M bins of equal mass; :math:`T_b` is found by bisection so that the mean top confidence of bin b equals its
    accuracy, taken as (right + 1) / (n + 2). 3. :math:`\log T_b \leftarrow w \log T_b + (1 - w) \log T_0` with
    :math:`w = n_b / (n_b + \kappa)`. 4. M and kappa are cross-validated: of the candidates whose NLL is within one
    standard error of the lowest the most shrunken is taken, and it is used if its NLL is below that of :math:`T_0`
    alone. 5. A row's temperature is log-linear in its confidence between the bins' means.

    With `shifted` sets the rows of all sets are pooled, so that there are pieces for the low confidences that a shift
    brings about. The calibrator then gives up some calibration on unshifted rows.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
            Probabilities are refused.
        target: Class numbers, integers `(rows,)`.
        shifted: Further sets `(logits, target)`, such as the model's logits for corrupted copies of the same rows. Of
            sets with just the targets of `target`, the copies of a row are kept in one fold.
        bins: Candidates for M. One that would leave fewer than 20 rows a bin is passed over.
        shrinkage: Candidates for kappa, in rows.
        monotone: Make calibrated confidence non-decreasing in uncalibrated confidence, over all rows: the bins' mean
            calibrated log-odds are pooled until they rise, and each row gets the temperature at which its log-odds lie
            on the line through them. The line starts at a uniform prediction, which stays one, and goes on beyond the
            last bin with the slope 1 / T of that bin. A row's temperature stays between half the lowest and twice the
            highest of the bins; one whose top logits are (nearly) tied may then fall short of the line.
        fallback: Whether one temperature is among the candidates. Without it pieces are used even where they are
            worse, which is of use in a study of them.
        folds: Folds of the cross-validation, at least 2.
        seed: Seed of the folds.

    Returns:
        A frozen callable logits -> logits, with the fit's numbers and the choice as fields.

    Raises:
        ValueError: As in `fit_temperature`; if a shifted set does not fit (its place is named); if a candidate, the
            folds or the shrinkage are out of range; if without `fallback` every candidate has too few rows.

    Reference:
        Zhan, Zhou and Shen, arXiv 2604.06689 (a reconstruction, see above).
    """
    z, y = check_fit(logits, target)
    _check_settings(bins, shrinkage, folds)
    rows = len(z)
    z, y, origin = _pool(z, y, shifted)
    candidates = _candidates(rows, bins, shrinkage, folds)
    if fallback or not candidates:
        candidates = ((0, 0.0), *candidates)
    if not fallback and candidates[0][0] == 0:
        raise ValueError(
            f"without fallback at least {_FEWEST_ROWS_A_BIN} rows a bin are expected in {folds - 1} of {folds} folds; "
            f"got {rows} rows for {min(bins, default=0)} bins or more: give more rows or fewer bins"
        )
    scores: tuple[tuple[int, float, float], ...] = ()
    chosen_bins, chosen_shrinkage = candidates[0]
    if len(candidates) > 1:
        losses = _held_out_losses(z, y, origin, candidates, monotone, folds, seed)
        scores = tuple((b, k, nll) for (b, k), nll in zip(candidates, losses.mean(0).tolist(), strict=True))
        chosen_bins, chosen_shrinkage = candidates[_choice(losses, candidates)]
    fitted = AdaptiveTemperatureScaling(
        base_temperature=best_temperature(z, y),
        knots=(),
        temperatures=(),
        bins=chosen_bins,
        shrinkage=chosen_shrinkage,
        rows=rows,
        nll_before=mean_nll(z, y).item(),
        nll_after=math.nan,
        cross_validated_nll=scores,
        shifted_rows=len(z) - rows,
    )
    fitted = replace(fitted, nll_after=mean_nll(fitted(z), y).item())
    if not chosen_bins:
        return fitted
    pieces = fit_pieces(z, y, chosen_bins)
    adaptive = _with_pieces(fitted, pieces, chosen_shrinkage, z, monotone)
    adaptive = replace(adaptive, nll_after=mean_nll(adaptive(z), y).item())
    return adaptive if adaptive.nll_after <= fitted.nll_after or not fallback else fitted


def _check_settings(bins: Sequence[int], shrinkage: Sequence[float], folds: int) -> None:
    if any(b < 2 for b in bins):
        raise ValueError(f"every candidate of bins must be at least 2; got {tuple(bins)}")
    if any(not (math.isfinite(k) and k >= 0.0) for k in shrinkage):
        raise ValueError(f"every candidate of shrinkage must be a finite number of rows, at least 0; got {shrinkage}")
    if folds < 2:
        raise ValueError(f"folds must be at least 2; got {folds}")


def _pool(z: Tensor, y: Tensor, shifted: Sequence[tuple[AnyArray, AnyArray]]) -> tuple[Tensor, Tensor, Tensor]:
    """All rows and targets, and for each the number of the row that it is a copy of."""
    all_logits, all_targets, origin = [z], [y], [torch.arange(len(z), device=z.device)]
    unused = len(z)
    for place, pair in enumerate(shifted):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(
                f"shifted must be a sequence of pairs (logits, target); got {type(pair).__name__} at place {place}: "
                "a single set is shifted=[(logits, target)]"
            )
        try:
            one_z, one_y = check_fit(*pair)
        except ValueError as error:
            raise ValueError(f"shifted[{place}]: {error}") from error
        if one_z.shape[1] != z.shape[1]:
            raise ValueError(
                f"shifted[{place}]: logits with {z.shape[1]} classes are expected, as the unshifted ones have; "
                f"got {one_z.shape[1]}"
            )
        one_z, one_y = one_z.to(z.device), one_y.to(z.device)
        copies = torch.equal(one_y, y)
        origin.append(origin[0] if copies else torch.arange(unused, unused + len(one_z), device=z.device))
        unused += 0 if copies else len(one_z)
        all_logits.append(one_z)
        all_targets.append(one_y)
    return torch.cat(all_logits), torch.cat(all_targets), torch.cat(origin)


def _candidates(
    rows: int, bins: Sequence[int], shrinkage: Sequence[float], folds: int
) -> tuple[tuple[int, float], ...]:
    fitting_rows = rows - math.ceil(rows / folds)
    return tuple((b, float(k)) for b in bins for k in shrinkage if fitting_rows >= _FEWEST_ROWS_A_BIN * b)


def _held_out_losses(
    z: Tensor,
    y: Tensor,
    origin: Tensor,
    candidates: tuple[tuple[int, float], ...],
    monotone: bool,
    folds: int,
    seed: int,
) -> Tensor:
    """`(rows, candidates)`: the NLL of each row when it was held out, together with its copies."""
    shuffled = torch.randperm(int(origin.max()) + 1, generator=torch.Generator().manual_seed(seed)).to(z.device)
    fold = shuffled[origin] % folds
    losses = z.new_empty(len(z), len(candidates))
    for held_out in range(folds):
        train, test = fold != held_out, fold == held_out
        base = _one_temperature(best_temperature(z[train], y[train]))
        pieces = {b: fit_pieces(z[train], y[train], b) for b in {b for b, _ in candidates} if b}
        for place, (b, k) in enumerate(candidates):
            candidate = _with_pieces(base, pieces[b], k, z[train], monotone) if b else base
            losses[test, place] = cross_entropy(candidate(z[test]), y[test], reduction="none")
    return losses


def _choice(losses: Tensor, candidates: tuple[tuple[int, float], ...]) -> int:
    """The place of the most shrunken candidate within a standard error of the best one, or of no pieces if better.

    With a dozen candidates the lowest score is often luck: taking it cost up to 10 % of ECE on real logits that one
    temperature fits (docs/ats.md).
    """
    nll = losses.mean(0)
    piecewise = [place for place, (b, _) in enumerate(candidates) if b]
    best = min(piecewise, key=lambda place: nll[place].item())
    behind = losses - losses[:, best : best + 1]
    error = behind.std(0) / math.sqrt(len(losses))
    close = [place for place in piecewise if behind[:, place].mean() <= error[place]]
    chosen = min(close, key=lambda place: (-candidates[place][1], nll[place].item()))
    without = next((place for place, (b, _) in enumerate(candidates) if not b), chosen)
    return chosen if nll[chosen] < nll[without] else without


def _one_temperature(base: float) -> AdaptiveTemperatureScaling:
    return AdaptiveTemperatureScaling(base, (), (), 0, 0.0, 0, 0.0, 0.0, ())


def _with_pieces(
    fitted: AdaptiveTemperatureScaling, pieces: Pieces, shrinkage: float, z: Tensor, monotone: bool
) -> AdaptiveTemperatureScaling:
    """`fitted` with these pieces, shrunken towards its base temperature; `z` are the rows they were fitted on."""
    logs = pieces.shrunken(fitted.base_temperature, shrinkage)
    adaptive = replace(
        fitted, knots=tuple(pieces.knots.tolist()), temperatures=tuple(logs.exp().tolist()), shrinkage=shrinkage
    )
    if not monotone:
        return adaptive
    uncalibrated = pieces.mean(log_odds(z)).tolist()
    calibrated = rising(pieces.mean(log_odds(adaptive(z))), pieces.rows).tolist()
    uniform = -math.log(z.shape[1] - 1)
    start = (uniform,) if uncalibrated[0] > uniform + 1e-9 else ()
    return replace(adaptive, uncalibrated_log_odds=(*start, *uncalibrated), calibrated_log_odds=(*start, *calibrated))


def _double(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
