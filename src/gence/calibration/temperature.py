"""Temperature scaling: one number that makes all confidences higher or lower."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration.calibrator import Calibrator
from gence.calibration.roots import falling_root

BOUNDS = (0.05, 20.0)
"""The lowest and highest temperature that any fit returns."""


@dataclass(frozen=True)
class TemperatureScaling(Calibrator):
    """A fitted temperature: logits -> logits / temperature. The highest logit of a row stays highest.

    Attributes:
        temperature: Above 1 softens, below 1 sharpens.
        rows: Calibration rows it was fitted on.
        nll_before: Their mean negative log-likelihood at temperature 1, in nats.
        nll_after: The same at the fitted temperature; never more than before.
        prior: The strength of the prior it was fitted with; 0 is none.
        balanced: Whether every class counted the same in the fit, and so in the two likelihoods.
    """

    temperature: float
    rows: int
    nll_before: float
    nll_after: float
    prior: float = 0.0
    balanced: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0.0):
            raise ValueError(f"temperature must be a positive finite number; got {self.temperature}")

    @property
    def at_bound(self) -> bool:
        """Whether the fit ran into its bounds: every row was right (T low), the logits were worse than none (T high).

        Or their scale is far from what training with cross-entropy leaves, as that of bare cosines is.
        """
        return self.temperature in BOUNDS

    @property
    def summary(self) -> str:
        return f"one temperature, {self.temperature:.4g}"

    @property
    def remarks(self) -> tuple[str, ...]:
        return at_bound_remarks(self.temperature)

    def tensors(self) -> dict[str, Tensor]:
        return {"temperature": torch.tensor(self.temperature, dtype=torch.float64)}

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return logits / tensors["temperature"]


def fit_temperature(
    logits: AnyArray, target: AnyArray, *, prior: float = 0.0, balanced: bool = False
) -> TemperatureScaling:
    r"""The temperature T that minimises the mean negative log-likelihood of softmax(logits / T).

    The problem is convex in 1/T, so T is found by Newton's steps inside a bracket, which cannot diverge; it is bounded
    to [0.05, 20], and T = 1 is returned unless the fit is better.

    Where few rows calibrate and nearly all of them are right, nothing stops T from falling to its bound. A `prior`
    :math:`\lambda` does: it adds :math:`\lambda (1/T + \log T)` to the sum over rows of the negative log-likelihood, a
    Gamma(1 + lambda, lambda) prior on 1/T with its mode at 1 (our choice). At lambda = 1 it is worth about one row.

    Where the calibration rows are a long tail and the model will be used on balanced rows, the common classes decide
    the temperature of all. With `balanced` the mean is over the classes of the mean over their rows, which is the
    likelihood of balanced rows with importance weights (our choice); a class without a row has no part. The fewer rows
    the rarest classes have, the more a few rows decide.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
            Log-probabilities are logits too; probabilities are refused.
        target: Class numbers, integers `(rows,)`.
        prior: The strength of the prior, at least 0; at 0 it is temperature scaling as published.
        balanced: Whether every class counts the same, however many rows it has.

    Returns:
        A frozen callable logits -> logits, with the fit's numbers as fields.

    Raises:
        ValueError: If the shapes do not fit, a logit is not finite, a class number is out of range, the rows are
            probabilities, or the prior is negative.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0]]).repeat(4, 1)
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])).temperature, 3)  # 4 / log(3): 3 of 4 are right
        3.641

    Reference:
        Guo et al. 2017, arXiv 1706.04599, equation 9.
    """
    z, y = check_fit(logits, target)
    if not (math.isfinite(prior) and prior >= 0.0):
        raise ValueError(f"prior must be a finite strength, at least 0; got {prior}")
    weight = balancing_weights(y) if balanced else None
    temperature = best_temperature(z, y, prior, weight)
    before, after = (mean_nll(scaled, y, weight).item() for scaled in (z, z / temperature))
    return TemperatureScaling(temperature, len(z), before, after, prior, balanced)


def balancing_weights(target: Tensor) -> Tensor:
    """`(rows,)`, the weights of mean 1 with which every class that occurs counts the same."""
    counts = target.bincount()
    return len(target) / (counts > 0).sum() / counts[target].double()


def at_bound_remarks(temperature: float) -> tuple[str, ...]:
    """The sentence that a temperature on its bound calls for; none for another."""
    if temperature not in BOUNDS:
        return ()
    way = "sharpening" if temperature == BOUNDS[0] else "softening"
    return (
        f"the temperature stopped at its bound, {temperature:g}: the calibration rows set no limit to {way}, or the "
        "logits are on an unusual scale and should be multiplied by a constant first",
    )


def best_temperature(logits: Tensor, target: Tensor, prior: float = 0.0, weight: Tensor | None = None) -> float:
    """The minimiser of `mean_nll(logits / T, target)`, plus the prior's, within `BOUNDS`; 1 if nothing is better."""
    gap = logits - logits.gather(1, target[:, None])
    share = 1.0 if weight is None else weight.to(logits)

    def shortfall(log_sharpness: Tensor) -> tuple[Tensor, Tensor]:
        # d NLL / d (1/T) is the mean excess of the expected logit over the true one, and its slope their variance.
        sharpness = log_sharpness.exp()
        probs = (gap * sharpness).softmax(1)
        mean = (probs * gap).sum(1)
        variance = (probs * gap.square()).sum(1) - mean.square()
        mean, variance = (share * mean).mean(), (share * variance).mean()
        pull = prior / len(logits)
        return -mean[None] - pull * (1.0 - 1.0 / sharpness), -sharpness * variance - pull / sharpness

    high, low = (torch.full((1,), -math.log(bound), dtype=logits.dtype, device=logits.device) for bound in BOUNDS)
    temperature = min(max(math.exp(-falling_root(shortfall, low, high).item()), BOUNDS[0]), BOUNDS[1])
    # The search ends next to a bound, not on it.
    temperature = next((b for b in BOUNDS if math.isclose(temperature, b, rel_tol=1e-9)), temperature)
    better = mean_nll(logits / temperature, target, weight) < mean_nll(logits, target, weight)
    return temperature if better else 1.0


def mean_nll(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of -log softmax(logits)[target], in nats, over rows with weights `(rows,)` of mean 1."""
    if weight is None:
        return F.cross_entropy(logits, target)
    return (weight.to(logits) * F.cross_entropy(logits, target, reduction="none")).mean()
