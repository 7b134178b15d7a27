from __future__ import annotations

import numpy as np
import pytest

from gence.data import LabelledData


def make_table(rows: int = 240, *, test: bool = True, seed: int = 0) -> LabelledData:
    """Three Gaussian classes in four columns, some numbers missing; the last quarter is the test split."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % 3
    inputs = generator.normal(size=(rows, 4)).astype(np.float32)
    inputs[:, :3] += 1.5 * np.eye(3, dtype=np.float32)[labels]
    inputs[::17, 0] = np.nan
    test_rows = np.arange(rows - rows // 4, rows) if test else None
    return LabelledData("blobs", "table", inputs, labels, ("a", "b", "c"), test_rows)


@pytest.fixture
def table() -> LabelledData:
    return make_table()
