"""The distance to the nearest class mean, in units of the spread within classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gence.ood._inputs import Array, check_class_numbers, check_features, check_training_features


@dataclass(frozen=True, eq=False)
class Mahalanobis:
    """A fitted score: features -> minus the smallest squared Mahalanobis distance to a class mean.

    Attributes:
        means: The mean of each class present, in class order, float64 `(classes, features)`.
        whitening: W with W W^T the inverse of the covariance, float64 `(features, rank)`.
        shrinkage: The share of the covariance that is the scaled identity.
    """

    means: Tensor
    whitening: Tensor
    shrinkage: float

    def __call__(self, features: Array) -> Tensor:
        """Scores of `(rows, features)`, float64 `(rows,)`, at most 0.

        Raises:
            ValueError: If the features have another shape, or are not floating-point or finite.
        """
        features = check_features(features, columns=self.means.shape[1])
        means, whitening = self.means.to(features.device), self.whitening.to(features.device)
        # Not by a product of matrices, which loses the digits of small distances between far points.
        distances = torch.cdist(features @ whitening, means @ whitening, compute_mode="donot_use_mm_for_euclid_dist")
        return -distances.amin(1).square()


def fit_mahalanobis(features: Array, target: Array, *, shrinkage: float | None = None) -> Mahalanobis:
    r"""Learn class means and one covariance, so that rows can be scored by
    :math:`-\min_c (h - \mu_c)^\top \Sigma_\alpha^{-1} (h - \mu_c)`.

    The covariance is that of all rows around the mean of their class (tied), divided by the number of rows. With fewer
    rows than features, or features that never vary, it has no inverse; so it is mixed with a sphere of the same mean
    variance, :math:`\Sigma_\alpha = (1 - \alpha) \Sigma + \alpha \frac{\operatorname{tr} \Sigma}{d} I`, with
    :math:`\alpha` by the formula of Ledoit and Wolf, which vanishes as rows grow.

    Args:
        features: Of the training rows, `(rows, features)`, torch or numpy.
        target: Their class numbers, integers `(rows,)`.
        shrinkage: :math:`\alpha` in [0, 1]; None for Ledoit and Wolf's. At 0, directions without variance are left out
            (pseudo-inverse): a row that differs there alone scores as if it did not.

    Returns:
        A frozen callable features -> float64 `(rows,)`, high is in-distribution.

    Raises:
        ValueError: If the features or targets do not fit, the shrinkage lies outside [0, 1], or no feature varies
            within any class.

    Example:
        >>> from torch import tensor
        >>> features = tensor([[-1.0, 0.0], [1.0, 0.0], [10.0, -1.0], [10.0, 1.0]])
        >>> score = fit_mahalanobis(features, tensor([0, 0, 1, 1]), shrinkage=0.0)
        >>> [round(s, 6) for s in score(tensor([[0.0, 0.0], [10.0, 3.0]])).tolist()]  # variances 1/2: 3 ** 2 / (1/2)
        [-0.0, -18.0]

    Reference:
        Lee et al. 2018, arXiv 1807.03888, equations 1 and 2; Ledoit and Wolf 2004, J. Multivariate Analysis 88(2).
    """
    features = check_training_features(features)
    target = check_class_numbers(target, len(features)).to(features.device)
    if shrinkage is not None and not 0.0 <= shrinkage <= 1.0:
        raise ValueError(f"shrinkage must lie in [0, 1], or be None for Ledoit and Wolf's; got {shrinkage}")
    _, index, counts = target.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), features.shape[1], dtype=features.dtype, device=features.device)
    means = sums.index_add(0, index, features) / counts[:, None]
    within = features - means[index]
    covariance = within.T @ within / len(within)
    variances, directions = torch.linalg.eigh(covariance)
    variances = variances.clamp(min=0.0)
    # What rounding leaves of features that are constant within every class, however large they are.
    noise = len(variances) * torch.finfo(features.dtype).eps
    if bool(variances[-1] <= (noise * features.abs().amax()) ** 2):
        raise ValueError("features do not vary within any class, so there is no spread to measure distances in")
    alpha = _ledoit_wolf(within, covariance) if shrinkage is None else float(shrinkage)
    variances = (1.0 - alpha) * variances + alpha * variances.mean()
    kept = variances > noise * variances[-1]
    return Mahalanobis(means, directions[:, kept] / variances[kept].sqrt(), alpha)


def _ledoit_wolf(within: Tensor, covariance: Tensor) -> float:
    """The share of sphere that makes the covariance closest to the true one, estimated from the rows."""
    rows, d = within.shape
    sphere = covariance.trace() / d
    from_sphere = covariance.square().sum() - d * sphere**2
    from_truth = (within.square().sum(1).square().mean() - covariance.square().sum()) / rows
    return float((from_truth / from_sphere).clamp(0.0, 1.0)) if from_sphere > 0.0 else 0.0
