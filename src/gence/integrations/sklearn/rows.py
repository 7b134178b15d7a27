"""What comes with the rows: how often each counts, what each class costs, and which rows are held out together."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight

from gence._errors import InputError
from gence.data import few_labels

_MOST_COPIES = 100.0
"""Whole weights with a higher mean are no counts of repetitions that a training could follow; they are scaled."""


def checked_weight(sample_weight: Any, rows: int) -> np.ndarray | None:
    """Row weights as they were given, float64 `(rows,)`, or None.

    Raises:
        InputError: If there is not one a row, one is negative, or all are zero.
        ValueError: If one is no finite number.
    """
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Real):
        sample_weight = np.full(rows, sample_weight)
    weight = check_array(sample_weight, ensure_2d=False, dtype="float64", input_name="sample_weight")
    if weight.shape != (rows,):
        raise InputError(f"sample_weight must hold one number a row, shape ({rows},); got shape {weight.shape}")
    if (weight < 0.0).any():
        raise InputError(f"sample_weight must not be negative; got {weight.min():g} in row {int(weight.argmin())}")
    if not weight.any():
        raise InputError("every sample_weight is zero; at least one row must count")
    return weight


def as_repetitions(weight: np.ndarray) -> np.ndarray:
    """Weights of rows that count, as a training takes them.

    Whole numbers of a mean up to 100 say how often a row comes, and stay. All others are scaled to a mean of 1.

    Args:
        weight: Above 0, `(rows,)`.

    Example:
        >>> as_repetitions(np.array([1.0, 3.0])), as_repetitions(np.array([0.1, 0.3]))
        (array([1., 3.]), array([0.5, 1.5]))
    """
    whole = bool((weight == weight.round()).all())
    return weight if whole and weight.mean() <= _MOST_COPIES else weight / weight.mean()


def at_most(per_class: int, labels: np.ndarray, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """Up to `per_class` of the rows of every class, rising; with one seed those for 10 are among those for 50.

    Args:
        per_class: At least 1.
        labels: Class numbers of all rows, `(all rows,)`.
        rows: Row numbers to choose from.
        seed: Of the choice.

    Raises:
        InputError: If `per_class` is no whole number or below 1.
    """
    if not isinstance(per_class, Integral) or per_class < 1:
        raise InputError(f"labels_per_class must be a whole number of at least 1, or None for all; got {per_class}")
    return np.sort(np.concatenate([drawn[:per_class] for drawn in few_labels(labels, rows, "all", seed=seed)]))


def class_costs(class_weight: Any, classes: np.ndarray, labels: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    r"""What a mistake on each class costs, `(classes,)`.

    `"balanced"` is :math:`n / (K n_k)`, with n the rows and :math:`n_k` those of class k, by weight.

    Args:
        class_weight: None for 1 each, `"balanced"`, or {label: weight}, 1 for those left out.
        classes: The labels of the classes.
        labels: Class numbers, `(rows,)`.
        weight: Of the rows.

    Raises:
        InputError: If it is something else, or a weight is not positive and finite.
        ValueError: If it names classes that are not there.
    """
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(labels, weight, minlength=len(classes))
        return counts.sum() / (len(classes) * counts)
    if not isinstance(class_weight, dict):
        raise InputError(f"class_weight must be None, 'balanced' or a dictionary label -> weight; got {class_weight!r}")
    costs = compute_class_weight(class_weight, classes=classes, y=classes[labels]).astype(np.float64)
    if not (np.isfinite(costs) & (costs > 0.0)).all():
        raise InputError(f"class weights must be positive and finite; got {class_weight}: leave rows out, not classes")
    return costs


def folds_of(cv: Any, inputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The fold of every row from a splitter or a list of splits, `(rows,)`; -1 for rows that none holds out.

    Raises:
        InputError: If a row is held out twice, or a training part is not all that its test part leaves.
    """
    fold = np.full(len(inputs), -1)
    splitter: Any = check_cv(cv, y, classifier=True)
    for number, (train, test) in enumerate(splitter.split(inputs, y)):
        if (fold[test] >= 0).any():
            raise InputError("cv must hold every row out at most once; it holds out some twice: repeat nothing")
        fold[test] = number
        if not np.array_equal(np.sort(train), np.flatnonzero(fold != number)):
            raise InputError(
                f"cv must train on all rows that it does not hold out; split {number} has {len(train)} training and "
                f"{len(test)} test rows, of {len(inputs)}: use a form of k-fold"
            )
    return fold
