"""A classifier to keep: fitted on all labelled rows with the epochs and the calibrator that held-out rows chose."""

from gence.classifier.early import EarlyStopping
from gence.classifier.fit import Fitted, HeldOut, Task, calibrate, cross_calibrated, fit_network
from gence.classifier.network import Architecture, Labelled, Network, train_network
from gence.classifier.settings import AUTO, Settings

__all__ = [
    "AUTO",
    "Architecture",
    "EarlyStopping",
    "Fitted",
    "HeldOut",
    "Labelled",
    "Network",
    "Settings",
    "Task",
    "calibrate",
    "cross_calibrated",
    "fit_network",
    "train_network",
]
