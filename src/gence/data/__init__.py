"""Labelled data from where people keep it, which rows of it are labelled, what a network is fed, and what may shift."""

from gence.data import corruptions, recipes
from gence.data.corruptions import corrupt
from gence.data.dataset import LabelledData
from gence.data.encoder import ColumnEncoder
from gence.data.form import InputForm
from gence.data.ood import OODSets, image_sets, load_ood, match_images, ood_sets
from gence.data.predictions import Predictions, read_predictions, write_probabilities
from gence.data.preprocess import Standardize, fit_standardize
from gence.data.regimes import (
    IndexFile,
    Regime,
    class_prior,
    few_labels,
    hold_out,
    index_file,
    index_hash,
    label_noise,
    long_tail,
    long_tail_counts,
    long_tail_prior,
    parse_regime,
    prior_shift,
    read_indices,
    split_calibration,
    write_indices,
)
from gence.data.rows import RowBatch, Stream
from gence.data.shifts import Shift, shift_names, shift_suite
from gence.data.sources import load
from gence.data.streaming import stream
from gence.data.table_shift import additive_shift, missing_features

__all__ = [
    "ColumnEncoder",
    "IndexFile",
    "InputForm",
    "LabelledData",
    "OODSets",
    "Predictions",
    "Regime",
    "RowBatch",
    "Shift",
    "Standardize",
    "Stream",
    "additive_shift",
    "class_prior",
    "corrupt",
    "corruptions",
    "few_labels",
    "fit_standardize",
    "hold_out",
    "image_sets",
    "index_file",
    "index_hash",
    "label_noise",
    "load",
    "load_ood",
    "long_tail",
    "long_tail_counts",
    "long_tail_prior",
    "match_images",
    "missing_features",
    "ood_sets",
    "parse_regime",
    "prior_shift",
    "read_indices",
    "read_predictions",
    "recipes",
    "shift_names",
    "shift_suite",
    "split_calibration",
    "stream",
    "write_indices",
    "write_probabilities",
]
