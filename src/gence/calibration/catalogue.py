"""The calibrators by name: what a study fits and what `load` can bring back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from gence._errors import unknown_name
from gence.calibration._inputs import AnyArray
from gence.calibration.adaptive import AdaptiveTemperatureScaling, fit_adaptive_temperature
from gence.calibration.calibrator import Calibrator
from gence.calibration.ensemble import EnsembleTemperatureScaling, fit_ensemble_temperature
from gence.calibration.external import PREFIX, fit_external
from gence.calibration.histogram import HistogramBinning, fit_histogram_binning
from gence.calibration.isotonic import IsotonicCalibration, fit_isotonic
from gence.calibration.scaling import (
    DirichletCalibration,
    MatrixScaling,
    VectorScaling,
    fit_dirichlet,
    fit_matrix_scaling,
    fit_vector_scaling,
)
from gence.calibration.temperature import TemperatureScaling, fit_temperature


@dataclass(frozen=True)
class Uncalibrated(Calibrator):
    """The calibrator that leaves logits alone; half precision becomes float32, as with every calibrator."""

    @property
    def summary(self) -> str:
        return "nothing"

    def tensors(self) -> dict[str, Tensor]:
        return {}

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return logits


@dataclass(frozen=True)
class Entry:
    """One calibrator of the catalogue.

    Attributes:
        title: Its name in words.
        reference: Its source.
        fitted_type: What `fit` returns.
        fit: (logits, target) -> the fitted calibrator, at default settings.
        keeps_predictions: Whether the class of the highest logit keeps it, whatever was fitted.
    """

    title: str
    reference: str
    fitted_type: type[Calibrator]
    fit: Callable[[AnyArray, AnyArray], Calibrator]
    keeps_predictions: bool


_GUO = "Guo et al. 2017, arXiv 1706.04599"

CATALOGUE: dict[str, Entry] = {
    "none": Entry("no calibrator", "", Uncalibrated, lambda logits, target: Uncalibrated(), True),
    "temperature": Entry("temperature scaling", _GUO, TemperatureScaling, fit_temperature, True),
    "ats": Entry(
        "adaptive piecewise temperature scaling",
        "Zhan et al. 2026, arXiv 2604.06689 (ours: a reconstruction)",
        AdaptiveTemperatureScaling,
        fit_adaptive_temperature,
        True,
    ),
    "temperature_balanced": Entry(
        "temperature scaling, every class the same",
        f"{_GUO}; the weights are ours",
        TemperatureScaling,
        partial(fit_temperature, balanced=True),
        True,
    ),
    "ensemble": Entry(
        "ensemble temperature scaling",
        "Zhang et al. 2020, arXiv 2003.07329",
        EnsembleTemperatureScaling,
        fit_ensemble_temperature,
        True,
    ),
    "vector": Entry("vector scaling", _GUO, VectorScaling, fit_vector_scaling, False),
    "matrix": Entry("matrix scaling", _GUO, MatrixScaling, fit_matrix_scaling, False),
    "dirichlet": Entry(
        "Dirichlet calibration", "Kull et al. 2019, arXiv 1910.12656", DirichletCalibration, fit_dirichlet, False
    ),
    "histogram": Entry(
        "histogram binning", "Zadrozny and Elkan 2001, ICML", HistogramBinning, fit_histogram_binning, False
    ),
    "isotonic": Entry("isotonic regression", "Zadrozny and Elkan 2002, KDD", IsotonicCalibration, fit_isotonic, False),
}


def names() -> tuple[str, ...]:
    """The name of every calibrator of gence; `gence.calibration.external.names()` gives those of probmetrics."""
    return tuple(CATALOGUE)


def fit(name: str, logits: AnyArray, target: AnyArray) -> Calibrator:
    """Fit the calibrator called `name` at its default settings.

    Args:
        name: One of `names()`, or `"probmetrics:NAME"` (see `gence.calibration.external`).
        logits: `(rows, classes)`, torch or numpy, of rows the model was not trained on.
        target: Class numbers, integers `(rows,)`.

    Raises:
        InputError: If there is no calibrator of that name.
        ModuleNotFoundError: If the calibrator needs a package that is not installed.
        ValueError: If the logits or targets cannot be fitted.
    """
    if name.startswith(PREFIX):
        return fit_external(name, logits, target)
    if name not in CATALOGUE:
        raise unknown_name("calibrator", name, CATALOGUE)
    return CATALOGUE[name].fit(logits, target)
