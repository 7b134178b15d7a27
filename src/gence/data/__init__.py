"""Labelled data from where people keep it, which rows of it are labelled, and what a network is fed."""

from gence.data.dataset import LabelledData
from gence.data.preprocess import Standardize, fit_standardize
from gence.data.regimes import few_labels, hold_out, split_calibration
from gence.data.sources import load

__all__ = [
    "LabelledData",
    "Standardize",
    "few_labels",
    "fit_standardize",
    "hold_out",
    "load",
    "split_calibration",
]
