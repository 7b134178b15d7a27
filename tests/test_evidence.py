"""The pages of the evidence show what its records say, and verdicts and the recipe follow the rules in the specs."""

from __future__ import annotations

import dataclasses
import random
import re
import statistics
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from scipy import stats

from gence.report.advice import FOR_LONG_TAILS

EVIDENCE = Path(__file__).parent.parent / "docs/evidence"


@pytest.fixture(scope="module")
def evidence() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EVIDENCE))
        import ablation
        import again
        import formats
        import measures
        import promises
        import recipe
        import recipe_tables
        import running_time
        import same_recipe
        import sentences
        import side_studies
        import tables
        import write

        modules: dict[str, ModuleType] = {
            module.__name__: module
            for module in (
                ablation,
                again,
                formats,
                measures,
                promises,
                recipe,
                recipe_tables,
                running_time,
                same_recipe,
                sentences,
                side_studies,
                tables,
                write,
            )
        }
        yield SimpleNamespace(**modules)


def test_every_page_shows_what_the_records_say(evidence: Any) -> None:
    cells = evidence.measures.read()
    for page in evidence.write.PAGES:
        assert evidence.write.filled(page.read_text(), cells) == page.read_text(), page


def test_the_picture_shows_what_the_records_say(evidence: Any) -> None:
    assert evidence.write.drawn(evidence.measures.read()) == evidence.write.PICTURE.read_bytes()


def test_the_sentences_repeat_what_the_records_say(evidence: Any) -> None:
    cells, of = evidence.measures.read(), evidence.measures
    places = {
        (place.data, f"tail {place.regime.split(':')[1]}" if place.tail else place.labels): place
        for place in of.places(cells)
        if place.model == "small_resnet" and place.data != "mnist_pairs"
    }
    adjusted, smoothed = FOR_LONG_TAILS

    def change(where: tuple[str, str], loss: str, name: str) -> float:
        both = (of.at(cells, places[where], one) for one in (loss, "ce"))
        return 100 * statistics.fmean(of.paired(*both, of.metric(name)))

    def smooth(data: str, labels: str) -> float:
        return abs(change((data, labels), "label_smoothing", "accuracy"))

    def ends(loss: str) -> tuple[float, float]:
        gains = [change(where, loss, "balanced_accuracy") for where, place in places.items() if place.tail]
        return min(gains), max(gains)

    def ece(data: str, where: str, calibrator: str = "none", loss: str = "ce") -> float:
        return 100 * of.mean_of(of.at(cells, places[data, where], loss), of.metric("ece", calibrator))

    def tails(calibrator: str, loss: str = "ce", data: str = "cifar10") -> list[float]:
        return [ece(data, tail, calibrator, loss) for tail in ("tail 10", "tail 100")]

    most, _, least, *_ = sorted(change(where, adjusted, "ece") for where, place in places.items() if place.tail)
    added = [change(("mnist", tail), loss, "ece") for loss in FOR_LONG_TAILS for tail in ("tail 10", "tail 100")]
    answers = evidence.again.answers(adjusted)
    confirmed = [
        points
        for where in (("mnist", "tail 100"), ("fashion_mnist", "tail 10"))
        for points in (
            100 * answers[places[where]]["balanced_accuracy"].mean,
            change(where, adjusted, "balanced_accuracy"),
        )
    ]
    means, again = evidence.sentences.gains(cells)
    great = sorted(means, key=means.__getitem__, reverse=True)[:3]
    before, after = ([100 * gains[place] for place in great] for gains in (means, again))
    cifar = (ece("cifar10", "10"), ece("cifar10", "10", "temperature"))
    said = {
        "gained {:.1f} and {:.1f} points of accuracy with 50 and 250 labels a class of CIFAR-10 and {:.1f} and {:.1f} "
        "with 10 and 250 of Fashion-MNIST, and lost {:.1f} and {:.1f} with 10 and 50 of MNIST": (
            *(smooth("cifar10", labels) for labels in ("50", "250")),
            *(smooth("fashion_mnist", labels) for labels in ("10", "250")),
            *(smooth("mnist", labels) for labels in ("10", "50")),
        ),
        "with 10 labels of CIFAR-10 from an ECE of {:.1f} to {:.1f} %": cifar,
        "the first gained {:.1f} to {:.1f} points of balanced accuracy": ends(adjusted),
        "over a tuned cross-entropy, the second {:.1f} to {:.1f}": ends(smoothed),
        "the first took {:.0f} to {:.0f} points off the ECE at three": (-least, -most),
        "added {:.0f} to {:.0f} at MNIST's": (min(added), max(added)),
        "where cross-entropy had {:.1f} and {:.1f} %": tails("none", data="mnist"),
        "left cross-entropy an ECE of {:.1f} and {:.1f} % on CIFAR-10 with tails of 10 and 100": tails("temperature"),
        "the balanced one {:.1f} and {:.1f} %": tails("temperature_balanced"),
        "for `logit_adjusted` it was {:.1f} and {:.1f} %": tails("temperature_balanced", adjusted),
        "with one plain temperature {:.1f} and {:.1f} %": tails("temperature", adjusted),
        "with none {:.1f} and {:.1f} %;": tails("none", adjusted),
        "the gain of the first was {:.1f} of {:.1f} points at MNIST's tail of 100, and {:.1f} of {:.1f} at "
        "Fashion-MNIST's tail of 10": confirmed,
        "the first's gain was {:.1f} of {:.1f} points at MNIST's tail of 100, and {:.1f} of {:.1f} at": confirmed,
        "{:.1f}, {:.1f} and {:.1f} points became {:.1f}, \N{MINUS SIGN}{:.1f} and {:.1f}": (
            *before,
            after[0],
            -after[1],
            after[2],
        ),
        "cross-entropy's ECE from {:.1f} to {:.1f} %": cifar,
        "with 50 of MNIST from {:.1f} to {:.1f}.": (ece("mnist", "50"), ece("mnist", "50", "temperature")),
        "has {:.0f} to {:.0f} points less at three tails": (-least, -most),
        "{:.0f} and {:.0f} more at MNIST's": (added[1], added[0]),
    }
    pages = [(EVIDENCE.parent.parent / page).read_text() for page in ("README.md", "docs/which-loss.md")]
    text = " ".join(" ".join(pages).split())
    for sentence, numbers in said.items():
        assert sentence.format(*numbers) in text


