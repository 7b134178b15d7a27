"""Post-hoc calibration: `fit_*(logits, target)` returns a frozen callable logits -> logits."""

from gence.calibration import catalogue
from gence.calibration.adaptive import AdaptiveTemperatureScaling, fit_adaptive_temperature
from gence.calibration.calibrator import Calibrator
from gence.calibration.catalogue import Uncalibrated
from gence.calibration.selection import Selection, cross_fit, fit_best
from gence.calibration.storage import load, save
from gence.calibration.temperature import TemperatureScaling, fit_temperature

__all__ = [
    "AdaptiveTemperatureScaling",
    "Calibrator",
    "Selection",
    "TemperatureScaling",
    "Uncalibrated",
    "catalogue",
    "cross_fit",
    "fit_adaptive_temperature",
    "fit_best",
    "fit_temperature",
    "load",
    "save",
]
