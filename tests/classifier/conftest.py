"""A messy table, and small models that were fitted to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gence.classifier import KeptModel, Settings, Task, fit_network, keep, storage
from gence.classifier.network import Labelled
from gence.data import LabelledData, load

QUICK = Settings(calibrate="temperature", hidden=(8,), epochs=2, folds=2)


def people(rows: int) -> pd.DataFrame:
    """Numbers with gaps, text with gaps, dates, truths, and a column that tells nothing."""
    generator = np.random.default_rng(0)
    plan = generator.integers(0, 3, rows)
    days = pd.to_timedelta(generator.integers(0, 900, rows) + 300 * plan, unit="D")
    frame = pd.DataFrame(
        {
            "age": np.where(generator.random(rows) < 0.1, np.nan, 30 + 10 * plan + 5 * generator.normal(size=rows)),
            "city": generator.choice(np.array(["Rome", "Oslo", "Bonn", None], object), rows),
            "since": pd.Timestamp("2020-01-01") + days,
            "member": generator.random(rows) < 0.5,
            "height|cm": 170.0 + generator.normal(size=rows),
            "constant": 1,
        }
    )
    return frame.assign(plan=np.array(["basic", "gold, yearly", "none"])[plan])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A .csv file of 90 people with the label column `plan`."""
    file = tmp_path / "people.csv"
    people(90).to_csv(file, index=False)
    return file


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    """The same people."""
    file = tmp_path_factory.mktemp("people") / "people.csv"
    people(90).to_csv(file, index=False)
    return load(str(file), target="plan")


@pytest.fixture(scope="session")
def kept(data: LabelledData) -> KeptModel:
    """A model of them."""
    fitted = fit_network(Task(Labelled(data.inputs, data.labels), "table", 3), QUICK)
    return keep(fitted, data, QUICK, command="gence fit people.csv --target plan")


@pytest.fixture
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are written without the second that exporting takes."""
    monkeypatch.setattr(storage, "to_onnx", lambda kept: b"")
