"""The record of one trial: one loss, budget of labels, batch size and seed, measured under every calibrator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

RECORD_VERSION = 3

METRICS = ("accuracy", "nll", "brier", "ece", "ece_mass", "classwise_ece", "smooth_ece", "aurc")
"""Every metric a trial measures, in the order of the columns of results.csv. Accuracy is better high, the rest low."""

Budget = int | Literal["all"]
"""Labels a class, training and calibration together; "all" is every labelled row outside the test split."""


@dataclass(frozen=True)
class Setting:
    """What the losses of a study are compared at; the answer is given for each setting by itself."""

    labels_per_class: Budget
    batch_size: int
    regime: str = "none"

    @property
    def rank(self) -> tuple[float, int]:
        """The order of settings: small budgets first and "all" last, then small batches first."""
        return (math.inf if self.labels_per_class == "all" else self.labels_per_class, self.batch_size)


def _all_metrics(found: dict[str, float]) -> dict[str, float]:
    if set(found) != set(METRICS):
        raise ValueError(f"the metrics {', '.join(METRICS)} are expected; got {', '.join(found)}")
    return found


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Cell(_Frozen):
    """The place of a trial in the grid; `regime` is as `gence.data.regimes.Regime` writes itself, "none" for none."""

    data: str
    regime: str
    model: str
    loss: str
    labels_per_class: Budget
    batch_size: int
    seed: int

    @property
    def setting(self) -> Setting:
        return Setting(self.labels_per_class, self.batch_size, self.regime)


class Reliability(_Frozen):
    """Top-label confidence against accuracy in equal-width bins (l, u]; the sums, so that seeds can be pooled."""

    counts: tuple[int, ...]
    confidence_sums: tuple[float, ...]
    correct_counts: tuple[int, ...]


class CalibratorResult(_Frozen):
    """What one calibrator made of the trial's test logits, how it was fitted, and what is to be said of the fit."""

    metrics: Annotated[dict[str, float], AfterValidator(_all_metrics)]
    reliability: Reliability
    fitted: dict[str, Any]
    remarks: tuple[str, ...]
    seconds: float


class TrialRecord(_Frozen):
    """Everything about one trial but its logits, which lie beside it in `logits_file`.

    Attributes:
        key: sha256 of all that decides the trial's outcome; the file is named after it.
        training: The recipe as it was resolved (epochs, updates, batch size, learning rate, ...).
        data: Fingerprint, kind, class names, row counts and the hashes of the chosen row numbers.
        results: One entry a calibrator, `"none"` included.
        seconds: Wall-clock seconds of `train` and `predict`.
        environment: Versions, hardware and thread count.
    """

    version: int
    key: str
    spec_hash: str
    cell: Cell
    training: dict[str, Any]
    data: dict[str, Any]
    results: dict[str, CalibratorResult]
    seconds: dict[str, float]
    environment: dict[str, Any]
    finished_at: str
    logits_file: str