def test_what_every_comparison_under_a_long_tail_is_advised_holds_in_the_records(evidence: Any) -> None:
    cells = evidence.measures.read()
    tails = [one for one in evidence.measures.places(cells) if one.tail and one.model == "small_resnet"]
    assert tails
    for place in tails:
        for loss, name in FOR_LONG_TAILS.items():
            assert evidence.formats.NAMED.get(loss, loss) == name  # the same to the bit: tests/losses/test_balanced.py
            both = evidence.measures.at(cells, place, loss), evidence.measures.at(cells, place, "ce")
            wins = {
                ("balanced_accuracy", "none"): 1,
                ("nll", "temperature"): -1,
                ("nll", "temperature_balanced"): -1,
            }
            for (metric, calibrator), sign in wins.items():
                values = evidence.measures.paired(*both, evidence.measures.metric(metric, calibrator))
                won = evidence.measures.beyond(evidence.measures.interval(values), sign)
                assert won, (place, loss, metric, calibrator)


def test_what_stands_between_the_comments_is_made_anew_and_nothing_else(evidence: Any) -> None:
    begin, end = "<!-- evidence: recipe -->\n", "<!-- /evidence -->\n"
    text = f"a\n{begin}old\nlines\n{end}b\n{begin}{end}"
    made = evidence.recipe_tables.recipe({})
    part = f"{begin}{made}\n{end}"
    assert evidence.write.filled(text, {}) == f"a\n{part}b\n{part}"


METRICS = ("accuracy", "balanced_accuracy", "ece", "nll")
CALIBRATORS = ("none", "temperature", "ats", "temperature_balanced")


