"""Which rows are labelled, how, and which are tested on: seeded choices that never touch the inputs."""

from gence.data.regimes.few_labels import few_labels, hold_out, split_calibration
from gence.data.regimes.index_file import IndexFile, index_file, index_hash, read_indices, write_indices
from gence.data.regimes.long_tail import long_tail, long_tail_counts
from gence.data.regimes.named import CATALOGUE, Regime, names, parse_regime
from gence.data.regimes.noise import label_noise
from gence.data.regimes.prior_shift import class_prior, long_tail_prior, prior_shift

__all__ = [
    "CATALOGUE",
    "IndexFile",
    "Regime",
    "class_prior",
    "few_labels",
    "hold_out",
    "index_file",
    "index_hash",
    "label_noise",
    "long_tail",
    "long_tail_counts",
    "long_tail_prior",
    "names",
    "parse_regime",
    "prior_shift",
    "read_indices",
    "split_calibration",
    "write_indices",
]
