from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gence.bench.records import (
    METRICS,
    RECORD_VERSION,
    CalibratorResult,
    Cell,
    PerClass,
    Reliability,
    Setting,
    Study,
    TrialRecord,
)
from gence.bench.stats import estimate, summarize


def record(loss: str, seed: int, nll: dict[str, float], *, budget: int | str = 10, batch_size: int = 32) -> TrialRecord:
    results = {
        name: CalibratorResult(
            metrics={metric: value if metric == "nll" else 0.5 + seed / 100 for metric in METRICS},
            reliability=Reliability(counts=(1, 2), confidence_sums=(0.5, 1.5), correct_counts=(0, 2)),
            per_class=PerClass(rows=(2, 1), correct=(1, 1), nll=(1.0, 0.5), confidence=(1.2, 0.8), predicted=(1, 2)),
            fitted={},
            remarks=(),
            seconds=0.0,
        )
        for name, value in nll.items()
    }
    place = {
        "data": "d",
        "regime": "none",
        "model": "m",
        "loss": loss,
        "labels_per_class": budget,
        "batch_size": batch_size,
        "seed": seed,
    }
    cell = Cell.model_validate(place)
    return TrialRecord(
        version=RECORD_VERSION, key="k", spec_hash="s", cell=cell, training={}, data={}, results=results,
        seconds={"train": 2.0, "predict": 1.0}, environment={}, finished_at="now", logits_file="l",
    )  # fmt: skip


def study(*records: TrialRecord) -> Study:
    return Study(Path(), {}, len(records), records)


def test_the_interval_is_scipy_s_and_widens_with_the_number_of_comparisons() -> None:
    values = [0.3, 0.1, 0.4, 0.15, 0.9]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.mean, found.low, found.high, found.seeds) == pytest.approx((np.mean(values), low, high, 5))
    wide = estimate(values, comparisons=11)
    low, high = stats.t.interval(1 - 0.05 / 11, 4, np.mean(values), stats.sem(values))
    assert (wide.low, wide.high) == pytest.approx((low, high))


def test_one_seed_has_no_interval() -> None:
    assert (estimate([0.5]).low, estimate([0.5]).high) == (None, None)
    answer = summarize(study(record("ce", 0, {"none": 2.0}), record("gence", 0, {"none": 1.0}))).answers[0]
    assert {difference.excludes_zero for difference in answer.against_next} == {None}


def test_the_interval_covers_the_truth_19_times_in_20() -> None:
    generator = np.random.default_rng(0)
    found = [estimate(list(generator.normal(size=5))) for _ in range(4000)]
    covered = np.mean([e.low <= 0 <= e.high for e in found])
    assert 0.94 < covered < 0.96


def test_the_winner_has_the_lowest_mean_nll_and_is_held_against_baseline_and_best_other_loss() -> None:
    ce = [record("ce", s, {"none": 1.0 + 0.1 * s, "temperature": 0.8 + 0.1 * s}) for s in range(3)]
    gence = [record("gence", s, {"none": 0.9 + 0.1 * s, "temperature": 0.5 + 0.1 * s + 0.01 * s}) for s in range(3)]
    answer = summarize(study(*ce, *gence)).answers[0]
    assert (answer.best.loss, answer.best.calibrator) == ("gence", "temperature")
    nll = {d.second: d for d in (*answer.against_baseline, *answer.against_next) if d.metric == "nll"}
    assert nll["ce", "none"].estimate.mean == pytest.approx(-0.49)
    assert nll["ce", "temperature"].estimate.mean == pytest.approx(-0.29)
    # Paired: the seeds vary by 0.1, the differences by 0.01 only, so even three seeds can tell.
    half = stats.t.ppf(1 - 0.05 / 3 / 2, 2) * 0.01 / np.sqrt(3)
    assert nll["ce", "temperature"].estimate.high == pytest.approx(-0.29 + half)
    assert {d.comparisons for d in nll.values()} == {3}
    assert nll["ce", "temperature"].excludes_zero
    assert {d.metric for d in answer.against_next} == {"nll", "accuracy", "ece"}


