"""The figures: drawn the same each time, without a trace of this machine, and with names shown as names."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import matplotlib
import pytest

from gence.bench.records import Estimate, Reliability, Setting, SummaryRow
from gence.report.figures import Axis, Places, Series, axis_for, bar_chart, difference_chart, dot_chart, line_chart
from gence.report.names import looks
from gence.report.reliability import FEW, ece_text, reliability_diagram, shown_calibrators

LOOKS = looks(["ce", "gence"])
PLACES = Places("labels a class", ("10", "50"))
AXIS = Axis("NLL", 1.0, 0.0, 1.0, log=False)
NASTY = "<script>$x_1$</script>&日本"


def series(name: str = "GenCE", *means: float) -> Series:
    values = tuple(Estimate(mean, mean - 0.05, mean + 0.05, 5) for mean in means or (0.3, 0.2))
    return Series(name, 0, LOOKS["gence"], values)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]


def row(counts: tuple[int, ...], correct: tuple[int, ...], seeds: int = 5) -> SummaryRow:
    bins = Reliability(
        counts=counts,
        confidence_sums=tuple(count * (i + 0.5) / len(counts) for i, count in enumerate(counts)),
        correct_counts=correct,
    )
    ece = Estimate(0.0261, 0.0247, 0.0275, seeds) if seeds > 1 else Estimate(0.0261, None, None, 1)
    seconds = Estimate(1, None, None, 1)
    return SummaryRow("digits", "mlp", "gence", "none", Setting(50, 32), seeds, {"ece": ece}, seconds, bins)


def test_the_same_drawing_gives_the_same_text_and_a_matplotlibrc_changes_nothing() -> None:
    first = line_chart("a", "A", [series()], PLACES, AXIS)
    with matplotlib.rc_context({"font.size": 30, "text.usetex": True, "axes.grid": True, "savefig.bbox": "tight"}):
        assert line_chart("a", "A", [series()], PLACES, AXIS) == first


def test_drawing_leaves_the_settings_of_the_caller_alone() -> None:
    before = dict(matplotlib.rcParams)
    dot_chart("a", "A", [series()], AXIS, ["o", "s"])
    assert dict(matplotlib.rcParams) == before


def test_drawing_does_not_import_pyplot() -> None:
    code = "import gence.report, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.filterwarnings("error")
def test_a_name_is_written_as_it_is_whatever_markup_or_mathematics_it_resembles() -> None:
    for svg in (
        dot_chart("a", NASTY, [series(NASTY)], AXIS, ["o"]),
        bar_chart("b", NASTY, [series(NASTY)], AXIS),
        difference_chart("c", NASTY, [(NASTY, LOOKS["gence"], Estimate(-0.1, -0.2, 0.1, 5))], "difference"),
        line_chart("d", NASTY, [series()], Places("labels", (NASTY, "2")), AXIS),
    ):
        assert NASTY in texts(svg)
        assert ET.fromstring(svg).get("aria-label") == NASTY
        assert "script" not in tags(svg)


def test_a_long_name_is_cut_so_that_the_chart_keeps_its_room() -> None:
    assert "x" * 29 + "\u2026" in texts(bar_chart("a", "A", [series("x" * 90)], AXIS))
    assert "x" * 29 + "\u2026" in texts(dot_chart("a", "A", [series("x" * 90)], AXIS, ["o"]))


def test_the_words_for_a_setting_are_not_cut() -> None:
    words = "100 labels a class, batches of 128"
    assert words in texts(difference_chart("c", "C", [(words, LOOKS["gence"], Estimate(-0.1, -0.2, 0.1, 5))], "d"))


def test_colours_are_variables_of_the_page_and_fonts_are_left_to_it() -> None:
    for svg in (
        line_chart("a", "A", [series()], PLACES, AXIS),
        reliability_diagram(row((9,), (3,)), LOOKS["ce"]),
    ):
        assert not re.search(r"#[0-9a-f]{6}", svg)
        assert "font-family" not in svg
        assert "var(--" in svg


def test_ids_begin_with_the_name_of_the_figure_and_every_reference_is_met() -> None:
    svg = line_chart("nll3", "A", [series()], PLACES, AXIS)
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert ids
    assert all(name.startswith("nll3-") for name in ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) <= set(ids)


def test_a_line_is_tagged_with_its_loss_so_that_the_legend_can_bring_it_out() -> None:
    # One line and an interval bar at each of two budgets.
    assert line_chart("a", "A", [series()], PLACES, AXIS).count('data-loss="0"') == 3


def test_lines_run_over_titled_places_and_start_anew_at_a_break() -> None:
    whole = Places("batch size", ("8", "32", "8 ", "32 "))
    broken = Places("batch size", whole.texts, breaks=(2,))
    svgs = [line_chart("a", "A", [series("GenCE", 0.1, 0.2, 0.3, 0.4)], places, AXIS) for places in (whole, broken)]
    # Four interval bars, and one line or two.
    assert [svg.count('data-loss="0"') for svg in svgs] == [5, 6]
    assert [text for text in texts(svgs[1]) if text in ("batch size", *whole.texts)] == [*whole.texts, "batch size"]


def test_an_estimate_without_interval_has_no_bar() -> None:
    alone = Series("GenCE", 0, LOOKS["gence"], (Estimate(0.3, None, None, 1), None))
    assert line_chart("a", "A", [alone], PLACES, AXIS).count('data-loss="0"') == 1


def test_an_axis_holds_every_interval_and_is_logarithmic_only_for_a_wide_positive_range() -> None:
    narrow = [Estimate(0.3, 0.1, 0.5, 5), Estimate(0.4, 0.2, 0.7, 5)]
    axis = axis_for("accuracy", narrow, factor=100, may_log=True)
    assert axis.low < 10
    assert axis.high > 70
    assert not axis.log
    wide = [Estimate(0.1, 0.05, 0.15, 5), Estimate(3.0, 2.0, 4.0, 5)]
    assert axis_for("NLL", wide, may_log=True).log
    assert not axis_for("NLL", wide).log
    assert not axis_for("NLL", [*wide, Estimate(0.1, -0.1, 0.3, 5)], may_log=True).log
    alone = axis_for("NLL", [Estimate(0.0, None, None, 1)])
    assert alone.low < 0 < alone.high


def test_a_logarithmic_axis_is_labelled_in_plain_numbers() -> None:
    axis = axis_for("NLL", [Estimate(0.1, None, None, 1), Estimate(3.0, None, None, 1)], may_log=True)
    labels = texts(line_chart("a", "A", [series("GenCE", 3.0, 0.1)], PLACES, axis))
    assert {"0.1", "0.2", "0.5", "1", "2"} <= set(labels)


def test_bins_with_few_rows_are_hollow_without_a_dot_and_empty_bins_are_not_drawn() -> None:
    svg = reliability_diagram(row((0, FEW - 1, FEW, 400), (0, 5, 12, 390)), LOOKS["gence"])
    bars = ET.fromstring(svg).findall("g[@class='bars']/rect")
    assert [bar.get("class") for bar in bars] == ["few", None, None]
    assert dots(svg) == [(0.625, 0.6), (0.875, 0.975)]
    # Beneath, a bar a bin that has rows, as high as they are many.
    below = [float(bar.get("height", "")) for bar in ET.fromstring(svg).findall("rect")]
    assert below == [pytest.approx(40 * count / 400, abs=0.06) for count in (FEW - 1, FEW, 400)]


def test_a_name_in_a_reliability_diagram_is_text() -> None:
    nasty = dataclasses.replace(row((9,), (3,)), loss=f'{NASTY}" onload="x')
    root = ET.fromstring(reliability_diagram(nasty, LOOKS["ce"]))
    assert set(root.attrib) == {"viewBox", "role", "aria-label", "class", "style"}
    assert f'{NASTY}" onload="x' in root.attrib["aria-label"]


def test_the_count_axis_ends_at_the_fullest_bin() -> None:
    svg = reliability_diagram(row((1, 12345), (1, 12000)), LOOKS["ce"])
    assert "12k" in texts(svg)
    assert "0" in texts(reliability_diagram(row((0, 0), (0, 0)), LOOKS["ce"]))


def test_the_ece_is_given_in_percent_with_half_its_interval() -> None:
    assert ece_text(row((1,), (1,))) == "ECE 2.61 ± 0.14\u00a0%"
    assert ece_text(row((1,), (1,), seeds=1)) == "ECE 2.61\u00a0%"


def test_no_calibrator_and_ours_are_shown_first_and_three_at_most() -> None:
    assert shown_calibrators(["isotonic", "ats", "vector", "temperature", "none"]) == ["none", "temperature", "ats"]
    assert shown_calibrators(["isotonic", "vector", "none"]) == ["none", "isotonic", "vector"]


def tags(svg: str) -> set[str]:
    """The elements that an HTML parser, not an XML parser, sees."""
    found: set[str] = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.add(tag)

    Parser().feed(svg)
    return found


def dots(svg: str) -> list[tuple[float, float]]:
    """Confidence and accuracy of every dot, read back from its place between the ends of the diagonal."""
    diagonal = re.search(r'class="diagonal" d="M(\S+) (\S+)L(\S+) (\S+)"', svg)
    assert diagonal
    left, bottom, right, top = (float(number) for number in diagonal.groups())
    places = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in ET.fromstring(svg).iter("circle")]
    return [(round((x - left) / (right - left), 3), round((y - bottom) / (top - bottom), 3)) for x, y in places]
