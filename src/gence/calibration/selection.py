"""Which calibrator suits these rows: every candidate is judged on rows that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gence._errors import InputError
from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration.calibrator import Calibrator
from gence.calibration.catalogue import fit
from gence.calibration.external import PREFIX
from gence.calibration.temperature import mean_nll

CANDIDATES = ("none", "temperature", "ats", "ensemble", "vector", "dirichlet", "isotonic", "histogram")
"""What `fit_best` chooses from when it is not told, simplest first."""


@dataclass(frozen=True)
class Selection:
    """The calibrator that was chosen, fitted on all rows, and what spoke for it.

    Attributes:
        name: Its name in the catalogue.
        calibrator: Fitted on all rows.
        scores: `(name, held-out mean NLL in nats)` of every candidate, in the order they were given.
        folds: Parts the rows were dealt into; every row was judged by a fit on the other parts.
        held_out: Its calibrated logits of every row by fits without the row's fold, float64 `(rows, classes)`.
        failures: `(name, reason)` of the candidates that could not be fitted.
    """

    name: str
    calibrator: Calibrator
    scores: tuple[tuple[str, float], ...]
    folds: int
    held_out: Tensor = field(compare=False, repr=False)
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def why(self) -> str:
        """One sentence on the choice."""
        by_name = dict(self.scores)
        others = sorted((nll, name) for name, nll in self.scores if name != self.name)
        best = f"{self.name} has the lowest NLL on rows it was not fitted on ({by_name[self.name]:.4f}"
        rest = f"; next {others[0][1]}, {others[0][0]:.4f}" if others else ""
        before = f"; uncalibrated {by_name['none']:.4f}" if "none" in by_name and self.name != "none" else ""
        return f"{best}{rest}{before}; {self.folds}-fold cross-validation)"


def fit_best(
    logits: AnyArray, target: AnyArray, *, candidates: Sequence[str] = CANDIDATES, folds: int = 5, seed: int = 0
) -> Selection:
    """Fit the calibrator with the lowest cross-validated negative log-likelihood; of equal ones the first named.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
        target: Class numbers, integers `(rows,)`.
        candidates: Names of the catalogue.
        folds: Parts the rows are dealt into, at least 2 and at most the number of rows.
        seed: Of the dealing.

    Raises:
        InputError: If there is no calibrator of a name.
        ValueError: If the logits or targets cannot be fitted, the folds are out of range, or no candidate is given.
    """
    z, y = check_fit(logits, target)
    scores: list[tuple[str, float]] = []
    best: tuple[float, str, Tensor] | None = None
    failures: list[tuple[str, str]] = []
    for name in dict.fromkeys(candidates):
        try:
            held_out = cross_fit(name, z, y, folds=folds, seed=seed)
        except (ModuleNotFoundError, InputError) as error:
            # Those of probmetrics have conditions of their own; ours take whatever passes check_fit.
            if isinstance(error, InputError) and not name.startswith(PREFIX):
                raise
            failures.append((name, str(error)))
            continue
        nll = mean_nll(held_out, y).item()
        scores.append((name, nll))
        best = (nll, name, held_out) if best is None or nll < best[0] else best
    if best is None:
        raise ValueError(f"at least one calibrator to choose from is expected; got {tuple(candidates)}: {failures}")
    _, chosen, held_out = best
    return Selection(chosen, fit(chosen, z, y), tuple(scores), folds, held_out, tuple(failures))


def cross_fit(
    name: str, logits: AnyArray, target: AnyArray, *, folds: int = 5, seed: int = 0, most_rows: int | None = None
) -> Tensor:
    """Calibrated logits of every row, each by a calibrator that was fitted without the row's own fold.

    Args:
        name: A name of the catalogue.
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy.
        target: Class numbers, integers `(rows,)`.
        folds: Parts the rows are dealt into, at least 2 and at most the number of rows.
        seed: Of the dealing.
        most_rows: Fit on a random part of the other folds if they have more rows than this.

    Returns:
        Float64 `(rows, classes)`.

    Raises:
        InputError: If there is no calibrator of that name.
        ValueError: If the logits or targets cannot be fitted or the folds are out of range.
    """
    z, y = check_fit(logits, target)
    if not 2 <= folds <= len(z):
        raise ValueError(f"folds must lie between 2 and the number of rows, {len(z)}; got {folds}")
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed)).to(z.device)
    held_out = torch.empty_like(z)
    for fold in order.tensor_split(folds):
        others = order[~torch.isin(order, fold)][:most_rows]
        held_out[fold] = fit(name, z[others], y[others])(z[fold])
    return held_out
