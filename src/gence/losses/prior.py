"""Losses for training data in which some classes are rare: by weights, or by the prior in the logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gence.losses._checks import check_label_smoothing, value_of
from gence.losses.cross_entropy import Reduction
from gence.losses.rows import Rows, rows_of


def effective_number_weights(class_counts: Tensor | Sequence[float], *, beta: float = 0.9999) -> Tensor:
    r"""Class weights by the effective number of rows, :math:`w_k \propto (1 - \beta) / (1 - \beta^{n_k})`, of sum C.

    A beta of 0 weighs all classes alike; as it goes to 1 the weights go to those of the inverse counts.

    Args:
        class_counts: `(C)`, training rows of each class, all above 0.
        beta: In [0, 1).

    Returns:
        `(C)` weights, on the device of `class_counts` and in its dtype if that is floating point.

    Raises:
        ValueError: If `beta` is out of range or `class_counts` are not positive numbers, one a class.

    Example:
        >>> effective_number_weights([1000, 100, 10], beta=0.99)
        tensor([0.2301, 0.3630, 2.4068])

    Reference:
        Cui et al. 2019, arXiv 1901.05555, Proposition 1.
    """
    if not 0.0 <= beta < 1.0:
        raise ValueError(f"beta must lie in [0, 1): 0 weighs all classes alike; got {beta}")
    counts = check_class_counts(class_counts)
    # 1 - beta^n by expm1, as beta^n is near 1 for a small class; 1 - beta falls out of the weights.
    log_beta = math.log(beta) if beta > 0.0 else -math.inf
    weights = -1.0 / torch.expm1(log_beta * (counts if counts.is_floating_point() else counts.float()))
    return weights * (len(weights) / weights.sum())


def class_balanced(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    class_counts: Tensor | Sequence[float],
    beta: float = 0.9999,
) -> Tensor:
    r"""Cross-entropy with its terms weighed by `effective_number_weights`: :math:`-w_y \log p_y`.

    These weights are a part of the terms: `"mean"` divides by the number of rows that count, or by their `weight` where
    that is given, as in `F.cross_entropy`, and not by w. To divide by w as well, give them to `F.cross_entropy`.

    It is not proper: its minimiser is the posterior of re-weighted classes, proportional to
    :math:`w_k\, p(k \mid x)`.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights, on top; `"mean"` divides by those of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`.
        class_counts: `(C)`, training rows of each class, all above 0. On an accelerator give a tensor that is there, as
            anything else is copied at every call; its values are looked at where that stalls nothing.
        beta: In [0, 1); 0 is cross-entropy.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.zeros(2, 2), torch.tensor([0, 1])
        >>> class_balanced(logits, target, reduction="none", class_counts=[100, 10], beta=0.99)
        tensor([0.1817, 1.2046])

    Reference:
        Cui et al. 2019, arXiv 1901.05555, Section 4.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "class_balanced")
    weights = effective_number_weights(counts_for(rows.logits, class_counts), beta=beta)
    return rows.reduce(-weights[rows.labels] * rows.of_label(rows.log_probs()))


def balanced_softmax(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    class_counts: Tensor | Sequence[float],
) -> Tensor:
    r"""Cross-entropy of :math:`z + \log n`, n the training rows of each class; predict with softmax(z).

    It is strictly proper for the posterior of the training data as softmax(z + log n), being cross-entropy. Plain
    softmax(z) is then the posterior under a balanced prior, and softmax(z + log pi) that under any other prior pi.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        class_counts: `(C)`, as in `class_balanced`; their scale does not matter.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> loss = balanced_softmax(torch.zeros(1, 2), torch.tensor([1]), class_counts=[3, 1])
        >>> round(loss.item(), 4)  # log(4)
        1.3863

    Reference:
        Ren et al. 2020, arXiv 2007.10740, Theorem 1.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "balanced_softmax")
    return adjusted_cross_entropy(rows, rows.logits + counts_for(rows.logits, class_counts).log())


def logit_adjusted(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    class_counts: Tensor | Sequence[float],
    tau: float = 1.0,
) -> Tensor:
    r"""Cross-entropy of :math:`z + \tau \log \pi`, pi the class shares of the training data; predict with softmax(z).

    It is strictly proper for the posterior of the training data as softmax(z + tau log pi), being cross-entropy. Plain
    softmax(z) is proportional to :math:`p(k \mid x) / \pi_k^\tau`: at tau 1 the posterior under a balanced prior.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        class_counts: `(C)`, as in `class_balanced`; their scale does not matter.
        tau: How much of log pi is added, at least 0; 0 is cross-entropy, 1 is `balanced_softmax`.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> loss = logit_adjusted(torch.zeros(1, 2), torch.tensor([1]), class_counts=[3, 1], tau=2.0)
        >>> round(loss.item(), 4)  # log(3^2 + 1)
        2.3026

    Reference:
        Menon et al. 2021, arXiv 2007.07314, equation 10.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "logit_adjusted")
    return adjusted_cross_entropy(rows, rows.logits + log_prior(rows.logits, class_counts, tau))


def logit_adjusted_smoothing(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    class_counts: Tensor | Sequence[float],
    tau: float = 1.0,
    smoothing: float = 0.05,
) -> Tensor:
    r"""Logit adjustment with labels smoothed towards the training prior pi; predict with softmax(z).

    With :math:`q = \mathrm{softmax}(z + \tau \log \pi)` a row's term is

    .. math:: -\sum_k \left( (1 - s)\, 1\{k = y\} + s\, \pi_k \right) \log q_k.

    The minimiser as q is the posterior of the training data, smoothed like the labels; so at tau 1 softmax(z) is close
    to the posterior under a balanced prior, with confidences held back by s. Smoothing is towards pi and not even,
    because an even share would teach every row some of each rare class, which softmax(z) then divides by a small pi.
    With equally many rows a class it is label smoothing.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights. A term counts as much as the weight of its row's label.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        class_counts: `(C)`, as in `class_balanced`; their scale does not matter.
        tau: How much of log pi is added, at least 0.
        smoothing: The share s of the target that is spread as pi is, in [0, 1]; 0 is `logit_adjusted`.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.zeros(1, 2), torch.tensor([1])
        >>> loss = logit_adjusted_smoothing(logits, target, class_counts=[3, 1], smoothing=0.2)
        >>> round(loss.item(), 4)  # -(0.15 log(3/4) + 0.85 log(1/4))
        1.2215

    Reference:
        Ours. The prior in the logits is Menon et al. 2021, arXiv 2007.07314, equation 10; label smoothing is Szegedy et
        al. 2016, arXiv 1512.00567.
    """
    check_label_smoothing(smoothing)
    rows = rows_of(input, target, weight, ignore_index, reduction, "logit_adjusted_smoothing")
    log_q = (rows.logits + log_prior(rows.logits, class_counts, tau)).log_softmax(1)
    return rows.reduce(smoothed_terms(rows, log_q, class_shares(log_q, class_counts), smoothing))


def smoothed_terms(rows: Rows, scores: Tensor, prior: Tensor, smoothing: float) -> Tensor:
    """What each row gives, minus its `scores` `(N, C)` weighed by its label smoothed towards the prior `(C)`."""
    hard = -rows.of_label(scores)
    return hard if smoothing == 0.0 else (1.0 - smoothing) * hard - smoothing * (scores @ prior)


def class_shares(logits: Tensor, class_counts: Tensor | Sequence[float]) -> Tensor:
    """`(C)`, the shares of the classes in the training data, in the dtype of `logits` `(..., C)`."""
    counts = counts_for(logits, class_counts)
    return counts / counts.sum()


def log_prior(logits: Tensor, class_counts: Tensor | Sequence[float], tau: float) -> Tensor:
    """`(C)`, tau * log pi for `logits` `(..., C)`."""
    if not 0.0 <= tau < math.inf:
        raise ValueError(f"tau must be a finite number of at least 0, 1 for the prior itself; got {tau}")
    return tau * class_shares(logits, class_counts).log()


def counts_for(logits: Tensor, class_counts: Tensor | Sequence[float]) -> Tensor:
    """The class counts, checked, with the dtype and on the device of `logits` `(..., C)`."""
    return check_class_counts(class_counts, logits.shape[-1]).to(logits)


def as_class_counts(class_counts: Tensor | Sequence[float], num_classes: int | None = None) -> Tensor:
    """The class counts as a tensor `(C)`; raise ValueError if they are not numbers, one a class."""
    wanted = f"({'C' if num_classes is None else num_classes},)"
    try:
        counts = class_counts if isinstance(class_counts, Tensor) else torch.as_tensor(class_counts)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"class_counts must hold the training rows of each class, shape {wanted}; got "
            f"{type(class_counts).__name__}, which makes no tensor: use torch.bincount(labels, minlength=C)"
        ) from error
    if counts.dim() != 1 or num_classes not in (None, len(counts)):
        raise ValueError(
            f"class_counts must hold the training rows of each class, shape {wanted}; got shape {tuple(counts.shape)}: "
            "use torch.bincount(labels, minlength=C)"
        )
    return counts


def check_class_counts(class_counts: Tensor | Sequence[float], num_classes: int | None = None) -> Tensor:
    """The class counts as a tensor `(C)`; raise ValueError if they are not positive numbers, one a class."""
    counts = as_class_counts(class_counts, num_classes)
    wrong = ~((counts > 0) & counts.isfinite())
    if value_of(wrong.any()):
        label = int(wrong.nonzero()[0])
        raise ValueError(
            "class_counts must be above 0 and finite, as a class without rows has neither prior nor weight; got "
            f"{counts[label].item()} for class {label}: leave it out, or count a row more for every class"
        )
    return counts


def adjusted_cross_entropy(rows: Rows, logits: Tensor) -> Tensor:
    """Cross-entropy of the rows with `logits` `(R, C)` in the place of their own."""
    return rows.reduce(replace(rows, logits=logits).cross_entropy())
