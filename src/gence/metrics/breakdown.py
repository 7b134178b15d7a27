"""Where the errors are: metrics class by class, and over groups of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from gence._arrays import as_tensor
from gence.metrics._predictions import Array, check_predictions
from gence.metrics.calibration import calibration_error_of_classes
from gence.metrics.proper import brier_of_rows, nll_of_rows

Measured = TypeVar("Measured")


@dataclass(frozen=True)
class ClassBreakdown:
    """One value for each class, `(classes,)` float64; NaN where there is nothing to average.

    Attributes:
        rows: Rows of the class.
        predicted: Rows predicted as the class.
        recall: The share of the class's rows that were predicted as it: its accuracy.
        precision: The share of the rows predicted as the class that are of it.
        mean_probability: The mean probability of the class over all rows: the frequency that was promised.
        frequency: The share of all rows that are of the class: the frequency that came.
        calibration_error: The ECE of "the class is k" over all rows, 15 bins of equal width; their mean is
            `classwise_calibration_error`.
        nll: The mean negative log-likelihood of the class's rows.
        brier: The mean Brier score of the class's rows.
    """

    rows: Tensor
    predicted: Tensor
    recall: Tensor
    precision: Tensor
    mean_probability: Tensor
    frequency: Tensor
    calibration_error: Tensor
    nll: Tensor
    brier: Tensor


def per_class(probs: Array, target: Array) -> ClassBreakdown:
    """Accuracy, calibration and proper scores of every class.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.

    Raises:
        ValueError: If the shapes do not fit, a value lies outside [0, 1] or is NaN, or a class number is out of range.

    Example:
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
        >>> classes = per_class(probs, torch.tensor([0, 0, 1]))
        >>> classes.recall.tolist(), classes.predicted.tolist()
        ([1.0, 0.0], [3.0, 0.0])
    """
    probs, target = check_predictions(probs, target)
    guess, classes = probs.argmax(1), probs.shape[1]

    def total(index: Tensor, value: Tensor) -> Tensor:
        return probs.new_zeros(classes).index_add(0, index, value)

    each = torch.ones_like(probs[:, 0])
    rows, predicted, right = total(target, each), total(guess, each), total(target, (guess == target).to(each.dtype))
    return ClassBreakdown(
        rows=rows,
        predicted=predicted,
        recall=right / rows,
        precision=right / predicted,
        mean_probability=probs.mean(0),
        frequency=rows / len(target),
        calibration_error=calibration_error_of_classes(probs, target, 15, "width", "l1"),
        nll=total(target, nll_of_rows(probs, target)) / rows,
        brier=total(target, brier_of_rows(probs, target)) / rows,
    )


def shot_groups(train_counts: Sequence[int] | Array, *, many: int = 100, few: int = 20) -> tuple[str, ...]:
    """The group of each class by its rows in training: "many" above `many`, "few" below `few`, else "medium".

    Args:
        train_counts: How many training rows each class has, `(classes,)`.
        many: More rows than this are many.
        few: Fewer rows than this are few; at most `many + 1`.

    Raises:
        ValueError: If a count is negative or no integer, or the two limits cross.

    Example:
        >>> shot_groups([500, 101, 100, 20, 19, 0])
        ('many', 'many', 'medium', 'medium', 'few', 'few')

    Reference:
        Liu et al. 2019, Large-scale long-tailed recognition in an open world, arXiv 1904.05160, section 4.
    """
    counts = as_tensor(train_counts if isinstance(train_counts, Tensor) else np.asarray(train_counts))
    if counts.dim() != 1 or counts.is_floating_point() or counts.dtype == torch.bool or bool((counts < 0).any()):
        raise ValueError(f"train_counts must hold one whole number of rows a class, none negative; got {train_counts}")
    if few > many + 1:
        raise ValueError(f"few must be at most many + 1, so that no class is both; got few {few}, many {many}")
    return tuple("many" if count > many else "few" if count < few else "medium" for count in counts.tolist())


def by_group(
    metric: Callable[[Tensor, Tensor], Measured], probs: Array, target: Array, groups: Sequence[str]
) -> dict[str, Measured]:
    """A metric over the rows whose true class is in each group.

    Choosing rows by their true class looks at the outcome: even of calibrated probabilities, the rows of a frequent
    class tend to come out underconfident and those of a rare one overconfident. Such an ECE compares models, but its
    zero is not calibration; `per_class` gives calibration errors over all rows, whose zero is.

    Args:
        metric: Any function of (probs, target): one of this package, or
            `functools.partial(bootstrap_intervals, {...})` for several with intervals.
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.
        groups: The group of each class, `(classes,)`, as from `shot_groups`.

    Returns:
        Group -> what the metric gives, groups in the order they first occur; a group without rows is left out.

    Raises:
        ValueError: If the predictions are not as described, or there is not one group a class.

    Example:
        >>> from gence.metrics import accuracy
        >>> probs = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
        >>> found = by_group(accuracy, probs, torch.tensor([0, 1, 2]), ["many", "few", "few"])
        >>> {group: value.item() for group, value in found.items()}
        {'many': 1.0, 'few': 0.5}
    """
    probs, target = check_predictions(probs, target)
    if isinstance(groups, str) or len(groups) != probs.shape[1]:
        raise ValueError(f"groups must name a group for each of the {probs.shape[1]} columns of probs; got {groups!r}")
    names = list(dict.fromkeys(groups))
    of_row = torch.tensor([names.index(group) for group in groups], device=target.device)[target]
    chosen = {name: of_row == number for number, name in enumerate(names)}
    return {name: metric(probs[rows], target[rows]) for name, rows in chosen.items() if bool(rows.any())}
