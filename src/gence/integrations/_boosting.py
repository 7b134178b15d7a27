"""GenCE of a whole table of scores: value, gradient, and an upper bound of the second derivative to divide it by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gence._errors import InputError

Array = NDArray[np.float64]

LEAST_BOUND = 1e-16
"""No bound is below this, as a division by 0 would follow; XGBoost's softmax has the same floor."""


def gradient_and_bound(
    scores: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    strength: float = 1.0,
    class_counts: Sequence[float] | ArrayLike | None = None,
    tau: float = 1.0,
    class_weight: Sequence[float] | ArrayLike | None = None,
    factor: float | None = None,
) -> tuple[Array, Array]:
    r"""Gradient of full-batch GenCE in the scores, and a positive bound of its curvature, for Newton's steps.

    With q the softmax of the scores, :math:`w_i` the row weights, :math:`W = \sum_i w_i` and
    :math:`m_c = \frac{1}{W} \sum_i w_i q_{ic}`, the loss of the table is

    .. math:: L = \sum_i w_i v_{y_i} \left( -\log q_{i y_i} + \mathrm{strength} \cdot \log m_{y_i} \right)

    It is `generative_cross_entropy` with `reduction="sum"`; a row of weight 2 is that row twice, in the mass as well.
    Class weights v weigh the terms only, as `weight` does there.

    The bound is exact in what it leaves out: with a `factor` of 2, diag(bound) less the Hessian of all scores of all
    rows together has no negative eigenvalue; with a factor of 1, no diagonal entry of the Hessian is above it. Where
    the mass of every class is its share of the labels it is `factor` times q(1 - q), so that 2 is what XGBoost takes
    for softmax, K/(K - 1) what LightGBM takes, and 1 what both take for one logistic score. At strength 0 gradient and
    bound are those of the libraries themselves.

    Args:
        scores: `(N, K)`, raw scores; or `(N,)`, the score of class 1 of two, that of class 0 being 0.
        target: `(N,)`, class numbers; whole numbers in floating point are fine.
        weight: `(N,)`, row weights of at least 0; None is 1 each.
        strength: How much of log m is taken off, at least 0: 0 is cross-entropy, 1 is GenCE.
        class_counts: `(K,)`, training rows of each class. If given, the scores of the loss are z + tau log pi, with pi
            the shares of these counts, as in `gence_prior`.
        tau: How much of log pi is added.
        class_weight: `(K,)`, weights of the terms.
        factor: At least 1; None is 2, and 1 for scores `(N,)`.

    Returns:
        Gradient and bound, float64, each of the shape of `scores`.

    Raises:
        InputError: If shapes or settings do not fit together, a class number is out of range, or a score is not finite.

    Example:
        >>> gradient, bound = gradient_and_bound([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0, 0, 1])
        >>> gradient.round(3).tolist()
        [[-0.101, 0.101], [-0.236, 0.236], [0.302, -0.302]]
        >>> bound.round(3).tolist()
        [[0.214, 0.214], [0.411, 0.411], [0.442, 0.442]]

    Reference:
        The bound is ours.
    """
    table = _table(scores, class_counts, tau)
    labels, rows, terms = _weights(table, target, weight, class_weight)
    if factor is None:
        factor = 1.0 if np.ndim(scores) == 1 else 2.0
    if not 1.0 <= factor < math.inf:
        raise InputError(f"factor must be a finite number of at least 1, below which there is no bound; got {factor}")
    log_q = _log_softmax(table)
    q = np.exp(log_q)
    gradient = terms[:, None] * q
    gradient[np.arange(len(labels)), labels] -= terms
    bound = terms[:, None] * q * (1.0 - q)
    if _checked_strength(strength) > 0.0:
        counts = strength * np.bincount(labels, terms, minlength=table.shape[1])
        # r q times the row weight, by how the rows share a class: it cannot overflow where the mass itself underflows.
        pull = counts * np.exp(_log_shares_of_rows(log_q, rows))
        excess = pull - q * pull.sum(1, keepdims=True)
        gradient += excess
        bound += (1.0 - 2.0 * q) * np.maximum(excess, 0.0) + 0.5 * q * np.abs(excess).sum(1, keepdims=True)
    bound = np.maximum(factor * bound, LEAST_BOUND)
    return (gradient[:, 1], bound[:, 1]) if np.ndim(scores) == 1 else (gradient, bound)


def generative_loss(
    scores: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    strength: float = 1.0,
    class_counts: Sequence[float] | ArrayLike | None = None,
    tau: float = 1.0,
    class_weight: Sequence[float] | ArrayLike | None = None,
) -> float:
    """The loss that `gradient_and_bound` is of, over the total weight; its strength 0 is the negative log-likelihood.

    Args:
        scores: As in `gradient_and_bound`, and so is all else.
        target: As there.
        weight: As there.
        strength: As there.
        class_counts: As there.
        tau: As there.
        class_weight: As there.

    Returns:
        L / W, in nats.

    Raises:
        InputError: As there.

    Example:
        >>> round(generative_loss([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0, 0, 1]), 4)
        -0.3888
    """
    table = _table(scores, class_counts, tau)
    labels, rows, terms = _weights(table, target, weight, class_weight)
    log_q = _log_softmax(table)
    values = -log_q[np.arange(len(labels)), labels]
    if _checked_strength(strength) > 0.0:
        counting = rows > 0.0
        sums = np.log(rows[counting, None]) + log_q[counting]
        values += strength * (_log_sum(sums, axis=0)[0] - math.log(rows.sum()))[labels]
    return float(terms @ values / rows.sum())


