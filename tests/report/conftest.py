"""Studies out of thin air: records with made-up but plausible numbers, and a summary as `bench.stats` would make it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gence.bench.records import (
    CONTRASTED,
    HIGH_IS_BETTER,
    METRICS,
    RECORD_VERSION,
    Answer,
    Budget,
    CalibratorResult,
    Cell,
    Contrast,
    Difference,
    Estimate,
    FailureRecord,
    GroupRow,
    OODRow,
    Outcome,
    PerClass,
    Pooled,
    Reliability,
    Setting,
    ShiftRow,
    Standing,
    Study,
    Summary,
    SummaryRow,
    TrialRecord,
)

# Student's t at 97.5 % for 1 to 9 degrees of freedom.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
SHARPNESS = {"none": 2.2, "temperature": 1.15, "ats": 1.05}
SKILL = {"ce": 0.0, "label_smoothing": 0.05, "focal": 0.02, "gence": 0.08}

BuildStudy = Callable[..., Study]
BuildSummary = Callable[[Study], Summary]


@pytest.fixture(scope="session")
def build_study() -> BuildStudy:
    return make_study


@pytest.fixture(scope="session")
def build_summary() -> BuildSummary:
    return make_summary


@pytest.fixture(scope="session")
def add_suites() -> Callable[[Summary], Summary]:
    return with_suites


@pytest.fixture(scope="session")
def build_failure() -> Callable[..., FailureRecord]:
    return make_failure


def make_study(
    losses: Sequence[str] = ("ce", "label_smoothing", "focal", "gence"),
    calibrators: Sequence[str] = ("none", "temperature", "ats"),
    budgets: Sequence[Budget] = (10, 50),
    seeds: int = 5,
    batch_sizes: Sequence[int] = (32,),
    datas: Sequence[str] = ("digits",),
    models: Sequence[str] = ("small_resnet",),
    **changes: Any,
) -> Study:
    """A study of that grid; `changes` go into every record's data, but for `spec`, `expected` and `failures`."""
    spec = changes.pop("spec", None) or {
        "version": 1,
        "command": "gence compare digits --out results",
        "data": "digits",
        "target": None,
        "losses": list(losses),
        "calibrators": list(calibrators),
        "labels_per_class": list(budgets),
        "seeds": seeds,
        "model": "auto",
        "training": {"epochs": 120, "batch_size": list(batch_sizes)},
    }
    failures = changes.pop("failures", ())
    records = [
        make_record(loss, calibrators, Setting(budget, size, "none", data, model), seed, changes)
        for data in datas
        for model in models
        for budget in budgets
        for size in batch_sizes
        for loss in losses
        for seed in range(seeds)
    ]
    expected = changes.pop("expected", len(records) + len(failures))
    return Study(Path("study"), spec, expected, tuple(records), tuple(failures))


def make_failure(record: TrialRecord, kind: Any = "diverged", reason: str = "the loss is nan") -> FailureRecord:
    """That trial, failed."""
    return FailureRecord(
        version=RECORD_VERSION,
        key=record.key,
        spec_hash=record.spec_hash,
        cell=record.cell,
        kind=kind,
        reason=reason,
        attempts=2,
        seconds=1.5,
        environment={},
        failed_at="2026-05-01T10:00:00+00:00",
    )


