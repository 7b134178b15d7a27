"""The page as a file: what it holds, that it needs nothing beside it, and that names stay names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gence.bench.records import Study, Summary
from gence.calibration import catalogue as calibrators
from gence.losses import catalogue as losses
from gence.report import write_report
from gence.report.names import calibrator_label, loss_label

BuildStudy = Callable[..., Study]
BuildSummary = Callable[[Study], Summary]

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """The tags, attributes and texts of a page, as a browser's parser sees them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.waiting: list[str] = []
        self.cells: list[list[tuple[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        values = dict(attrs)
        if tag == "tr" and "data-setting" in values:
            self.cells.append([])
        elif "data-value" in values and self.cells:
            self.cells[-1].append((values.get("class") or "", values["data-value"] or ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.waiting.append(data)
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def two_budgets(tmp_path_factory: pytest.TempPathFactory, build_study: BuildStudy, build_summary: BuildSummary) -> Page:
    study = build_study(losses=("ce", "gence"), calibrators=("none", "ats"), budgets=(10, 50), seeds=2)
    return Page(write_report(study, build_summary(study), tmp_path_factory.mktemp("two")).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def one_budget(tmp_path_factory: pytest.TempPathFactory, build_study: BuildStudy, build_summary: BuildSummary) -> Page:
    study = build_study(losses=("ce", "gence"), calibrators=("none", "ats"), budgets=(50,), seeds=2)
    return Page(write_report(study, build_summary(study), tmp_path_factory.mktemp("one")).read_text(encoding="utf-8"))


@pytest.fixture
def page(tmp_path: Path, build_summary: BuildSummary) -> Any:
    def write(study: Study, summary: Summary | None = None) -> Page:
        path = write_report(study, build_summary(study) if summary is None else summary, tmp_path)
        assert path == tmp_path / "report.html"
        assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
        return Page(path.read_text(encoding="utf-8"))

    return write


def test_the_page_loads_nothing_from_anywhere(two_budgets: Page) -> None:
    found = two_budgets
    assert found.tags["link"] == found.tags["img"] == found.tags["iframe"] == 0
    assert not [attribute for attribute in found.attributes if attribute[1] in ("src", "srcset", "data", "xlink:href")]
    assert all(value.startswith("#") for _, name, value in found.attributes if name == "href")
    assert not re.search(r"url\((?!#)|@import|https?:", found.html)
    assert "default-src 'none'" in found.html


def test_the_answer_stands_in_two_sentences_before_anything_else(two_budgets: Page) -> None:
    text = two_budgets.text
    first = text.index("With 50 labels a class, GenCE with adaptive temperature (ATS) has the lowest test NLL")
    second = text.index("Against the best combination that trains with another loss")
    other = text.index("With other numbers of labels")
    assert first < second < other < text.index("default settings, untuned") < text.index("Results Mean over seeds")


def test_a_study_that_is_not_done_says_how_far_it_is(page: Any, build_study: BuildStudy) -> None:
    grid = {"losses": ("ce", "gence"), "calibrators": ("none",), "budgets": (50,), "seeds": 2}
    assert "4 of 40 trials finished." in page(build_study(**grid, expected=40)).text
    assert "trials finished." not in page(build_study(**grid)).text


def test_before_the_first_trial_the_page_says_so(page: Any, build_study: BuildStudy) -> None:
    empty = Study(Path("study"), {"data": "digits", "command": "gence compare digits"}, 40, ())
    text = page(empty, Summary((), ())).text
    assert "0 of 40 trials finished." in text
    assert "No trial has finished" in text
    assert "gence compare digits" in text


def test_names_from_data_are_text_and_never_markup(page: Any, build_study: BuildStudy) -> None:
    study = build_study(
        losses=("ce", SCRIPT, IMAGE),
        calibrators=("none", IMAGE),
        seeds=2,
        name=SCRIPT,
        class_names=[IMAGE, "</style></svg>"],
        notes=[IMAGE, "{{ 7 * 7 }}"],
        spec={"command": SCRIPT, IMAGE: SCRIPT},
    )
    found = page(study)
    assert_inert(found)
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    for name in (SCRIPT, IMAGE, "</style></svg>", "{{ 7 * 7 }}"):
        assert name in found.texts or name in found.text
    assert "<script>alert" not in found.html
    assert "<img" not in found.html


def assert_inert(found: Page) -> None:
    """One script runs; what waits as text for it to show holds no script, image or handler either."""
    kinds = [value for tag, name, value in found.attributes if (tag, name) == ("script", "type")]
    assert found.tags["script"] - len(kinds) == 1
    assert set(kinds) <= {"text/html"}
    for one in (found, *(Page(text) for text in found.waiting)):
        assert one.tags["img"] == 0
        assert one is found or one.tags["script"] == 0
        assert not [name for _, name, _ in one.attributes if name.startswith("on")]


def test_every_id_is_there_once(one_budget: Page, two_budgets: Page) -> None:
    for found in (one_budget, two_budgets):
        ids = Counter(value for _, name, value in found.attributes if name == "id")
        assert ids.most_common(1)[0][1] == 1


def test_the_table_has_a_row_a_combination_and_budget_with_the_leaders_marked(two_budgets: Page) -> None:
    found = two_budgets
    assert len(found.cells) == 2 * 2 * 2
    assert all(len(cells) == 13 for cells in found.cells)
    for rows in (found.cells[:4], found.cells[4:]):
        accuracy = [float(cells[3][1]) for cells in rows]
        nll = [float(cells[5][1]) for cells in rows]
        assert "best" in rows[accuracy.index(max(accuracy))][3][0]
        assert [("best" in cells[5][0]) for cells in rows] == [value == min(nll) for value in nll]


def test_numbers_that_look_the_same_lead_together(
    page: Any, build_study: BuildStudy, build_summary: BuildSummary
) -> None:
    study = build_study(losses=("ce", "gence"), calibrators=("none",), budgets=(50,), seeds=2)
    summary = build_summary(study)
    for row, value in zip(summary.rows, (0.90001, 0.90002), strict=True):
        row.metrics["accuracy"] = replace(row.metrics["accuracy"], mean=value)
    assert all("best" in cells[3][0] for cells in page(study, summary).cells)


def test_a_metric_that_was_not_measured_leaves_a_dash(
    page: Any, build_study: BuildStudy, build_summary: BuildSummary
) -> None:
    study = build_study(losses=("ce", "gence"), seeds=2)
    summary = build_summary(study)
    for row in summary.rows:
        del row.metrics["smooth_ece"], row.metrics["ece"], row.metrics["nll"], row.metrics["accuracy"]
    found = page(study, summary)
    assert "\u2013" in found.texts
    assert found.cells[0][10][1] == ""


def test_records_with_next_to_nothing_in_them_still_make_a_page(
    page: Any, build_study: BuildStudy, build_summary: BuildSummary
) -> None:
    full = build_study(losses=("ce", "gence"), budgets=("all",), seeds=1)
    bare = [record.model_copy(update={"data": {}, "training": {}, "environment": {}}) for record in full.records]
    study = Study(full.folder, {}, len(bare), tuple(bare))
    assert "With all labels, GenCE with" in page(study).text


def test_several_budgets_are_lines_and_one_budget_is_dots(one_budget: Page, two_budgets: Page) -> None:
    assert "Accuracy and NLL against labels a class" in two_budgets.text
    assert "NLL, adaptive temperature (ATS)" in two_budgets.text
    assert "Accuracy and NLL side by side" in one_budget.text
    assert "NLL, every calibrator" in one_budget.text
    assert "With other numbers of labels" not in one_budget.text


def test_one_batch_size_is_not_spoken_of(one_budget: Page, two_budgets: Page) -> None:
    for found in (one_budget, two_budgets):
        shown = found.text.partition("Data and provenance Notes")[0].lower()
        assert "results mean over seeds" in shown
        assert "batch" not in shown
        assert "ECE, no calibrator" not in found.text


def test_several_batch_sizes_are_lines_with_ece_and_take_the_place_of_the_labels(
    page: Any, build_study: BuildStudy
) -> None:
    study = build_study(
        losses=("ce", "gence"), calibrators=("none", "ats"), budgets=(10,), batch_sizes=(8, 32, 128), seeds=2
    )
    found = page(study)
    for words in (
        "10 labels a class batches of 8, 32 and 128 2 seeds",
        "By batch size",
        "Lowest test NLL with batches of 128",
        "With batches of 128, ",
        "With other batch sizes batches of 32 ",
        "the best mean of its column with that batch size, which",
        "Batch size all batch sizes batches of 8 batches of 32 batches of 128 Loss",
        "Accuracy, NLL and ECE against batch size",
        "The NLL charts share one scale, and so do the ECE charts. A batch size is what a batch holds at least",
        "Reliability with batches of 128",
        "Seconds to train one seed, batches of 128",
    ):
        assert words in found.text, words
    assert titles(found) == [
        "Accuracy, no calibrator, against batch size, a line a loss.",
        *(
            f"NLL, {name}, against batch size, a line a loss."
            for name in ("no calibrator", "adaptive temperature (ATS)")
        ),
        *(
            f"ECE, {name}, against batch size, a line a loss."
            for name in ("no calibrator", "adaptive temperature (ATS)")
        ),
    ]
    assert "abels a class" not in found.text.partition("Lowest test NLL")[2].partition("Data and provenance Notes")[0]
    assert len(found.cells) == 2 * 2 * 3
    assert [cells[2][1] for cells in found.cells] == ["8"] * 4 + ["32"] * 4 + ["128"] * 4
    assert all(len(cells) == 13 for cells in found.cells)
    for rows in (found.cells[:4], found.cells[4:8], found.cells[8:]):
        nll = [float(cells[5][1]) for cells in rows]
        assert [("best" in cells[5][0]) for cells in rows] == [value == min(nll) for value in nll]


def test_labels_and_batch_sizes_together_are_settings_in_order(page: Any, build_study: BuildStudy) -> None:
    study = build_study(
        losses=("ce", "gence"), calibrators=("none",), budgets=(10, "all"), batch_sizes=(8, 32), seeds=2
    )
    found = page(study)
    options = (
        "all settings 10 labels a class, batches of 8 10 labels a class, batches of 32 all labels, batches of 8 all"
    )
    for words in (
        "10 and all labels a class batches of 8 and 32 2 seeds",
        "By setting",
        "With all labels, batches of 32, ",
        "With other numbers of labels and batch sizes all labels, batches of 8 ",
        f"Setting {options}",
        "with that many labels and that batch size, which",
        "Accuracy, NLL and ECE by labels a class and batch size",
        "Labels a class Batch size Accuracy %",
    ):
        assert words in found.text, words
    assert titles(found) == [
        f"{measure}, no calibrator, against batch size (labels a class below), a line a loss."
        for measure in ("Accuracy", "NLL", "ECE")
    ]
    # In each chart, of both losses: a line at each of two budgets, and four interval bars; a mark in two more charts.
    assert sum(name == "data-loss" and tag != "tr" for tag, name, _ in found.attributes) == 3 * 2 * (2 + 4) + 2 * 2
    assert all(len(cells) == 14 for cells in found.cells)
    assert [(cells[2][1], cells[3][1]) for cells in found.cells[::2]] == [
        ("0", "8"),
        ("1", "32"),
        ("2", "8"),
        ("3", "32"),
    ]


def titles(found: Page) -> list[str]:
    """What a screen reader says of the charts of lines, in order."""
    return [value for _, name, value in found.attributes if name == "aria-label" and value.endswith("a line a loss.")]


def test_every_loss_has_its_reliability_diagrams_with_the_ece_written_above(two_budgets: Page) -> None:
    labels = [value for tag, name, value in two_budgets.attributes if (tag, name) == ("svg", "aria-label")]
    assert sum(label.startswith("Reliability diagram of") for label in labels) == 2 * 2
    assert len(re.findall(r"ECE \d+\.\d\d ± \d+\.\d\d\u00a0%", " ".join(two_budgets.texts))) == 2 * 2


def test_many_losses_open_with_only_those_of_the_answer_brought_out(page: Any, build_study: BuildStudy) -> None:
    few = page(build_study(calibrators=("none",), budgets=(50,), seeds=2))
    assert {value for _, name, value in few.attributes if name == "aria-pressed"} == {"false"}
    losses = ("ce", "gence", *(f"loss {i}" for i in range(8)))
    many = page(build_study(losses=losses, calibrators=("none",), budgets=(50,), seeds=2))
    pressed = [value for _, name, value in many.attributes if name == "aria-pressed"]
    assert len(pressed) == 10
    assert 2 <= pressed.count("true") <= 3


def test_the_page_is_the_same_each_time(page: Any, build_study: BuildStudy) -> None:
    study = build_study(losses=("ce", "gence"), calibrators=("none",), seeds=2)
    assert page(study).html == page(study).html


def test_the_words_for_losses_and_calibrators_are_those_of_the_catalogues() -> None:
    assert {name: loss_label(name) for name in losses.names()} == {
        name: entry.title for name, entry in losses.CATALOGUE.items()
    }
    assert all(calibrator_label(name) != name for name in calibrators.names())


LARGE: dict[str, Any] = {
    "losses": ("ce", "gence", "focal:gamma=1.0"),
    "calibrators": ("none", "ats"),
    "budgets": (10, 50),
    "datas": ("digits", "moons"),
    "models": ("mlp", "cnn"),
    "seeds": 3,
}


@pytest.fixture(scope="module")
def large(
    tmp_path_factory: pytest.TempPathFactory,
    build_study: BuildStudy,
    build_summary: BuildSummary,
    add_suites: Any,
    build_failure: Any,
) -> Page:
    study = build_study(**LARGE)
    failed = build_failure(study.records[-1], "memory", IMAGE)
    study = replace(study, records=study.records[:-1], failures=(failed,), expected=study.expected + 5)
    summary = add_suites(build_summary(study))
    return Page(write_report(study, summary, tmp_path_factory.mktemp("large")).read_text(encoding="utf-8"))


def test_several_data_sets_open_with_what_they_say_together(large: Page) -> None:
    for words in (
        "digits and moons",
        "2 data sets models mlp and cnn 3 losses 2 calibrators 10 and 50 labels a class 3 seeds",
        "Lowest test NLL most often, over 8 settings: 2 data sets, 2 models and 2 numbers of labels",
        "The lowest test NLL of 8 settings is reached by",
        "could have found a true difference of",
        "Every loss against cross-entropy",
        "focal, gamma 1",
        "Data efficiency",
        "Accuracy against calibration",
        "Under shift",
    ):
        assert words in large.text, words
    assert_inert(large)


def test_a_setting_waits_as_text_with_its_own_answer_tables_and_diagrams(large: Page) -> None:
    numbers = [v for tag, name, v in large.attributes if (tag, name) == ("script", "data-number")]
    assert numbers == [str(i) for i in range(8)]
    waiting = [Page(text) for text in large.waiting if "Lowest test NLL with " in text]
    assert len(waiting) == 8
    for label, one in zip(("digits, mlp, 10 labels", "digits, mlp, 50 labels"), waiting, strict=False):
        for words in (f"With {label} a class, ", "Head, medium and tail classes", "Under shift", "Out of distribution"):
            assert words in one.text, words
        assert (
            sum(value.startswith("Reliability diagram of") for _, name, value in one.attributes if name == "aria-label")
            == 6
        )
        assert len(one.cells) == 6
    # Nothing of it is drawn before it is chosen.
    assert "Reliability diagram of" not in large.text
    assert not large.cells


def test_the_heat_map_links_to_the_settings_and_says_its_intervals(large: Page) -> None:
    assert {f"#setting-{i}" for i in range(8)} <= {value for _, name, value in large.attributes if name == "href"}
    titles = [value for tag, name, value in large.attributes if (tag, name) == ("td", "title")]
    assert len(titles) == 2 * 8
    assert re.fullmatch(
        r"GenCE, digits, mlp, 10 labels a class: \S+ \(95\xa0% interval \S+ to \S+\), 3 seeds; "
        r"p 0\.\d+, after Holm at this setting 0\.\d+, over all settings 0\.\d+; could have found \S+",
        titles[0],
    )
    # The first of five metrics and two calibrators is shown, the others wait.
    waiting = [value for tag, name, value in large.attributes if (tag, name) == ("script", "data-metric")]
    assert len(waiting) == 9


def test_failed_trials_are_listed_and_missing_ones_counted(large: Page) -> None:
    assert "71 of 77 trials finished. 1 failed and 5 are still missing." in large.text
    assert "1 of 77 trials came to nothing" in large.text
    assert f"focal, gamma 1 moons, cnn, 50 labels a class 2 out of memory {IMAGE} 2" in large.text


def test_a_study_whose_trials_all_failed_or_finished_is_not_told_to_run_again(
    page: Any, build_study: BuildStudy, build_failure: Any
) -> None:
    study = build_study(losses=("ce", "gence"), calibrators=("none",), budgets=(50,), seeds=2)
    failed = replace(study, records=study.records[1:], failures=(build_failure(study.records[0]),))
    text = page(failed).text
    assert "3 of 4 trials finished. 1 failed ." in text
    assert "still missing" not in text
    assert "run the same command again" not in text


def test_many_settings_of_one_data_set_have_an_overview_too(page: Any, build_study: BuildStudy) -> None:
    study = build_study(losses=("ce", "gence"), calibrators=("none",), budgets=tuple(range(1, 10)), seeds=1)
    assert "over 9 settings: 9 numbers of labels" in page(study).text


def test_names_are_text_in_the_overview_and_in_what_waits(
    page: Any, build_study: BuildStudy, build_summary: BuildSummary, add_suites: Any
) -> None:
    end = "</script><img src=x>"
    study = build_study(
        losses=("ce", SCRIPT, end), calibrators=("none", IMAGE), datas=("digits", end), seeds=2, budgets=(10,)
    )
    found = page(study, add_suites(build_summary(study)))
    assert_inert(found)
    assert "<img" not in found.html
    assert "<script>alert" not in found.html
    assert any(end in Page(text).text for text in found.waiting)


def test_the_specs_of_joined_studies_are_all_shown(page: Any, build_study: BuildStudy) -> None:
    spec = {"joined": [{"folder": name, "spec": {"command": f"gence run {name}", "seeds": 3}} for name in ("a", "b")]}
    text = page(build_study(losses=("ce",), calibrators=("none",), seeds=2, spec=spec)).text
    for words in ("Spec of a", "Spec of b", "gence run a gence run b"):
        assert words in text
