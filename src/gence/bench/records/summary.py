"""The numbers a report draws: means over seeds with intervals, and paired differences. Made by `bench.stats`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gence.bench.records.trial import Reliability, Setting


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval (Student's t unless said otherwise); None when there is one seed."""

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


Outcome = Literal["win", "tie", "loss"]


@dataclass(frozen=True)
class Contrast:
    """`metric` of `loss` minus that of cross-entropy, both under `calibrator`, at one setting, paired over seeds.

    Attributes:
        estimate: Mean difference with its 95 % interval (bootstrap-t from ten seeds on, else Student's t), not widened
            for the number of losses nor for the rows that the seeds share; the seeds that both have finished.
        p_t: Of the paired t-test, corrected for test rows that the seeds share where each draws its own (Nadeau and
            Bengio), so that it may be above 5 % where the interval leaves zero out; None with one seed.
        p_wilcoxon: Of Wilcoxon's signed-rank test; None with one seed.
        p_holm: `p_t` after Holm's correction over the losses of that metric, calibrator and setting.
        outcome: "win" where `loss` is better and `p_holm` is at most 5 %, "loss" where it is worse, else "tie".
        detectable: The smallest true difference that so many seeds, spread as these are, find in 80 of 100 studies
            after Holm's correction; None with one seed.
        p_study: `p_t` after Holm's correction over the losses and all settings, for that metric and calibrator: what a
            claim about one setting of many must rest on.
    """

    metric: str
    loss: str
    calibrator: str
    setting: Setting
    estimate: Estimate
    p_t: float | None
    p_wilcoxon: float | None
    p_holm: float | None
    outcome: Outcome
    detectable: float | None
    p_study: float | None = None


@dataclass(frozen=True)
class Pooled:
    """`metric` of `loss` minus that of cross-entropy, both under one calibrator, over settings.

    Attributes:
        estimate: Mean over the data sets of their means over settings. From five data sets on these are the units, and
            the interval is as for a `Contrast`; with fewer the units are the settings, and it is Student's t from their
            spread inside the data sets, of which alone it speaks (data sets of one setting each: from the settings as
            they are). `seeds` counts the units.
        p_wilcoxon: Of Wilcoxon's signed-rank test over the units; None with fewer than six.
        p_holm: The same after Holm's correction over the losses.
        wins: Settings with a `Contrast` that is a win.
        ties: With a tie.
        losses: With a loss.
        detectable: As for a `Contrast`, over the units; None where so few could find no difference of any size.
    """

    loss: str
    estimate: Estimate
    p_wilcoxon: float | None
    p_holm: float | None
    wins: int
    ties: int
    losses: int
    detectable: float | None


@dataclass(frozen=True)
class Standing:
    """How the losses stand to each other in one metric under one calibrator, over all settings that they share.

    Attributes:
        losses: Best mean rank first; without the rarest where not all losses share a setting.
        ranks: Mean rank of each, 1 the best.
        settings: How many settings were ranked.
        friedman_p: Of Friedman's test that all ranks are equal; None with fewer than two settings or three losses.
        critical_difference: Nemenyi's, at 5 %: mean ranks closer than that cannot be told apart; None with fewer than
            two settings or losses.
        cliques: Groups of two losses or more that cannot be told apart, largest groups only, in the order of `losses`.
        matrix: (wins, ties, losses) of the row's loss against the column's over the settings, in the order of `losses`:
            by `p_t` after Holm's correction over all pairs at a setting, so there may be fewer wins than in `pooled`.
        pooled: Every loss but cross-entropy against it; empty where it was not run.
    """

    metric: str
    calibrator: str
    losses: tuple[str, ...]
    ranks: tuple[float, ...]
    settings: int
    friedman_p: float | None
    critical_difference: float | None
    cliques: tuple[tuple[str, ...], ...]
    matrix: tuple[tuple[tuple[int, int, int], ...], ...]
    pooled: tuple[Pooled, ...]


@dataclass(frozen=True)
class GroupRow:
    """A loss with a calibrator at a setting, on a group of classes: those with many, some or few training rows.

    Attributes:
        group: "head", "medium" or "tail", or "class 3" for a class by itself.
        classes: How many classes are in it.
        accuracy: Mean recall of its classes.
        nll: Mean over its test rows.
        gap: Mean top confidence minus accuracy over its test rows: positive is overconfident.
    """

    loss: str
    calibrator: str
    setting: Setting
    group: str
    classes: int
    accuracy: Estimate
    nll: Estimate
    gap: Estimate


@dataclass(frozen=True)
class ShiftRow:
    """A loss with a calibrator at a setting under shift: the mean over the suite's shifts at one severity."""

    loss: str
    calibrator: str
    setting: Setting
    severity: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class OODRow:
    """How well a score tells a set out of the distribution from the test rows, for a loss at a setting."""

    loss: str
    calibrator: str
    setting: Setting
    set_name: str
    score: str
    measures: dict[str, Estimate]


@dataclass(frozen=True)
class Summary:
    """Rows in the order of the settings, then by mean NLL; one answer a setting in the same order.

    Attributes:
        rows: Every loss with every calibrator at every setting.
        answers: What the study says at each setting.
        contrasts: Every loss against cross-entropy at every setting, for `CONTRASTED`.
        standings: For `CONTRASTED` and every calibrator, over all settings.
        groups: By groups of classes, at settings whose classes are not all of one group, and by class up to 20 classes.
        shifts: Under shift, if the study has such suites.
        ood: Out of distribution, if the study has such sets.
    """

    rows: tuple[SummaryRow, ...]
    answers: tuple[Answer, ...]
    contrasts: tuple[Contrast, ...] = ()
    standings: tuple[Standing, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    shifts: tuple[ShiftRow, ...] = ()
    ood: tuple[OODRow, ...] = ()


CONTRASTED = ("accuracy", "balanced_accuracy", "nll", "brier", "ece")
"""The metrics that losses are compared in by tests, standings and heat maps."""
