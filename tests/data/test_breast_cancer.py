from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from gence.data import load


def test_it_is_the_table_of_scikit_learn() -> None:
    data, theirs = load("breast_cancer"), load_breast_cancer()

    assert (data.name, data.kind, data.inputs.shape, data.inputs.dtype) == (
        "breast_cancer",
        "table",
        (569, 30),
        np.float64,
    )
    np.testing.assert_array_equal(data.inputs, theirs.data)
    np.testing.assert_array_equal(data.labels, theirs.target)
    assert data.class_names == tuple(theirs.target_names)
    assert np.bincount(data.labels).tolist() == [212, 357]  # malignant, benign, as scikit-learn describes it
    assert data.test_rows is None


@pytest.mark.parametrize("option", [{"target": "label"}, {"image_size": 16}])
def test_it_takes_no_options(option: dict[str, object], refusal) -> None:
    assert "leave it out" in refusal("breast_cancer", **option)
