"""The page of an audit: words that follow from the numbers, no NaN, names stay text, and a browser shows it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gence.audit import Audit, audit_predictions, parse_audit
from gence.audit.records import CalibratorTrial, Chance, Estimate, Mending, SliceSearch
from gence.data.predictions import Predictions
from gence.report import audit_lines, write_audit
from gence.report.audit_columns import AUDIT_COLUMN
from gence.report.audit_words import verdict

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
SHARE = "\u00a0%"

Make = Callable[..., Audit]


def made(
    rows: int = 400, sharpness: float = 2.0, names: tuple[str, ...] = ("ant", "bee", "cat"), **settings: Any
) -> Audit:
    generator = np.random.default_rng(0)
    honest = 2 * generator.standard_normal((rows, 3))
    cumulated = np.exp(honest).cumsum(1) / np.exp(honest).sum(1, keepdims=True)
    labels = (generator.random((rows, 1)) > cumulated).sum(1)
    given = Predictions(sharpness * honest, None, labels, names, settings.pop("source", "made/up.npz"), ("Read so.",))
    return audit_predictions(given, **({"calibrators": ("temperature", "vector"), "resamples": 100} | settings))


@pytest.fixture(scope="module")
def audit() -> Audit:
    return made()


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_page_and_record_are_written_and_the_page_needs_nothing_else(audit: Audit, tmp_path: Path) -> None:
    path = write_audit(audit, tmp_path / "new")
    assert path == tmp_path / "new" / "audit.html"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["audit.html", "audit.json"]
    assert parse_audit((path.parent / "audit.json").read_text(), "audit.json") == audit
    page = Page(path)
    assert all(link.startswith("#") for link in page.links)
    assert {link.removeprefix("#") for link in page.links if not link.startswith("#reliability-")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"url\((?!#)|@import|https?:", page.html)
    assert "default-src 'none'" in page.html
    assert page.tags.count("svg") == 5
    assert page.text.index("up.npz") < page.text.index("Over-confident by") < page.text.index("Read so.")


def test_the_words_are_those_of_the_numbers(audit: Audit) -> None:
    found = verdict(audit)
    gap = audit.metrics["confidence_gap"]
    assert found.headline == f"Over-confident by {100 * gap.value:.1f} points"
    assert (
        f"(95{SHARE} interval {100 * gap.low:.1f} to {100 * gap.high:.1f}, which excludes zero)" in found.sentences[0]
    )
    assert f"is {100 * audit.metrics['ece'].value:.2f}{SHARE}" in found.sentences[1]
    assert f"would show {100 * audit.chance.ece:.2f}{SHARE} on as many rows by chance" in found.sentences[1]
    best = audit.mending.best
    assert (
        f"Of 2 calibrators, judged on rows that they were not fitted on, {best.title} mends it most"
        in found.sentences[2]
    )
    assert f"to {best.metrics['nll']:.4f}, and the ECE by" in found.sentences[2]
    assert found.cautions == ()


def test_under_confidence_is_called_that() -> None:
    assert verdict(made(sharpness=0.5, calibrators=())).headline.startswith("Under-confident by ")


def test_honest_probabilities_are_not_accused_and_no_calibrator_is_praised() -> None:
    audit = made(sharpness=1.0)
    found = verdict(audit)
    assert found.headline == "No miscalibration shown"
    assert "which includes zero" in found.sentences[0]
    assert "which is no more than chance makes" in found.sentences[1]
    assert "none lowers the NLL beyond chance" in found.sentences[2]


def test_gaps_that_cancel_are_not_called_honest(audit: Audit) -> None:
    metrics = audit.metrics | {"confidence_gap": Estimate(0.001, -0.02, 0.02)}
    chance = Chance(ece=0.02, ece_high=0.03, ece_share=0.01, gap_share=0.8, draws=100)
    assert verdict(replace(audit, metrics=metrics, chance=chance)).headline == (
        "Right on average, but not at every confidence"
    )


def test_an_interval_without_zero_is_not_enough_where_honest_rows_differ_as_much(audit: Audit) -> None:
    chance = Chance(ece=0.02, ece_high=0.09, ece_share=0.3, gap_share=0.2, draws=100)
    found = verdict(replace(audit, chance=chance))
    assert found.headline == "No miscalibration shown"
    assert "honest probabilities would differ as much by chance" in found.sentences[0]


def test_a_gap_that_is_shown_is_not_taken_back_by_an_ece_within_chance(audit: Audit) -> None:
    chance = Chance(ece=0.18, ece_high=0.25, ece_share=0.06, gap_share=0.01, draws=100)
    found = verdict(replace(audit, chance=chance))
    assert found.headline.startswith("Over-confident by ")
    assert "which alone would not show that: perfectly honest" in found.sentences[1]
    assert "no more than chance" not in found.sentences[1]


def test_a_debiased_error_of_zero_is_left_out_where_the_ece_is_beyond_chance(audit: Audit) -> None:
    assert "Less what chance adds, the root mean square gap is" in verdict(audit).sentences[1]
    none = verdict(replace(audit, metrics=audit.metrics | {"debiased_ece": Estimate(0.0, 0.0, 0.1)})).sentences[1]
    assert "more than chance makes" in none
    assert "root mean square" not in none


def with_trials(audit: Audit, *differences: dict[str, Estimate], failures: int = 0) -> str:
    """The sentence about calibrators, if these were what they change."""
    before = audit.mending.uncalibrated
    trials: list[CalibratorTrial] = []
    for k, change in enumerate(differences):
        full = dict.fromkeys(before, Estimate(0.0, 0.0, 0.0)) | change
        metrics = {key: value + full[key].value for key, value in before.items()}
        trials.append(CalibratorTrial(f"c{k}", f"method {k}", metrics, full, 0.0, 0.1))
    failed = tuple((f"broken {k}", "no") for k in range(failures))
    return verdict(replace(audit, mending=replace(audit.mending, trials=tuple(trials), failures=failed))).sentences[2]


BETTER = {"nll": Estimate(-0.2, -0.3, -0.1), "ece": Estimate(-0.05, -0.08, -0.02)}


def test_widened_intervals_are_not_called_95_percent(audit: Audit) -> None:
    several = with_trials(audit, BETTER, {}, failures=1)
    assert "the NLL by \u22120.2000 (interval \u22120.3000 to \u22120.1000, widened for the 3 tried) to " in several
    assert "the ECE by \u22125.00 (interval \u22128.00 to \u22122.00, likewise) points to " in several
    assert "95" not in several.replace(AUDIT_COLUMN["ece"].text(audit.mending.uncalibrated["ece"] - 0.05), "")
    unclear = with_trials(audit, {"nll": Estimate(-0.1, -0.3, 0.1)}, {})
    assert "by \u22120.1000 (interval \u22120.3000 to 0.1000, widened for the 2 tried)." in unclear
    single = with_trials(audit, BETTER)
    assert f"(95{SHARE} interval \u22120.3000 to \u22120.1000) to " in single
    assert "widened" not in single


def test_the_accuracy_is_named_if_the_best_calibrator_lowers_it(audit: Audit) -> None:
    lost = with_trials(audit, BETTER | {"accuracy": Estimate(-0.004, -0.01, 0.002)}, {})
    assert lost.endswith(f"{SHARE}, and the accuracy by \u22120.40 (interval \u22121.00 to 0.20, likewise) points.")
    for change in (0.004, 0.0, -1e-9):
        kept = with_trials(audit, BETTER | {"accuracy": Estimate(change, -0.01, 0.01)}, {})
        assert "accuracy" not in kept
        assert ", and the ECE by " in kept


def test_calibrators_that_change_nothing_are_said_to(audit: Audit) -> None:
    assert with_trials(audit, {}, {}).endswith("none changes anything.")
    worse = with_trials(audit, {"nll": Estimate(0.2, 0.1, 0.3)}, {})
    assert worse.endswith("none lowers the NLL beyond chance; the best, method 1, changes nothing.")


def test_without_intervals_none_is_spoken_of(tmp_path: Path) -> None:
    few = made(rows=12)
    lines = " ".join(audit_lines(replace(few, right=11)))
    assert "; too few rows for their intervals." in lines
    assert "(\u2013)" not in lines
    assert "in brackets" not in lines
    assert "12 rows tell little: there are no intervals of most numbers" in lines
    assert "1 row is wrong: NLL, Brier score and calibration errors cannot know of what did not happen." in lines
    assert "too narrow" not in lines
    assert "There are too few rows for most intervals." in Page(write_audit(few, tmp_path)).text
    assert verdict(made(rows=1)).cautions[0].startswith("1 row tells little: there are no")
    many = made(rows=60)
    assert "60 rows tell little: intervals are wide" in verdict(many).cautions[0]
    assert f"); in brackets 95{SHARE} intervals." in " ".join(audit_lines(many))


def test_confidence_minus_accuracy_is_best_at_zero(audit: Audit, tmp_path: Path) -> None:
    text = Page(write_audit(audit, tmp_path)).text
    assert "Low is better, except that the accuracy is best high, and confidence \u2212 accuracy at zero." in text


def test_too_few_rows_say_so_and_print_no_interval() -> None:
    audit = made(rows=12)
    found = verdict(audit)
    assert found.headline == "Too few rows to tell"
    assert "on too few rows to call it more than chance" in found.sentences[0]
    assert "at least 30 labelled rows are needed" in found.sentences[2]
    assert found.cautions[0].startswith("12 rows tell little")
    assert all("interval" not in sentence for sentence in found.sentences)


def test_what_the_rows_cannot_tell_is_a_caution(audit: Audit) -> None:
    empty = tuple(replace(row, name=f"c{k}", rows=0) for k, row in enumerate(audit.classes * 3))
    few = replace(audit.classes[0], name="rare", rows=3)
    found = verdict(replace(audit, right=398, classes=(*empty, few))).cautions
    assert found[0].startswith("2 rows are wrong: intervals of NLL")
    assert found[1] == "9 of 10 classes have no row (c0, c1, c2, c3, c4 and 4 more): nothing is known of them."
    assert found[2].startswith("1 of 10 classes have fewer than 30 rows (rare)")
    same = replace(audit, reliability={"width": (), "mass": audit.reliability["mass"][:1] * 2})
    assert verdict(same).cautions == (
        "All rows have the same confidence, so it tells nothing about which of them are right.",
    )


@pytest.mark.parametrize(("right", "words"), [(400, "No row is wrong"), (1, "1 row is right")])
def test_few_events_are_counted(audit: Audit, right: int, words: str) -> None:
    assert verdict(replace(audit, right=right)).cautions[0].startswith(words)


def test_calibrators_that_were_not_tried_or_failed_are_explained(audit: Audit, tmp_path: Path) -> None:
    refused = replace(audit, mending=Mending("only probabilities", 0, 0, 0, {}, (), ()))
    assert "was not tried: only probabilities." in Page(write_audit(refused, tmp_path)).text
    failed = replace(audit, mending=replace(audit.mending, trials=(), failures=(("vector scaling", "no <luck>"),)))
    text = Page(write_audit(failed, tmp_path)).text
    assert "no calibrator could be fitted" in text
    assert "vector scaling: no <luck>" in text


def test_slices_that_are_no_finding_are_shown_as_none(audit: Audit, tmp_path: Path) -> None:
    quiet = replace(audit, slices=replace(audit.slices, beyond_chance=0))
    text = Page(write_audit(quiet, tmp_path)).text
    assert "none shows a gap beyond what chance makes" in text
    assert "The nearest to a finding, none of which is one" in text
    none = replace(audit, slices=SliceSearch(0, 4, 30, 0, ()))
    assert "No slice of the rows has the 30 rows" in Page(write_audit(none, tmp_path)).text


@pytest.mark.parametrize("rows", [1, 2, 25])
def test_few_rows_make_a_page_without_nan(rows: int, tmp_path: Path) -> None:
    page = Page(write_audit(made(rows=rows), tmp_path))
    assert not re.search(r"\b(nan|inf|None)\b", page.text)
    if rows < 20:
        assert "\u2013" in page.texts
        assert "no rows" in page.text


def test_names_from_data_are_text_and_never_markup(tmp_path: Path) -> None:
    audit = made(names=(SCRIPT, IMAGE, "</style></svg>{{ 7 * 7 }}"), source=f"a/{IMAGE}", calibrators=("temperature",))
    page = Page(write_audit(replace(audit, notes=(SCRIPT,)), tmp_path))
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    for name in (SCRIPT, IMAGE, "</style></svg>{{ 7 * 7 }}"):
        assert name in page.text


def test_the_terminal_gets_five_to_ten_lines(audit: Audit) -> None:
    lines = audit_lines(audit)
    assert 5 <= len(lines) <= 10
    assert lines[0].startswith("made/up.npz: 400 rows, 3 classes. Over-confident by ")
    assert all("\n" not in line for line in lines)
    few = audit_lines(made(rows=3))
    assert 5 <= len(few) <= 10
    assert few[-1].startswith("Caution: ")
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(few))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no browser on this machine: no chromium or google-chrome is on the PATH")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=executable, args=[*quiet, "--disable-sync", "--no-first-run"])
        yield running
        running.close()


def test_a_browser_shows_it_without_a_word_and_sorts_its_tables(browser: Any, audit: Audit, tmp_path: Path) -> None:
    path = write_audit(audit, tmp_path)
    page = browser.new_page(viewport={"width": 360, "height": 700})
    events: list[str] = []
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.on("request", lambda request: events.extend([request.url] if not request.url.startswith("file:") else []))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    tables = page.locator("table.results")
    assert tables.count() == 3
    assert page.locator(".sideways:visible").count() == 3
    for section in ("classes", "slices"):
        headings = page.locator(f"#{section} thead th").all_inner_texts()
        assert headings[1].strip() == "Gap, points"
        gaps = page.locator(f"#{section} tbody tr").evaluate_all("rows => rows.map(r => r.cells[1].innerText)")
        assert all(re.fullmatch(r"[+\u2212]?\d+\.\d", gap) for gap in gaps)
    head = page.locator("#classes th", has=page.get_by_role("button", name="Classwise ECE"))
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    shown = page.locator("#classes tbody tr").evaluate_all("rows => rows.map(r => Number(r.cells[9].dataset.value))")
    assert shown == sorted((row.ece for row in audit.classes), reverse=True)
    page.set_viewport_size({"width": 1200, "height": 700})
    assert page.locator(".sideways:visible").count() == 0
    assert events == []
    page.close()
