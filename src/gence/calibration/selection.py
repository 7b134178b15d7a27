"""Which calibrator suits these rows: every candidate is judged on rows that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from gence._errors import InputError
from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration.calibrator import Calibrator
from gence.calibration.catalogue import fit
from gence.calibration.external import PREFIX

CANDIDATES = ("none", "temperature", "ats", "ensemble", "vector", "dirichlet", "isotonic", "histogram")
"""What `fit_best` chooses from when it is not told, simplest first."""


_COSTLY = frozenset({"matrix", "dirichlet"})  # a number for every pair of classes
_MOST_CLASSES = 50


def affordable(candidates: Sequence[str], num_classes: int) -> tuple[str, ...]:
    """The candidates without those that take too long with so many classes."""
    return tuple(name for name in candidates if num_classes <= _MOST_CLASSES or name not in _COSTLY)


@dataclass(frozen=True)
class Selection:
    """The calibrator that was chosen, fitted on all rows, and what spoke for it.

    Attributes:
        name: Its name in the catalogue.
        lowest: The name of the candidate with the lowest score; another one than `name` where that is simpler and no
            more than one standard error behind.
        calibrator: Fitted on all rows.
        scores: `(name, held-out mean NLL in nats)` of every candidate, in the order they were given.
        folds: Parts the rows were dealt into; every row was judged by a fit on the other parts.
        held_out: Its calibrated logits of every row by fits without the row's fold, float64 `(rows, classes)`.
        failures: `(name, reason)` of the candidates that could not be fitted.
    """

    name: str
    lowest: str
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
        if self.name != self.lowest:
            best = (
                f"{self.name} is the simplest whose NLL on rows it was not fitted on ({by_name[self.name]:.4f}) lies "
                f"within one standard error of the lowest ({self.lowest}, {by_name[self.lowest]:.4f}"
            )
            others = []
        rest = f"; next {others[0][1]}, {others[0][0]:.4f}" if others else ""
        before = f"; uncalibrated {by_name['none']:.4f}" if "none" in by_name and self.name != "none" else ""
        return f"{best}{rest}{before}; {self.folds}-fold cross-validation)"


def fit_best(
    logits: AnyArray, target: AnyArray, *, candidates: Sequence[str] = CANDIDATES, folds: int = 5, seed: int = 0
) -> Selection:
    """Fit the simplest calibrator whose cross-validated negative log-likelihood is about the lowest.

    About means by the one-standard-error rule: the first candidate whose rows have an NLL that is on average at most
    one standard error above that of the candidate with the lowest, in differences row by row. A richer one must show
    more than chance to be taken.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
        target: Class numbers, integers `(rows,)`.
        candidates: Names of the catalogue, simplest first.
        folds: Parts the rows are dealt into, at least 2 and at most the number of rows.
        seed: Of the dealing.

    Raises:
        InputError: If there is no calibrator of a name.
        ValueError: If the logits or targets cannot be fitted, the folds are out of range, or no candidate is given.

    Reference:
        Breiman, Friedman, Olshen and Stone 1984, Classification and Regression Trees, section 3.4.3 (the rule).
    """
    z, y = check_fit(logits, target)
    held_out: dict[str, Tensor] = {}
    failures: list[tuple[str, str]] = []
    for name in dict.fromkeys(candidates):
        try:
            held_out[name] = cross_fit(name, z, y, folds=folds, seed=seed)
        except (ModuleNotFoundError, InputError) as error:
            # Those of probmetrics have conditions of their own; ours take whatever passes check_fit.
            if isinstance(error, InputError) and not name.startswith(PREFIX):
                raise
            failures.append((name, str(error)))
    if not held_out:
        raise ValueError(f"at least one calibrator to choose from is expected; got {tuple(candidates)}: {failures}")
    nll = {name: F.cross_entropy(logits, y, reduction="none") for name, logits in held_out.items()}
    lowest = min(nll, key=lambda name: nll[name].mean().item())
    chosen = next((name for name in nll if _about_as_low(nll[name], nll[lowest])), lowest)
    scores = tuple((name, rows.mean().item()) for name, rows in nll.items())
    return Selection(chosen, lowest, fit(chosen, z, y), scores, folds, held_out[chosen], tuple(failures))


def _about_as_low(nll: Tensor, lowest: Tensor) -> bool:
    """Whether `nll` `(rows)` is on average no more than a standard error of the difference above `lowest`."""
    difference = nll - lowest
    return bool(difference.mean() <= difference.std() / math.sqrt(len(difference)))


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
