"""The calibrators by name: what a study fits and what `load` can bring back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gence._errors import unknown_name
from gence.calibration._inputs import AnyArray, Array, apply
from gence.calibration.adaptive import AdaptiveTemperatureScaling, fit_adaptive_temperature
from gence.calibration.temperature import TemperatureScaling, fit_temperature


class Calibrator(Protocol):
    """A fitted, frozen dataclass that maps logits to calibrated logits."""

    @property
    def remarks(self) -> tuple[str, ...]: ...

    def __call__(self, logits: Array) -> Array: ...


@dataclass(frozen=True)
class Uncalibrated:
    """The calibrator that leaves logits alone."""

    remarks = ()

    def __call__(self, logits: Array) -> Array:
        """`logits`, as they are; half precision becomes float32, as with every calibrator."""
        return apply(lambda z: z, logits)


@dataclass(frozen=True)
class Entry:
    """One calibrator of the catalogue."""

    title: str
    fitted_type: type[Any]
    fit: Callable[[AnyArray, AnyArray], Calibrator]


CATALOGUE: dict[str, Entry] = {
    "none": Entry("no calibrator", Uncalibrated, lambda logits, target: Uncalibrated()),
    "temperature": Entry("temperature scaling", TemperatureScaling, fit_temperature),
    "ats": Entry("adaptive piecewise temperature scaling", AdaptiveTemperatureScaling, fit_adaptive_temperature),
}


def names() -> tuple[str, ...]:
    """Every name that `fit` takes."""
    return tuple(CATALOGUE)


def fit(name: str, logits: AnyArray, target: AnyArray) -> Calibrator:
    """Fit the calibrator called `name` at its default settings.

    Args:
        name: One of `names()`.
        logits: `(rows, classes)`, torch or numpy, of rows the model was not trained on.
        target: Class numbers, integers `(rows,)`.

    Raises:
        InputError: If there is no calibrator of that name.
        ValueError: If the logits or targets cannot be fitted.
    """
    if name not in CATALOGUE:
        raise unknown_name("calibrator", name, CATALOGUE)
    return CATALOGUE[name].fit(logits, target)
