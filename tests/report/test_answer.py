"""The sentences at the top of the page, word for word in every case."""

from __future__ import annotations

from collections.abc import Callable

from gence.bench.records import Answer, Budget, Difference, Estimate, Reliability, Setting, Study, Summary, SummaryRow
from gence.report.answer import Verdict, answer_lines, small_print, verdicts

BuildStudy = Callable[..., Study]

NO_BINS = Reliability(counts=(), confidence_sums=(), correct_counts=())


def row(
    loss: str, calibrator: str, nll: float, *, seeds: int = 5, budget: Budget = 50, batch_size: int = 32
) -> SummaryRow:
    def one(mean: float) -> Estimate:
        return Estimate(mean, None, None, seeds)

    metrics = {"nll": one(nll), "accuracy": one(0.9612), "ece": one(0.0123)}
    return SummaryRow("digits", "mlp", loss, calibrator, Setting(budget, batch_size), seeds, metrics, one(1.0), NO_BINS)


def differences(
    first: SummaryRow, second: SummaryRow, low: float | None, high: float | None, comparisons: int = 11
) -> tuple[Difference, ...]:
    mean = first.metrics["nll"].mean - second.metrics["nll"].mean if low is None or high is None else (low + high) / 2
    zero = None if low is None or high is None else not low <= 0 <= high
    pair = ((first.loss, first.calibrator), (second.loss, second.calibrator))
    nll = Difference("nll", *pair, Estimate(mean, low, high, first.seeds), comparisons, zero)
    # Listed first, so that taking the first difference whatever its metric would show.
    accuracy = Difference("accuracy", *pair, Estimate(0.5, low, high, first.seeds), comparisons, zero)
    return (accuracy, nll)


def say(
    best: SummaryRow,
    baseline: tuple[Difference, ...],
    other: tuple[Difference, ...],
    *rows: SummaryRow,
) -> Verdict:
    (words,) = verdicts(Summary((), (Answer(best.setting, (best, *rows), baseline, other),)))
    return plain(words)


def plain(words: Verdict) -> Verdict:
    """With ordinary spaces, so that the expected texts can be read."""
    first, second = (sentence.replace("\u00a0", " ") for sentence in words.sentences)
    return Verdict(words.setting, words.winner, (first, second), words.line.replace("\u00a0", " "))


AT_50 = Setting(50, 32)
PLAIN = row("ce", "none", 0.1834)
WINNER = row("gence", "ats", 0.1234)
SECOND = row("focal", "temperature", 0.1300)


def test_a_clear_winner_is_held_against_plain_cross_entropy_and_against_the_best_other_loss() -> None:
    words = say(
        WINNER,
        differences(WINNER, PLAIN, -0.0701, -0.0499),
        differences(WINNER, SECOND, -0.0099, -0.0033),
        PLAIN,
        SECOND,
    )
    assert words.winner == "GenCE with adaptive temperature (ATS)"
    assert words.sentences[0] == (
        "With 50 labels a class, GenCE with adaptive temperature (ATS) has the lowest test NLL, 0.1234: "
        "against plain cross-entropy without calibrator (0.1834) the difference is \u22120.0600 "
        "(95 % interval \u22120.0701 to \u22120.0499 over 5 seeds, which excludes zero), "
        "with accuracy 96.12 % against 96.12 % and ECE 1.23 % against 1.23 %."
    )
    assert words.sentences[1] == (
        "Against the best combination that trains with another loss, focal with temperature scaling at 0.1300, "
        "the difference is \u22120.0066 (95 % interval \u22120.0099 to \u22120.0033 over 5 seeds); "
        "the interval excludes zero: between these two it is more than chance among seeds."
    )
    assert words.line == (
        "GenCE with adaptive temperature (ATS), NLL 0.1234; against plain cross-entropy without calibrator "
        "\u22120.0600 (95 % interval \u22120.0701 to \u22120.0499 over 5 seeds, which excludes zero); "
        "against focal with temperature scaling \u22120.0066 "
        "(95 % interval \u22120.0099 to \u22120.0033 over 5 seeds, which excludes zero)."
    )


def test_an_interval_that_includes_zero_shows_no_difference_between_the_losses() -> None:
    words = say(
        WINNER, differences(WINNER, PLAIN, -0.13, 0.01), differences(WINNER, SECOND, -0.0152, 0.0020), PLAIN, SECOND
    )
    assert "(95 % interval \u22120.1300 to 0.0100 over 5 seeds, which includes zero)" in words.sentences[0]
    assert words.sentences[1].endswith(
        "the difference is \u22120.0066 (95 % interval \u22120.0152 to 0.0020 over 5 seeds); "
        "the interval includes zero: these 5 seeds do not show a difference between the two losses."
    )


def test_when_plain_cross_entropy_wins_the_first_sentence_says_so() -> None:
    best = row("ce", "none", 0.1)
    words = say(best, (), differences(best, SECOND, -0.05, -0.01), SECOND)
    assert words.winner == "Plain cross-entropy without calibrator"
    assert words.sentences[0] == (
        "With 50 labels a class, plain cross-entropy without calibrator is itself the best: it has the lowest test "
        "NLL, 0.1000 (accuracy 96.12 %, ECE 1.23 %, 5 seeds), and nothing else tried here comes below it."
    )
    assert words.sentences[1].startswith("Against the best combination that trains with another loss, focal")


def test_when_cross_entropy_was_not_run_there_is_nothing_plain_to_compare_with() -> None:
    words = say(WINNER, (), differences(WINNER, SECOND, -0.01, 0.0), SECOND)
    assert words.sentences[0] == (
        "With 50 labels a class, GenCE with adaptive temperature (ATS) has the lowest test NLL, 0.1234 "
        "(accuracy 96.12 %, ECE 1.23 %, 5 seeds); plain cross-entropy without calibrator has no finished trial "
        "with the same seeds to hold it against."
    )


