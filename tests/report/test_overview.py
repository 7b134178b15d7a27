"""What is said of many settings together, and the heat map behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gence.bench.records import (
    Answer,
    Contrast,
    Estimate,
    Outcome,
    Pooled,
    Reliability,
    Setting,
    Standing,
    Study,
    Summary,
    SummaryRow,
    Tried,
    Tuned,
)
from gence.report.answer import answer_lines, small_print, verdicts
from gence.report.contrasts import heats
from gence.report.mean_charts import trades
from gence.report.names import capital, loss_label
from gence.report.page import _grid
from gence.report.standings import (
    headline_of,
    pooled_rows,
    pooled_sentence,
    power_sentence,
    ranking_sentence,
    scope,
    study_sentence,
)

BuildStudy = Callable[..., Study]
BuildSummary = Callable[[Study], Summary]

STANDING = Standing(
    metric="nll",
    calibrator="ats",
    losses=("gence", "focal", "ce"),
    ranks=(1.2, 1.9, 2.9),
    settings=10,
    friedman_p=0.001,
    critical_difference=1.05,
    cliques=(("gence", "focal"), ("focal", "ce")),
    matrix=(((0, 0, 0), (4, 6, 0), (9, 1, 0)), ((0, 6, 4), (0, 0, 0), (5, 5, 0)), ((0, 1, 9), (0, 5, 5), (0, 0, 0))),
    pooled=(
        Pooled("gence", Estimate(-0.0123, -0.02, -0.005, 5), None, None, 9, 1, 0, 0.01),
        Pooled("focal", Estimate(-0.004, -0.01, 0.002, 5), 0.2, 0.2, 5, 5, 0, None),
    ),
)


def plain(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u2212", "-")


def contrast(loss: str, setting: Setting, mean: float, outcome: Outcome = "tie", metric: str = "nll") -> Contrast:
    estimate = Estimate(mean, mean - 0.01, mean + 0.01, 5)
    p_study = 0.3 if outcome == "tie" else 0.05
    return Contrast(metric, loss, "none", setting, estimate, 0.02, 0.03, 0.04, outcome, 0.008, p_study)


def row(loss: str, calibrator: str, setting: Setting, nll: float, accuracy: float = 0.9) -> SummaryRow:
    metrics = {"nll": Estimate(nll, None, None, 5), "accuracy": Estimate(accuracy, None, None, 5)}
    seconds, bins = Estimate(1, None, None, 5), Reliability(counts=(), confidence_sums=(), correct_counts=())
    return SummaryRow(setting.data, setting.model, loss, calibrator, setting, 5, metrics, seconds, bins)


def test_the_ranking_names_the_leader_and_whom_it_cannot_be_told_apart_from() -> None:
    assert ranking_sentence(STANDING) == (
        "By mean rank in NLL with adaptive temperature (ATS) over 10 settings, GenCE (1.2) comes before focal (1.9) "
        "and cross-entropy (2.9); focal cannot be told apart from it."
    )
    alone = replace(STANDING, cliques=(("focal", "ce"),))
    assert ranking_sentence(alone).endswith("; no other loss is within the critical difference of it.")
    level = replace(STANDING, friedman_p=0.4)
    assert ranking_sentence(level).endswith("; Friedman's test does not show that the losses differ (p 0.40).")


def test_the_leader_is_held_against_cross_entropy_with_what_the_interval_speaks_of() -> None:
    assert plain(pooled_sentence(STANDING)) == (
        "Against cross-entropy with adaptive temperature (ATS), GenCE is, setting by setting, better in 9, worse in 0 "
        "and not told apart in 1 setting; pooled, the difference in NLL is -0.0123 "
        "(95 % interval -0.0200 to -0.0050 over 5 data sets, which excludes zero)."
    )
    settings = replace(STANDING.pooled[1], loss="gence", estimate=Estimate(-0.004, -0.01, 0.002, 10))
    assert plain(pooled_sentence(replace(STANDING, pooled=(settings,)))).endswith(
        "-0.0040 (95 % interval -0.0100 to +0.0020 over 10 settings, which includes zero), p 0.20 after Holm."
    )


def test_pooled_rows_are_in_the_order_of_the_ranks_and_marked_where_more_than_chance() -> None:
    first, second = pooled_rows(replace(STANDING, pooled=STANDING.pooled[::-1]))
    assert (first.loss, plain(first.difference), first.p, first.record, first.detectable, first.sure) == (
        "gence",
        "-0.0123",
        "\u2013",
        "9 / 1 / 0",
        "0.0100",
        False,
    )
    assert (second.loss, second.p_holm, second.sure) == ("focal", "0.20", False)
    sure = replace(STANDING, pooled=(replace(STANDING.pooled[0], p_holm=0.05),))
    assert pooled_rows(sure)[0].sure


def test_the_power_statement_says_what_so_many_seeds_could_have_found() -> None:
    found = [replace(contrast("focal", Setting(10, 32), 0.01, metric="accuracy"), detectable=d) for d in (0.008, 0.02)]
    assert power_sentence(found) == (
        "These 5 seeds could have found a true difference of 1.40 points of accuracy to cross-entropy in 80 of 100 "
        "such studies (the median over losses; 0.80 to 2.00); what is smaller they would mostly miss."
    )
    assert power_sentence([replace(found[0], detectable=None)]) == ""
    assert "in 80 of 100 such studies; what is smaller" in power_sentence(found[:1])


def test_few_settings_have_a_line_each_and_many_an_overview() -> None:
    def answers(count: int) -> Summary:
        settings = [Setting(10 + i, 32) for i in range(count)]
        made = [
            Answer(one, (row("gence" if i % 3 else "focal", "ats", one, 0.3),), (), ())
            for i, one in enumerate(settings)
        ]
        return Summary((), tuple(made), (), (STANDING,))

    assert len(answer_lines(answers(8))) == 8
    lines = answer_lines(answers(9))
    assert lines[0] == (
        "The lowest test NLL of 9 settings is reached by GenCE in 6 and focal in 3; by calibrator, adaptive "
        "temperature (ATS) in 9."
    )
    assert len(lines) == 3
    assert lines[1].startswith("By mean rank in NLL with adaptive temperature")
    assert lines[2].startswith("Against cross-entropy with adaptive temperature")


def test_a_cell_is_blue_where_the_loss_is_better_whichever_way_is_up() -> None:
    setting = Setting(10, 32)
    found = (
        contrast("focal", setting, -0.02, "win"),
        contrast("gence", setting, 0.005),
        contrast("focal", setting, -0.02, "loss", metric="accuracy"),
    )
    nll, accuracy = heats(Summary((), (), found), [setting])
    focal, gence = nll.rows[0].cells
    assert focal is not None
    assert gence is not None
    assert (plain(focal.text), focal.better, focal.sure, focal.level) == ("-0.020", True, True, 4)
    assert (gence.text, gence.better, gence.sure, gence.level) == ("+0.005", False, False, 1)
    assert plain(focal.title) == (
        "focal, 10 labels a class: -0.0200 (95 % interval -0.0300 to -0.0100), 5 seeds; p 0.020, after Holm at this "
        "setting 0.040, over all settings 0.050; could have found 0.0080"
    )
    cell = accuracy.rows[0].cells[0]
    assert cell is not None
    assert (plain(cell.text), cell.better, cell.sure) == ("-2.0", False, True)
    assert "-2.00 points (95 % interval" in plain(cell.title)


def test_a_cell_is_marked_only_where_the_difference_outlasts_the_test_of_all_settings() -> None:
    found = contrast("focal", Setting(10, 32), -0.02, "win")
    for p_study, marked in ((None, False), (0.051, False), (0.05, True)):
        (heat,) = heats(Summary((), (), (replace(found, p_study=p_study),)), [found.setting])
        cell = heat.rows[0].cells[0]
        assert cell is not None
        assert cell.sure is marked


def test_what_a_study_claims_counts_the_differences_that_outlast_the_test_of_all_settings() -> None:
    settings = [Setting(n, 32) for n in (10, 50)]
    shown = (contrast("focal", settings[0], -0.02, "win"), contrast("brier", settings[0], 0.02, "loss"))
    chance = replace(contrast("focal", settings[1], -0.02, "win"), p_study=0.06)
    assert study_sentence(Summary((), (), (*shown, chance)), "none") == (
        "Tested together (Holm over the losses and all settings), 2 of 3 differences in NLL to cross-entropy without "
        "calibrator are more than chance: 1 better, 1 worse."
    )
    assert "none of 1 difference in NLL" in study_sentence(Summary((), (), (chance,)), "none")
    assert study_sentence(Summary((), (), (chance,)), "ats") == ""
    rows = [row("focal", "none", setting, 0.3) for setting in settings]
    answers = tuple(Answer(one.setting, (one,), (), ()) for one in rows)
    first, second = verdicts(Summary((), answers, (*shown, chance)))
    assert first.sentences[1].endswith(
        "its difference to cross-entropy is more than chance when all settings are tested together "
        "(p 0.050 after Holm)."
    )
    assert "is not shown to be more than chance when all settings" in second.sentences[1]
    (alone,) = verdicts(Summary((), answers[:1], shown))
    assert "tested together" not in alone.sentences[1]
    lines = answer_lines(Summary((), answers, (*shown, chance)))
    assert len(lines) == 3
    assert lines[2].startswith("Tested together")


def test_settings_stand_under_the_head_of_their_family_and_a_missing_difference_is_empty() -> None:
    settings = [Setting(n, 32, "none", data, "mlp") for data in ("a", "b") for n in (10, 50)]
    found = [contrast("focal", one, 0.0) for one in settings[:3]]
    (heat,) = heats(Summary((), (), tuple(found)), settings)
    assert [(one.label, one.number) for one in heat.rows] == [
        ("a", None),
        ("10 labels a class", 0),
        ("50 labels a class", 1),
        ("b", None),
        ("10 labels a class", 2),
        ("50 labels a class", 3),
    ]
    assert heat.rows[-1].cells == (None,)
    assert [cell and cell.level for cell in heat.rows[1].cells] == [0]


def test_the_front_is_what_a_plain_loop_finds(build_study: BuildStudy, build_summary: BuildSummary) -> None:
    study = build_study(losses=("ce", "focal", "gence", "brier"), datas=("digits", "moons"), seeds=2)
    summary = build_summary(study)
    found = trades(summary, _grid(study, summary), "ece")
    assert len(found) == 12
    for one in found:
        mine = [r for r in summary.rows if (r.loss, r.calibrator) == (one.loss, one.calibrator)]
        assert one.x == pytest.approx(100 * sum(r.metrics["accuracy"].mean for r in mine) / len(mine))
        beaten = any((o.x > one.x and o.y <= one.y) or (o.x >= one.x and o.y < one.y) for o in found)
        assert one.front == (not beaten)
    assert 0 < sum(one.front for one in found) < 12


def test_the_scope_names_what_varies() -> None:
    settings = [Setting(n, 32, "none", data, "mlp") for data in ("a", "b", "c") for n in (10, 50)]
    assert scope(settings) == "3 data sets and 2 numbers of labels"
    assert scope(settings[:1]) == ""


def test_the_small_print_says_which_losses_were_tuned_and_how(build_study: BuildStudy) -> None:
    study = build_study(losses=("ce", "focal:gamma=1.0"), calibrators=("none",), budgets=(10,), seeds=2)

    def said(*tuned: str, tries: int = 20) -> str:
        tried = [
            Tried(number=i, learning_rate=0.1, weight_decay=0.0, epochs=9, knobs={}, nll=0.5, accuracy=0.8)
            for i in range(tries)
        ]
        tuning = Tuned(key="t" * 64, metric="nll", chosen=0, tried=tuple(tried))
        records = [r.model_copy(update={"tuning": tuning if r.cell.loss in tuned else None}) for r in study.records]
        return next(
            line for line in small_print(Summary((), ()), replace(study, records=tuple(records))) if "tuned" in line
        )

    assert said().startswith("Every loss ran at the settings that the spec gives it, untuned;")
    assert said("ce", "focal:gamma=1.0") == (
        "Every loss was tuned with the same budget of 20 trials at each setting, by NLL on validation rows cut from "
        "the training rows; what was tried is in tuning.csv."
    )
    assert said("ce", tries=1) == (
        "cross-entropy: tuned with 1 trial at each setting, by NLL on validation rows cut from the training rows; "
        "focal, gamma 1 ran untuned, so this is no fair comparison."
    )


def test_the_small_print_says_that_a_tuning_for_all_seeds_leaves_its_luck_out(build_study: BuildStudy) -> None:
    study = build_study(losses=("ce",), calibrators=("none",), budgets=(10,), seeds=2)
    tried = Tried(number=0, learning_rate=0.1, weight_decay=0.0, epochs=9, knobs={}, nll=0.5, accuracy=0.8)

    def said(*keys: str) -> bool:
        tunings = [Tuned(key=key, metric="nll", chosen=0, tried=(tried,)) for key in keys]
        records = [
            record.model_copy(update={"tuning": tuning}) for record, tuning in zip(study.records, tunings, strict=True)
        ]
        lines = small_print(Summary((), ()), replace(study, records=tuple(records)))
        return any("One tuning serves all seeds" in line for line in lines)

    assert said("a", "a")
    assert not said("a", "b")


def test_losses_that_win_equally_often_share_the_headline(build_study: BuildStudy, build_summary: BuildSummary) -> None:
    summary = build_summary(build_study(losses=("ce", "gence"), budgets=(10, 50)))
    first, second = summary.answers
    assert first.best.loss == second.best.loss
    assert headline_of(summary).endswith(", in 2 of 2")
    other = next(row for row in second.rows if row.loss != first.best.loss)
    torn = replace(summary, answers=(first, replace(second, rows=(other,))))
    names = " and ".join(loss_label(name) for name in (first.best.loss, other.loss))
    assert headline_of(torn) == f"{capital(names)}, in 1 of 2 each"
