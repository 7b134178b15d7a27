"""Last layers that are no plain linear map."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CosineHead(nn.Module):
    r"""A linear layer of directions only: :math:`z_k = \mathrm{scale} \cdot \cos(x, w_k)`, without a bias.

    The scale is a part of the logits, in training as in prediction, so that their softmax is the probabilities a loss
    was given. Without it cosines lie in [-1, 1], and no class of ten could get more than 0.45.

    The weights start as those of `torch.nn.Linear`. A row of zeros has cosine 0 to every class.

    Args:
        features: Numbers a row.
        num_classes: Logits a row.
        scale: The largest logit there can be, above 0.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> head = CosineHead(8, 3)
        >>> head(torch.ones(5, 8)).shape
        torch.Size([5, 3])
        >>> head
        CosineHead(in_features=8, out_features=3, scale=30.0)

    Reference:
        Wang et al. 2017, arXiv 1704.06369; Cao et al. 2019, arXiv 1906.07413, use it with scale 30.
    """

    def __init__(self, features: int, num_classes: int, scale: float = 30.0) -> None:
        super().__init__()
        if features < 1 or num_classes < 1:
            raise ValueError(f"features and num_classes must be at least 1; got {features} and {num_classes}")
        if not 0.0 < scale < math.inf:
            raise ValueError(f"scale must be a finite number above 0, such as 30; got {scale}")
        self.in_features = features
        self.out_features = num_classes
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_classes, features))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as nn.Linear does

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(..., num_classes)` of features `(..., features)`."""
        return self.scale * F.linear(_directions(features), _directions(self.weight))

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, scale={self.scale}"


def _directions(vectors: Tensor) -> Tensor:
    # The usual floor of 1e-12 is 0 in half precision, and 0 / 0 would follow.
    return F.normalize(vectors, dim=-1, eps=torch.finfo(vectors.dtype).eps)
