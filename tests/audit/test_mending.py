"""What calibrators would change: judged on rows they were not fitted on, and one that fails costs no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

from gence.audit.mending import try_calibrators
from gence.audit.records import Mending
from gence.calibration import catalogue, cross_fit
from gence.metrics import accuracy, brier_score, expected_calibration_error, negative_log_likelihood


def rows(number: int = 200) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=number)
    return 3 * generator.standard_normal((number, 3)) + 3 * np.eye(3)[labels], labels


def tried(*names: str, number: int = 200) -> Mending:
    return try_calibrators(*rows(number), names, bins=15, folds=4, seed=1)


@dataclass
class Memory:
    """Knows the label of every row it has seen, and leaves the others alone."""

    seen: dict[tuple[float, ...], int]

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        out = logits.clone()
        for i, row in enumerate(logits.tolist()):
            if tuple(row) in self.seen:
                out[i] = 1e3 * torch.eye(3, dtype=logits.dtype)[self.seen[tuple(row)]]
        return out


def entry(fit: Any) -> Any:
    return catalogue.Entry("made up", "", object, fit, False)  # type: ignore[arg-type]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(logits: Any, target: Any) -> Memory:
        return Memory({tuple(row): label for row, label in zip(logits.tolist(), target.tolist(), strict=True)})

    monkeypatch.setitem(catalogue.CATALOGUE, "memory", entry(fit))


@pytest.mark.usefixtures("memory")
def test_a_calibrator_that_only_remembers_changes_nothing() -> None:
    logits, labels = rows()
    known = catalogue.fit("memory", torch.from_numpy(logits), torch.from_numpy(labels))
    assert negative_log_likelihood(known(torch.from_numpy(logits)).softmax(1), labels) == 0
    found = tried("memory").trials[0]
    assert found.metrics == pytest.approx(tried("memory").uncalibrated)
    assert found.changed == 0
    assert all(one.value == 0 for one in found.differences.values())


def test_the_numbers_are_those_of_the_cross_fitted_rows() -> None:
    logits, labels = rows()
    found = tried("temperature", "vector")
    assert (found.rows, found.fitted_rows, found.folds, found.refused) == (200, 150, 4, "")
    plain = torch.from_numpy(logits).softmax(1)
    functions = {
        "nll": negative_log_likelihood,
        "brier": brier_score,
        "ece": expected_calibration_error,
        "accuracy": accuracy,
    }
    for trial in found.trials:
        probs = cross_fit(trial.name, logits, labels, folds=4, seed=1).softmax(1)
        for name, function in functions.items():
            before, after = (function(p, labels).item() for p in (plain, probs))
            assert trial.metrics[name] == pytest.approx(after)
            assert found.uncalibrated[name] == pytest.approx(before)
            assert trial.differences[name].value == pytest.approx(after - before, abs=1e-12)
        assert trial.changed == (probs.argmax(1) != plain.argmax(1)).double().mean()
        nll = -(probs.log() - plain.log())[torch.arange(200), torch.from_numpy(labels)].numpy()
        ends = ttest_1samp(nll, 0).confidence_interval(1 - 0.05 / 2)  # two calibrators were tried
        assert (trial.differences["nll"].low, trial.differences["nll"].high) == pytest.approx(tuple(ends))
    assert found.best.metrics["nll"] == min(trial.metrics["nll"] for trial in found.trials)


@pytest.mark.parametrize(
    "error", [ValueError("no such\nrow"), RuntimeError("singular matrix"), ModuleNotFoundError("needs numba")]
)
def test_one_that_cannot_be_fitted_is_listed_and_the_others_are_there(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fit(logits: Any, target: Any) -> Any:
        raise error

    monkeypatch.setitem(catalogue.CATALOGUE, "broken", entry(fit))
    found = tried("broken", "temperature")
    assert found.failures == (("made up", " ".join(str(error).split())),)
    assert [trial.name for trial in found.trials] == ["temperature"]


def test_with_many_rows_a_part_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gence.audit.mending.MOST_JUDGED", 100)
    monkeypatch.setattr("gence.audit.mending.MOST_FITTED", 60)
    found = tried("temperature")
    assert (found.rows, found.fitted_rows) == (100, 60)


def test_too_few_rows_are_refused_with_the_number_that_is_needed() -> None:
    assert tried("temperature", number=29).refused.startswith("at least 30 labelled rows are needed to judge")
    assert tried("temperature", number=1).refused.endswith("there is 1")
    assert tried("temperature", number=30).trials
