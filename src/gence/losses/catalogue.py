"""The losses by name: what `--losses` takes and what the contract test runs over."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from gence._errors import InputError, unknown_name
from gence.losses.focal import focal
from gence.losses.generative import GenCELoss
from gence.losses.moving import MovingClassMass

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits `(N, C)` or `(N, C, d1, ..., dK)`, class numbers) -> scalar, the mean over the rows that count."""


@dataclass(frozen=True)
class Entry:
    """One loss of the catalogue.

    Attributes:
        title: A few words.
        reference: Its source.
        build: Its keywords are the knobs, save `num_classes`, which it takes if it needs that.
        estimates: Whether its value is an estimate, whose derivative is not the gradient that it gives.
    """

    title: str
    reference: str
    build: Callable[..., Loss]
    estimates: bool = False


def _ce() -> Loss:
    return F.cross_entropy


def _label_smoothing(smoothing: float = 0.1) -> Loss:
    return partial(F.cross_entropy, label_smoothing=smoothing)


def _focal(gamma: float = 2.0) -> Loss:
    return partial(focal, gamma=gamma)


def _gence(strength: float = 1.0) -> Loss:
    return GenCELoss(strength=strength)


def _gence_moving(num_classes: int, strength: float = 1.0, rate: float = 0.02) -> Loss:
    return GenCELoss(strength=strength, class_mass=MovingClassMass(num_classes, rate))


CATALOGUE: dict[str, Entry] = {
    "ce": Entry("cross-entropy", "the default of the field", _ce),
    "label_smoothing": Entry(
        "cross-entropy with smoothed labels", "Szegedy et al. 2016, arXiv 1512.00567", _label_smoothing
    ),
    "focal": Entry("focal loss", "Lin et al. 2017, arXiv 1708.02002", _focal),
    "gence": Entry("generative cross-entropy", "Zhan et al. 2026, arXiv 2604.06689", _gence),
    "gence_moving": Entry(
        "generative cross-entropy with a moving class mass",
        "ours, for batches with fewer rows than classes",
        _gence_moving,
        estimates=True,
    ),
}


def names() -> tuple[str, ...]:
    """Every name that `build` takes."""
    return tuple(CATALOGUE)


def knobs(name: str) -> dict[str, float]:
    """The knobs of a loss and their default values.

    Raises:
        InputError: If there is no loss of that name.
    """
    parameters = inspect.signature(_entry(name).build).parameters
    return {key: parameter.default for key, parameter in parameters.items() if key != "num_classes"}


def build(name: str, *, num_classes: int | None = None, **settings: float) -> Loss:
    """The loss called `name`, with its knobs set. A loss may keep a state: build one for each training.

    Args:
        name: One of `names()`.
        num_classes: C, needed by losses that keep a number a class.
        **settings: Values for knobs of this loss, by the papers' names (`focal` has gamma, and so on).

    Returns:
        A callable (logits, target) -> scalar.

    Raises:
        InputError: If there is no loss or no knob of that name, or the loss needs `num_classes`.

    Example:
        >>> import torch
        >>> loss = build("focal", gamma=0.0)
        >>> round(loss(torch.zeros(2, 4), torch.tensor([0, 3])).item(), 4)  # log(4)
        1.3863
    """
    known = knobs(name)
    for key in settings:
        if not known:
            raise InputError(f"loss {name!r} has no knobs; got {key}={settings[key]}: leave it out")
        if key not in known:
            raise unknown_name(f"knob of loss {name!r}", key, known)
    entry = _entry(name)
    if "num_classes" not in inspect.signature(entry.build).parameters:
        return entry.build(**settings)
    if num_classes is None:
        raise InputError(f"loss {name!r} needs the number of classes; give num_classes=")
    return entry.build(num_classes=num_classes, **settings)


def _entry(name: str) -> Entry:
    if name not in CATALOGUE:
        raise unknown_name("loss", name, CATALOGUE)
    return CATALOGUE[name]