def records(seeds: int = 5, *, noise: float = 0.001, start: int = 0, **means: float) -> dict[int, Any]:
    """Seeds with these metrics under every calibrator, and a little noise of their own."""
    draw = random.Random(start)

    def metrics() -> dict[str, float]:
        usual = {"accuracy": 0.5, "balanced_accuracy": 0.5, "ece": 0.1, "nll": 1.0} | means
        return {name: usual[name] + draw.gauss(0.0, noise) for name in METRICS}

    def result() -> Any:
        return SimpleNamespace(metrics=metrics(), ood={}, shifted=())

    return {
        seed: SimpleNamespace(results={name: result() for name in CALIBRATORS}, training={"updates": 100 + seed})
        for seed in range(seeds)
    }


def place(evidence: Any, data: str = "cifar10", regime: str = "none", labels: str = "10") -> Any:
    return evidence.measures.Place("x.study.gz", data, regime, labels, 32, "small_resnet")


def settings(evidence: Any, data: str = "cifar10") -> list[Any]:
    few = [place(evidence, data, labels=labels) for labels in ("10", "50", "250")]
    return few + [place(evidence, data, f"long-tail:{factor}:500", "all") for factor in (10, 100)]


@pytest.mark.parametrize(("better", "verdict"), [(0.02, "held"), (0.0, "not held"), (-0.02, "not held")])
def test_a_promise_is_held_where_the_interval_leaves_zero_out_on_its_side(
    evidence: Any, better: float, verdict: str
) -> None:
    here = settings(evidence)
    cells = {(one, "ce"): records(start=n) for n, one in enumerate(here)}
    cells |= {(one, "gence"): records(start=9 + n, accuracy=0.5 + better) for n, one in enumerate(here)}
    row = evidence.promises.judge(cells, evidence.promises.PROMISES[0])
    assert row.verdict == verdict
    assert row.effect.mean == pytest.approx(better, abs=0.002)
    assert (row.settings, row.planned) == (5, len(evidence.measures.planned()))
    assert (row.wins, row.losses) == {0.02: (5, 0), 0.0: (0, 0), -0.02: (0, 5)}[better]
    assert 0.0 < row.detectable < 0.005


def test_a_mean_over_settings_has_the_spread_of_each(evidence: Any) -> None:
    few, many = [1.0, 2.0, 4.0, 5.0], [0.1, 0.2, 0.4]
    # Welch's t-test of a - b is that of their mean times two with b negated: an outside value.
    welch = stats.ttest_ind(few, [-one for one in many], equal_var=False)
    half = welch.confidence_interval(0.95)
    one = evidence.measures.pooled([few, many])
    assert (one.low, one.high) == (pytest.approx(half.low / 2), pytest.approx(half.high / 2))
    alone, student = evidence.measures.pooled([few]), evidence.measures.interval(few)
    assert (alone.low, alone.high, alone.seeds) == (pytest.approx(student.low), pytest.approx(student.high), 4)
    flat = evidence.measures.pooled([[1.0, 1.0], [2.0, 2.0]])
    assert (flat.low, flat.mean, flat.high) == (1.5, 1.5, 1.5)


def test_what_moves_from_setting_to_setting_is_held_no_further_than_here(evidence: Any) -> None:
    here = settings(evidence)
    cells = {(one, "ce"): records(start=n) for n, one in enumerate(here)}
    gains = (0.10, -0.02, 0.01, 0.06, -0.05)
    cells |= {(one, "gence"): records(start=9, accuracy=0.5 + gain) for one, gain in zip(here, gains, strict=True)}
    row = evidence.promises.judge(cells, evidence.promises.PROMISES[0])
    assert (row.verdict, row.wins, row.losses) == ("held here", 3, 2)
    assert row.effect.low > 0.0 > row.beyond_these.low
    assert row.beyond_these.mean == pytest.approx(row.effect.mean)
    # Student's t of the five gains: 2.776 sd / sqrt(5).
    assert row.beyond_these.high - row.beyond_these.mean == pytest.approx(
        2.776 * statistics.stdev(gains) / 5**0.5, 0.05
    )
    one_setting = {key: found for key, found in cells.items() if key[0] == here[0]}
    assert evidence.promises.judge(one_setting, evidence.promises.PROMISES[0]).verdict == "held here"


