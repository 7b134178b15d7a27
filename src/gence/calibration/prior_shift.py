"""Prior shift: the classes are as common as they are where the model is used, not as they were in training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gence._arrays import as_tensor
from gence.calibration._inputs import AnyArray, check_rows
from gence.calibration.calibrator import Calibrator

Shares = Tensor | np.ndarray | Sequence[float]

_SMALLEST_SHARE = 1e-12
_HARDLY_A_ROW = 0.01


@dataclass(frozen=True)
class PriorShift(Calibrator):
    r"""Bayes' rule for other class shares: :math:`p'(k \mid x) \propto p(k \mid x)\, \pi'_k / \pi_k`.

    Each class's logit gets :math:`\log(\pi'_k / \pi_k)`, so the class of the highest logit may change. It holds where
    the classes look as they did and only their shares differ.

    Attributes:
        train_prior: The share of each class in the rows that the logits were trained or calibrated on.
        target_prior: The share of each class where they are used.
        rows: Unlabelled rows the target prior was estimated from; 0 if it was given.
        iterations: Steps of EM taken; 0 if it was given.
        converged: Whether EM came to rest; True if it was given.
        log_likelihood_gain: How much likelier the unlabelled rows are under the target prior than under the training
            prior, in nats a row; 0 if it was given.
    """

    train_prior: tuple[float, ...]
    target_prior: tuple[float, ...]
    rows: int = 0
    iterations: int = 0
    converged: bool = True
    log_likelihood_gain: float = 0.0

    def __post_init__(self) -> None:
        if len(self.train_prior) != len(self.target_prior):
            raise ValueError(
                f"one share a class is expected in both priors; got {len(self.train_prior)} in train_prior and "
                f"{len(self.target_prior)} in target_prior"
            )
        _check_shares("train_prior", self.train_prior)
        _check_shares("target_prior", self.target_prior)

    @property
    def num_classes(self) -> int:
        return len(self.train_prior)

    @property
    def summary(self) -> str:
        factors = [new / old for old, new in zip(self.train_prior, self.target_prior, strict=True)]
        return f"class shares times {min(factors):.3g} to {max(factors):.3g}"

    @property
    def remarks(self) -> tuple[str, ...]:
        found = []
        if not self.converged:
            found.append(f"EM had not come to rest after {self.iterations} iterations: give it a larger max_iterations")
        missing = [k for k, share in enumerate(self.target_prior) if share * self.rows < _HARDLY_A_ROW and self.rows]
        if missing:
            found.append(
                f"EM found none of {self.rows} rows to be of {_classes(missing)}, and all but rules out "
                f"{'it' if len(missing) == 1 else 'them'}"
            )
        return tuple(found)

    def tensors(self) -> dict[str, Tensor]:
        train, target = (torch.tensor(prior, dtype=torch.float64) for prior in (self.train_prior, self.target_prior))
        return {"log_ratio": target.log() - train.log()}

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return logits + tensors["log_ratio"]


def fit_prior_shift(train_prior: Shares, target_prior: Shares) -> PriorShift:
    """The prior shift between two known priors.

    Args:
        train_prior: The share of each class in the rows that the logits were trained or calibrated on, `(classes,)`,
            positive, with sum 1.
        target_prior: The share of each class where the logits are used, likewise. A class that is thought impossible
            needs a small share too: 0 would make one row of it an infinite loss.

    Returns:
        A frozen callable logits -> logits.

    Raises:
        ValueError: If a prior is no row of positive shares with sum 1 (to 1e-6), or their lengths differ.

    Example:
        >>> shift = fit_prior_shift([0.5, 0.5], [0.9, 0.1])
        >>> shift(torch.zeros(1, 2)).softmax(1)  # what cannot be told apart has the target prior
        tensor([[0.9000, 0.1000]])

    Reference:
        Saerens, Latinne and Decaestecker 2002, Neural Computation 14(1), equation 2.4.
    """
    return PriorShift(_shares("train_prior", train_prior), _shares("target_prior", target_prior))


def fit_prior_shift_em(
    logits: AnyArray, train_prior: Shares, *, max_iterations: int = 1000, tolerance: float = 1e-8
) -> PriorShift:
    r"""The prior shift to rows without labels: their class shares are estimated from the logits by EM.

    From :math:`\pi' = \pi`, each step corrects every row's probabilities and takes their mean,

    .. math:: \pi'_k \leftarrow \frac{1}{n} \sum_i
        \frac{p_{ik}\, \pi'_k / \pi_k}{\sum_j p_{ij}\, \pi'_j / \pi_j}, \qquad p_i = \mathrm{softmax}(z_i),

    which never lowers the likelihood of the rows. It trusts the probabilities, and takes a miscalibrated model's errors
    for a shift: calibrate first, on rows with the training prior, and give the calibrated logits. A share below 1e-12
    is raised to it.

    Args:
        logits: Calibrated logits `(rows, classes)`, torch or numpy, of unlabelled rows from where the model is used.
            Probabilities are refused.
        train_prior: The share of each class in the rows that the logits were trained or calibrated on, `(classes,)`,
            positive, with sum 1.
        max_iterations: Steps to take at most, at least 1.
        tolerance: EM has converged once a step moves the shares by no more than this in total.

    Returns:
        A frozen callable logits -> logits, with the estimate as fields. `remarks` says if it did not converge, and
        which classes have all but vanished.

    Raises:
        ValueError: If the logits cannot be learned from, `train_prior` is no row of positive shares with sum 1, one for
            each column of the logits, or `max_iterations` or `tolerance` is out of range.

    Example:
        >>> logits = torch.tensor([[30.0, 0.0]] * 9 + [[0.0, 30.0]])
        >>> [round(share, 3) for share in fit_prior_shift_em(logits, [0.5, 0.5]).target_prior]
        [0.9, 0.1]

    Reference:
        Saerens, Latinne and Decaestecker 2002, Neural Computation 14(1), equation 2.9. That calibration comes first:
        Alexandari, Kundaje and Shrikumar 2020, arXiv 1901.06852.
    """
    z, train = check_rows(logits), _shares("train_prior", train_prior)
    if len(train) != z.shape[1]:
        raise ValueError(
            f"train_prior must hold one share for each of {z.shape[1]} columns of logits; got {len(train)}"
        )
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1; got {max_iterations}")
    if not (math.isfinite(tolerance) and tolerance > 0.0):
        raise ValueError(f"tolerance must be a positive finite number; got {tolerance}")
    prior = torch.tensor(train, dtype=torch.float64, device=z.device)
    likelihood = z.softmax(1) / prior
    shares, moved, iterations = prior, math.inf, 0
    while moved > tolerance and iterations < max_iterations:
        # The mean over the rows of likelihood * shares / (likelihood @ shares), without making that matrix.
        updated = shares * (likelihood.T @ (1.0 / (likelihood @ shares))) / len(z)
        moved, shares, iterations = (updated - shares).abs().sum().item(), updated, iterations + 1
    shares = shares.clamp(min=_SMALLEST_SHARE)
    shares = shares / shares.sum()
    return PriorShift(
        train_prior=train,
        target_prior=tuple(shares.tolist()),
        rows=len(z),
        iterations=iterations,
        converged=moved <= tolerance,
        log_likelihood_gain=((likelihood @ shares).log() - (likelihood @ prior).log()).mean().item(),
    )


def _shares(name: str, prior: Shares) -> tuple[float, ...]:
    given = as_tensor(prior) if isinstance(prior, Tensor | np.ndarray) else torch.tensor(prior, dtype=torch.float64)
    if given.dim() != 1:
        raise ValueError(f"{name} must hold one share a class, shape (classes,); got shape {tuple(given.shape)}")
    exact = given.to(torch.float64)
    if given.dtype in (torch.float16, torch.bfloat16) and (exact.sum() - 1.0).abs() < 1e-2:
        exact = exact / exact.sum()  # off by no more than its rounding
    shares = tuple(exact.tolist())
    _check_shares(name, shares)
    return shares


def _check_shares(name: str, shares: tuple[float, ...]) -> None:
    if len(shares) < 2:
        raise ValueError(f"{name} must hold the shares of at least 2 classes; got {len(shares)}")
    total, smallest = math.fsum(shares), min(shares)
    if not abs(total - 1.0) <= 1e-6:
        raise ValueError(f"{name} must hold shares with sum 1; got a sum of {total:.6g}: use counts / counts.sum()")
    if not smallest > 0.0:
        raise ValueError(
            f"{name} must hold positive shares; got {smallest:g} for class {shares.index(smallest)}: give every class "
            "a little, as (counts + 1) / (counts + 1).sum() does"
        )


def _classes(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"class {numbers[0]}"
    shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return f"{len(numbers)} classes ({shown})"
