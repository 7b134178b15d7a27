"""The record of an audit: plain numbers and words, as `audit.json` holds them and as the page draws them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gence._errors import InputError

AUDIT_VERSION = 1

METRICS = (
    "accuracy",
    "confidence_gap",
    "ece",
    "ece_mass",
    "mce",
    "debiased_ece",
    "debiased_ece_l1",
    "smooth_ece",
    "classwise_ece",
    "nll",
    "brier",
    "aurc",
)
"""Every metric of an audit; `confidence_gap` is the mean top confidence minus the accuracy."""

TRIAL_METRICS = ("nll", "brier", "ece", "accuracy")
"""What every calibrator is judged by."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; the ends are None where the rows are too few, or too costly, for one."""

    value: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside."""
        return self.low is not None and self.high is not None and not self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class Bin:
    """A bin of confidence that holds rows: their mean confidence, and how often they were right, with its interval."""

    start: float
    end: float
    rows: int
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class Chance:
    """What perfectly honest probabilities with the same confidences would show on as many rows, by chance alone.

    Attributes:
        ece: The mean of their ECE over the draws.
        ece_high: What 95 of 100 draws stay below.
        ece_share: The share of draws with an ECE at least as large as the observed one.
        gap_share: The share of draws whose mean confidence is at least as far from their accuracy as observed.
        draws: How many draws there were.
    """

    ece: float
    ece_high: float
    ece_share: float
    gap_share: float
    draws: int


@dataclass(frozen=True)
class ClassRow:
    """One class. What a class without rows, or one that is never predicted, cannot have is None.

    Attributes:
        name: Its name.
        rows: How many rows are of the class.
        predicted: How many rows were predicted to be.
        recall: The share of its rows that were predicted as it.
        precision: The share of the rows predicted as it that are of it.
        confidence: Mean top confidence of the rows that were predicted as it.
        probability: Mean probability of the class over all rows; honest probabilities give the class's frequency.
        frequency: Its share of all rows.
        ece: Calibration error of its own probability over all rows (one against the rest).
    """

    name: str
    rows: int
    predicted: int
    recall: float | None
    precision: float | None
    confidence: float | None
    probability: float
    frequency: float
    ece: float


@dataclass(frozen=True)
class Slice:
    """Rows that share a predicted class, a range of confidence, or both.

    Attributes:
        predicted: The name of the predicted class, None for any.
        confidence_range: The range (low, high] of confidence, None for any.
        rows: How many rows it holds.
        confidence: Their mean confidence.
        accuracy: The share of them that were right.
        gap: Confidence minus accuracy, with an interval that is widened for all slices looked at.
        z: The gap over its standard error under honest probabilities; None where that error is zero.
    """

    predicted: str | None
    confidence_range: tuple[float, float] | None
    rows: int
    confidence: float
    accuracy: float
    gap: Estimate
    z: float | None

    @property
    def certain_gap(self) -> float:
        """The end of the interval that is nearer to zero, as a distance: at least this much is no chance."""
        ends = (self.gap.low or 0.0, self.gap.high or 0.0)
        return min(abs(end) for end in ends) if self.gap.excludes_zero else 0.0


@dataclass(frozen=True)
class SliceSearch:
    """The slices that were looked at, and the worst of them first.

    Attributes:
        looked_at: How many slices have enough rows.
        too_small: How many hold rows, but fewer than `least_rows`.
        least_rows: What is enough.
        beyond_chance: How many of them have an interval that excludes zero.
        worst: The worst, by `certain_gap` and then by the size of z.
    """

    looked_at: int
    too_small: int
    least_rows: int
    beyond_chance: int
    worst: tuple[Slice, ...]


@dataclass(frozen=True)
class CoveragePoint:
    """The most confident `coverage` of the rows: how many, the least confidence among them, their accuracy."""

    coverage: float
    rows: int
    threshold: float
    accuracy: Estimate


@dataclass(frozen=True)
class Coverage:
    """Selective prediction: `curve` holds (coverage, accuracy) from few rows to all, `points` a few of them."""

    curve: tuple[tuple[float, float], ...]
    points: tuple[CoveragePoint, ...]


@dataclass(frozen=True)
class CalibratorTrial:
    """What one calibrator made of rows that it was not fitted on.

    Attributes:
        name: Its name in the catalogue.
        title: Its name in words.
        metrics: Value of every metric of `TRIAL_METRICS`.
        differences: The same minus without a calibrator, paired row by row; the intervals are widened for all trials.
        changed: The share of rows whose predicted class changed.
        seconds: What all its fits took.
    """

    name: str
    title: str
    metrics: dict[str, float]
    differences: dict[str, Estimate]
    changed: float
    seconds: float


@dataclass(frozen=True)
class Mending:
    """What calibrators would change.

    Attributes:
        refused: Why there is no trial; empty if there are some.
        rows: How many rows, drawn at random if not all, the calibrators were judged on.
        fitted_rows: On how many rows a fit saw at most.
        folds: Parts the rows were dealt into; each was judged by a fit on the others.
        uncalibrated: The metrics of those rows without a calibrator.
        trials: One entry a calibrator, in the order they were named.
        failures: (title, reason) of those that could not be fitted.
    """

    refused: str
    rows: int
    fitted_rows: int
    folds: int
    uncalibrated: dict[str, float]
    trials: tuple[CalibratorTrial, ...]
    failures: tuple[tuple[str, str], ...]

    @property
    def best(self) -> CalibratorTrial | None:
        """The trial with the lowest NLL."""
        return min(self.trials, key=lambda trial: trial.metrics["nll"], default=None)


@dataclass(frozen=True)
class Audit:
    """Everything that `gence.audit.audit_predictions` found out; it holds no row of the predictions.

    Attributes:
        version: Of the record's form.
        source: Where the predictions come from, as they say themselves.
        notes: What was said about them when they were read.
        kind: Whether logits or probabilities were given.
        rows: How many rows.
        class_names: One name a class.
        confidence: The mean top confidence.
        right: How many rows were predicted right.
        metrics: One estimate a metric of `METRICS`.
        chance: What honest probabilities would show; None for fewer rows than intervals need.
        reliability: The bins that hold rows, of equal `"width"` and of equal `"mass"`.
        classes: One entry a class.
        slices: The worst-calibrated slices.
        coverage: Accuracy on the most confident rows.
        mending: What calibrators would change.
        settings: Bins, level, resamples, folds, seed and the limits.
        environment: Versions of what computed.
        seconds: Wall-clock seconds of each part.
        finished_at: Date and time, UTC.
    """

    version: int
    source: str
    notes: tuple[str, ...]
    kind: Literal["logits", "probabilities"]
    rows: int
    class_names: tuple[str, ...]
    confidence: float
    right: int
    metrics: dict[str, Estimate]
    chance: Chance | None
    reliability: dict[str, tuple[Bin, ...]]
    classes: tuple[ClassRow, ...]
    slices: SliceSearch
    coverage: Coverage
    mending: Mending
    settings: dict[str, float]
    environment: dict[str, str]
    seconds: dict[str, float]
    finished_at: str


def audit_json(audit: Audit) -> str:
    """The record as JSON, with every number to its last bit.

    Raises:
        ValueError: If it holds NaN or infinity; a part that cannot be computed is None instead.
    """
    return json.dumps(asdict(audit), indent=1, allow_nan=False) + "\n"


def parse_audit(text: str, source: str) -> Audit:
    """The record that `audit_json` wrote; messages call it `source`.

    Raises:
        InputError: If it is no such record, or one of another version.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        content: Any = json.loads(text)
        version = content.get("version") if isinstance(content, dict) else None
        if version != AUDIT_VERSION:
            raise InputError(
                f"{source}: audit version {version!r}, this gence reads version {AUDIT_VERSION}; audit again"
            )
        return TypeAdapter(Audit).validate_json(text)
    except (json.JSONDecodeError, ValidationError) as error:
        raise InputError(f"{source}: not an audit record ({str(error).splitlines()[0]}); audit again") from error