def test_parity_is_held_within_its_margin_and_not_beyond(evidence: Any) -> None:
    promise = next(one for one in evidence.promises.PROMISES if one.margin is not None)
    here = [place(evidence), place(evidence, labels="50")]
    for worse, verdict in ((0.005, "held"), (0.02, "not held")):
        cells = {(one, "focal"): records(noise=0.0001) for one in here}
        cells |= {(one, "gence"): records(noise=0.0001, start=n, ece=0.1 + worse) for n, one in enumerate(here, 1)}
        assert evidence.promises.judge(cells, promise).verdict == verdict


def test_specs_of_one_data_set_are_written_together(evidence: Any) -> None:
    names = ("10-mnist.study.gz", "tail-mnist.study.gz", "10-cifar10.study.gz", "pairs.study.gz")
    assert evidence.tables.specs(names) == "`{10,tail}-mnist`, `10-cifar10`, `pairs`"


def test_a_loss_is_negligibly_dear_below_a_hundredth_of_an_epoch(
    evidence: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence.running_time, "TIMINGS", tmp_path)
    (tmp_path / "steps.csv").write_text("loss,percent_over_ce,lowest,highest\ngence,+2.0,-3.0,+9.0\n")
    for more, verdict in (("+0.5", "**held**"), ("+1.5", "**not held**")):
        (tmp_path / "epoch.csv").write_text(f"loss,percent_over_ce\nce,+0.0\ngence,{more}\n")
        row = evidence.running_time.cost()
        assert row[1].startswith(verdict)
        assert row[2].startswith(f"{more}00 %<br>whole steps in turns +2.0 %, \N{MINUS SIGN}3.0 to +9.0 ")


def test_what_was_not_run_is_not_measured(evidence: Any) -> None:
    cells = {(place(evidence), "ce"): records(), (place(evidence), "gence"): records()}
    rows = {
        row.promise.text: row.verdict
        for row in (evidence.promises.judge(cells, one) for one in evidence.promises.PROMISES)
    }
    assert rows["better under long tails"] == "not measured"
    assert rows["detects rows from elsewhere better"] == "not measured"
    assert rows["better accuracy than cross-entropy"] == "not held"


def grid(evidence: Any, **nll: float) -> Any:
    """Every candidate at the five settings, with a mean NLL of its own."""
    return {
        (one, loss): records(start=17 * n + len(loss), nll=nll.get(loss.partition(":")[0], 2.0))
        for n, one in enumerate(settings(evidence))
        for loss in evidence.recipe.CANDIDATES
        if one.tail or loss not in evidence.measures.TWINS
    }


def test_nothing_is_chosen_before_all_settings_are_there(evidence: Any) -> None:
    cells = {key: found for key, found in grid(evidence).items() if key[0].labels != "250"}
    assert evidence.recipe.choose(cells) is None


def test_the_lowest_likelihood_is_chosen(evidence: Any) -> None:
    choice = evidence.recipe.choose(grid(evidence, gence_focal=1.5, focal=1.7))
    assert (choice.loss, choice.lowest, choice.apart) == ("gence_focal", "gence_focal", None)


def test_of_two_that_do_not_differ_the_one_without_the_term_is_chosen(evidence: Any) -> None:
    choice = evidence.recipe.choose(grid(evidence, gence_focal=1.5, focal=1.5003))
    assert (choice.loss, choice.lowest) == ("focal", "gence_focal")
    assert choice.apart.low < 0.0 < choice.apart.high


def test_a_loss_that_costs_accuracy_somewhere_is_not_chosen(evidence: Any) -> None:
    cells = grid(evidence, focal=1.5, mbls=1.7)
    worse = settings(evidence)[1]
    cells[worse, "focal"] = records(start=3, nll=1.5, accuracy=0.4)
    choice = evidence.recipe.choose(cells)
    assert choice.loss == "mbls"
    assert next(one for one in choice.candidates if one.loss == "focal").worse_at == (worse,)