def make_record(
    loss: str, calibrators: Sequence[str], setting: Setting, seed: int, changes: dict[str, Any]
) -> TrialRecord:
    budget, size = setting.labels_per_class, setting.batch_size
    labels = 400 if budget == "all" else budget
    data = {
        "fingerprint": "9f2c" * 16,
        "kind": "image",
        "name": setting.data,
        "class_names": [str(digit) for digit in range(10)],
        "notes": ["Images were kept at 8 by 8 pixels.", "The test split is a fifth of the rows, drawn with seed 0."],
        "rows": {"train": 8 * labels, "calibration": 2 * labels, "test": 360},
    } | {key: value for key, value in changes.items() if key != "expected"}
    place = "" if (setting.data, setting.model) == ("digits", "small_resnet") else f"{setting.data}{setting.model}"
    random = np.random.default_rng([seed, labels, *([] if size == 32 else [size]), *place.encode(), *loss.encode()])
    return TrialRecord(
        version=RECORD_VERSION,
        key=f"{place}{loss}{labels}{size}{seed}".ljust(64, "0"),
        spec_hash="5eed" * 16,
        cell=Cell(
            data=setting.data,
            regime=changes.get("regime", "none"),
            model=setting.model,
            loss=loss,
            labels_per_class=budget,
            batch_size=size,
            seed=seed,
        ),
        training={"epochs": 120, "updates": 15 * labels, "batch_size": size, "learning_rate": 0.05},
        data=data,
        results={name: make_result(loss, name, labels, random) for name in calibrators},
        seconds={"train": 1.5 + 0.02 * labels + 0.1 * len(loss) + 0.1 * float(random.random()), "predict": 0.05},
        environment={
            "gence": "0.1.0",
            "python": "3.11.7",
            "torch": "2.13.0",
            "numpy": "2.3.1",
            "platform": "Linux-6.1-x86_64",
            "processor": "x86_64, 2 cores",
            "threads": 1,
        },
        finished_at=f"2026-05-0{1 + seed % 9}T10:00:00+00:00",
        logits_file=f"{loss}-{labels}-{size}-{seed}.npz",
    )


def make_result(loss: str, calibrator: str, labels: int, random: np.random.Generator) -> CalibratorResult:
    skill = SKILL.get(loss, 0.01 * (len(loss) % 7)) + 0.25 * math.log10(labels)
    accuracy = 1 - 0.5 * math.exp(-3 * skill) + 0.004 * float(random.standard_normal())
    sharp = SHARPNESS.get(calibrator, 1.4)
    confidence = np.clip(random.beta(5 * accuracy * sharp + 1, 1.6, 360), 0.11, 0.9999)
    right = random.random(360) < confidence**sharp
    bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    gap = 0.02 * sharp**2
    noise = 0.05 * float(random.standard_normal())
    nll = (0.9 - 0.7 * skill) * (1 + 0.25 * (sharp - 1)) * (1 + noise * 0.2)
    metrics = (
        accuracy,
        accuracy - 0.001,
        nll,
        0.45 * nll,
        gap * (1 + noise),
        gap * 0.95,
        gap / 8,
        gap * 0.9,
        0.05 * nll,
    )
    return CalibratorResult(
        metrics=dict(zip(METRICS, (float(value) for value in metrics), strict=True)),
        reliability=Reliability(
            counts=tuple(int((bins == b).sum()) for b in range(15)),
            confidence_sums=tuple(float(confidence[bins == b].sum()) for b in range(15)),
            correct_counts=tuple(int(right[bins == b].sum()) for b in range(15)),
        ),
        per_class=PerClass(rows=(), correct=(), nll=(), confidence=(), predicted=()),
        fitted={},
        remarks=(),
        seconds=0.01,
    )


def make_summary(study: Study) -> Summary:
    """Means, intervals, and the answers, in the plainest way that has the right shape."""
    settings = list(dict.fromkeys(record.cell.setting for record in study.records))
    rows: list[SummaryRow] = []
    answers: list[Answer] = []
    for setting in settings:
        records = [record for record in study.records if record.cell.setting == setting]
        here = sorted(_rows(records), key=lambda row: row.metrics["nll"].mean)
        rows += here
        best = here[0]
        plain = next((row for row in here if (row.loss, row.calibrator) == ("ce", "none")), None)
        other = next((row for row in here if row.loss != best.loss), None)
        baseline = () if plain in (None, best) else _differences(records, best, plain, len(here) - 1)
        answers.append(
            Answer(setting, tuple(here), baseline, _differences(records, best, other, len(here) - 1) if other else ())
        )
    contrasts = _contrasts(study, settings)
    return Summary(tuple(rows), tuple(answers), contrasts, _standings(rows, contrasts))


