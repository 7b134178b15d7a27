"""Calibrators that are affine in their input: vector scaling, matrix scaling and Dirichlet calibration."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration._newton import minimise
from gence.calibration._odir import AffineFit, check_positive, fit_odir
from gence.calibration._penalised import tolerance, vector_objective
from gence.calibration.calibrator import Calibrator
from gence.calibration.temperature import best_temperature, mean_nll

OFF_DIAGONAL = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
"""Candidates for lambda. They lie wide apart because what suits grows with the square of the classes."""

BIAS = (0.01, 1.0)
"""Candidates for mu, which matters much less."""


@dataclass(frozen=True)
class VectorScaling(Calibrator):
    """A fitted vector scaling: logits -> weights * logits + bias, a weight and a bias for each class.

    Attributes:
        weights: One a class; all 1 if the fit fell back.
        bias: One a class; all 0 if the fit fell back.
        rows: Calibration rows it was fitted on.
        nll_before: Their mean negative log-likelihood without calibration, in nats.
        nll_after: The same after it; never more than before.
        converged: Whether the fit reached its minimum.
    """

    weights: tuple[float, ...]
    bias: tuple[float, ...]
    rows: int
    nll_before: float
    nll_after: float
    converged: bool

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.bias):
            raise ValueError(f"one weight a bias is expected; got {len(self.weights)} for {len(self.bias)}")
        _check_finite(self.weights, self.bias)

    @property
    def num_classes(self) -> int:
        """Columns of the logits it was fitted on."""
        return len(self.bias)

    @property
    def fell_back(self) -> bool:
        """Whether nothing did better than leaving the logits alone."""
        return set(self.weights) == {1.0} and set(self.bias) == {0.0}

    @property
    def summary(self) -> str:
        return f"a weight and a bias a class, weights from {min(self.weights):.4g} to {max(self.weights):.4g}"

    @property
    def remarks(self) -> tuple[str, ...]:
        return _remarks(self.fell_back, self.converged)

    def tensors(self) -> dict[str, Tensor]:
        return _float64(self.weights, self.bias)

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return logits * tensors["weights"] + tensors["bias"]


@dataclass(frozen=True)
class _Affine(Calibrator):
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    off_diagonal: float
    bias_penalty: float
    rows: int
    nll_before: float
    nll_after: float
    converged: bool
    cross_validated_nll: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        sizes = {len(self.weights), *map(len, self.weights)}
        if sizes != {len(self.bias)}:
            raise ValueError(f"weights must be square, as wide as the {len(self.bias)} biases; got sizes {sizes}")
        _check_finite(*self.weights, self.bias)

    @property
    def num_classes(self) -> int:
        """Columns of the logits it was fitted on."""
        return len(self.bias)

    @property
    def fell_back(self) -> bool:
        """Whether nothing did better than leaving the logits alone."""
        return set(self.bias) == {0.0} and self.weights == _identity(self.num_classes)

    @property
    def summary(self) -> str:
        size = self.num_classes
        return f"a {size} x {size} matrix and a bias a class, off-diagonal penalty {self.off_diagonal:g}"

    @property
    def remarks(self) -> tuple[str, ...]:
        return _remarks(self.fell_back, self.converged)

    def tensors(self) -> dict[str, Tensor]:
        return _float64(self.weights, self.bias)

    @staticmethod
    @abstractmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor: ...


@dataclass(frozen=True)
class MatrixScaling(_Affine):
    """A fitted matrix scaling: logits -> weights @ logits + bias.

    Attributes:
        weights: The matrix, row by row; the identity if the fit fell back.
        bias: One a class; all 0 if the fit fell back.
        off_diagonal: The chosen lambda.
        bias_penalty: The chosen mu.
        rows: Calibration rows it was fitted on.
        nll_before: Their mean negative log-likelihood without calibration, in nats.
        nll_after: The same after it; never more than before.
        converged: Whether the fit reached its minimum.
        cross_validated_nll: The score of every candidate `(lambda, mu, nll)`. Empty if there was nothing to choose
            from, or fewer rows than folds.
    """

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return logits @ tensors["weights"].T + tensors["bias"]


@dataclass(frozen=True)
class DirichletCalibration(_Affine):
    """A fitted Dirichlet calibration: logits -> weights @ log softmax(logits) + bias. Fields as in `MatrixScaling`."""

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return logits.log_softmax(1) @ tensors["weights"].T + tensors["bias"]


def fit_vector_scaling(logits: AnyArray, target: AnyArray, *, ridge: float = 0.1) -> VectorScaling:
    r"""The weights w and biases b that minimise the negative log-likelihood of softmax(w z + b) over n rows.

    .. math:: \mathrm{NLL}(w \circ z + b) + \frac{r}{n} \sum_k \left[ (T w_k - 1)^2 + b_k^2 \right]

    T is the one temperature of lowest NLL: the ridge r draws towards temperature scaling, as much as a fraction of a
    row would. Without it, rows that can be told apart or a class without rows would drive numbers to infinity. A class
    without rows keeps its column; its mean probability becomes about 1/n.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
            Probabilities are refused.
        target: Class numbers, integers `(rows,)`.
        ridge: r, a positive number.

    Returns:
        A frozen callable logits -> logits, with the fit's numbers as fields. Predictions may change.

    Raises:
        ValueError: As in `fit_temperature`, and if the ridge is not positive.

    Example:
        >>> logits = torch.zeros(400, 2)
        >>> fitted = fit_vector_scaling(logits, torch.arange(400) % 4 // 3)  # 3 rows of 4 are of class 0
        >>> round(fitted(logits)[0].softmax(0)[0].item(), 3)
        0.75

    Reference:
        Guo et al. 2017, arXiv 1706.04599, section 4.2; the ridge is ours.
    """
    z, y = check_fit(logits, target)
    check_positive("ridge", (ridge,))
    temperature = best_temperature(z, y)
    u = z / temperature
    centre = torch.stack([torch.ones_like(u[0]), torch.zeros_like(u[0])])
    strength = torch.full_like(centre, ridge / len(z))
    best, converged = minimise(vector_objective(u, y, centre, strength), centre, tolerance=tolerance(u, strength))
    fitted = VectorScaling(
        weights=tuple((best[0] / temperature).tolist()),
        bias=tuple(best[1].tolist()),
        rows=len(z),
        nll_before=mean_nll(z, y).item(),
        nll_after=math.nan,
        converged=converged,
    )
    fitted = replace(fitted, nll_after=mean_nll(fitted(z), y).item())
    if fitted.nll_after < fitted.nll_before:
        return fitted
    classes = fitted.num_classes
    return replace(fitted, weights=(1.0,) * classes, bias=(0.0,) * classes, nll_after=fitted.nll_before)


def fit_matrix_scaling(
    logits: AnyArray,
    target: AnyArray,
    *,
    off_diagonal: Sequence[float] = OFF_DIAGONAL,
    bias: Sequence[float] = BIAS,
    ridge: float = 0.1,
    folds: int = 5,
    seed: int = 0,
) -> MatrixScaling:
    r"""The matrix W and biases b that minimise the negative log-likelihood of softmax(W z + b), with ODIR.

    .. math:: \mathrm{NLL}(W z + b) + \frac{\lambda}{K (K - 1)} \sum_{i \ne j} W_{ij}^2
        + \frac{\mu}{K} \sum_k b_k^2 + \frac{r}{n} \sum_k (T W_{kk} - 1)^2

    Lambda and mu are those of lowest cross-validated NLL over K classes and n rows. The ridge r, which ODIR has not,
    draws the diagonal towards the one temperature T as much as a fraction of a row would: it keeps it finite where rows
    can be told apart and for a class without rows, which keeps its column, with a small probability.

    There are K (K + 1) numbers to fit: with few rows a class expect vector scaling to do better, and with 100 classes
    and 5,000 rows a minute or two on one core.

    Args:
        logits: Scores before the softmax, `(rows, classes)`, torch or numpy, of rows the model was not trained on.
            Probabilities are refused.
        target: Class numbers, integers `(rows,)`.
        off_diagonal: Candidates for lambda, positive numbers.
        bias: Candidates for mu, positive numbers. With one pair of candidates nothing is cross-validated.
        ridge: r, a positive number.
        folds: Folds of the cross-validation, at least 2. With fewer rows than folds the largest candidates are taken.
        seed: Seed of the folds.

    Returns:
        A frozen callable logits -> logits, with the fit's numbers and the choice as fields. Predictions may change.

    Raises:
        ValueError: As in `fit_temperature`, and if a candidate, the ridge or the folds are out of range.

    Example:
        >>> logits = 2 * torch.eye(3).repeat(40, 1)
        >>> fitted = fit_matrix_scaling(logits, torch.arange(120) % 3, off_diagonal=[1.0], bias=[1.0])
        >>> fitted.converged and fitted.nll_after < fitted.nll_before
        True

    Reference:
        Guo et al. 2017, arXiv 1706.04599, section 4.2; ODIR: Kull et al. 2019, arXiv 1910.12656, section 4, who try
        more candidates.
    """
    z, y = check_fit(logits, target)
    return _fitted(MatrixScaling, z, y, fit_odir(z, y, off_diagonal, bias, ridge, folds, seed))


def fit_dirichlet(
    logits: AnyArray,
    target: AnyArray,
    *,
    off_diagonal: Sequence[float] = OFF_DIAGONAL,
    bias: Sequence[float] = BIAS,
    ridge: float = 0.1,
    folds: int = 5,
    seed: int = 0,
) -> DirichletCalibration:
    """Dirichlet calibration with ODIR: `fit_matrix_scaling` with log softmax(z) in the place of z.

    A constant added to all logits of a row then has no influence, as it has none on the model's own probabilities.

    Args:
        logits: As in `fit_matrix_scaling`.
        target: Class numbers, integers `(rows,)`.
        off_diagonal: Candidates for lambda.
        bias: Candidates for mu.
        ridge: Weight of the pull on the diagonal.
        folds: Folds of the cross-validation.
        seed: Seed of the folds.

    Returns:
        A frozen callable logits -> logits, with the fit's numbers and the choice as fields. Predictions may change.

    Raises:
        ValueError: As in `fit_matrix_scaling`.

    Example:
        >>> logits = 2 * torch.eye(3).repeat(40, 1)
        >>> fitted = fit_dirichlet(logits, torch.arange(120) % 3, off_diagonal=[1.0], bias=[1.0])
        >>> torch.allclose(fitted(logits), fitted(logits + 5.0))
        True

    Reference:
        Kull et al. 2019, arXiv 1910.12656, section 3 and, for ODIR, section 4.
    """
    z, y = check_fit(logits, target)
    return _fitted(DirichletCalibration, z, y, fit_odir(z.log_softmax(1), y, off_diagonal, bias, ridge, folds, seed))


_AnyAffine = TypeVar("_AnyAffine", bound=_Affine)


def _fitted(kind: type[_AnyAffine], z: Tensor, y: Tensor, fit: AffineFit) -> _AnyAffine:
    fitted = kind(
        weights=tuple(map(tuple, fit.weights.tolist())),
        bias=tuple(fit.bias.tolist()),
        off_diagonal=fit.off_diagonal,
        bias_penalty=fit.bias_penalty,
        rows=len(z),
        nll_before=mean_nll(z, y).item(),
        nll_after=math.nan,
        converged=fit.converged,
        cross_validated_nll=fit.scores,
    )
    fitted = replace(fitted, nll_after=mean_nll(fitted(z), y).item())
    if fitted.nll_after < fitted.nll_before:
        return fitted
    classes = fitted.num_classes
    return replace(fitted, weights=_identity(classes), bias=(0.0,) * classes, nll_after=fitted.nll_before)


def _identity(classes: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(i == j) for j in range(classes)) for i in range(classes))


def _remarks(fell_back: bool, converged: bool) -> tuple[str, ...]:
    nothing = "no weights did better than none: the logits are left alone"
    short = "the fit stopped before it reached its minimum"
    return (nothing,) * fell_back + (short,) * (not converged)


def _float64(weights: tuple[float, ...] | tuple[tuple[float, ...], ...], bias: tuple[float, ...]) -> dict[str, Tensor]:
    return {
        "weights": torch.tensor(weights, dtype=torch.float64),
        "bias": torch.tensor(bias, dtype=torch.float64),
    }


def _check_finite(*numbers: tuple[float, ...]) -> None:
    if not all(math.isfinite(number) for row in numbers for number in row):
        raise ValueError("weights and bias must be finite")
