"""The page in a real browser: silent, offline, and its table and legend do what they promise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gence.bench.records import Study, Summary
from gence.report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

BuildStudy = Callable[..., Study]
BuildSummary = Callable[[Study], Summary]

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'


class Watched:
    """A page with everything it ought not to do written down."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.events: list[str] = []
        page.on("dialog", self._dialog)
        page.on("console", lambda message: self.events.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.events.append(f"error: {error}"))
        page.on("request", self._request)
        page.goto(path.as_uri())

    def _dialog(self, dialog: Any) -> None:
        self.events.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file://", "data:")):
            self.events.append(f"request: {request.url}")

    def column(self, number: int) -> list[float]:
        """The values of a column in the rows that are shown, from top to bottom."""
        rows = self.page.locator("#table tbody tr:visible")
        return [float(value) for value in rows.evaluate_all(f"rows => rows.map(r => r.cells[{number}].dataset.value)")]

    def heading(self, name: str) -> Any:
        button = self.page.get_by_role("button", name=name, exact=True)
        return self.page.locator("#table thead th", has=button)

    def choose(self, kind: str, label: str) -> None:
        """Set the filter of that kind."""
        self.page.locator(f'[data-filter="{kind}"]').select_option(label=label)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for path in map(shutil.which, names) if path), None)
    if executable is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(names)} is on the PATH")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, build_study: BuildStudy, build_summary: BuildSummary) -> Path:
    study = build_study(losses=("ce", "focal", "gence"), seeds=2)
    return write_report(study, build_summary(study), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def batch_sizes(tmp_path_factory: pytest.TempPathFactory, build_study: BuildStudy, build_summary: BuildSummary) -> Path:
    study = build_study(losses=("ce", "gence"), calibrators=("none",), budgets=(10,), batch_sizes=(8, 32, 128), seeds=2)
    return write_report(study, build_summary(study), tmp_path_factory.mktemp("sizes"))


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory, build_study: BuildStudy, build_summary: BuildSummary) -> Path:
    study = build_study(
        losses=("ce", SCRIPT, IMAGE),
        calibrators=("none", SCRIPT),
        budgets=(50,),
        seeds=2,
        name=SCRIPT,
        class_names=[IMAGE, "cat"],
        notes=[IMAGE],
    )
    return write_report(study, build_summary(study), tmp_path_factory.mktemp("nasty"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, build_study: BuildStudy, build_summary: BuildSummary) -> Path:
    study = build_study(
        losses=("ce", "gence"), calibrators=("none", "ats"), budgets=(10, 50), datas=("digits", "moons"), seeds=2
    )
    return write_report(study, build_summary(study), tmp_path_factory.mktemp("large"))


@pytest.fixture
def watch(browser: Any) -> Iterator[Any]:
    contexts: list[Any] = []

    def open_page(path: Path, **settings: Any) -> Watched:
        contexts.append(browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings)))
        contexts[-1].set_default_timeout(5000)
        return Watched(contexts[-1].new_page(), path)

    yield open_page
    for context in contexts:
        context.close()


def test_the_page_opens_without_an_error_a_message_or_a_request(watch: Any, report: Path) -> None:
    watched = watch(report)
    assert watched.page.get_by_role("heading", level=1).inner_text() == "digits"
    assert watched.page.locator("figure svg").count() >= 12
    assert watched.events == []


