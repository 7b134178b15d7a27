"""A classifier to keep: fitted on all labelled rows with the epochs and the calibrator that held-out rows chose."""

from gence.classifier.early import EarlyStopping
from gence.classifier.evidence import Evidence
from gence.classifier.fit import Fitted, HeldOut, Task, calibrate, cross_calibrated, fit_network
from gence.classifier.kept import KeptModel, Origin
from gence.classifier.making import FitResult, fit_source, keep
from gence.classifier.network import Architecture, Labelled, Network, train_network
from gence.classifier.onnx_file import to_onnx
from gence.classifier.predictions import PredictResult, predict_source
from gence.classifier.settings import AUTO, Settings
from gence.classifier.storage import load, save

__all__ = [
    "AUTO",
    "Architecture",
    "EarlyStopping",
    "Evidence",
    "FitResult",
    "Fitted",
    "HeldOut",
    "KeptModel",
    "Labelled",
    "Network",
    "Origin",
    "PredictResult",
    "Settings",
    "Task",
    "calibrate",
    "cross_calibrated",
    "fit_network",
    "fit_source",
    "keep",
    "load",
    "predict_source",
    "save",
    "to_onnx",
    "train_network",
]
