"""Tables and figures as files: numbers as the summary has them, names escaped, the same bytes each time."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gence.bench.records import Study, Summary
from gence.report import write_figures, write_tables
from gence.report.exports import latex

BuildStudy = Callable[..., Study]
BuildSummary = Callable[[Study], Summary]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_latex_table_has_losses_down_settings_across_and_the_best_in_bold(
    tmp_path: Path, build_study: BuildStudy, build_summary: BuildSummary
) -> None:
    study = build_study(losses=("ce", "my_loss"), calibrators=("none", "ats"), budgets=(10, "all"), seeds=2)
    summary = build_summary(study)
    write_tables(study, summary, tmp_path)
    lines = (tmp_path / "tables" / "nll.tex").read_text().splitlines()
    assert lines[1:6] == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r" & 10 labels a class & all labels \\",
        r"\midrule",
        r"\multicolumn{3}{l}{\emph{No calibrator}} \\",
    ]
    assert [line.split(" & ")[0] for line in lines[6:8]] == ["cross-entropy", r"my\_loss"]
    assert lines[9] == r"\multicolumn{3}{l}{\emph{Adaptive temperature (ATS)}} \\"
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    best = min(row.metrics["nll"].mean for row in summary.rows if row.setting == summary.answers[0].setting)
    (cell,) = (line.split(" & ")[1] for line in lines if "textbf" in line.split(" & ")[min(1, line.count(" & "))])
    assert cell.startswith(rf"\textbf{{{best:.4f}}} {{\scriptsize$\pm$")


def test_names_are_escaped_in_latex() -> None:
    assert latex("50% of a_b & {c} ~ ^ # $ \\") == (
        r"50\% of a\_b \& \{c\} \textasciitilde{} \textasciicircum{} \# \$ \textbackslash{}"
    )


def test_the_csv_files_hold_the_summary_to_the_last_digit(
    tmp_path: Path, build_study: BuildStudy, build_summary: BuildSummary, add_suites: Any
) -> None:
    study = build_study(losses=("ce", "gence"), calibrators=("none", "ats"), datas=("digits", "moons"), seeds=3)
    summary = add_suites(build_summary(study))
    paths = write_tables(study, summary, tmp_path)
    assert all(path.is_file() for path in paths)
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {path.name for path in paths}
    found = {path.name: rows(path) for path in paths if path.suffix == ".csv"}
    first = summary.rows[0]
    line = next(one for one in found["summary.csv"] if one["metric"] == "nll")
    assert (line["data"], line["loss"], line["calibrator"]) == (first.setting.data, first.loss, first.calibrator)
    assert float(line["mean"]) == first.metrics["nll"].mean
    assert len(found["contrasts.csv"]) == len(summary.contrasts)
    assert float(found["contrasts.csv"][0]["p_holm"]) == summary.contrasts[0].p_holm
    assert len(found["ranks.csv"]) == sum(len(one.losses) for one in summary.standings)
    assert len(found["pooled.csv"]) == sum(len(one.pooled) for one in summary.standings)
    assert len(found["wins.csv"]) == len(summary.standings) * 2
    assert len(found["groups.csv"]) == 3 * len(summary.groups)
    assert len(found["shifts.csv"]) == 4 * len(summary.shifts)
    assert len(found["ood.csv"]) == 4 * len(summary.ood)
    assert {"accuracy-digits-small_resnet.tex", "accuracy-moons-small_resnet.tex", "standing-nll-none.tex"} <= {
        path.name for path in paths
    }


def test_a_standing_as_latex_has_ranks_and_bold_differences(
    tmp_path: Path, build_study: BuildStudy, build_summary: BuildSummary
) -> None:
    study = build_study(losses=("ce", "gence"), calibrators=("none",), seeds=3)
    write_tables(study, build_summary(study), tmp_path)
    lines = (tmp_path / "tables" / "standing-nll-none.tex").read_text().splitlines()
    assert lines[3] == r"Loss & Mean rank & Win/tie/loss & Difference (95\,\% interval) & $p$ (Holm) \\"
    assert lines[5].startswith(r"GenCE & 1.00 & ")
    assert r"\textbf{$-$0." in lines[5]
    assert lines[6] == r"cross-entropy & 2.00 & -- & -- & -- \\"


def test_the_figures_are_pdf_and_svg_and_the_same_each_time(
    tmp_path: Path, build_study: BuildStudy, build_summary: BuildSummary
) -> None:
    study = build_study(losses=("ce", "gence", "<b>$x_1$"), calibrators=("none",), seeds=2)
    summary = build_summary(study)
    few = Summary(
        summary.rows,
        summary.answers,
        tuple(one for one in summary.contrasts if one.metric == "nll"),
        tuple(one for one in summary.standings if one.metric == "nll"),
    )
    paths = write_figures(few, tmp_path)
    stems = ("differences-nll-none", "ranks-nll-none", "labels-accuracy-digits", "labels-nll-digits")
    stems += ("labels-ece-digits", "accuracy-against-ece", "accuracy-against-nll")
    assert {path.name for path in paths} == {f"{stem}.{end}" for stem in stems for end in ("pdf", "svg")}
    assert all(path.read_bytes().startswith(b"%PDF" if path.suffix == ".pdf" else b"<?xml") for path in paths)
    before = {path: path.read_bytes() for path in paths}
    write_figures(few, tmp_path)
    assert {path: path.read_bytes() for path in paths} == before


def test_a_summary_without_trials_has_empty_tables_and_no_figures(tmp_path: Path) -> None:
    nothing = Summary((), ())
    assert write_figures(nothing, tmp_path) == ()
    names = {path.name for path in write_tables(Study(Path("study"), {}, 0, ()), nothing, tmp_path)}
    assert names == {"summary.csv", "contrasts.csv", "ranks.csv", "pooled.csv", "wins.csv"}


@pytest.mark.parametrize("name", ["../../x", "a/b", ""])
def test_a_name_never_leads_out_of_the_folder(
    tmp_path: Path, build_study: BuildStudy, build_summary: BuildSummary, name: str
) -> None:
    study = build_study(losses=("ce", "gence"), calibrators=("none",), datas=("digits", name), seeds=2)
    folder = (tmp_path / "tables").resolve()
    assert all(path.resolve().parent == folder for path in write_tables(study, build_summary(study), tmp_path))