def with_suites(summary: Summary) -> Summary:
    """The same with rows by groups of classes, under shift and out of distribution, made of the numbers at hand."""
    groups, shifts, ood = [], [], []
    for row in summary.rows:
        accuracy, nll = row.metrics["accuracy"], row.metrics["nll"]
        for group in ("head", "medium", "tail", *(f"class {i}" for i in range(10))):
            size = 1 if group.startswith("class") else 3
            gap = row.metrics["ece"]
            groups.append(GroupRow(row.loss, row.calibrator, row.setting, group, size, accuracy, nll, gap))
        for severity in (1, 3, 5):
            worse = {
                name: Estimate(
                    row.metrics[name].mean * (1 - 0.1 * severity if name == "accuracy" else 1 + 0.3 * severity),
                    None,
                    None,
                    3,
                )
                for name in ("accuracy", "nll", "brier", "ece")
            }
            shifts.append(ShiftRow(row.loss, row.calibrator, row.setting, severity, worse))
        for name in ("moons", "noise"):
            measures = dict.fromkeys(("auroc", "fpr95", "aupr_in", "aupr_out"), accuracy)
            ood.append(OODRow(row.loss, row.calibrator, row.setting, name, "msp", measures))
    return Summary(
        summary.rows, summary.answers, summary.contrasts, summary.standings, tuple(groups), tuple(shifts), tuple(ood)
    )


def _contrasts(study: Study, settings: Sequence[Setting]) -> tuple[Contrast, ...]:
    values: dict[tuple[Setting, str, str, str], dict[int, float]] = {}
    for record in study.records:
        for calibrator, result in record.results.items():
            for metric in CONTRASTED:
                place = (record.cell.setting, record.cell.loss, calibrator, metric)
                values.setdefault(place, {})[record.cell.seed] = result.metrics[metric]
    losses = [loss for loss in dict.fromkeys(record.cell.loss for record in study.records) if loss != "ce"]
    calibrators = list(dict.fromkeys(name for record in study.records for name in record.results))
    found: list[Contrast] = []
    for metric in CONTRASTED:
        for calibrator in calibrators:
            for setting in settings:
                for loss in losses:
                    mine, plain = (values.get((setting, one, calibrator, metric), {}) for one in (loss, "ce"))
                    seeds = [seed for seed in mine if seed in plain]
                    if not seeds:
                        continue
                    mean = estimate([mine[seed] - plain[seed] for seed in seeds])
                    sure = mean.low is not None and mean.high is not None and not mean.low <= 0 <= mean.high
                    better = (mean.mean > 0) == (metric in HIGH_IS_BETTER)
                    outcome: Outcome = "tie" if not sure else "win" if better else "loss"
                    p = None if mean.low is None else 0.01 if sure else 0.3
                    half = None if mean.high is None else 1.4 * (mean.high - mean.mean)
                    found.append(Contrast(metric, loss, calibrator, setting, mean, p, p, p, outcome, half, p))
    return tuple(found)


