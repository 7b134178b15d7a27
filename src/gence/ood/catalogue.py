"""The scores by name: what a benchmark runs over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from gence._errors import unknown_name
from gence.ood._inputs import Array, check_class_numbers
from gence.ood.knn import fit_knn
from gence.ood.mahalanobis import fit_mahalanobis
from gence.ood.scores import energy, max_logit, max_softmax, negative_entropy

Score = Callable[[Array], Tensor]
"""Logits or features `(rows, columns)` -> float64 `(rows,)`, high is in-distribution."""


@dataclass(frozen=True)
class Entry:
    """One score of the catalogue.

    Attributes:
        title: A few words.
        reference: Its source.
        needs: What the fitted score takes.
        fit: (training features, training target) -> the score, at default settings; scores of logits ignore both.
    """

    title: str
    reference: str
    needs: Literal["logits", "features"]
    fit: Callable[[Array, Array], Score]


def _fit_knn(features: Array, target: Array) -> Score:
    # Beyond the rows of its own class, the k-th neighbour of a row says how far the next class is.
    class_sizes = check_class_numbers(target, len(features)).unique(return_counts=True)[1].tolist()
    return fit_knn(features, k=min([50, *class_sizes]))


CATALOGUE: dict[str, Entry] = {
    "max_softmax": Entry(
        "probability of the predicted class",
        "Hendrycks and Gimpel 2017, arXiv 1610.02136",
        "logits",
        lambda features, target: max_softmax,
    ),
    "max_logit": Entry(
        "highest logit", "Hendrycks et al. 2022, arXiv 1911.11132", "logits", lambda features, target: max_logit
    ),
    "energy": Entry(
        "negative free energy", "Liu et al. 2020, arXiv 2010.03759", "logits", lambda features, target: energy
    ),
    "negative_entropy": Entry(
        "negative entropy of the prediction",
        "Mukhoti et al. 2020, arXiv 2002.09437",
        "logits",
        lambda features, target: negative_entropy,
    ),
    "knn": Entry(
        "distance to the k-th nearest training row", "Sun et al. 2022, arXiv 2204.06507", "features", _fit_knn
    ),
    "mahalanobis": Entry(
        "Mahalanobis distance to the nearest class",
        "Lee et al. 2018, arXiv 1807.03888",
        "features",
        lambda features, target: fit_mahalanobis(features, target),
    ),
}


def names() -> tuple[str, ...]:
    """Every name that `fit` takes."""
    return tuple(CATALOGUE)


def needs(name: str) -> Literal["logits", "features"]:
    """Whether the score called `name` is a function of `"logits"` or of `"features"`.

    Raises:
        InputError: If there is no score of that name.
    """
    return _entry(name).needs


def fit(name: str, features: Array, target: Array) -> Score:
    """The score called `name` at its default settings; `knn` takes k = 50, or the size of the smallest class if less.

    Args:
        name: One of `names()`.
        features: Features of the training rows, `(rows, features)`. Scores of logits do not look at them.
        target: Their class numbers, integers `(rows,)`.

    Returns:
        A callable: logits or features (see `needs`) -> float64 `(rows,)`, high is in-distribution.

    Raises:
        InputError: If there is no score of that name.
        ValueError: If the features or targets cannot be fitted.
    """
    return _entry(name).fit(features, target)


def _entry(name: str) -> Entry:
    if name not in CATALOGUE:
        raise unknown_name("score", name, CATALOGUE)
    return CATALOGUE[name]
