"""The breast cancer table that comes with scikit-learn: a small medical one without a download."""

from __future__ import annotations

import numpy as np

from gence.data.dataset import LabelledData


def read_breast_cancer() -> LabelledData:
    """569 rows of 30 measurements of cell nuclei, `(569, 30)` float64; classes malignant and benign, no test split."""
    from sklearn.datasets import load_breast_cancer

    table, labels = map(np.asarray, load_breast_cancer(return_X_y=True))
    return LabelledData(
        name="breast_cancer",
        kind="table",
        inputs=table.astype(np.float64),
        labels=labels.astype(np.int64),
        class_names=("malignant", "benign"),
    )
