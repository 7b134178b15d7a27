"""GenCE for JAX, with the conventions of optax's losses: a value for each row, which the caller reduces."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, Sequence

from gence._errors import InputError

try:
    import jax
    import jax.numpy as jnp
    from jax.typing import ArrayLike
except ModuleNotFoundError as error:
    raise ImportError(
        f"gence.integrations.jax needs {error.name}, which is not installed: pip install 'gence[jax]'"
    ) from error

__all__ = ["generative_cross_entropy"]


def generative_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    *,
    axis_name: Hashable | Sequence[Hashable] | None = None,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    strength: float = 1.0,
) -> jax.Array:
    r"""Cross-entropy of each row with log q replaced by log q - strength * log m.

    With q the softmax of the logits and :math:`m_k` the mean of :math:`q_k` over the rows that count, a row with label
    y gets :math:`-\log q_y + \mathrm{strength} \cdot \log m_y`. These are the values of
    `gence.generative_cross_entropy` with `reduction="none"`. The gradient flows through m, and a row's value depends on
    the logits of all: differentiate the sum or the mean. At strength 0 this is `optax.softmax_cross_entropy` and
    `optax.softmax_cross_entropy_with_integer_labels`.

    PyTorch's `"mean"` is `loss.mean()`; with a mask of rows it is `loss.sum() / where.sum()`, and with weights and
    class numbers `loss.sum() / weight[labels].sum()`.

    Under `pmap`, `shard_map` or `vmap(axis_name=...)`, `axis_name` says over which devices the batch is spread: m is
    then that of all their rows, by one pmax and one psum. The gradient of the values of all devices together is that of
    the whole batch in one place: add up (`psum`) or average (`pmean`) the gradients as for any other loss.

    It works under `jit`, `grad`, `vmap` and `jax.checkpoint`. A `vmap` without `axis_name` over the rows would give
    each row a mass of its own, and a loss of 0; map over batches, not over rows.

    Args:
        logits: Floating point, the classes on `axis`; every other axis holds rows. Minus infinity rules a class out.
        labels: Class numbers, whole numbers of the shape of `logits` without `axis`; or class probabilities, floating
            point of the shape of `logits`. A class number out of range gives NaN.
        axis: The axis of the classes; a tuple of axes is read as one flat axis, as in optax.
        where: Which rows count, the shape of the rows; or which classes of which row do, with the number of axes of
            `logits`. Where it is False a row gives 0 and is not in m, whatever it holds, NaN included; a class is not
            in the softmax, and as label of its row costs infinity.
        axis_name: Names of mapped axes, one or several.
        weight: `(C)`, class weights. They weigh the terms, not the mass.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
        strength: How much of log m is taken off: 0 is cross-entropy, 1 is GenCE. Above 1 the loss is no proper score.

    Returns:
        A value for each row, the shape of `logits` without `axis`, in its dtype. Half precision is computed in float32.

    Raises:
        InputError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits = jnp.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> loss = generative_cross_entropy(logits, jnp.array([0, 0, 1]))
        >>> round(float(loss.mean()), 4)
        -0.3888
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise InputError(f"label_smoothing must lie in [0, 1]; got {label_smoothing}")
    if not -math.inf < strength < math.inf:
        raise InputError(f"strength must be a finite number, 1 for GenCE and 0 for cross-entropy; got {strength}")
    given = jnp.asarray(logits)
    if given.ndim == 0 or not jnp.issubdtype(given.dtype, jnp.floating):
        raise InputError(f"logits must be floating point with an axis of classes; got {given.dtype} of {given.shape}")
    axes = _axes(axis, given.ndim)
    targets = jnp.asarray(labels)
    _check_labels_and_weight(targets, weight, given, axes)
    z = _classes_last(given, axes)
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    counts, allowed = _masks(where, given, axes)
    # A row that does not count must not reach the gradient either, where 0 times its NaN would be NaN.
    z = jnp.where(counts[..., None], z, 0.0)
    if allowed is not None:
        z = jnp.where(allowed | ~counts[..., None], z, -jnp.inf)
    log_q = jax.nn.log_softmax(z, axis=-1)
    scores = log_q if strength == 0.0 else log_q - strength * _log_class_mass(log_q, counts, axis_name)
    values = _cross_entropy(scores, targets, given, axes, counts, allowed, weight, label_smoothing)
    return jnp.where(counts, values, 0.0).astype(given.dtype)


