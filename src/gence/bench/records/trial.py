"""The record of one trial: one loss, budget of labels, batch size and seed, measured under every calibrator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

RECORD_VERSION = 4

METRICS = ("accuracy", "balanced_accuracy", "nll", "brier", "ece", "ece_mass", "classwise_ece", "smooth_ece", "aurc")
"""Every metric a trial measures, in the order of the columns of results.csv. Accuracy is better high, the rest low."""

HIGH_IS_BETTER = frozenset({"accuracy", "balanced_accuracy"})
"""The metrics of which more is better."""

SHIFT_METRICS = ("accuracy", "nll", "brier", "ece")
"""What is measured under every shift at every severity."""

OOD_MEASURES = ("auroc", "fpr95", "aupr_in", "aupr_out")
"""What is measured of every out-of-distribution score on every set; an out-of-distribution row is the positive one."""

Budget = int | Literal["all"]
"""Labels a class, training and calibration together; "all" is every labelled row outside the test split."""


@dataclass(frozen=True)
class Setting:
    """What the losses of a study are compared at; the answer is given for each setting by itself.

    `data` and `model` are empty where there is but one of them to speak of.
    """

    labels_per_class: Budget
    batch_size: int
    regime: str = "none"
    data: str = ""
    model: str = ""

    @property
    def rank(self) -> tuple[float, int]:
        """The order of settings of one data set, regime and model: small budgets first and "all" last, then batches."""
        return (math.inf if self.labels_per_class == "all" else self.labels_per_class, self.batch_size)


def _all_metrics(found: dict[str, float]) -> dict[str, float]:
    if set(found) != set(METRICS):
        raise ValueError(f"the metrics {', '.join(METRICS)} are expected; got {', '.join(found)}")
    return found


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Cell(_Frozen):
    """The place of a trial in the grid.

    `regime` is as `gence.data.regimes.Regime` writes itself, "none" for none; `loss` is the name of the loss with the
    knobs that the spec gives it, as `gence.losses.written.WrittenLoss` writes itself: "focal:gamma=1.0".
    """

    data: str
    regime: str
    model: str
    loss: str
    labels_per_class: Budget
    batch_size: int
    seed: int

    @property
    def setting(self) -> Setting:
        return Setting(self.labels_per_class, self.batch_size, self.regime, self.data, self.model)


class Reliability(_Frozen):
    """Top-label confidence against accuracy in equal-width bins (l, u]; the sums, so that seeds can be pooled."""

    counts: tuple[int, ...]
    confidence_sums: tuple[float, ...]
    correct_counts: tuple[int, ...]


class PerClass(_Frozen):
    """Sums over the test rows of each class, so that seeds and groups of classes can be pooled; one number a class.

    Attributes:
        rows: Test rows of the class.
        correct: Those given the right class.
        nll: Sum of -log of the probability of the right class.
        confidence: Sum of the top probability.
        predicted: Test rows of any class that were given this class.
    """

    rows: tuple[int, ...]
    correct: tuple[int, ...]
    nll: tuple[float, ...]
    confidence: tuple[float, ...]
    predicted: tuple[int, ...]


class Shifted(_Frozen):
    """`SHIFT_METRICS` of the test rows under one shift at one severity."""

    shift: str
    severity: int
    metrics: dict[str, float]


class CalibratorResult(_Frozen):
    """What one calibrator made of the trial's test logits, how it was fitted, and what is to be said of the fit.

    `ood` is by set and score, `OOD_MEASURES` each; it and `shifted` are empty in a study without such suites.
    """

    metrics: Annotated[dict[str, float], AfterValidator(_all_metrics)]
    reliability: Reliability
    per_class: PerClass
    shifted: tuple[Shifted, ...] = ()
    ood: dict[str, dict[str, dict[str, float]]] = {}
    fitted: dict[str, Any]
    remarks: tuple[str, ...]
    seconds: float


class Tried(_Frozen):
    """One trial of a tuning: what was tried and how it did on the validation rows.

    Attributes:
        number: From 0, in the order in which they were tried.
        learning_rate: Tried.
        weight_decay: Tried.
        epochs: Tried.
        knobs: Of the loss, all of them.
        nll: On the validation rows, uncalibrated; None if the trial failed.
        accuracy: The same.
        balanced_nll: The mean over the classes of the mean NLL of their rows; None in records from before there was it.
        failure: Why it failed, or None.
    """

    number: int
    learning_rate: float
    weight_decay: float
    epochs: int
    knobs: dict[str, bool | int | float]
    nll: float | None
    accuracy: float | None
    balanced_nll: float | None = None
    failure: str | None = None


class Tuned(_Frozen):
    """The tuning that a trial's recipe comes from: everything that was tried, and which of it was chosen."""

    key: str
    metric: Literal["nll", "balanced_nll", "accuracy"]
    chosen: int
    tried: tuple[Tried, ...]


class TuningRecord(_Frozen):
    """One trial of a tuning on disk, whose key holds all that decides it, the trials before it included.

    Attributes:
        version: Of records.
        key: sha256 of what was tried, on what.
        tuning: The key of the tuning it belongs to.
        spec_hash: Of the spec.
        cell: Loss and setting; its seed is that of the rows and of the weights.
        tried: What was tried and what came of it.
        rows: How many rows were trained and validated on.
        seconds: Wall-clock seconds of `train` and `predict`.
        environment: Versions, hardware and thread count.
        finished_at: When.
    """

    version: int
    key: str
    tuning: str
    spec_hash: str
    cell: Cell
    tried: Tried
    rows: dict[str, int]
    seconds: dict[str, float]
    environment: dict[str, Any]
    finished_at: str


FailureKind = Literal["diverged", "memory", "died", "error"]
"""The loss stopped being finite; the memory was not enough; the process that ran it died; anything else raised."""


class FailureRecord(_Frozen):
    """A trial that came to nothing, and why; a study that goes on leaves it alone unless it is told to retry it.

    Attributes:
        version: Of records.
        key: That of the trial.
        spec_hash: Of the spec.
        cell: Its place in the grid.
        kind: What sort of failure.
        reason: In one line, for the report.
        attempts: How often it was tried.
        seconds: What the last attempt took.
        environment: Versions, hardware and thread count.
        failed_at: When.
    """

    version: int
    key: str
    spec_hash: str
    cell: Cell
    kind: FailureKind
    reason: str
    attempts: int
    seconds: float
    environment: dict[str, Any]
    failed_at: str


class TrialRecord(_Frozen):
    """Everything about one trial but its logits, which lie beside it in `logits_file`.

    Attributes:
        key: sha256 of all that decides the trial's outcome; the file is named after it.
        training: The recipe as it was resolved (epochs, updates, batch size, learning rate, knobs of the loss, ...).
        tuning: How the recipe was chosen: how many trials of which tuning were tried, and the best of them; None where
            the spec gives it.
        data: Fingerprint, kind, class names, row counts and the hashes of the chosen row numbers.
        results: One entry a calibrator, `"none"` included.
        seconds: Wall-clock seconds of `train` and `predict`, and of `suites` in a study with such.
        environment: Versions, hardware and thread count.
    """

    version: int
    key: str
    spec_hash: str
    cell: Cell
    training: dict[str, Any]
    tuning: Tuned | None = None
    data: dict[str, Any]
    results: dict[str, CalibratorResult]
    seconds: dict[str, float]
    environment: dict[str, Any]
    finished_at: str
    logits_file: str
