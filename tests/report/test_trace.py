"""`gence report` on archives, and the records behind a number: those of the tables, with all their digits."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gence.bench.records import (
    METRICS,
    FailureRecord,
    Study,
    TrialRecord,
    load_study,
    record_path,
    save_study,
    write_archive,
    write_failure,
    write_record,
)
from gence.bench.stats import summarize
from gence.report import write_tables

BuildStudy = Callable[..., Study]
Run = Callable[..., tuple[int, str, str]]


def keep(study: Study, folder: Path) -> Path:
    """Write a study that was made up into `folder`."""
    found = (*study.records, *study.failures)
    save_study(folder, study.spec, {one.key: one.cell for one in found})
    for record in study.records:
        write_record(folder, record, {})
    for failure in study.failures:
        write_failure(folder, failure)
    return folder


@pytest.fixture
def study(build_study: BuildStudy, tmp_path: Path) -> Study:
    """Two losses, two calibrators, two budgets, three seeds, in the folder `study`."""
    made = build_study(losses=("ce", "gence"), calibrators=("none", "temperature"), seeds=3)
    keep(made, tmp_path / "study")
    return made


def cells_of(out: str) -> list[dict[str, list[str]]]:
    """What was printed, cell by cell: label -> texts, the title under "" and the files under "files"."""
    found: list[dict[str, list[str]]] = []
    for block in out.rstrip("\n").split("\n\n"):
        title, header, *lines = block.splitlines()
        cell = {"": [title], "metrics": header.split(), "files": []}
        for line in lines:
            if re.match(r"seed \d+: ", line):
                cell["files"].append(line)
            else:
                label, *texts = re.split(r" {2,}", line.removeprefix("  "))
                # "in tables" stands in both halves.
                cell["in tables, difference" if label == "in tables" and label in cell else label] = texts
        found.append(cell)
    return found


def values(records: tuple[TrialRecord, ...], loss: str, calibrator: str, budget: int, metric: str) -> list[float]:
    mine = [one for one in records if (one.cell.loss, one.cell.labels_per_class) == (loss, budget)]
    return [one.results[calibrator].metrics[metric] for one in sorted(mine, key=lambda one: one.cell.seed)]


def test_a_report_of_an_archive_is_that_of_the_folder(
    run: Run, tmp_path: Path, build_study: BuildStudy, build_failure: Callable[..., FailureRecord]
) -> None:
    made = build_study(losses=("ce", "gence"), calibrators=("none", "ats"), budgets=(10,), seeds=3)
    lost = build_failure(made.records[-1])
    keep(Study(made.folder, made.spec, made.expected, made.records[:-1], (lost,)), tmp_path / "study")
    status, out, errors = run("report", "study", "--out", "one", "--archive", "kept/a.study.gz")
    assert (status, errors) == (0, "")
    assert out.endswith("archive: kept/a.study.gz\n")
    status, again, _ = run("report", "kept/a.study.gz", "--out", "two")
    assert status == 0
    assert again == out.replace("one/", "two/").removesuffix("archive: kept/a.study.gz\n")
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert set(files[0]) == {"report.html", "results.csv", "failures.csv"}
    assert files[0] == files[1]


def test_an_archive_is_joined_with_a_folder_and_with_its_own(run: Run, tmp_path: Path, build_study: BuildStudy) -> None:
    for loss in ("ce", "focal"):
        keep(build_study(losses=(loss,), calibrators=("none",), budgets=(10,), seeds=2), tmp_path / loss)
    write_archive(tmp_path / "focal", tmp_path / "focal.study.gz")
    status, _, errors = run("report", "ce", "focal.study.gz", "focal", "--out", "both")
    assert (status, errors) == (0, "")
    with open(tmp_path / "both/results.csv", newline="") as stream:
        assert [row["loss"] for row in csv.DictReader(stream)] == ["ce", "ce", "focal", "focal"]


@pytest.mark.parametrize("place", ["study", "study.study.gz"])
def test_a_trace_prints_what_each_record_holds_and_where_it_lies(
    run: Run, tmp_path: Path, study: Study, place: str
) -> None:
    write_archive(tmp_path / "study", tmp_path / "study.study.gz")
    before = sorted(tmp_path.rglob("*"))
    status, out, errors = run("report", place, "--trace", "loss=gence labels_per_class=50 calibrator=temperature")
    assert (status, errors) == (0, "")
    (cell,) = cells_of(out)
    assert cell[""] == [
        "data=digits regime=none model=small_resnet loss=gence labels_per_class=50 batch_size=32 calibrator=temperature"
    ]
    assert cell["metrics"] == ["accuracy", "balanced_accuracy", "nll", "ece"]
    mine = [one for one in study.records if (one.cell.loss, one.cell.labels_per_class) == ("gence", 50)]
    for record in mine:
        measured = record.results["temperature"].metrics
        assert [float(text) for text in cell[f"seed {record.cell.seed}"]] == [measured[k] for k in cell["metrics"]]
    assert cell["files"] == [
        f"seed {record.cell.seed}: {record_path(Path(place), record.cell, record.key)}, finished {record.finished_at}, "
        "gence 0.1.0, torch 2.13.0"
        for record in mine
    ]
    assert sorted(tmp_path.rglob("*")) == before, "it writes nothing"


@pytest.mark.usefixtures("study")
def test_a_trace_has_the_numbers_of_the_tables(run: Run, tmp_path: Path) -> None:
    loaded = load_study(tmp_path / "study")
    write_tables(loaded, summarize(loaded), tmp_path / "study")
    with open(tmp_path / "study/tables/summary.csv", newline="") as stream:
        summary = {(r["loss"], r["calibrator"], r["labels_per_class"], r["metric"]): r for r in csv.DictReader(stream)}
    with open(tmp_path / "study/tables/contrasts.csv", newline="") as stream:
        contrasts = {(r["calibrator"], r["labels_per_class"], r["metric"]): r for r in csv.DictReader(stream)}
    latex = (tmp_path / "study/tables/nll.tex").read_text()
    cells = cells_of(run("report", "study", "--trace", "data=digits")[1])
    assert len(cells) == 2 * 2 * 2
    for cell in cells:
        place = dict(word.split("=", 1) for word in cell[""][0].split())
        loss, calibrator, budget = place["loss"], place["calibrator"], place["labels_per_class"]
        for column, metric in enumerate(cell["metrics"]):
            row = summary[loss, calibrator, budget, metric]
            assert (cell["mean"][column], cell["n"][column]) == (row["mean"], row["seeds"])
            half = (float(row["high"]) - float(row["low"])) / 2
            assert float(cell["half width"][column]) == half
            if loss == "ce":
                assert not [label for label in cell if "ce" in label.split()]
                continue
            row = contrasts[calibrator, budget, metric]
            labels = ("minus ce", "low", "high", "n", "p", "p, Holm", "p, study")
            names = ("mean", "low", "high", "seeds", "p_t", "p_holm", "p_study")
            assert [cell[label][column] for label in labels] == [row[name] for name in names], metric
        mean, half = cell["in tables"][2].split(" ± ")
        assert f"{mean} {{\\scriptsize$\\pm${half}}}" in latex or f"\\textbf{{{mean}}}" in latex


def test_a_trace_agrees_with_plain_formulas(run: Run, study: Study) -> None:
    words = "labels_per_class=10 calibrator=none loss=gence metric=nll"
    (cell,) = cells_of(run("report", "study", "--trace", words)[1])
    mine, plain = (np.array(values(study.records, loss, "none", 10, "nll")) for loss in ("gence", "ce"))
    assert cell["metrics"] == ["nll"]
    assert float(cell["mean"][0]) == pytest.approx(mine.mean(), rel=1e-12)
    assert float(cell["sd"][0]) == pytest.approx(mine.std(ddof=1), rel=1e-12)
    low, high = stats.t.interval(0.95, 2, loc=mine.mean(), scale=mine.std(ddof=1) / 3**0.5)
    assert float(cell["half width"][0]) == pytest.approx((high - low) / 2, rel=1e-9)
    apart = mine - plain
    assert float(cell["minus ce"][0]) == pytest.approx(apart.mean(), rel=1e-12)
    low, high = stats.t.interval(0.95, 2, loc=apart.mean(), scale=apart.std(ddof=1) / 3**0.5)
    assert [float(cell[end][0]) for end in ("low", "high")] == pytest.approx([low, high], rel=1e-9)
    assert cell["in tables"] == [f"{mine.mean():.4f} ± {float(cell['half width'][0]):.4f}"]
    assert cell["in tables, difference"] == [f"{apart.mean():+.4f}".replace("-", "\u2212")]


def test_one_seed_is_a_number_without_an_interval_and_one_difference(run: Run, study: Study) -> None:
    (cell,) = cells_of(run("report", "study", "--trace", "loss=gence labels_per_class=50 calibrator=none seed=1")[1])
    mine, plain = (values(study.records, loss, "none", 50, "nll")[1] for loss in ("gence", "ce"))
    assert (cell["mean"][2], cell["sd"][2], cell["half width"][2], cell["low"][2]) == (repr(mine), *"\u2013" * 3)
    assert float(cell["minus ce"][2]) == mine - plain
    assert (cell["in tables"][2], len(cell["files"])) == (f"{mine:.4f}", 1)


@pytest.mark.parametrize("metric", ["aurc", "smooth_ece"])
@pytest.mark.usefixtures("study")
def test_a_metric_that_losses_are_not_compared_in_has_no_difference(run: Run, metric: str) -> None:
    words = f"loss=gence labels_per_class=50 calibrator=none metric={metric}"
    (cell,) = cells_of(run("report", "study", "--trace", words)[1])
    assert cell["minus ce"] == ["\u2013"]
    assert "p" not in cell


def test_a_trace_of_joined_studies_names_the_place_of_each_record(
    run: Run, tmp_path: Path, build_study: BuildStudy, study: Study
) -> None:
    more = build_study(losses=("focal:gamma=1.0",), calibrators=("none", "temperature"), seeds=3)
    keep(more, tmp_path / "more")
    write_archive(tmp_path / "more", tmp_path / "kept.study.gz")
    words = "labels_per_class=10 calibrator=none metric=ece"
    status, out, errors = run("report", "study", "kept.study.gz", "--trace", words)
    assert (status, errors) == (0, "")
    for cell, place in zip(cells_of(out), ("study", "study", "kept.study.gz"), strict=True):
        assert all(f": {place}/trials/" in line for line in cell["files"])
    # Its difference to the cross-entropy of the other study.
    (cell,) = cells_of(run("report", "study", "kept.study.gz", "--trace", f"{words} loss=focal:gamma=1.0")[1])
    apart = [
        a - b
        for a, b in zip(
            values(more.records, "focal:gamma=1.0", "none", 10, "ece"),
            values(study.records, "ce", "none", 10, "ece"),
            strict=True,
        )
    ]
    assert float(cell["minus ce"][0]) == pytest.approx(np.mean(apart), rel=1e-12)
    (cell,) = cells_of(run("report", "more", "--trace", f"{words} loss=focal:gamma=1.0")[1])
    assert cell["minus ce"] == ["\u2013"], "there is no cross-entropy here"


WRONG = {
    "loss=focal": "--trace: no record has loss=focal; loss is there: ce, gence",
    "data=moons loss=focal": "--trace: no record has data=moons; data is there: digits",
    "loss=ce labels_per_class=5": "--trace: no record with loss=ce has labels_per_class=5; labels_per_class is there: "
    "10, 50",
    "seed=0 loss=ce calibrator=ats": "--trace: no record with seed=0 loss=ce has calibrator=ats; calibrator is there: "
    "none, temperature",
    "seed=7": "--trace: no record has seed=7; seed is there: 0, 1, 2",
    "lss=ce": "unknown key of --trace 'lss': did you mean 'loss'? known: data, regime, model, loss, labels_per_class, "
    "batch_size, seed, calibrator, metric",
    "metric=nlll": "unknown metric 'nlll': did you mean 'nll'? known: " + ", ".join(METRICS),
    "loss=ce loss=gence": "--trace: loss is there twice; keep one, or leave it out for all that there are",
    "gence": "--trace: key=value words are expected, with the keys data, regime, model, loss, labels_per_class, "
    "batch_size, seed, calibrator, metric; got 'gence'",
    "loss=": "--trace: key=value words are expected, with the keys data, regime, model, loss, labels_per_class, "
    "batch_size, seed, calibrator, metric; got 'loss='",
    " ": "--trace: key=value words are expected, with the keys data, regime, model, loss, labels_per_class, "
    "batch_size, seed, calibrator, metric; got none",
    "data='digits": '--trace: a quote is not closed in "data=\'digits"; close it, or leave it out',
}


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize(("words", "message"), WRONG.items(), ids=WRONG)
def test_a_trace_that_finds_nothing_says_which_word_and_what_there_is(run: Run, words: str, message: str) -> None:
    assert run("report", "study", "--trace", words) == (2, "", f"gence: {message}\n")


FLAGS: list[tuple[tuple[str, ...], str]] = [
    (("study", "--trace", "seed=0", "--out", "d"), "--trace prints and writes nothing; leave --out, --export"),
    (("study", "--trace", "seed=0", "--export"), "--trace prints and writes nothing; leave --out, --export"),
    (("study", "--trace", "seed=0", "--archive", "a.study.gz"), "--trace prints and writes nothing; leave --out"),
    (("a.study.gz",), "a.study.gz: the report of an archive needs a folder of its own; give --out"),
    (("a.study.gz", "study"), "a report of 2 studies needs a folder of its own; give --out"),
    (("a.study.gz", "--out", "d", "--archive", "b.study.gz"), "copy an archive as it is"),
    (("study", "a.study.gz", "--out", "d", "--archive", "b.study.gz"), "--archive takes one study at a time"),
    (("study", "--archive", "study"), "study: the name of an archive ends in .study.gz"),
    (("study", "--archive", "folder.study.gz"), "folder.study.gz: this is a folder; give a file to write to"),
    (("no.study.gz", "--out", "d"), "no.study.gz: no such archive; give one that gence report --archive wrote"),
    (("study/study.json", "--out", "d"), "study/study.json: not a whole archive of a study (Not a gzipped file"),
    (("empty", "--trace", "seed=0"), "empty: no trial has finished yet; run the study first"),
]


@pytest.mark.parametrize(("arguments", "words"), FLAGS, ids=[" ".join(arguments) for arguments, _ in FLAGS])
def test_flags_that_do_not_go_together_write_nothing(
    run: Run, tmp_path: Path, study: Study, arguments: tuple[str, ...], words: str
) -> None:
    write_archive(tmp_path / "study", tmp_path / "a.study.gz")
    save_study(tmp_path / "empty", study.spec, {})
    (tmp_path / "folder.study.gz").mkdir()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    status, out, errors = run("report", *arguments)
    assert (status, out) == (2, "")
    assert errors.startswith("gence: ")
    assert words in errors
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_value_with_a_space_is_put_in_quotes(run: Run, tmp_path: Path, build_study: BuildStudy) -> None:
    keep(build_study(losses=("ce",), calibrators=("none",), budgets=(10,), seeds=2, datas=("my data.csv",)), tmp_path)
    (cell,) = cells_of(run("report", ".", "--trace", "'data=my data.csv' metric=ece")[1])
    assert cell[""][0].startswith("data=my data.csv ")
    assert cell["metrics"] == ["ece"]
