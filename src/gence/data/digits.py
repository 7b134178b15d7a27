"""The 8 x 8 grey digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

import numpy as np

from gence.data.dataset import LabelledData


def read_digits() -> LabelledData:
    """1,797 images `(1797, 1, 8, 8)` with grey values from 0 to 16, no test split."""
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    return LabelledData(
        name="digits",
        kind="image",
        inputs=images.reshape(-1, 1, 8, 8).astype(np.uint8),
        labels=labels.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
    )
