from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gence.bench.executors import workers
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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are there at once, forked from one process that has imported torch."""
    monkeypatch.setattr(workers, "_START_METHOD", "forkserver")
    # torch._dynamo is what the first step of an optimiser imports.
    multiprocessing.set_forkserver_preload(["gence.bench.executors.workers", "torch._dynamo"])


def assert_same_study(one: Path, other: Path) -> None:
    """Two folders hold the same records and arrays; when, where and how fast they were made may differ."""
    names = sorted(str(path.relative_to(one)) for part in ("trials", "tuning") for path in (one / part).glob("*"))
    assert names, "there is something to compare"
    assert names == sorted(
        str(path.relative_to(other)) for part in ("trials", "tuning") for path in (other / part).glob("*")
    )
    for name in names:
        if name.endswith(".npz"):
            with np.load(one / name) as first, np.load(other / name) as second:
                assert sorted(first) == sorted(second)
                assert all(np.array_equal(first[key], second[key]) for key in first), name
        else:
            assert _timeless(one / name) == _timeless(other / name), name


def _timeless(path: Path) -> Any:
    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(v) for key, v in value.items() if key not in ("seconds", "environment", "finished_at")}
        return value

    return strip(json.loads(path.read_text()))
