"""The numbers a report draws: means over seeds with intervals, and paired differences. Made by `bench.stats`."""

from __future__ import annotations

from dataclasses import dataclass

from gence.bench.records.trial import Reliability, Setting


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval (Student's t); the interval is None when there is one seed only."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class SummaryRow:
    """One loss with one calibrator at one setting, over all seeds. `reliability` pools the seeds' test rows."""

    data: str
    model: str
    loss: str
    calibrator: str
    setting: Setting
    seeds: int
    metrics: dict[str, Estimate]
    seconds: Estimate
    reliability: Reliability


@dataclass(frozen=True)
class Difference:
    """`metric` of `first` minus `metric` of `second`, paired over seeds.

    Attributes:
        first: (loss, calibrator).
        second: (loss, calibrator).
        estimate: Mean difference; its interval is widened for `comparisons` (Bonferroni), because `first` was
            picked as the best of that many others on the same test rows.
        excludes_zero: Whether the interval excludes zero; None when there is no interval (one seed).
    """

    metric: str
    first: tuple[str, str]
    second: tuple[str, str]
    estimate: Estimate
    comparisons: int
    excludes_zero: bool | None


@dataclass(frozen=True)
class Answer:
    """What the study says at one setting: the combination with the lowest mean test NLL, against two others.

    Attributes:
        rows: Every combination over the seeds that all losses have finished, by mean NLL; over all seeds, and with no
            differences, where the losses share none. The first one is the winner.
        against_baseline: Winner minus plain cross-entropy without a calibrator, one difference a metric
            (`nll`, `accuracy`, `ece`); empty when that is the winner or was not run.
        against_next: Winner minus the best combination that trains with another loss; empty when there is one loss.
    """

    setting: Setting
    rows: tuple[SummaryRow, ...]
    against_baseline: tuple[Difference, ...]
    against_next: tuple[Difference, ...]

    @property
    def best(self) -> SummaryRow:
        return self.rows[0]


@dataclass(frozen=True)
class Summary:
    """Rows sorted by setting (its `rank`), then by mean NLL; one answer a setting in the same order."""

    rows: tuple[SummaryRow, ...]
    answers: tuple[Answer, ...]