def test_a_difference_that_is_noise_is_not_called_one() -> None:
    generator = np.random.default_rng(1)
    records = [record(loss, s, {"none": generator.normal(1, 0.1)}) for loss in ("ce", "gence") for s in range(5)]
    (answer,) = summarize(study(*records)).answers
    assert answer.against_next[0].excludes_zero is False


def test_among_equals_the_winner_is_wrongly_called_different_in_at_most_one_study_of_twenty() -> None:
    generator = np.random.default_rng(2)
    # Two hundred settings, each of which is answered by itself.
    records = [
        record(loss, s, {c: generator.normal() for c in ("none", "temperature")}, budget=setting)
        for setting in range(200)
        for loss in ("ce", "focal", "gence")
        for s in range(5)
    ]
    calls = [bool(answer.against_next[0].excludes_zero) for answer in summarize(study(*records)).answers]
    assert len(calls) == 200
    assert np.mean(calls) <= 0.05


def test_plain_cross_entropy_as_winner_and_a_single_loss_leave_their_comparison_empty() -> None:
    (answer,) = summarize(study(record("ce", 0, {"none": 1.0, "temperature": 2.0}))).answers
    assert (answer.against_baseline, answer.against_next) == ((), ())


def test_an_unfinished_study_is_judged_on_the_seeds_that_all_losses_have() -> None:
    # Over all its seeds gence looks worse; on seed 0, which both have, it is better.
    records = [record("ce", 0, {"none": 1.0}), record("gence", 0, {"none": 0.9}), record("gence", 1, {"none": 5.0})]
    (answer,) = summarize(study(*records)).answers
    assert answer.best.loss == "gence"
    assert answer.against_baseline[0].estimate.mean == pytest.approx(-0.1)
    assert answer.against_baseline[0].estimate.seeds == 1
    assert [row.metrics["nll"].mean for row in answer.rows] == [0.9, 1.0]  # the values beside the difference
    apart = summarize(study(record("ce", 0, {"none": 1.0}), record("gence", 1, {"none": 0.9})))
    assert apart.answers[0].best.loss == "gence"
    assert apart.answers[0].against_baseline == ()


def test_rows_are_sorted_by_budget_then_nll_and_pool_the_reliability_of_the_seeds() -> None:
    records = [
        record(loss, s, {"none": value}, budget=budget)
        for budget in ("all", 10)
        for loss, value in (("ce", 2.0), ("gence", 1.0))
        for s in (0, 1)
    ]
    summary = summarize(study(*records))
    assert [(r.setting.labels_per_class, r.loss) for r in summary.rows] == [
        (10, "gence"),
        (10, "ce"),
        ("all", "gence"),
        ("all", "ce"),
    ]
    assert [answer.setting for answer in summary.answers] == [
        Setting(10, 32, "none", "d", "m"),
        Setting("all", 32, "none", "d", "m"),
    ]
    assert summary.rows[0].reliability == Reliability(counts=(2, 4), confidence_sums=(1.0, 3.0), correct_counts=(0, 4))
    assert summary.rows[0].seconds.mean == 2.0
    assert summary.rows[0].metrics["accuracy"].mean == pytest.approx(0.505)


def test_batch_sizes_are_answered_apart_the_small_ones_first_within_a_budget() -> None:
    # At batches of 8 cross-entropy wins, at 128 gence; mixed they would be even.
    values = {("ce", 8): 1.0, ("gence", 8): 2.0, ("ce", 128): 2.0, ("gence", 128): 1.0}
    records = [
        record(loss, s, {"none": value}, budget=budget, batch_size=size)
        for budget in ("all", 10)
        for (loss, size), value in reversed(values.items())
        for s in (0, 1)
    ]
    summary = summarize(study(*records))
    assert [(answer.setting, answer.best.loss) for answer in summary.answers] == [
        (Setting(10, 8, "none", "d", "m"), "ce"),
        (Setting(10, 128, "none", "d", "m"), "gence"),
        (Setting("all", 8, "none", "d", "m"), "ce"),
        (Setting("all", 128, "none", "d", "m"), "gence"),
    ]
    assert [row.setting for row in summary.rows[::2]] == [answer.setting for answer in summary.answers]
    assert {row.seeds for row in summary.rows} == {2}
    assert summary.answers[1].against_baseline[0].estimate.mean == -1.0