def _log_class_mass(log_q: jax.Array, counts: jax.Array, axis_name: Hashable | Sequence[Hashable] | None) -> jax.Array:
    """`(C)`, the logarithm of the mean of q over the rows that count, on all devices of `axis_name`."""
    rows = tuple(range(log_q.ndim - 1))
    least = jnp.finfo(log_q.dtype).min
    # A class that is impossible in every row must get gradient 0, not the NaN of inf - inf.
    total = jnp.where(counts[..., None], jnp.maximum(log_q, least), -jnp.inf)
    largest = jax.lax.stop_gradient(jnp.max(total, axis=rows, initial=least))
    number = jnp.sum(counts)
    if axis_name is not None:
        largest = jax.lax.pmax(largest, axis_name)
    sums = jnp.sum(jnp.exp(total - largest), axis=rows)
    if axis_name is not None:
        sums, number = jax.lax.psum((sums, number), axis_name)
    log_sums = largest + jnp.log(jnp.where(number > 0, sums, 1.0))
    return jnp.where(number > 0, log_sums - jnp.log(jnp.maximum(number, 1).astype(log_q.dtype)), 0.0)


def _cross_entropy(
    scores: jax.Array,
    labels: jax.Array,
    logits: jax.Array,
    axes: tuple[int, ...],
    counts: jax.Array,
    allowed: jax.Array | None,
    weight: ArrayLike | None,
    label_smoothing: float,
) -> jax.Array:
    """Minus the scores in expectation over the labels of each row, `scores` having the classes last."""
    num_classes = scores.shape[-1]
    weights = jnp.ones(num_classes, scores.dtype) if weight is None else jnp.asarray(weight, scores.dtype)
    # What is left out of the softmax is left out of sums over classes as well, where 0 times infinity would be NaN.
    terms = -weights * scores if allowed is None else jnp.where(allowed, -weights * scores, 0.0)
    if labels.shape == logits.shape and jnp.issubdtype(labels.dtype, jnp.floating):
        target = jnp.where(counts[..., None], _classes_last(labels, axes).astype(scores.dtype), 0.0)
        if label_smoothing > 0.0:
            target = target * (1.0 - label_smoothing) + label_smoothing / num_classes
        return jnp.sum(target * terms, axis=-1)
    known = (labels >= 0) & (labels < num_classes)
    safe = jnp.where(counts & known, labels, 0)
    of_label = -weights[safe] * jnp.take_along_axis(scores, safe[..., None], axis=-1)[..., 0]
    values = jnp.where(known, of_label, jnp.nan)
    if label_smoothing == 0.0:
        return values
    return (1.0 - label_smoothing) * values + label_smoothing / num_classes * jnp.sum(terms, axis=-1)


def _check_labels_and_weight(
    labels: jax.Array, weight: ArrayLike | None, logits: jax.Array, axes: tuple[int, ...]
) -> None:
    rows = tuple(size for one, size in enumerate(logits.shape) if one not in axes)
    whole = labels.shape == rows and jnp.issubdtype(labels.dtype, jnp.integer)
    if not whole and not (labels.shape == logits.shape and jnp.issubdtype(labels.dtype, jnp.floating)):
        raise InputError(
            f"labels must be class numbers of shape {rows}, or class probabilities of shape {logits.shape}, to go with "
            f"logits of shape {logits.shape}; got {labels.dtype} of shape {labels.shape}"
        )
    wanted = (math.prod(logits.shape[one] for one in axes),)
    if weight is not None and jnp.shape(weight) != wanted:
        raise InputError(f"weight must have one entry a class, shape {wanted}; got shape {jnp.shape(weight)}")


def _axes(axis: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """The axes of the classes, counted from the front."""
    try:
        axes = tuple(operator.index(one) for one in (axis if isinstance(axis, tuple) else (axis,)))
    except TypeError:
        axes = ()
    if not axes or not all(-ndim <= one < ndim for one in axes) or len({one % ndim for one in axes}) < len(axes):
        raise InputError(f"axis must be an axis of logits, which has {ndim}, or a tuple of different ones; got {axis}")
    return tuple(one % ndim for one in axes)


def _classes_last(array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """The rows' axes, then one axis of all classes."""
    rows = tuple(one for one in range(array.ndim) if one not in axes)
    moved = jnp.transpose(array, rows + axes)
    return moved.reshape(*moved.shape[: len(rows)], math.prod(moved.shape[len(rows) :]))


def _masks(where: ArrayLike | None, logits: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array | None]:
    """Which rows count; and which classes of them do, the classes last, None where all do."""
    rows = tuple(size for one, size in enumerate(logits.shape) if one not in axes)
    if where is None:
        return jnp.ones(rows, bool), None
    mask = jnp.asarray(where)
    fits = mask.ndim == logits.ndim and all(m in (1, n) for m, n in zip(mask.shape, logits.shape, strict=True))
    if mask.dtype != bool or not (mask.shape == rows or fits):
        raise InputError(
            f"where must hold booleans of the shape of the rows {rows} or of logits {logits.shape}; got {mask.dtype} "
            f"of shape {mask.shape}"
        )
    if mask.shape == rows:
        return mask, None
    allowed = _classes_last(jnp.broadcast_to(mask, logits.shape), axes)
    return jnp.any(allowed, axis=-1), allowed
