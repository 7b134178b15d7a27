"""Ensemble temperature scaling (ETS): scaled, unscaled and uniform probabilities, mixed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration.calibrator import Calibrator
from gence.calibration.temperature import at_bound_remarks, best_temperature, mean_nll

MOST_UNIFORM = 0.999
"""The largest share of the uniform part: at 1 all classes would tie and no prediction would be left."""

_HALVINGS = 40


@dataclass(frozen=True)
class EnsembleTemperatureScaling(Calibrator):
    """A fitted ETS: the log of a mixture of three distributions. The highest logit of a row stays highest.

    Attributes:
        temperature: T of the first part.
        weights: Shares of softmax(z / T), of softmax(z) and of the uniform distribution; they sum to 1.
        rows: Calibration rows it was fitted on.
        nll_before: Their mean negative log-likelihood without calibration, in nats.
        nll_after: The same after it; never more than with T alone.
    """

    temperature: float
    weights: tuple[float, float, float]
    rows: int
    nll_before: float
    nll_after: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0.0):
            raise ValueError(f"temperature must be a positive finite number; got {self.temperature}")
        if len(self.weights) != 3 or not all(w >= 0.0 for w in self.weights) or abs(sum(self.weights) - 1.0) > 1e-9:
            raise ValueError(f"weights must be three shares that sum to 1; got {self.weights}")

    @property
    def fell_back(self) -> bool:
        """Whether no mixture did better than one temperature."""
        return self.weights == (1.0, 0.0, 0.0)

    @property
    def summary(self) -> str:
        scaled, plain, uniform = self.weights
        return f"{scaled:.3g} at temperature {self.temperature:.4g}, {plain:.3g} at 1, {uniform:.3g} uniform"

    @property
    def remarks(self) -> tuple[str, ...]:
        alone = "no mixture did better than one temperature: it is one temperature"
        useless = "the logits did no better than knowing nothing: nearly all weight went to the uniform distribution"
        return (
            (alone,) * self.fell_back
            + (useless,) * (self.weights[2] >= MOST_UNIFORM)
            + at_bound_remarks(self.temperature) * (self.weights[0] > 0.0)
        )

    def tensors(self) -> dict[str, Tensor]:
        return {
            "temperature": torch.tensor(self.temperature, dtype=torch.float64),
            "log_weights": torch.tensor(self.weights, dtype=torch.float64).log(),
        }

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        scaled, plain, uniform = tensors["log_weights"].unbind()
        parts = (
            scaled + (logits / tensors["temperature"]).log_softmax(1),
            plain + logits.log_softmax(1),
            uniform - math.log(logits.shape[1]) + torch.zeros_like(logits),
        )
        return torch.stack(parts).logsumexp(0)


def fit_ensemble_temperature(logits: AnyArray, target: AnyArray) -> EnsembleTemperatureScaling:
    r"""Ensemble temperature scaling: :math:`w_1 \sigma(z / T) + w_2 \sigma(z) + w_3 / K` with softmax :math:`\sigma`.

    T is the one temperature of lowest negative log-likelihood, then w are the shares of lowest negative log-likelihood
    at that T. The latter is convex in w and found by bisection in the uniform share, with a bisection in the other two
    inside it, which cannot diverge. The uniform share is at most 0.999, which keeps the predictions.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
            Probabilities are refused.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A frozen callable logits -> log-probabilities, with the fit's numbers as fields.

    Raises:
        ValueError: As in `fit_temperature`.

    Example:
        >>> logits = torch.tensor([[9.0, 0.0, 0.0]]).repeat(10, 1)
        >>> fitted = fit_ensemble_temperature(logits, torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 1, 2]))
        >>> fitted(logits)[0].softmax(0)[0].item()  # 8 of 10 are right
        0.800000011920929

    Reference:
        Zhang, Kailkhura and Han 2020, arXiv 2003.07329, equation 9; they minimise the squared error.
    """
    z, y = check_fit(logits, target)
    temperature = best_temperature(z, y)
    fitted = EnsembleTemperatureScaling(temperature, (1.0, 0.0, 0.0), len(z), mean_nll(z, y).item(), math.nan)
    fitted = replace(fitted, nll_after=mean_nll(fitted(z), y).item())
    mixed = replace(fitted, weights=_best_weights(z, y, temperature))
    mixed = replace(mixed, nll_after=mean_nll(mixed(z), y).item())
    return mixed if mixed.nll_after < fitted.nll_after else fitted


def _best_weights(z: Tensor, y: Tensor, temperature: float) -> tuple[float, float, float]:
    """The shares that maximise the mean log of the mixed probability of the true class."""
    scaled, plain = (one.softmax(1).gather(1, y[:, None]).squeeze(1) for one in (z / temperature, z))
    uniform = torch.full_like(plain, 1.0 / z.shape[1])

    def share_of_scaled(rest: float) -> float:
        def gain(share: float) -> float:
            mixed = rest * (share * scaled + (1.0 - share) * plain) + (1.0 - rest) * uniform
            return ((scaled - plain) / mixed).mean().item()

        return _crossing(gain)

    def gain_of_rest(rest: float) -> float:
        share = share_of_scaled(rest)
        informed = share * scaled + (1.0 - share) * plain
        return ((informed - uniform) / (rest * informed + (1.0 - rest) * uniform)).mean().item()

    rest = max(_crossing(gain_of_rest), 1.0 - MOST_UNIFORM)
    share = share_of_scaled(rest)
    return rest * share, rest * (1.0 - share), 1.0 - rest


def _crossing(falling: Callable[[float], float]) -> float:
    """Where a falling function on (0, 1) reaches zero, or the end that it does not cross before."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0.0 else (low, middle)
    # Bisection ends next to an end, not on it.
    return 0.0 if low == 0.0 else 1.0 if high == 1.0 else (low + high) / 2
