"""Scores of logits; nothing is fitted. High is in-distribution."""

from __future__ import annotations

import math

from torch import Tensor

from gence.ood._inputs import Array, check_logits


def max_softmax(logits: Array) -> Tensor:
    r"""The probability of the predicted class, :math:`\max_k \operatorname{softmax}(z)_k` (MSP).

    A temperature can change which of two rows scores higher, unless there are two classes only. Rows whose top logit
    leads by more than about 37 all score 1.0.

    Args:
        logits: `(rows, classes)`, torch or numpy. Probabilities are refused.

    Returns:
        Float64 `(rows,)` in [1 / classes, 1].

    Raises:
        ValueError: If the logits have another shape, are not floating-point or finite, or are probabilities.

    Example:
        >>> from torch import tensor
        >>> max_softmax(tensor([[0.0, 0.0], [100.0, 0.0]])).tolist()
        [0.5, 1.0]

    Reference:
        Hendrycks and Gimpel 2017, arXiv 1610.02136, section 2.
    """
    return check_logits(logits).softmax(1).amax(1)


def max_logit(logits: Array) -> Tensor:
    r"""The highest logit, :math:`\max_k z_k` (MLS).

    One temperature divides every score by it, so no order of rows changes; a temperature that differs from row to row
    changes it. The score depends on the size of the logits, which a softmax ignores.

    Args:
        logits: As in `max_softmax`.

    Returns:
        Float64 `(rows,)`.

    Raises:
        ValueError: As in `max_softmax`.

    Example:
        >>> from torch import tensor
        >>> max_logit(tensor([[0.5, 3.0], [-2.0, -1.0]])).tolist()
        [3.0, -1.0]

    Reference:
        Hendrycks et al. 2022, arXiv 1911.11132.
    """
    return check_logits(logits).amax(1)


def energy(logits: Array, *, temperature: float = 1.0) -> Tensor:
    r"""The negative free energy, :math:`T \log \sum_k \exp(z_k / T)`, so that high is in-distribution (EBO).

    It lies between the highest logit (T towards 0) and, for large T, T log K plus the mean logit. Logits that were
    divided by a temperature S give the scores of temperature S T, divided by S: the order of rows can change.

    Args:
        logits: As in `max_softmax`.
        temperature: T, above 0; published results use 1.

    Returns:
        Float64 `(rows,)`.

    Raises:
        ValueError: As in `max_softmax`, or if the temperature is no positive number.

    Example:
        >>> from torch import tensor
        >>> round(energy(tensor([[0.0, 0.0]])).item(), 4)  # log 2
        0.6931

    Reference:
        Liu et al. 2020, arXiv 2010.03759, equation 4, with the sign turned.
    """
    if not (math.isfinite(temperature) and temperature > 0.0):
        raise ValueError(f"temperature must be a positive number; got {temperature}")
    return temperature * (check_logits(logits) / temperature).logsumexp(1)


def negative_entropy(logits: Array) -> Tensor:
    r"""Minus the entropy of the prediction in nats, :math:`\sum_k p_k \log p_k` with :math:`p` the softmax.

    Args:
        logits: As in `max_softmax`.

    Returns:
        Float64 `(rows,)` in [-log classes, 0].

    Raises:
        ValueError: As in `max_softmax`.

    Example:
        >>> from torch import tensor
        >>> round(negative_entropy(tensor([[0.0, 0.0]])).item(), 4)  # minus log 2
        -0.6931

    Reference:
        Mukhoti et al. 2020, arXiv 2002.09437.
    """
    log_p = check_logits(logits).log_softmax(1)
    return (log_p.exp() * log_p).sum(1)