def probabilities(
    scores: ArrayLike, class_counts: Sequence[float] | ArrayLike | None = None, *, tau: float = 1.0
) -> Array:
    """Class probabilities of raw scores: softmax(z), or softmax(z + tau log pi) where class counts are given.

    After prior-aware training the first is the prediction for balanced classes, the second that for classes as
    frequent as in training.

    Args:
        scores: `(N, K)`, raw scores; or `(N,)`, the score of class 1 of two.
        class_counts: `(K,)`, training rows of each class.
        tau: How much of log pi is added.

    Returns:
        `(N, K)`, float64, rows that sum to 1.

    Raises:
        InputError: If shapes do not fit together or a score is not finite.

    Example:
        >>> probabilities([0.0]).tolist()
        [[0.5, 0.5]]
        >>> probabilities([[0.0, 0.0]], class_counts=[30, 10]).round(2).tolist()
        [[0.75, 0.25]]
    """
    return np.exp(_log_softmax(_table(scores, class_counts, tau)))


def log_prior(class_counts: Sequence[float] | ArrayLike, *, tau: float = 1.0) -> Array:
    """`(K,)`, tau log pi, with pi the shares of the counts: where the scores of a model without trees belong.

    Raises:
        InputError: If the counts are not positive numbers, one a class, or `tau` is negative.

    Example:
        >>> log_prior([3, 1]).round(4).tolist()
        [-0.2877, -1.3863]
    """
    counts = np.asarray(class_counts, dtype=np.float64)
    if counts.ndim != 1 or not (np.isfinite(counts) & (counts > 0.0)).all():
        raise InputError(
            "class_counts must be positive numbers, one a class, as a class without rows has no prior; got "
            f"{counts.tolist()}: leave that class out, or count a row more for every class"
        )
    if not 0.0 <= tau < math.inf:
        raise InputError(f"tau must be a finite number of at least 0, 1 for the prior itself; got {tau}")
    return tau * np.log(counts / counts.sum())


def _table(scores: ArrayLike, class_counts: Sequence[float] | ArrayLike | None, tau: float) -> Array:
    """The scores as `(N, K)` in float64, the prior added."""
    given = np.asarray(scores, dtype=np.float64)
    table = np.stack([np.zeros_like(given), given], axis=1) if given.ndim == 1 else given
    if table.ndim != 2 or table.shape[1] < 2:
        raise InputError(
            f"scores must have the shape (rows, classes), or (rows,) for one score of two classes; got {given.shape}: "
            "set num_class to the number of classes"
        )
    if not np.isfinite(table).all():
        raise InputError("scores must be finite; got NaN or infinity: lower the learning rate, or clean the weights")
    if class_counts is None:
        return table
    prior = log_prior(class_counts, tau=tau)
    if len(prior) != table.shape[1]:
        raise InputError(
            f"class_counts must have one entry a class, {table.shape[1]} as scores has; got {len(prior)}: use "
            "numpy.bincount(labels, minlength=K)"
        )
    return table + prior


def _weights(
    table: Array, target: ArrayLike, weight: ArrayLike | None, class_weight: Sequence[float] | ArrayLike | None
) -> tuple[NDArray[np.intp], Array, Array]:
    """Class numbers, the weights of the rows in the mass, and those of their terms."""
    labels = np.asarray(target)
    size, num_classes = table.shape
    if labels.shape != (size,) or size == 0:
        raise InputError(f"target must hold a class number for each of {size} rows, at least one; got {labels.shape}")
    wrong = (labels < 0) | (labels >= num_classes) | (labels != np.floor(labels))
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(
            f"target must hold class numbers from 0 to {num_classes - 1}; got {labels[place]} at {place}: number the "
            "classes from 0, and set num_class to how many there are"
        )
    numbers = labels.astype(np.intp)
    rows = _checked_weights("weight", weight, size)
    if class_weight is None:
        return numbers, rows, rows
    return numbers, rows, rows * _checked_weights("class_weight", class_weight, num_classes)[numbers]


def _checked_weights(name: str, values: ArrayLike | None, size: int) -> Array:
    if values is None:
        return np.ones(size)
    weights = np.asarray(values, dtype=np.float64)
    if weights.shape != (size,) or not (np.isfinite(weights) & (weights >= 0.0)).all() or weights.sum() == 0.0:
        raise InputError(
            f"{name} must be {size} finite numbers of at least 0, not all 0; got shape {weights.shape} from "
            f"{weights.min(initial=math.inf)} to {weights.max(initial=-math.inf)}"
        )
    return weights


def _checked_strength(strength: float) -> float:
    if not 0.0 <= strength < math.inf:
        raise InputError(
            f"strength must be a finite number of at least 0, 1 for GenCE and 0 for cross-entropy; got {strength}: "
            "below 0 there is no bound"
        )
    return strength


def _log_shares_of_rows(log_q: Array, weight: Array) -> Array:
    """`(N, K)`, the logarithm of what each row holds of the mass of a class; a row without weight holds nothing."""
    with np.errstate(divide="ignore"):
        logits = np.log(weight)[:, None] + log_q
    return logits - _log_sum(logits, axis=0)


def _log_softmax(scores: Array) -> Array:
    return scores - _log_sum(scores, axis=1)


def _log_sum(values: Array, axis: int) -> Array:
    largest = values.max(axis, keepdims=True)
    return largest + np.log(np.exp(values - largest).sum(axis, keepdims=True))
