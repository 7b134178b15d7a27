"""Whole studies through `summarize`: contrasts, standings, groups, shift, out of distribution, joined records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gence.bench.records import (
    CONTRASTED,
    METRICS,
    RECORD_VERSION,
    CalibratorResult,
    Cell,
    Contrast,
    Estimate,
    PerClass,
    Reliability,
    Setting,
    Shifted,
    Standing,
    Study,
    TrialRecord,
)
from gence.bench.stats import summarize
from gence.bench.stats.contrasts import contrasts
from gence.bench.stats.grid import Scores
from gence.bench.stats.power import detectable_effect
from gence.bench.stats.standings import pool

PER_CLASS = PerClass(rows=(), correct=(), nll=(), confidence=(), predicted=())


def result(value: float, *, high: float | None = None, **changes: Any) -> CalibratorResult:
    """All low-is-better metrics are `value`, the accuracies `high`."""
    content: dict[str, Any] = {
        "metrics": {name: (1 - value if high is None else high) if "acc" in name else value for name in METRICS},
        "reliability": Reliability(counts=(1,), confidence_sums=(1.0,), correct_counts=(1,)),
        "per_class": PER_CLASS,
        "shifted": (),
        "ood": {},
        "fitted": {},
        "remarks": (),
        "seconds": 0.0,
    }
    return CalibratorResult.model_construct(**content | changes)


def record(
    loss: str,
    seed: int,
    results: Mapping[str, CalibratorResult] | float,
    *,
    data: str = "d",
    budget: int = 10,
    about: Mapping[str, Any] | None = None,
) -> TrialRecord:
    cell = Cell(
        data=data, regime="none", model="m", loss=loss, labels_per_class=budget, batch_size=32, seed=seed
    )  # fmt: skip
    return TrialRecord.model_construct(
        version=RECORD_VERSION, key="k", spec_hash="s", cell=cell, training={}, tuning=None,
        data=dict(about or {"test_split": "own"}), seconds={"train": 2.0, "predict": 1.0}, environment={},
        results={"none": result(results)} if isinstance(results, float) else dict(results),
        finished_at="now", logits_file="l",
    )  # fmt: skip


def study(records: list[TrialRecord]) -> Study:
    return Study(Path(), {}, len(records), tuple(records))


def grid(values: np.ndarray, losses: tuple[str, ...], **changes: Any) -> list[TrialRecord]:
    """Records from `values` (data sets, settings, losses, seeds)."""
    return [
        record(losses[loss], seed, float(values[d, s, loss, seed]), data=f"d{d}", budget=10 * (s + 1), **changes)
        for d, s, loss, seed in np.ndindex(*values.shape)
    ]


def contrast(found: tuple[Contrast, ...], metric: str, loss: str) -> Contrast:
    (one,) = [c for c in found if (c.metric, c.loss) == (metric, loss)]
    return one


def standing(found: tuple[Standing, ...], metric: str) -> Standing:
    (one,) = [s for s in found if s.metric == metric]
    return one


def test_a_contrast_by_hand() -> None:
    differences = {"a": np.array([-0.3, -0.25, -0.35, -0.28]), "b": np.array([0.1, -0.1, 0.05, 0.0])}
    values = np.array([[[[1.0, 1.2, 0.9, 1.1]]]])
    values = np.concatenate([values, *(values + apart for apart in differences.values())], axis=2)
    found = summarize(study(grid(values, ("ce", "a", "b")))).contrasts
    a, b = contrast(found, "nll", "a"), contrast(found, "nll", "b")
    p = {loss: float(stats.ttest_1samp(apart, 0).pvalue) for loss, apart in differences.items()}
    assert (a.p_t, b.p_t) == pytest.approx((p["a"], p["b"]))
    assert (a.p_holm, b.p_holm) == pytest.approx((2 * p["a"], p["b"]))
    assert a.p_wilcoxon == pytest.approx(2 / 16)
    assert (a.outcome, b.outcome) == ("win", "tie")
    assert a.detectable == pytest.approx(detectable_effect(4, comparisons=2) * stats.sem(differences["a"]))
    low, high = stats.t.interval(0.95, 3, differences["a"].mean(), stats.sem(differences["a"]))
    assert (a.estimate.low, a.estimate.high, a.estimate.seeds) == pytest.approx((low, high, 4))
    # More accuracy is better, and it went up as NLL went down.
    assert contrast(found, "accuracy", "a").outcome == "win"
    assert contrast(found, "accuracy", "a").estimate.mean == pytest.approx(-a.estimate.mean)
    assert len(found) == 2 * len(CONTRASTED)


def test_rows_drawn_from_one_pool_make_the_test_stricter_and_leave_the_interval() -> None:
    values = np.random.default_rng(0).normal(size=(1, 1, 2, 5))
    rows = {"rows": {"train": 200, "validation": 0, "calibration": 50, "test": 250}}

    def found(about: dict[str, Any]) -> Contrast:
        return contrast(summarize(study(grid(values, ("ce", "a"), about=about))).contrasts, "nll", "a")

    own, drawn, pooled = found({**rows, "test_split": "own"}), found(rows), found({**rows, "pool": 1000})
    differences = values[0, 0, 1] - values[0, 0, 0]
    assert own.estimate == drawn.estimate == pooled.estimate
    for one, overlap in ((own, 0), (drawn, 1), (pooled, 1 / 3)):
        t = abs(differences.mean()) / (differences.std(ddof=1) * np.sqrt(1 / 5 + overlap))
        assert one.p_t == pytest.approx(2 * stats.t.sf(t, 4))
    assert own.detectable is not None
    assert drawn.detectable == pytest.approx(own.detectable * np.sqrt(6))


def test_a_claim_of_the_study_is_corrected_over_losses_and_settings_of_its_metric_and_calibrator() -> None:
    values = np.random.default_rng(9).normal(size=(2, 2, 3, 4)) + np.array([0.0, 3.0, 0.5])[:, None]
    records = [
        record(r.cell.loss, r.cell.seed, {**r.results, "ats": result(r.results["none"].metrics["nll"] ** 2)},
               data=r.cell.data, budget=int(r.cell.labels_per_class))
        for r in grid(values, ("ce", "a", "b"))
    ]  # fmt: skip
    for calibrator, scale in (("none", values), ("ats", values**2)):
        found = [
            one for one in summarize(study(records)).contrasts if (one.metric, one.calibrator) == ("nll", calibrator)
        ]
        p = stats.ttest_1samp(scale[:, :, 1:] - scale[:, :, :1], 0, axis=3).pvalue.ravel()
        order = np.argsort(p)
        expected, largest = np.empty(8), 0.0
        for rank, place in enumerate(order):
            largest = max(largest, min(1.0, (8 - rank) * p[place]))
            expected[place] = largest
        assert [one.p_t for one in found] == pytest.approx(p)
        assert [one.p_study for one in found] == pytest.approx(expected)


def test_one_test_split_held_out_for_all_seeds_is_as_good_as_one_of_the_source() -> None:
    values = np.random.default_rng(0).normal(size=(1, 1, 2, 5))
    rows = {"rows": {"train": 200, "validation": 0, "calibration": 50, "test": 250}, "pool": 500}

    def p_of(*about: dict[str, Any]) -> float | None:
        records = [
            record(loss, seed, float(values[0, 0, i, seed]), about=about[seed % len(about)])
            for i, loss in enumerate(("ce", "a"))
            for seed in range(5)
        ]
        return contrast(summarize(study(records)).contrasts, "nll", "a").p_t

    own, one_for_all = p_of({**rows, "test_split": "own", "test_seed": None}), p_of({**rows, "test_seed": 0})
    each_its_own = p_of(*({**rows, "test_seed": seed} for seed in range(5)))
    assert own == one_for_all == pytest.approx(stats.ttest_1samp((values[0, 0, 1] - values[0, 0, 0]), 0).pvalue)
    assert each_its_own == p_of(rows) != own


def test_a_loss_that_failed_a_seed_is_judged_on_the_others_and_takes_nothing_from_its_neighbours() -> None:
    values = np.random.default_rng(1).normal(size=(1, 1, 4, 5))
    records = grid(values, ("ce", "a", "b", "c"))
    kept = [r for r in records if (r.cell.loss, r.cell.seed) not in {("a", 0), *(("b", s) for s in range(1, 5))}]
    kept = [r for r in kept if r.cell.loss != "c" or r.cell.seed == 9]
    summary = summarize(study([*kept, record("c", 9, 1.0, data="d0")]))
    a = contrast(summary.contrasts, "nll", "a")
    assert a.estimate.mean == pytest.approx((values[0, 0, 1] - values[0, 0, 0])[1:].mean())
    assert a.estimate.seeds == 4
    b = contrast(summary.contrasts, "nll", "b")
    assert (b.estimate.seeds, b.estimate.low, b.p_t, b.p_wilcoxon, b.p_holm, b.outcome, b.detectable) == (
        1, None, None, None, None, "tie", None,
    )  # fmt: skip
    assert a.p_holm == a.p_t  # b cannot be tested, so there is but one test
    assert not [one for one in summary.contrasts if one.loss == "c"]  # it shares no seed with cross-entropy
    assert set(standing(summary.standings, "nll").losses) == {"ce", "a", "b", "c"}


def test_a_study_without_cross_entropy_has_standings_and_no_contrasts() -> None:
    summary = summarize(study(grid(np.random.default_rng(2).normal(size=(1, 3, 3, 3)), ("a", "b", "c"))))
    assert summary.contrasts == ()
    assert standing(summary.standings, "nll").pooled == ()
    assert standing(summary.standings, "nll").settings == 3


def test_a_standing_by_hand() -> None:
    noise = np.random.default_rng(3).normal(0, 0.01, size=(2, 2, 3, 4))
    # "b" is the best everywhere but at one setting, where it is the worst; "a" and "ce" cannot be told apart.
    level = np.array([1.0, 1.0, 0.5])[None, None, :, None] + np.zeros((2, 2, 1, 1))
    level[1, 1, 2] = 2.0
    standings = summarize(study(grid(level + noise, ("ce", "a", "b")))).standings
    found, by_accuracy = standing(standings, "nll"), standing(standings, "accuracy")
    # Accuracy is one minus NLL here, and better high.
    assert (by_accuracy.losses, by_accuracy.ranks) == (found.losses, found.ranks)
    assert by_accuracy.matrix == found.matrix
    means = (level + noise).mean(axis=3).reshape(4, 3)
    ranks = stats.rankdata(means, axis=1).mean(axis=0)
    order = np.argsort(ranks, kind="stable")
    assert found.losses == tuple(np.array(["ce", "a", "b"])[order])
    assert found.ranks == pytest.approx(ranks[order])
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*means.T).pvalue)
    assert found.cliques == (found.losses,)
    place = {loss: i for i, loss in enumerate(found.losses)}
    assert found.matrix[place["b"]][place["a"]] == (3, 0, 1)
    assert found.matrix[place["a"]][place["b"]] == (1, 0, 3)
    assert found.matrix[place["b"]][place["b"]] == (0, 0, 0)
    assert sum(found.matrix[place["a"]][place["ce"]]) == 4
    pooled = {one.loss: one for one in found.pooled}
    assert (pooled["b"].wins, pooled["b"].ties, pooled["b"].losses) == (3, 0, 1)
    assert (pooled["b"].p_wilcoxon, pooled["b"].p_holm, pooled["b"].detectable) == (None, None, None)  # four units
    assert pooled["b"].estimate.seeds == 4


def test_five_data_sets_are_the_units_of_a_pooled_difference() -> None:
    values = np.random.default_rng(4).normal(size=(7, 2, 2, 3))
    (pooled,) = standing(summarize(study(grid(values, ("ce", "a")))).standings, "nll").pooled
    units = (values[:, :, 1] - values[:, :, 0]).mean(axis=(1, 2))
    low, high = stats.t.interval(0.95, 6, units.mean(), stats.sem(units))
    assert (pooled.estimate.low, pooled.estimate.high, pooled.estimate.seeds) == pytest.approx((low, high, 7))
    assert pooled.p_wilcoxon == pytest.approx(stats.wilcoxon(units).pvalue)
    assert pooled.p_holm == pooled.p_wilcoxon
    assert pooled.detectable == pytest.approx(detectable_effect(7) * stats.sem(units))


def test_few_data_sets_of_unlike_many_settings_weigh_the_same() -> None:
    values = np.random.default_rng(8).normal(size=(2, 3, 2, 3))
    records = [
        r for r in grid(values, ("ce", "a")) if (r.cell.data, r.cell.labels_per_class) not in {("d1", 20), ("d1", 30)}
    ]
    (pooled,) = standing(summarize(study(records)).standings, "nll").pooled
    apart = (values[:, :, 1] - values[:, :, 0]).mean(axis=2)
    mean = (apart[0].mean() + apart[1, 0]) / 2
    # Three settings of one data set say what a setting's noise is: two degrees of freedom.
    half = stats.t.ppf(0.975, 2) * apart[0].std(ddof=1) * np.sqrt(1 / 3 + 1) / 2
    assert (pooled.estimate.mean, pooled.estimate.low, pooled.estimate.high) == pytest.approx(
        (mean, mean - half, mean + half)
    )
    assert pooled.estimate.seeds == 4


def test_with_five_data_sets_the_interval_is_over_them_and_with_four_inside_them() -> None:
    values = np.random.default_rng(10).normal(size=(5, 2, 2, 3))
    for data_sets, units in ((5, 5), (4, 8)):
        found = standing(summarize(study(grid(values[:data_sets], ("ce", "a")))).standings, "nll")
        assert found.pooled[0].estimate.seeds == units


def test_mean_scores_are_over_the_seeds_that_all_losses_have() -> None:
    values = np.repeat([[[1.0, 9.0, 3.0], [2.0, np.nan, 4.0]]], len(CONTRASTED), axis=0)
    scored = Scores(Setting(10, 32), "none", ("ce", "a"), values, 0.0)
    assert scored.means(("ce", "a")).tolist() == [[2.0, 3.0]] * len(CONTRASTED)
    assert scored.means(("ce",)).tolist() == [[13 / 3]] * len(CONTRASTED)


def test_losses_that_share_no_setting_are_ranked_without_the_rarest() -> None:
    values = np.random.default_rng(5).normal(size=(1, 2, 2, 3))
    records = [*grid(values, ("ce", "a")), *(record("b", s, 1.0, data="elsewhere") for s in range(3))]
    found = standing(summarize(study(records)).standings, "nll")
    assert (set(found.losses), found.settings) == ({"ce", "a"}, 2)


def test_settings_stand_in_the_order_of_their_data_sets_and_joined_records_share_their_calibrators() -> None:
    joined = [
        record("ce", 0, {"none": result(2.0)}, data="z"),
        record("ce", 0, {"none": result(2.0), "temperature": result(1.0)}, data="a", budget=50),
        record("ce", 0, {"none": result(2.0)}, data="a", budget=10),
        record("ce", 0, {"ats": result(1.5)}, data="z"),
        record("a", 0, {"none": result(1.8)}, data="z"),
    ]
    summary = summarize(study(joined))
    assert [(a.setting.data, a.setting.labels_per_class) for a in summary.answers] == [("z", 10), ("a", 10), ("a", 50)]
    at_z = [(row.loss, row.calibrator) for row in summary.answers[0].rows]
    assert at_z == [("ce", "ats"), ("a", "none"), ("ce", "none")]
    assert summary.answers[0].against_next[0].estimate.mean == pytest.approx(-0.3)
    assert {one.calibrator for one in summary.contrasts} == {"none"}


def test_a_seed_that_lacks_a_calibrator_is_left_out_of_the_answer() -> None:
    whole, part = {"none": result(2.0), "ats": result(1.0)}, {"none": result(9.0)}
    summary = summarize(
        study([record("ce", 0, whole), record("ce", 1, part), record("a", 0, 1.5), record("a", 1, 1.5)])
    )
    assert [row.seeds for row in summary.answers[0].rows] == [1, 1, 1]
    assert {(row.calibrator, row.seeds) for row in summary.rows if row.loss == "ce"} == {("none", 2), ("ats", 1)}


def test_groups_of_classes_by_hand() -> None:
    per_class = PerClass(
        rows=(10, 10, 5, 0), correct=(9, 6, 1, 0), nll=(1.0, 4.0, 9.0, 0.0), confidence=(9.5, 7.0, 3.0, 0.0),
        predicted=(11, 9, 5, 0),
    )  # fmt: skip
    about = {"train_class_counts": [101, 20, 19, 3]}
    records = [record("ce", s, {"none": result(1.0, per_class=per_class)}, about=about) for s in (0, 1)]
    rows = {row.group: row for row in summarize(study(records)).groups}
    assert list(rows) == ["head", "medium", "tail", "class 0", "class 1", "class 2"]  # class 3 has no test row
    assert (rows["head"].accuracy.mean, rows["medium"].nll.mean) == pytest.approx((0.9, 0.4))
    assert (rows["tail"].accuracy.mean, rows["tail"].gap.mean, rows["tail"].classes) == pytest.approx((0.2, 0.4, 1))
    assert rows["class 2"].accuracy == rows["tail"].accuracy
    assert rows["tail"].accuracy.seeds == 2


def test_a_group_takes_the_mean_of_its_recalls_and_pools_its_rows() -> None:
    per_class = PerClass(
        rows=(30, 10, 5), correct=(30, 5, 0), nll=(3.0, 5.0, 9.0), confidence=(30, 9, 4), predicted=(30, 10, 5)
    )
    about = {"train_class_counts": [500, 200, 5]}
    (head, *_) = summarize(
        study([record("ce", 0, {"none": result(1.0, per_class=per_class)}, about=about)])
    ).groups  # fmt: skip
    assert (head.group, head.classes) == ("head", 2)
    assert (head.accuracy.mean, head.nll.mean, head.gap.mean) == pytest.approx((0.75, 8 / 40, 4 / 40))


def test_classes_of_one_size_make_no_groups_and_many_classes_no_rows_of_their_own() -> None:
    def groups(classes: int, counts: list[int]) -> list[str]:
        ones = (1.0,) * classes
        per_class = PerClass.model_construct(rows=ones, correct=ones, nll=ones, confidence=ones, predicted=ones)
        made = record("ce", 0, {"none": result(1.0, per_class=per_class)}, about={"train_class_counts": counts})
        return [row.group for row in summarize(study([made])).groups]

    assert groups(2, [10, 12]) == ["class 0", "class 1"]
    assert groups(21, [50] * 21) == []
    assert groups(21, [50] * 20 + [5]) == ["medium", "tail"]


def test_shift_takes_the_mean_over_the_suite_then_over_the_seeds() -> None:
    def shifted(first: float, second: float) -> tuple[Shifted, ...]:
        return tuple(
            Shifted(shift=name, severity=severity, metrics=dict.fromkeys(("accuracy", "nll", "brier", "ece"), value))
            for name, severity, value in (("blur", 1, first), ("noise", 1, second), ("noise", 3, 0.9))
        )

    records = [record("ce", s, {"none": result(1.0, shifted=shifted(0.2 + s, 0.4))}) for s in (0, 1)]
    one, three = summarize(study(records)).shifts
    assert (one.severity, three.severity) == (1, 3)
    assert one.metrics["nll"].mean == pytest.approx((0.3 + 0.8) / 2)
    assert (three.metrics["accuracy"].mean, three.metrics["accuracy"].seeds) == pytest.approx((0.9, 2))


def test_out_of_distribution_rows_are_means_over_the_seeds_that_have_the_score() -> None:
    def ood(value: float) -> dict[str, dict[str, dict[str, float]]]:
        return {"noise": {"msp": {"auroc": value, "fpr95": 0.1}}}

    records = [record("ce", s, {"none": result(1.0, ood=found)}) for s, found in enumerate((ood(0.8), ood(0.9), {}))]
    (row,) = summarize(study(records)).ood
    assert (row.set_name, row.score, row.measures["auroc"].seeds) == ("noise", "msp", 2)
    assert row.measures["auroc"].mean == pytest.approx(0.85)


def test_losses_that_do_not_differ_are_claimed_to_at_one_setting_in_twenty_at_most() -> None:
    random = np.random.default_rng(6)
    values = random.normal(size=(1000, 1, 4, 5)) + random.normal(size=(1000, 1, 1, 5))
    scored = [
        Scores(Setting(10, place + 1), "none", ("ce", "a", "b", "c"), np.repeat(own, len(CONTRASTED), axis=0), 0.0)
        for place, own in enumerate(values)
    ]
    found = [one for one in contrasts(scored) if one.metric == "nll"]
    claimed = np.mean([any(one.outcome != "tie" for one in found[i : i + 3]) for i in range(0, len(found), 3)])
    uncorrected = np.mean([one.p_t is not None and one.p_t <= 0.05 for one in found])
    slack = 3 * np.sqrt(0.05 * 0.95 / 1000)
    assert 0.05 - 2 * slack < claimed < 0.05 + slack
    assert abs(uncorrected - 0.05) < slack


@pytest.mark.parametrize("data_sets", [2, 6])
def test_a_pooled_interval_covers_its_truth(data_sets: int) -> None:
    # Effects of the data set and of the setting, and noise. Of two data sets it speaks of these two alone.
    random = np.random.default_rng(7)
    covered = []
    for _ in range(800):
        by_data = random.normal(size=(data_sets, 1))
        means = by_data + random.normal(size=(data_sets, 3)) + 0.5 * random.normal(size=(data_sets, 3))
        made = [
            Contrast(
                "nll", "a", "none", Setting(10, s + 1, data=str(d)), Estimate(float(means[d, s]), None, None, 4),
                None, None, None, "tie", None,
            )
            for d, s in np.ndindex(*means.shape)
        ]  # fmt: skip
        (found,) = pool(made)
        assert found.estimate.low is not None
        assert found.estimate.high is not None
        target = float(by_data.mean()) if data_sets == 2 else 0.0
        covered.append(found.estimate.low <= target <= found.estimate.high)
    slack = 3 * np.sqrt(0.05 * 0.95 / len(covered))
    assert abs(np.mean(covered) - 0.95) < slack