def test_the_watch_sees_what_it_watches_for(watch: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/x.png'><script>alert(1); console.log('x'); nothing()</script>")
    kinds = {event.split(":")[0].split()[0] for event in watch(path).events}
    assert kinds == {"dialog", "console", "error", "request"}


def test_markup_in_names_is_shown_and_never_run(watch: Any, nasty: Path) -> None:
    watched = watch(nasty)
    assert watched.page.get_by_role("heading", level=1).inner_text() == SCRIPT
    assert watched.page.title().startswith(SCRIPT)
    assert watched.page.locator("#origin li").first.inner_text() == IMAGE
    watched.page.get_by_text("Spec, rows, versions and hardware").click()
    assert watched.page.locator(".classes span").first.inner_text() == IMAGE
    assert SCRIPT in watched.page.locator("#cost svg text").all_text_contents()
    assert SCRIPT in watched.page.locator('[data-filter="loss"] option').all_inner_texts()
    assert watched.page.locator("img").count() == 0
    assert watched.events == []


def test_the_table_opens_at_the_largest_budget_sorted_by_nll(watch: Any, report: Path) -> None:
    watched = watch(report)
    assert watched.page.locator("#count").inner_text() == "9 of 18 rows"
    assert watched.heading("NLL").get_attribute("aria-sort") == "ascending"
    assert watched.column(5) == sorted(watched.column(5))


def test_a_click_on_a_heading_sorts_and_a_second_click_turns_the_order_around(watch: Any, report: Path) -> None:
    watched = watch(report)
    accuracy = watched.heading("Accuracy %")
    before = watched.column(3)
    assert before != sorted(before, reverse=True)
    accuracy.get_by_role("button").click()
    assert watched.column(3) == sorted(before, reverse=True)
    assert accuracy.get_attribute("aria-sort") == "descending"
    assert watched.heading("NLL").get_attribute("aria-sort") is None
    accuracy.get_by_role("button").click()
    assert watched.column(3) == sorted(before)
    assert accuracy.get_attribute("aria-sort") == "ascending"


def test_the_keyboard_sorts_as_well(watch: Any, report: Path) -> None:
    watched = watch(report)
    watched.heading("Brier").get_by_role("button").focus()
    watched.page.keyboard.press("Enter")
    watched.page.keyboard.press("Space")
    assert watched.heading("Brier").get_attribute("aria-sort") == "descending"
    assert watched.column(6) == sorted(watched.column(6), reverse=True)


def test_names_sort_as_words(watch: Any, report: Path) -> None:
    watched = watch(report)
    watched.heading("Loss").get_by_role("button").click()
    losses = [text.strip() for text in watched.page.locator("#table tbody tr:visible th").all_inner_texts()]
    assert losses == ["cross-entropy"] * 3 + ["focal"] * 3 + ["GenCE"] * 3


def test_the_filters_narrow_the_table_together(watch: Any, report: Path) -> None:
    watched = watch(report)
    watched.choose("loss", "GenCE")
    assert watched.page.locator("#count").inner_text() == "3 of 18 rows"
    watched.choose("setting", "all budgets")
    assert watched.page.locator("#count").inner_text() == "6 of 18 rows"
    watched.choose("calibrator", "temperature scaling")
    rows = watched.page.locator("#table tbody tr:visible")
    assert rows.count() == 2
    assert all("GenCE" in text and "temperature scaling" in text for text in rows.all_inner_texts())


def test_batch_sizes_sort_as_numbers_and_are_chosen_by_their_words(watch: Any, batch_sizes: Path) -> None:
    watched = watch(batch_sizes)
    assert watched.page.locator("#count").inner_text() == "2 of 6 rows"
    assert watched.column(2) == [128, 128]
    watched.choose("setting", "batches of 8")
    assert watched.column(2) == [8, 8]
    watched.choose("setting", "all batch sizes")
    watched.heading("Batch size").get_by_role("button").click()
    assert watched.column(2) == [8, 8, 32, 32, 128, 128]
    assert watched.events == []


def test_the_legend_brings_a_loss_out_and_lets_it_go(watch: Any, report: Path) -> None:
    watched = watch(report)
    faded = watched.page.locator(".card .dim")
    button = watched.page.get_by_role("button", name="focal")
    assert faded.count() == 0
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert faded.count() > 0
    assert set(faded.evaluate_all("parts => parts.map(part => part.dataset.loss)")) == {"0", "2"}
    button.click()
    assert faded.count() == 0


def test_the_link_to_the_meaning_of_the_columns_opens_it(watch: Any, report: Path) -> None:
    watched = watch(report)
    meaning = watched.page.get_by_text("Share of test rows whose most probable class")
    assert not meaning.is_visible()
    watched.page.get_by_role("link", name="What the columns mean").click()
    meaning.wait_for(state="visible", timeout=2000)


@pytest.mark.parametrize("name", ["report", "nasty"])
def test_on_a_phone_nothing_but_its_own_box_scrolls_sideways(
    watch: Any, request: pytest.FixtureRequest, name: str
) -> None:
    watched = watch(request.getfixturevalue(name), viewport={"width": 360, "height": 700})
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360
    box = watched.page.locator("#results .tall")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")


def test_a_dark_screen_gets_a_dark_page_and_paper_a_light_one(watch: Any, report: Path) -> None:
    watched = watch(report, color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    line = 'getComputedStyle(document.querySelector(\'#settings [data-loss="0"] path[style*="width: 1.6"]\')).stroke'
    assert watched.page.evaluate(background) == "rgb(20, 21, 23)"
    assert watched.page.evaluate(line) == "rgb(241, 240, 236)"
    watched.page.emulate_media(media="print")
    assert watched.page.evaluate(background) == "rgb(255, 255, 255)"
    assert watched.page.evaluate(line) == "rgb(27, 28, 31)"


def test_a_setting_is_drawn_when_it_is_chosen_and_only_then(watch: Any, large: Path) -> None:
    watched = watch(large)
    details = watched.page.locator('[data-host="setting"]')
    assert "With digits, 10 labels a class, " in details.inner_text()
    assert watched.page.locator(".reliability").count() == 4
    watched.page.locator('[data-chooser="setting"] select').select_option(label="moons, 50 labels a class")
    assert "With moons, 50 labels a class, " in details.inner_text()
    assert "With digits" not in details.inner_text()
    assert watched.page.locator(".reliability").count() == 4
    watched.page.get_by_role("button", name="Previous").focus()
    watched.page.keyboard.press("Enter")
    assert "With moons, 10 labels a class, " in details.inner_text()
    # The table that was put in sorts as any other.
    head = details.get_by_role("button", name="Accuracy %", exact=True)
    head.click()
    rows = details.locator("tbody tr[data-loss]")
    values = [float(value) for value in rows.evaluate_all("rows => rows.map(row => row.cells[2].dataset.value)")]
    assert values == sorted(values, reverse=True)
    assert watched.events == []


def test_a_row_of_the_heat_map_leads_to_its_setting(watch: Any, large: Path) -> None:
    watched = watch(large, reduced_motion="reduce")
    watched.page.locator(".heat").get_by_role("link", name="50 labels a class").last.click()
    host = watched.page.locator('[data-host="setting"]')
    host.get_by_text("With moons, 50 labels a class, ").wait_for(timeout=2000)
    assert watched.page.locator('[data-chooser="setting"] select').input_value() == "3"
    assert watched.page.evaluate("document.getElementById('details').getBoundingClientRect().top < innerHeight")


def test_metric_and_calibrator_choose_the_heat_map_and_the_ranks(watch: Any, large: Path) -> None:
    watched = watch(large)
    host = watched.page.locator('[data-host="view"]')
    first = host.inner_text()
    assert "NLL minus that of cross-entropy" in first
    watched.page.locator('[data-part="metric"]').select_option(label="Accuracy")
    assert "Accuracy minus that of cross-entropy, points" in host.inner_text()
    watched.page.locator('[data-part="metric"]').select_option(label="NLL")
    assert host.inner_text() == first


def test_without_scripts_the_overview_still_reads(watch: Any, large: Path) -> None:
    watched = watch(large, java_script_enabled=False)
    text = watched.page.locator("main").inner_text()
    for words in ("The lowest test NLL of 4 settings", "NLL minus that of cross-entropy", "chosen by a script"):
        assert words in text
    assert not watched.page.get_by_role("button", name="Previous").is_visible()


def test_on_a_phone_the_overview_scrolls_sideways_in_its_boxes_only(watch: Any, large: Path) -> None:
    watched = watch(large, viewport={"width": 360, "height": 700})
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360
