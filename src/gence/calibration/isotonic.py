"""Isotonic regression: for each class the non-decreasing map of its probability that fits the labels best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from gence.calibration._columns import edges_below, log_shares, of_column, padded
from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration._remarks import harm_remarks
from gence.calibration.calibrator import Calibrator
from gence.calibration.temperature import mean_nll

# Above every probability.
_NO_THRESHOLD = 2.0


@dataclass(frozen=True)
class IsotonicCalibration(Calibrator):
    """A fitted isotonic regression, one class against the rest: logits -> log-probabilities. Predictions may change.

    Attributes:
        thresholds: For each class the probabilities between which its map is linear, increasing.
        values: For each class what its map gives at the thresholds, not decreasing, from 0 to 1.
        rows: Calibration rows it was fitted on; no column states less than 1 / (rows + 2) before they are divided by
            their sum.
        nll_before: Mean negative log-likelihood of the calibration rows without calibration, in nats.
        nll_after: The same after it.
    """

    thresholds: tuple[tuple[float, ...], ...]
    values: tuple[tuple[float, ...], ...]
    rows: int
    nll_before: float
    nll_after: float

    def __post_init__(self) -> None:
        if [len(t) for t in self.thresholds] != [len(v) for v in self.values] or not all(self.thresholds):
            raise ValueError("every class must have as many values as thresholds, at least one")
        if not all(a < b for thresholds in self.thresholds for a, b in pairwise(thresholds)):
            raise ValueError("the thresholds of a class must increase")
        if not all(a <= b for values in self.values for a, b in pairwise((0.0, *values, 1.0))):
            raise ValueError("the values of a class must not decrease, and lie between 0 and 1")

    @property
    def num_classes(self) -> int:
        """Columns of the logits it was fitted on."""
        return len(self.thresholds)

    @property
    def summary(self) -> str:
        return f"{sum(map(len, self.thresholds))} thresholds for {self.num_classes} classes"

    @property
    def remarks(self) -> tuple[str, ...]:
        return harm_remarks(self.nll_before, self.nll_after)

    def tensors(self) -> dict[str, Tensor]:
        return {
            "thresholds": padded(self.thresholds, _NO_THRESHOLD),
            "values": padded(self.values),
            "ends": torch.tensor([(t[0], t[-1]) for t in self.thresholds], dtype=torch.float64),
            "floor": torch.tensor(1.0 / (self.rows + 2), dtype=torch.float64),
        }

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        first, last = tensors["ends"].T
        probs = logits.softmax(1).maximum(first).minimum(last)
        left = (edges_below(probs, tensors["thresholds"]) - 1).clamp(min=0)
        (x, next_x), (value, next_value) = (
            (of_column(tensors[name], left), of_column(tensors[name], left + 1)) for name in ("thresholds", "values")
        )
        stated = value + (probs - x) / (next_x - x) * (next_value - value)
        return log_shares(stated.maximum(tensors["floor"]))


def fit_isotonic(logits: AnyArray, target: AnyArray) -> IsotonicCalibration:
    r"""Isotonic regression of each class against the rest, the results divided by their sum.

    For class k the map is the non-decreasing function of :math:`p_k` with the least squared error to "the class is k",
    linear between the thresholds and flat beyond the first and the last, as scikit-learn has it. It may well give 0,
    which would forbid a class for good: less than 1 / (rows + 2) counts as that. A row for which every class gives 0,
    which has no sum to be divided by, so becomes uniform.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
            Probabilities are refused.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A frozen callable logits -> log-probabilities, with the thresholds and values as fields.

    Raises:
        ValueError: As in `fit_temperature`.
        ModuleNotFoundError: If scikit-learn is not installed.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]]).repeat(8, 1)
        >>> fitted = fit_isotonic(logits, torch.tensor([0, 0, 0, 1, 0, 0, 0, 1]))
        >>> round(fitted(logits)[0].softmax(0)[0].item(), 6)  # 6 of 8 rows are of class 0
        0.75

    Reference:
        Zadrozny and Elkan 2002, sections 3 and 5.
    """
    z, y = check_fit(logits, target)
    try:
        from sklearn.isotonic import IsotonicRegression
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "isotonic calibration needs scikit-learn; pip install 'gence[lab]'", name=error.name
        ) from error
    columns = [
        IsotonicRegression(y_min=0.0, y_max=1.0).fit(column.cpu().numpy(), (y == k).cpu().numpy())
        for k, column in enumerate(z.softmax(1).T)
    ]
    fitted = IsotonicCalibration(
        thresholds=tuple(tuple(column.X_thresholds_.tolist()) for column in columns),
        values=tuple(tuple(column.y_thresholds_.tolist()) for column in columns),
        rows=len(z),
        nll_before=mean_nll(z, y).item(),
        nll_after=math.nan,
    )
    return replace(fitted, nll_after=mean_nll(fitted(z), y).item())
