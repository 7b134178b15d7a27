"""Post-hoc calibration: `fit_*(logits, target)` returns a frozen callable logits -> logits."""

from gence.calibration import catalogue
from gence.calibration.adaptive import AdaptiveTemperatureScaling, fit_adaptive_temperature
from gence.calibration.catalogue import Calibrator, Uncalibrated
from gence.calibration.storage import load, save
from gence.calibration.temperature import TemperatureScaling, fit_temperature

__all__ = [
    "AdaptiveTemperatureScaling",
    "Calibrator",
    "TemperatureScaling",
    "Uncalibrated",
    "catalogue",
    "fit_adaptive_temperature",
    "fit_temperature",
    "load",
    "save",
]
