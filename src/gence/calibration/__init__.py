"""Post-hoc calibration: `fit_*(logits, target)` returns a frozen callable logits -> logits."""

from gence.calibration import catalogue, external
from gence.calibration.adaptive import AdaptiveTemperatureScaling, fit_adaptive_temperature
from gence.calibration.calibrated import Calibrated
from gence.calibration.calibrator import Calibrator
from gence.calibration.catalogue import Uncalibrated
from gence.calibration.ensemble import EnsembleTemperatureScaling, fit_ensemble_temperature
from gence.calibration.histogram import HistogramBinning, fit_histogram_binning
from gence.calibration.isotonic import IsotonicCalibration, fit_isotonic
from gence.calibration.prior_shift import PriorShift, fit_prior_shift, fit_prior_shift_em
from gence.calibration.scaling import (
    DirichletCalibration,
    MatrixScaling,
    VectorScaling,
    fit_dirichlet,
    fit_matrix_scaling,
    fit_vector_scaling,
)
from gence.calibration.selection import Selection, cross_fit, fit_best
from gence.calibration.storage import class_names_of, load, save
from gence.calibration.temperature import TemperatureScaling, fit_temperature

__all__ = [
    "AdaptiveTemperatureScaling",
    "Calibrated",
    "Calibrator",
    "DirichletCalibration",
    "EnsembleTemperatureScaling",
    "HistogramBinning",
    "IsotonicCalibration",
    "MatrixScaling",
    "PriorShift",
    "Selection",
    "TemperatureScaling",
    "Uncalibrated",
    "VectorScaling",
    "catalogue",
    "class_names_of",
    "cross_fit",
    "external",
    "fit_adaptive_temperature",
    "fit_best",
    "fit_dirichlet",
    "fit_ensemble_temperature",
    "fit_histogram_binning",
    "fit_isotonic",
    "fit_matrix_scaling",
    "fit_prior_shift",
    "fit_prior_shift_em",
    "fit_temperature",
    "fit_vector_scaling",
    "load",
    "save",
]