def test_by_the_second_rule_a_loss_may_be_less_accurate_within_the_margin_of_the_test(evidence: Any) -> None:
    cells = grid(evidence, focal=1.5, mbls=1.7)
    few = settings(evidence)[1]
    cells[few, "focal"] = records(noise=0.0001, start=3, nll=1.5, accuracy=0.498)
    cells[few, "ce"] = records(noise=0.0001, start=4)
    assert evidence.recipe.choose(cells).loss == "mbls"
    assert evidence.recipe.choose(cells, 0.01).loss == "focal"
    page = evidence.recipe_tables.recipe(cells)
    assert re.search(r"By the rule the recipe is .*`mbls`", page)
    assert re.search(r"By the second rule it is .*`focal`", page)
    # Not shown to be within a point: no difference is found, and the interval is wide.
    cells[few, "focal"] = records(noise=0.1, start=3, nll=1.5)
    assert evidence.recipe.choose(cells).loss == "focal"
    assert evidence.recipe.choose(cells, 0.01).loss == "mbls"


def test_the_gain_is_said_with_and_without_the_settings_that_make_most_of_it(
    evidence: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [*settings(evidence), place(evidence, "mnist")]
    gains = (0.021, 0.05, 0.01, 0.015, 0.10, 0.03)
    cells = {(one, "ce"): records(noise=0.0) for one in here}
    cells |= {
        (one, "gence"): records(noise=0.0, accuracy=0.5 + gain, balanced_accuracy=0.5 + gain)
        for one, gain in zip(here, gains, strict=True)
    }
    again = {here[4]: 0.01, place(evidence, "fashion_mnist"): 0.9}
    answers = {where: {"balanced_accuracy": SimpleNamespace(mean=mean)} for where, mean in again.items()}
    monkeypatch.setattr(evidence.sentences, "answers", lambda loss: answers)
    text = evidence.sentences.gain(cells)
    assert "at CIFAR-10, long tail 100 (+10.0), CIFAR-10, 50 a class (+5.0) and MNIST, 10 a class (+3.0)" in text

    def student(*values: float) -> str:
        low, high = stats.t.interval(
            0.95, len(values) - 1, statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5
        )
        words = f"+{statistics.fmean(values):.1f} ({low:+.1f} to {high:+.1f})".replace("-", "\N{MINUS SIGN}")
        return f"**{words}**" if low > 0.0 else words

    assert f"the other 3 settings have {student(2.1, 1.0, 1.5)}." in text
    assert f"in the place of 1 of the settings, all of them have {student(2.1, 5.0, 1.0, 1.5, 1.0, 3.0)}." in text
    assert f"gives {student(*(100 * gain for gain in gains))}, with" in text
    cells[here[0], "focal"] = records(noise=0.0, accuracy=0.53)
    assert "most accurate at 5 of 6 settings" in evidence.sentences.gain(cells)


def test_the_term_is_judged_beside_the_same_loss_without_it(evidence: Any) -> None:
    here = settings(evidence)
    losses = ("gence_prior", "logit_adjusted", "gence_focal", "focal")
    gains = {"gence_prior": 0.03, "gence_focal": 0.01}
    cells = {
        (one, loss): records(start=n, balanced_accuracy=0.5 + gains.get(loss, 0.0))
        for n, one in enumerate(here)
        for loss in losses
    }
    prior, focal = (evidence.ablation.added(cells, loss) for loss in ("gence_prior", "gence_focal"))
    assert (prior.settings, focal.settings) == (2, 5), "on balanced rows gence_prior is gence"
    assert prior.changes["balanced_accuracy"].mean == pytest.approx(0.03)
    assert focal.changes["balanced_accuracy"].mean == pytest.approx(0.01)
    assert evidence.ablation.added(cells, "gence").settings == 0
    assert set(evidence.ablation.WITHOUT) == evidence.recipe.HAS_THE_TERM


def test_the_test_of_a_recipe_is_that_of_the_specs(evidence: Any) -> None:
    few, tail = place(evidence, "mnist"), place(evidence, "mnist", "long-tail:100:500", "all")
    better = {"ece": 0.04, "balanced_accuracy": 0.6, "accuracy": 0.495}
    cells = {(one, "ce"): records() for one in (few, tail)} | {
        (one, "focal"): records(start=1, **better) for one in (few, tail)
    }
    lines = evidence.recipe.check(cells, few, "focal", "temperature")
    assert [line.passed for line in lines] == [True, True, True, True]
    assert [line.passed for line in evidence.recipe.check(cells, tail, "focal", "temperature")] == [True] * 4
    cells[few, "focal"] = records(start=1, ece=0.06, accuracy=0.48, nll=1.1)
    cells[tail, "focal"] = records(start=1, ece=0.2)
    assert [line.passed for line in evidence.recipe.check(cells, few, "focal", "temperature")] == [
        False,
        False,
        False,
        True,
    ]
    assert not any(line.passed for line in evidence.recipe.check(cells, tail, "focal", "temperature"))


def test_a_loss_passes_uncalibrated_where_it_is_both_accurate_and_calibrated_enough(evidence: Any) -> None:
    few = [place(evidence, name) for name in ("mnist", "fashion_mnist", "cifar10")]
    tail = place(evidence, "mnist", "long-tail:100:500", "all")
    cells = {(one, "ce"): records() for one in (*few, tail)}
    cells[few[0], "focal"] = records(start=1, ece=0.04)
    cells[few[1], "focal"] = records(start=1, ece=0.04, accuracy=0.4)
    cells[few[2], "focal"] = records(start=1, ece=0.08)
    cells[tail, "focal"] = records(start=1, ece=0.04, balanced_accuracy=0.6)
    cells[tail, "logit_adjusted"] = records(start=1, ece=0.04, balanced_accuracy=0.4)
    passed = evidence.recipe.passed_uncalibrated
    assert (passed(cells, "focal", False), passed(cells, "focal", True)) == ((1, 3), (1, 1))
    assert (passed(cells, "logit_adjusted", False), passed(cells, "logit_adjusted", True)) == ((0, 0), (0, 1))
    cells[few[0], "label_smoothing"] = records(start=1, ece=0.04)
    assert "| `logit_adjusted` |  | 0 of 1 |" in evidence.recipe_tables.every_loss(cells)
    assert "| `logit_adjusted_smoothing` |  |  |" in evidence.recipe_tables.every_loss(cells), "it was not run there"


def test_the_question_asked_again_is_judged_over_the_fresh_seeds(evidence: Any) -> None:
    gains = {"ce": 0.0, "logit_adjusted": 0.1}
    found = [
        SimpleNamespace(
            cell=SimpleNamespace(loss=loss, seed=seed),
            results={"none": SimpleNamespace(metrics=dict.fromkeys(("balanced_accuracy", "ece", "nll"), value))},
        )
        for loss, gain in gains.items()
        for seed in range(15)
        for value in [gain + (9.0 * gain if seed < 5 else 0.0)]
    ]
    assert set(evidence.again.ASKED) == {path.stem for path in (evidence.measures.SPECS / "again").glob("*.toml")}
    new = evidence.again.fresh("tail-fashion_mnist", SimpleNamespace(spec={"seeds": 15}))
    assert new == range(5, 15)
    one = evidence.again.differences(found, "logit_adjusted", new)
    assert one["ece"].mean == pytest.approx(0.1)
    assert evidence.again.differences(found, "logit_adjusted", range(15))["ece"].seeds == 15
    assert evidence.again.confirmed(one, ["balanced_accuracy"])
    assert not evidence.again.confirmed(one, ["balanced_accuracy", "ece"]), "the ECE is higher"
    for record in found:
        record.results["none"].metrics["ece"] *= -1.0
    one = evidence.again.differences(found, "logit_adjusted", new)
    assert evidence.again.confirmed(one, ["balanced_accuracy", "ece"])


def test_other_networks_and_100_classes_have_no_part_in_the_recipe_and_a_table_of_their_own(evidence: Any) -> None:
    few = place(evidence)
    deep = dataclasses.replace(few, model="resnet18_thin")
    pairs = [dataclasses.replace(few, data="mnist_pairs", batch_size=size) for size in (32, 128)]
    cells = {(one, "ce"): records() for one in (few, deep, *pairs)}
    assert evidence.side_studies.batches({}) == evidence.side_studies.networks({}) == "It has not been run yet."
    better = {few: 0.52, deep: 0.54, pairs[0]: 0.3, pairs[1]: 0.53}
    cells |= {
        (one, "gence"): records(start=1, accuracy=value, balanced_accuracy=value) for one, value in better.items()
    }
    assert evidence.recipe.registered(cells) == [few]
    batches = evidence.side_studies.batches(cells)
    assert re.search(r"`gence` \| \*\*.20\.\d .*\| \S+ .*\| \*\*\+[23]\.\d ", batches)
    assert "In batches of 128 a tuned training takes 100 to 104 updates; cross-entropy has 50." in batches
    networks = evidence.side_studies.networks(cells)
    assert re.search(r"`gence` \| accuracy \*\*\+[12]\.\d .*\| accuracy \*\*\+[34]\.\d ", networks)
    assert "Of 2 verdicts (more, less, undecided) 2 are the same with both networks; in 0 the two say" in networks
    cells[deep, "gence"] = records(start=1, balanced_accuracy=0.4)
    networks = evidence.side_studies.networks(cells)
    assert "Of 2 verdicts (more, less, undecided) 1 are the same with both networks; in 1 the two say" in networks


def test_what_is_chosen_does_not_hang_on_a_twin_whose_knob_was_tuned(
    evidence: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = evidence.measures.read()
    chosen = evidence.recipe.choose(cells)
    without = tuple(loss for loss in evidence.recipe.CANDIDATES if loss != "gence_prior")
    monkeypatch.setattr(evidence.recipe, "CANDIDATES", without)
    again = evidence.recipe.choose(cells)
    assert (again.loss, again.calibrator) == (chosen.loss, chosen.calibrator)


def test_on_balanced_rows_a_twin_stands_for_a_loss(evidence: Any) -> None:
    few, tail = place(evidence), settings(evidence)[4]
    cells = {(few, "gence"): records(), (tail, "gence"): records()}
    assert evidence.measures.at(cells, few, "gence_prior") is cells[few, "gence"]
    assert evidence.measures.at(cells, tail, "gence_prior") == {}


def tuned(*tried: tuple[float, float | None]) -> dict[int, Any]:
    """Two seeds of one tuning, whose trials have this learning rate and accuracy, and an NLL ten times that."""
    trials = [
        SimpleNamespace(
            learning_rate=rate,
            weight_decay=0.1,
            epochs=3,
            accuracy=value,
            nll=None if value is None else 10 * value,
            balanced_nll=None if value is None else 100 * value,
        )
        for rate, value in tried
    ]
    return {seed: SimpleNamespace(tuning=SimpleNamespace(tried=trials)) for seed in range(2)}


def test_a_loss_and_cross_entropy_are_compared_at_the_recipes_that_both_were_tried_at(evidence: Any) -> None:
    few, other, tail = settings(evidence)[0], settings(evidence)[1], settings(evidence)[4]
    cells = {
        (few, "ce"): tuned((0.1, 0.5), (0.2, 0.6), (0.3, 0.9), (0.4, None)),
        (few, "gence"): tuned((0.2, 0.7), (0.1, 0.7), (0.5, 0.1), (0.4, 0.2)),
        (other, "ce"): tuned((0.1, 0.5)),
        (other, "gence"): tuned((0.1, 0.55)),
        (tail, "ce"): tuned((0.1, 0.5)),
        (tail, "gence"): tuned((0.1, 0.4)),
    }
    found = evidence.same_recipe.against_ce(cells, "gence", "accuracy")
    assert (found.settings, found.trials) == (2, 3), "a tail's accuracy, a failure and two lonely recipes do not count"
    assert found.over.mean == pytest.approx((0.15 + 0.05) / 2)
    first = evidence.same_recipe.against_ce(
        cells | {(few, "gence"): tuned((0.1, 0.7), (0.2, 0.9))}, "gence", "accuracy", slice(1)
    )
    assert (first.settings, first.trials, first.over.mean) == (2, 2, pytest.approx((0.2 + 0.05) / 2))
    nll = evidence.same_recipe.against_ce(cells, "gence", "nll")
    assert (nll.settings, nll.trials) == (3, 4)
    assert nll.over.mean == pytest.approx((1.5 + 0.5 - 10.0) / 3), "balanced under a tail"
    assert evidence.same_recipe.against_ce(cells, "focal", "nll").over is None
