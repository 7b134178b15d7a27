"""The distance to the k-th nearest training row, in the directions of the features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gence.ood._inputs import Array, check_features, check_training_features

_SIMILARITIES_AT_ONCE = 2**24  # 128 MB of float64


@dataclass(frozen=True, eq=False)
class NearestNeighbours:
    """A fitted score: features -> minus the distance to the k-th nearest training row.

    Attributes:
        directions: The training features scaled to length 1, float64 `(training rows, features)`.
        k: Which neighbour counts.
    """

    directions: Tensor
    k: int

    def __call__(self, features: Array) -> Tensor:
        """Scores of `(rows, features)`, float64 `(rows,)` in [-2, 0].

        Raises:
            ValueError: If the features have another shape, or are not floating-point or finite.
        """
        queries = F.normalize(check_features(features, columns=self.directions.shape[1]), dim=1)
        directions = self.directions.to(queries.device)
        rows = max(_SIMILARITIES_AT_ONCE // len(directions), 1)
        return torch.cat([self._score(part, directions) for part in queries.split(rows)])

    def _score(self, queries: Tensor, directions: Tensor) -> Tensor:
        nearest = (directions.square().sum(1) / 2 - queries @ directions.T).topk(self.k, largest=False).indices
        # The difference itself, because 2 - 2 cos loses half of the digits of a small distance.
        return -(queries - directions[nearest[:, -1]]).norm(dim=1)


def fit_knn(features: Array, *, k: int | None = None) -> NearestNeighbours:
    r"""Keep the training features, so that rows can be scored by :math:`-\lVert u - u_{(k)} \rVert_2`.

    :math:`u = h / \lVert h \rVert_2` is the direction of the features and :math:`u_{(k)}` the k-th nearest of the
    training rows. The search is exact, in float64, in pieces of bounded memory. A training row that is scored is its
    own first neighbour. Features that are all 0 have no direction and stay 0, at distance 1 from every other row.

    Args:
        features: Of the training rows, `(rows, features)`, torch or numpy.
        k: Which neighbour counts; without one it is 50, as is usual for thousands of rows a class, or the last of fewer
            rows. With few labels, take no more than the smallest class has rows, or the distance measured is that to
            another class.

    Returns:
        A frozen callable features -> float64 `(rows,)`, high is in-distribution.

    Raises:
        ValueError: If the features have another shape or no rows, are not floating-point or finite, or k lies outside
            1..rows.

    Example:
        >>> from torch import tensor
        >>> score = fit_knn(tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), k=2)
        >>> score(tensor([[5.0, 0.0], [-1.0, 0.0]])).abs().tolist()
        [0.0, 2.0]

    Reference:
        Sun et al. 2022, arXiv 2204.06507, section 3.
    """
    features = check_training_features(features)
    k = min(50, len(features)) if k is None else k
    if not 1 <= k <= len(features):
        raise ValueError(f"k must lie in 1..{len(features)}, the number of training rows; got {k}")
    return NearestNeighbours(F.normalize(features, dim=1), k)