def test_with_one_loss_nothing_is_said_about_the_choice_of_the_loss() -> None:
    best = row("ce", "temperature", 0.1)
    words = say(best, differences(best, PLAIN, -0.1, -0.05), (), PLAIN)
    assert words.winner == "Cross-entropy with temperature scaling"
    assert words.sentences[1] == (
        "Only one loss was trained, so these trials say nothing about the choice of the loss."
    )


def test_with_two_losses_that_share_no_seed_it_is_not_said_that_there_is_one() -> None:
    words = say(WINNER, (), (), SECOND)
    assert words.sentences[1] == (
        "No trial of another loss with the same seeds has finished, so the losses cannot be told apart yet."
    )
    elsewhere = row("focal", "none", 0.2, budget=10)
    assert say(WINNER, (), (), elsewhere).sentences[1].startswith("Only one loss was trained")


def test_with_one_seed_no_interval_is_given_and_nothing_is_claimed() -> None:
    best, base, second = (row(r.loss, r.calibrator, r.metrics["nll"].mean, seeds=1) for r in (WINNER, PLAIN, SECOND))
    words = say(best, differences(best, base, None, None), differences(best, second, None, None), base, second)
    assert "the difference is \u22120.0600 (one seed: no interval, so it may be chance), with" in words.sentences[0]
    assert words.sentences[1].endswith(
        "the difference is \u22120.0066; with one seed there is no interval, so nothing can be said about the loss."
    )
    for text in (*words.sentences, words.line):
        assert "excludes" not in text
        assert "includes" not in text
        assert "95 %" not in text


def test_an_end_of_an_interval_is_not_rounded_to_zero() -> None:
    words = say(WINNER, (), differences(WINNER, SECOND, -0.0123, -0.00002), SECOND)
    assert "interval \u22120.01230 to \u22120.00002 over" in words.sentences[1]


def test_budgets_and_names_outside_the_catalogue_are_shown_as_they_are() -> None:
    best = row("my_loss", "mine", 0.1, budget="all")
    words = say(best, (), ())
    assert words.setting == "all labels"
    assert words.winner == "my_loss with mine"
    assert words.sentences[0].startswith("With all labels, my_loss with mine has the lowest test NLL, 0.1000 (")
    assert say(row("ce", "ats", 0.1, budget=1), (), ()).setting == "1 label a class"


def test_a_batch_size_is_named_only_where_there_are_several() -> None:
    def lines(*settings: tuple[Budget, int]) -> list[str]:
        rows = [row("ce", "ats", 0.1, budget=budget, batch_size=size) for budget, size in settings]
        answers = tuple(Answer(one.setting, (one,), (), ()) for one in rows)
        return [line.partition(":")[0] for line in answer_lines(Summary((), answers))]

    assert lines((10, 8), ("all", 8)) == ["10 labels a class", "all labels"]
    assert lines((10, 8), (10, 32)) == ["batches of 8", "batches of 32"]
    assert lines((10, 8), ("all", 8), (10, 32)) == [
        "10 labels a class, batches of 8",
        "all labels, batches of 8",
        "10 labels a class, batches of 32",
    ]
    rows = (row("ce", "ats", 0.1, batch_size=8), row("ce", "ats", 0.1, batch_size=32))
    words = verdicts(Summary((), tuple(Answer(one.setting, (one,), (), ()) for one in rows)))
    assert words[1].sentences[0].startswith("With batches of 32, cross-entropy with adaptive temperature (ATS) has the")


def test_a_row_at_another_batch_size_is_another_row() -> None:
    second = row("focal", "temperature", 0.3, batch_size=8)
    words = say(WINNER, (), differences(WINNER, SECOND, -0.01, -0.005), second, SECOND)
    assert "focal with temperature scaling at 0.1300, the difference" in words.sentences[1]


def test_a_metric_that_was_not_measured_is_called_unknown() -> None:
    best = row("gence", "ats", 0.1)
    del best.metrics["ece"]
    assert "(accuracy 96.12 %, ECE unknown, 5 seeds)" in say(best, (), ()).sentences[0]


def test_the_small_print_names_the_test_the_widening_and_that_nothing_was_tuned(build_study: BuildStudy) -> None:
    study = build_study(losses=("ce", "gence"), calibrators=("none",), seeds=1)
    answer = Answer(AT_50, (WINNER,), differences(WINNER, PLAIN, -0.2, -0.1), differences(WINNER, SECOND, -0.2, -0.1))
    lines = [line.replace("\u00a0", " ") for line in small_print(Summary((), (answer,)), study)]
    assert lines[0] == (
        "Intervals of differences are 95 % Student's t intervals over seeds, paired seed by seed, and widened "
        "(Bonferroni) for the 11 other combinations that the winner was compared with."
    )
    assert any("default settings, untuned" in line and "may end differently" in line for line in lines)
    assert any("another sample of rows could move" in line for line in lines)
    assert lines[-1].startswith("The winner was picked on the test rows")
    assert not any("one seed" in line for line in lines)
    alone = small_print(Summary((), (Answer(AT_50, (WINNER,), (), ()),)), study)
    assert [line.split(",")[0] for line in alone] == ["Every loss ran at its default settings"]


def test_the_small_print_of_a_single_seed_speaks_of_no_interval(build_study: BuildStudy) -> None:
    answer = Answer(AT_50, (WINNER,), differences(WINNER, PLAIN, None, None), ())
    assert (
        small_print(Summary((), (answer,)), build_study(seeds=1))[0]
        == "With one seed no interval can be given: run more seeds before you act on a difference."
    )