def _standings(rows: Sequence[SummaryRow], contrasts: Sequence[Contrast]) -> tuple[Standing, ...]:
    losses = list(dict.fromkeys(row.loss for row in rows))
    settings = list(dict.fromkeys(row.setting for row in rows))
    means = {(r.setting, r.loss, r.calibrator, m): e.mean for r in rows for m, e in r.metrics.items()}
    made: list[Standing] = []
    for metric in CONTRASTED:
        for calibrator in dict.fromkeys(row.calibrator for row in rows):
            sign = -1 if metric in HIGH_IS_BETTER else 1
            order = [
                sorted(losses, key=lambda loss, s=setting, c=calibrator, m=metric, k=sign: k * means[s, loss, c, m])
                for setting in settings
            ]
            ranks = {loss: float(np.mean([1 + one.index(loss) for one in order])) for loss in losses}
            best = sorted(losses, key=lambda loss, r=ranks: r[loss])
            few = len(settings) < 2 or len(losses) < 2
            gap = None if few else 2.8 * math.sqrt(len(losses) * (len(losses) + 1) / (6 * len(settings)))
            mine = [c for c in contrasts if (c.metric, c.calibrator) == (metric, calibrator)]
            pooled = []
            for loss in [one for one in best if one != "ce"]:
                here = [c for c in mine if c.loss == loss]
                if here:
                    counts = [sum(c.outcome == kind for c in here) for kind in ("win", "tie", "loss")]
                    pooled.append(Pooled(loss, estimate([c.estimate.mean for c in here]), 0.02, 0.04, *counts, 0.01))
            cliques: list[tuple[str, ...]] = []
            for i in range(len(best)):
                group = tuple(one for one in best[i:] if gap is not None and ranks[one] - ranks[best[i]] < gap)
                if len(group) > 1 and not any(set(group) <= set(one) for one in cliques):
                    cliques.append(group)
            matrix = tuple(tuple((0, 0, 0) if a == b else (1, len(settings) - 1, 0) for b in best) for a in best)
            made.append(
                Standing(
                    metric,
                    calibrator,
                    tuple(best),
                    tuple(ranks[one] for one in best),
                    len(settings),
                    None if few else 0.003,
                    gap,
                    tuple(cliques),
                    matrix,
                    tuple(pooled),
                )
            )
    return tuple(made)


def estimate(values: Sequence[float], widen: float = 1.0) -> Estimate:
    mean, seeds = float(np.mean(values)), len(values)
    if seeds == 1:
        return Estimate(mean, None, None, 1)
    half = widen * T[min(seeds - 2, len(T) - 1)] * float(np.std(values, ddof=1)) / math.sqrt(seeds)
    return Estimate(mean, mean - half, mean + half, seeds)


def _rows(records: Sequence[TrialRecord]) -> list[SummaryRow]:
    rows: list[SummaryRow] = []
    for loss in dict.fromkeys(record.cell.loss for record in records):
        mine = [record for record in records if record.cell.loss == loss]
        for calibrator in mine[0].results:
            results = [record.results[calibrator] for record in mine]
            rows.append(
                SummaryRow(
                    data=mine[0].cell.data,
                    model=mine[0].cell.model,
                    loss=loss,
                    calibrator=calibrator,
                    setting=mine[0].cell.setting,
                    seeds=len(mine),
                    metrics={name: estimate([result.metrics[name] for result in results]) for name in METRICS},
                    seconds=estimate([record.seconds["train"] for record in mine]),
                    reliability=_pooled([result.reliability for result in results]),
                )
            )
    return rows


def _pooled(parts: Sequence[Reliability]) -> Reliability:
    return Reliability(
        counts=tuple(np.sum([part.counts for part in parts], axis=0).tolist()),
        confidence_sums=tuple(np.sum([part.confidence_sums for part in parts], axis=0).tolist()),
        correct_counts=tuple(np.sum([part.correct_counts for part in parts], axis=0).tolist()),
    )


def _differences(
    records: Sequence[TrialRecord], first: SummaryRow, second: SummaryRow, comparisons: int
) -> tuple[Difference, ...]:
    made: list[Difference] = []
    for metric in ("nll", "accuracy", "ece"):
        values = [
            {r.cell.seed: r.results[row.calibrator].metrics[metric] for r in records if r.cell.loss == row.loss}
            for row in (first, second)
        ]
        paired = estimate([values[0][seed] - values[1][seed] for seed in values[0] if seed in values[1]], widen=1.5)
        zero = None if paired.low is None or paired.high is None else not paired.low <= 0 <= paired.high
        pair = ((first.loss, first.calibrator), (second.loss, second.calibrator))
        made.append(Difference(metric, *pair, paired, comparisons, zero))
    return tuple(made)
