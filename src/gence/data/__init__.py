"""Labelled data from where people keep it, which rows of it are labelled, what a network is fed, and what may shift."""

from gence.data import corruptions
from gence.data.corruptions import corrupt
from gence.data.dataset import LabelledData
from gence.data.predictions import Predictions, read_predictions, write_probabilities
from gence.data.preprocess import Standardize, fit_standardize
from gence.data.regimes import few_labels, hold_out, split_calibration
from gence.data.sources import load
from gence.data.table_shift import additive_shift, missing_features

__all__ = [
    "LabelledData",
    "Predictions",
    "Standardize",
    "additive_shift",
    "corrupt",
    "corruptions",
    "few_labels",
    "fit_standardize",
    "hold_out",
    "load",
    "missing_features",
    "read_predictions",
    "split_calibration",
    "write_probabilities",
]
