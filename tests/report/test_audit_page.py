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
from gence.audit.records import Chance, Estimate, Mending, SliceSearch
from gence.data.predictions import Predictions
from gence.report import audit_lines, write_audit
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
    head = page.locator("#classes th", has=page.get_by_role("button", name="Classwise ECE"))
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    shown = page.locator("#classes tbody tr").evaluate_all("rows => rows.map(r => Number(r.cells[9].dataset.value))")
    assert shown == sorted((row.ece for row in audit.classes), reverse=True)
    assert events == []
    page.close()
