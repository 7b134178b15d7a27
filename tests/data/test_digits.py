from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gence.data import load


def test_digits_are_the_images_of_scikit_learn() -> None:
    data = load("digits")
    theirs = load_digits()

    assert (data.name, data.kind, data.inputs.shape, data.inputs.dtype) == (
        "digits",
        "image",
        (1797, 1, 8, 8),
        np.uint8,
    )
    np.testing.assert_array_equal(data.inputs[:, 0], theirs.images)
    np.testing.assert_array_equal(data.labels, theirs.target)
    assert data.labels.dtype == np.int64
    assert data.class_names == tuple("0123456789")
    assert data.test_rows is None


@pytest.mark.parametrize("option", [{"target": "label"}, {"image_size": 16}])
def test_digits_take_no_options(option: dict[str, object], refusal) -> None:
    assert "digits: " in refusal("digits", **option)
    assert "leave it out" in refusal("digits", **option)
