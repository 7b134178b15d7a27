"""GenCE and its calibrators as scikit-learn estimators (scikit-learn 1.6 or newer)."""

from gence.integrations.sklearn.calibrator import AdaptiveTemperatureCalibrator
from gence.integrations.sklearn.classifier import GenCEClassifier

__all__ = ["AdaptiveTemperatureCalibrator", "GenCEClassifier"]
