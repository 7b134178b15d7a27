"""The command line as a stranger uses it, typos included: one line, exit status 2, nothing written."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--labels-per-class", "4", "--seeds", "1", "--epochs", "1", "--workers", "1")


def test_compare_leaves_a_page_a_table_and_a_record_a_trial_and_prints_the_answer(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("compare", "digits", "--losses", "ce,gence", *QUICK)
    assert status == 0
    folder = tmp_path / "gence-digits"
    left = {path.name for path in folder.iterdir()} - {"study.lock"}
    assert left == {"report.html", "results.csv", "study.json", "trials"}
    assert len(list((folder / "trials").glob("*.json"))) == 2
    assert out.startswith("4 labels a class: ")
    assert "report: gence-digits/report.html" in out
    with open(folder / "results.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["loss"], row["calibrator"]) for row in rows] == [
        (loss, calibrator) for loss in ("ce", "gence") for calibrator in ("none", "temperature", "ats")
    ]
    assert ",".join(rows[0]) == (
        "data,regime,model,loss,calibrator,labels_per_class,batch_size,seed,accuracy,balanced_accuracy,nll,brier,ece,"
        "ece_mass,classwise_ece,smooth_ece,aurc,seconds"
    )
    assert "gence compare digits --losses ce,gence" in (folder / "report.html").read_text()


def test_the_calibrators_that_are_asked_for_are_fitted(run: Run, tmp_path: Path) -> None:
    flags = ("--losses", "ce", "--model", "mlp", "--calibrators", "none,temperature_balanced", *QUICK, "--out", "d")
    status, _, errors = run("compare", "digits", *flags)
    assert status == 0, errors
    with open(tmp_path / "d/results.csv", newline="") as stream:
        assert {row["calibrator"] for row in csv.DictReader(stream)} == {"none", "temperature_balanced"}


def test_batch_sizes_are_compared_small_ones_first(run: Run, tmp_path: Path) -> None:
    # Of 4 labels a class 30 rows are trained on: three batches, or one.
    flags = ("--losses", "ce", "--model", "mlp", "--batch-size", "30,10", *QUICK, "--out", "d")
    status, out, errors = run("compare", "digits", *flags)
    assert status == 0, errors
    assert [line.partition(":")[0] for line in out.splitlines()[:2]] == ["batches of 10", "batches of 30"]
    with open(tmp_path / "d/results.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["calibrator"] == "none"]
    assert [row["batch_size"] for row in rows] == ["10", "30"]
    assert rows[0]["nll"] != rows[1]["nll"]
    assert "Accuracy, NLL and ECE against batch size" in (tmp_path / "d/report.html").read_text()


@pytest.mark.parametrize(("sizes", "named"), [("30", ""), ("10,30", ", batches of 30")])
def test_a_trial_that_fails_is_named_with_its_batch_size_where_there_are_several(
    run: Run, broken: Callable[[str], None], sizes: str, named: str
) -> None:
    broken("focal")
    status, out, errors = run("compare", "digits", "--losses", "focal", "--model", "mlp", "--batch-size", sizes, *QUICK)
    assert (status, out) == (1, "")
    assert f"gence: the trial focal, 4 labels a class{named}, seed 0 failed (diverged): FloatingPointError" in errors
    assert "gence: the same command with --retry-failed tries them again" in errors


def test_a_trial_that_fails_with_all_labels_is_named_so(run: Run, broken: Callable[[str], None]) -> None:
    broken("focal")
    flags = ("--losses", "focal", "--model", "mlp", "--seeds", "1", "--epochs", "1", "--workers", "1")
    _, _, errors = run("compare", "digits", *flags, "--labels-per-class", "all")
    assert "gence: the trial focal, all labels, seed 0 failed" in errors


def test_run_reads_a_spec_and_report_makes_page_and_table_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'data = "digits"\nlosses = ["ce"]\nlabels_per_class = [4]\nseeds = 1\n[training]\nepochs = 1\n'
    )
    assert run("run", "s.toml", "--out", "d", "--workers", "1")[0] == 0
    table = (tmp_path / "d/results.csv").read_text()
    (tmp_path / "d/results.csv").unlink()
    (tmp_path / "d/report.html").unlink()
    assert run("report", "d")[0] == 0
    assert (tmp_path / "d/results.csv").read_text() == table
    assert (tmp_path / "d/report.html").is_file()


def test_a_table_with_a_target_and_missing_values_is_compared_and_the_page_says_what_was_filled(
    run: Run, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    lines = ["height,colour,kind"]
    for i in range(60):
        height = "" if i % 7 == 0 else f"{generator.normal() + 2 * (i % 2):.3f}"
        lines.append(f"{height},{('red', 'blue')[i % 3 == 0]},{('oak', 'elm')[i % 2]}")
    (tmp_path / "trees.csv").write_text("\n".join(lines))
    status, _, errors = run("compare", "trees.csv", "--target", "kind", "--losses", "ce", *QUICK)
    assert status == 0, errors
    page = (tmp_path / "gence-trees/report.html").read_text()
    assert "9 missing values in 1 column (height)" in page


def test_a_folder_of_images_and_an_npz_are_compared(run: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(8):
            pixels = generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    np.savez(tmp_path / "points.npz", X=generator.normal(size=(40, 3)), y=np.arange(40) % 2)
    for source in ("pets", "points.npz"):
        status, _, errors = run("compare", source, "--losses", "ce", *QUICK)
        assert status == 0, errors


def test_data_models_and_knobs_are_lists_and_the_failed_trial_names_its_place(
    run: Run, tmp_path: Path, broken: Callable[[str], None]
) -> None:
    broken("focal")
    flags = ("--model", "mlp", "--regime", "none,label-noise:0.5", "--losses", "focal", *QUICK, "--out", "d")
    status, out, errors = run("compare", "digits,breast_cancer", *flags)
    assert (status, out) == (1, "")
    for place in (
        "focal, digits, none, 4 labels",
        "focal, breast_cancer, label-noise:0.5, 4 labels",
    ):
        assert f"gence: the trial {place} a class, seed 0 failed (diverged)" in errors
    assert len(list((tmp_path / "d/failures").glob("*.json"))) == 4


def test_of_many_failures_five_are_printed_and_only_retrying_runs_them_again(
    run: Run, tmp_path: Path, broken: Callable[[str], None]
) -> None:
    broken("focal")
    flags = ("--losses", "focal", "--model", "mlp", "--labels-per-class", "4", "--seeds", "7", "--epochs", "1")
    for extra, attempts in (((), 1), ((), 1), (("--retry-failed",), 2)):
        status, _, errors = run("compare", "digits", *flags, "--workers", "1", "--out", "d", *extra)
        assert status == 1
        assert errors.count("failed (diverged): FloatingPointError") == 5
        assert "gence: and 2 more\n" in errors
        records = [json.loads(path.read_text()) for path in (tmp_path / "d/failures").glob("*.json")]
        assert [record["attempts"] for record in records] == [attempts] * 7


def test_a_study_that_is_stopped_says_how_many_trials_are_left_and_how_to_go_on(run: Run) -> None:
    status, out, errors = run("compare", "digits", "--losses", "ce", "--model", "mlp", *QUICK, "--stop-after", "1e-9")
    assert (status, out) == (0, "")
    assert "Stopped. 1 of 1 trials are left; go on with:\n  gence compare digits --losses ce" in errors


def test_a_dry_run_prints_the_grid_and_its_cost_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    flags = ("--losses", "ce,gence", "--model", "mlp", "--labels-per-class", "4", "--seeds", "3", "--tune", "2")
    status, out, errors = run("compare", "digits", *flags, "--epochs", "2", "--workers", "2", "--dry-run")
    assert (status, errors) == (0, "")
    for line in (
        r"data +digits",
        r"losses +2: ce, gence",
        r"seeds +3",
        r"trials +6, after 4 trials of tunings",
        r"updates +\d+",
        r"operations +[\de.+]+ FLOPs",
        r"time +about \S+ CPU hours, or \d+ seconds with 2 workers, by the timed steps",
        r"a step +\S+ m?s: mlp on 30 rows of digits",
        r"disk +about \d+ KB",
        r"A dry run: nothing was written\.",
    ):
        assert re.search(f"^{line}$", out, re.MULTILINE), line
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_at_an_assumed_rate_needs_no_data(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('data = "cifar100"\nmodel = "mlp"\nlosses = "ce"\nlabels_per_class = "all"\n')
    status, out, errors = run("run", "s.toml", "--dry-run", "--tflops", "40", "--data-root", "nowhere")
    assert (status, errors) == (0, "")
    assert "GPU hours at an assumed 40 TFLOP/s sustained; not measured" in out
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_a_spec_is_shown_whole_and_reads_back(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('data = "digits"\nlosses = "focal:gamma=1"\n[tune]\ntrials = 3\n')
    status, out, _ = run("spec", "show", "s.toml")
    assert status == 0
    assert 'losses = ["focal:gamma=1.0"]' in out
    assert "[tune]\ntrials = 3" in out
    (tmp_path / "t.toml").write_text(out)
    assert run("spec", "show", "t.toml") == (0, out, "")


def test_specs_are_checked_a_line_each_and_a_wrong_one_is_status_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('data = "digits"\n')
    (tmp_path / "typo.toml").write_text('data = "digits"\n[training]\nlearning_rat = 0.1\n')
    assert run("spec", "check", "good.toml") == (0, "good.toml: ok\n", "")
    status, out, errors = run("spec", "check", "typo.toml", "good.toml", "god.toml")
    assert (status, out) == (2, "good.toml: ok\n")
    first, second = errors.splitlines()
    assert first.startswith("gence: typo.toml: unknown key 'training.learning_rat'; did you mean 'learning_rate'?")
    assert second == "gence: god.toml: no such spec; did you mean 'good.toml'?"


def test_studies_are_joined_in_a_report_of_their_own_with_exports(run: Run, tmp_path: Path) -> None:
    for loss in ("ce", "gence"):
        flags = ("--losses", loss, "--model", "mlp", *QUICK, "--out", loss)
        assert run("compare", "digits", *flags)[0] == 0
    status, _, errors = run("report", "ce", "gence")
    assert (status, errors) == (2, "gence: a report of 2 studies needs a folder of its own; give --out\n")
    status, out, errors = run("report", "ce", "gence", "--out", "both", "--export")
    assert status == 0, errors
    assert "GenCE" in out
    assert "export: both/tables\n" in out
    status, _, errors = run("report", "ce", "--out", "both/results.csv")
    assert status == 2
    assert errors == "gence: both/results.csv: a folder is expected for --out, this is a file; name another\n"
    with open(tmp_path / "both/results.csv", newline="") as stream:
        assert {row["loss"] for row in csv.DictReader(stream)} == {"ce", "gence"}


WRONG: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("compare", "digist"), ("digist", "did you mean 'digits'")),
    (("compare", "no-such.csv", "--target", "y"), ("no-such.csv",)),
    (("compare", "empty.csv", "--target", "y"), ("empty.csv", "empty")),
    (("compare", "emptydir"), ("emptydir", "empty")),
    (("compare", "broken.npz"), ("broken.npz",)),
    (("compare", "pickled.npz"), ("pickled.npz", "never loaded")),
    (("compare", "nan.npz"), ("nan.npz", "NaN, infinity", "row 3")),
    (("compare", "one.npz"), ("one", "at least two classes")),
    (("compare", "table.csv"), ("--target", "a, b, kind")),
    (("compare", "table.csv", "--target", "knd"), ("knd", "did you mean 'kind'")),
    (("compare", "table.csv", "--target", "kind"), ("column 'b'", "holds inf in row 0")),
    (("compare", "digits", "--target", "y"), ("target 'y'", "no columns", "leave it out")),
    (("compare", "digits", "--losses", "ce,focl"), ("unknown loss 'focl'", "did you mean 'focal'", "known: ce")),
    (("compare", "digits", "--losses", ","), ("losses is empty",)),
    (("compare", "digits", "--model", "resnet"), ("unknown model 'resnet'", "small_resnet")),
    (("compare", "good.csv", "--target", "kind", "--model", "small_resnet"), ("takes images", "use: mlp")),
    (("compare", "digits", "--seeds", "0"), ("seeds", "greater than or equal to 1", "0")),
    (("compare", "digits", "--seeds", "two"), ("--seeds", "valid integer")),
    (("compare", "digits", "--epochs", "0"), ("epochs", "greater than or equal to 1")),
    (("compare", "digits", "--labels-per-class", "10,x"), ("--labels-per-class", "'x'", "whole numbers or 'all'")),
    (("compare", "digits", "--labels-per-class", "1"), ("at least 2 labels per class", "got 1")),
    (("compare", "digits", "--labels-per-class", "5000"), ("5000 labels per class", "at most")),
    (("compare", "digits", "--batch-size", "8,x"), ("--batch-size: whole numbers, separated", "expected; got 'x'")),
    (("compare", "digits", "--batch-size", "all"), ("--batch-size", "got 'all'")),
    (("compare", "digits", "--batch-size", ","), ("training.batch_size is empty",)),
    (("compare", "digits", "--calibrators", "temprature"), ("calibrator", "temprature", "temperature")),
    (("compare", "digits", "--batch-size", "1"), ("training.batch_size", "greater than or equal to 2; got 1")),
    (("compare", "digits", "--batch-size", "8,8"), ("training.batch_size names 8 twice",)),
    (("compare", "digits", "--batch-size", "99,100"), ("batch sizes 99 and 100", "80 training rows", "keep one")),
    (("compare", "digit_pairs", "--image-size", "8"), ("digit_pairs: an image size was given", "leave it out")),
    (("compare", "digits", "--sedes", "3"), ("--sedes", "--seeds")),
    (("compare", "digits", "--workers", "0"), ("workers must be at least 1; got 0",)),
    (("compare", "digits", "--workers", "2", "--ray", "local"), ("--workers and --ray exclude each other",)),
    (("compare", "digits", "--share", "0.5"), ("--share is for --ray", "add --ray local")),
    (("compare", "digits", "--ray", "local", "--share", "0"), ("--share: a number above 0 is expected; got 0",)),
    (("compare", "digits", "--stop-after", "-1"), ("--stop-after: a number above 0 is expected; got -1",)),
    (("compare", "digits", "--stop-after", "nan"), ("--stop-after: a number above 0 is expected; got nan",)),
    (("compare", "digits", "--tflops", "40"), ("--tflops is for --dry-run", "add --dry-run")),
    (("compare", "digits", "--device", "gpu"), ("unknown device 'gpu'; cpu, cuda or cuda:N is expected",)),
    (("compare", "digits", "--device", "gpu", "--dry-run"), ("unknown device 'gpu'",)),
    (("compare", "digits", "--tune", "0"), ("tune.trials", "greater than or equal to 1; got 0")),
    (("compare", "digits,digist"), ("digist", "did you mean 'digits'")),
    (("compare", "digits", "--model", "mlp,auot"), ("unknown model 'auot'", "did you mean 'auto'")),
    (("compare", "digits", "--losses", "focal:gama=1"), ("unknown knob of loss 'focal' 'gama'", "'gamma'")),
    (("spec", "check", "typo.toml"), ("typo.toml", "unknown key 'losess'", "did you mean 'losses'")),
    (("spec", "show", "no.toml"), ("no.toml", "no such spec")),
    (("spec", "shwo", "no.toml"), ("shwo", "show")),
    (("report", "emptydir", "emptydir", "--out", "d"), ("emptydir", "no study here")),
    (("compare",), ("DATA",)),
    (("comprae", "digits"), ("comprae", "compare")),
    (("run", "no.toml"), ("no.toml", "no such spec")),
    (("run", "typo.toml"), ("typo.toml", "unknown key 'losess'", "did you mean 'losses'")),
    (("report", "emptydir"), ("emptydir", "no study here")),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_bad_input_is_one_line_with_the_cure_status_2_and_nothing_written(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "emptydir").mkdir()
    (tmp_path / "table.csv").write_text(
        "a,b,kind\n" + "\n".join(f"{i},{i * 7 % 5 or 'inf'},{i % 2}" for i in range(20))
    )
    (tmp_path / "good.csv").write_text("a,kind\n" + "\n".join(f"{i * i % 17},{i % 2}" for i in range(40)))
    (tmp_path / "typo.toml").write_text('data = "digits"\nlosess = ["ce"]\n')
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    np.savez(tmp_path / "one.npz", X=X, y=0 * y)
    np.savez(tmp_path / "pickled.npz", X=X.astype(object), y=y)
    X[3, 1] = np.nan
    np.savez(tmp_path / "nan.npz", X=X, y=y)
    (tmp_path / "broken.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:100])
    before = sorted(tmp_path.rglob("*"))
    status, out, errors = run(*arguments)
    assert status == 2
    assert out == ""
    assert errors.startswith("gence: ")
    assert len(errors.splitlines()) == 1
    for word in words:
        assert word in errors
    assert sorted(tmp_path.rglob("*")) == before


def test_a_column_name_over_two_lines_does_not_break_the_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('"a\nb",c\n1,2\n')
    status, _, errors = run("compare", "x.csv", "--target", "zzz")
    assert (status, len(errors.splitlines())) == (2, 1)


@pytest.mark.parametrize("group", [(), ("spec",)])
def test_without_a_command_the_help_is_shown(run: Run, group: tuple[str, ...]) -> None:
    status, out, errors = run(*group)
    assert (status, errors) == (0, "")
    assert "Commands:" in out


def test_help_names_every_flag_and_version_is_one_line(run: Run) -> None:
    status, out, _ = run("compare", "--help")
    assert status == 0
    for flag in (
        "--target",
        "--losses",
        "--labels-per-class",
        "--seeds",
        "--model",
        "--epochs",
        "--batch-size",
        "--out",
        "--tune",
        "--ray",
        "--device",
        "--dry-run",
    ):
        assert flag in out
    assert run("--version")[1].startswith("gence 0.")


def test_without_the_lab_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['typer'] = None; import gence.cli"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == "gence: the command line needs typer; install it with: pip install 'gence[lab]'\n"


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("losses", r"^mdca +MDCA +Hebbalaguppe et al\. 2022, arXiv 2203\.13834$"),
        ("models", r"^resnet32 .+ arXiv 1512\.03385"),
        ("data", r"^cifar10 .+ Krizhevsky 2009"),
        ("regimes", r"^long-tail:100 .+ Cao et al\. 2019, arXiv 1906\.07413$"),
        ("regimes", r"^--labels-per-class 10,50 +so many labels of every class"),
        ("regimes", r"^label-noise:0\.4 +labels wrong, those for calibration too"),
        ("calibrators", r"^temperature +temperature scaling +Guo et al\. 2017, arXiv 1706\.04599$"),
    ],
)
def test_list_shows_a_line_a_name_with_its_paper(run: Run, what: str, line: str) -> None:
    status, out, errors = run("list", what)
    assert (status, errors) == (0, "")
    assert re.search(line, out, re.MULTILINE), out
    names = [shown.split()[0] for shown in out.splitlines()]
    assert len(set(names)) == len(names)


def test_list_offers_the_nearest_kind(run: Run) -> None:
    assert run("list", "loses") == (
        2,
        "",
        "gence: unknown kind of name 'loses': did you mean 'losses'? known: losses, models, data, regimes, "
        "calibrators\n",
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--regime", "long-tial:10"), "compare: unknown regime 'long-tial': did you mean 'long-tail'?"),
        (("--regime", "long-tail"), "compare: long-tail needs its imbalance factor: long-tail:100"),
        (("--regime", "long-tail:10", "--labels-per-class", "5"), "decides how many labels each class has"),
        (("--regime", "label-noise:0.1", "--labels-per-class", "4"), "a rate of 0.1 of at most 4 labels a class makes"),
        (("--losses", "all,-adafocl"), "compare: unknown loss 'adafocl': did you mean 'adafocal'?"),
        (("--losses", "all", "--labels-per-class", "2"), "or leave them out (--losses all,-adafocal,-cals)"),
        (("--data-root", "nowhere"), "nowhere: there is no such folder"),
        (("--data-root", ""), "data_root: string should have at least 1 character"),
        (("--augment", ""), "--augment: crop, flip, both separated by a comma, none, or auto, is expected; it is emp"),
        (("--augment", ","), "it is empty"),
        (
            ("--augment", "none,flip"),
            "--augment: crop, flip, both separated by a comma, none, or auto, is expected; 'n",
        ),
        (("--augment", "flip,auto"), "'auto' stands alone"),
        (("--augment", "flip,flip"), "compare: training.augment names 'flip' twice"),
        (("--mixup", "1e308"), "compare: training.mixup: input should be less than or equal to 1000000"),
        (("--augment", "flop"), "compare: unknown augmentation 'flop': did you mean 'flip'?"),
        (("--mixup", "-1"), "compare: training.mixup: input should be greater than or equal to 0; got -1.0"),
        (("--model", "resnet23"), "compare: unknown model 'resnet23': did you mean 'resnet"),
    ],
)
def test_a_wrong_setting_stops_a_comparison_with_one_line(
    run: Run, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    status, out, errors = run("compare", "digits", *flags)
    assert (status, out) == (2, "")
    assert errors.startswith("gence: ")
    assert errors.count("\n") == 1
    assert said in errors
    assert list(tmp_path.iterdir()) == []


def test_a_named_data_set_that_is_not_in_the_root_is_told(run: Run, tmp_path: Path) -> None:
    status, out, errors = run("compare", "cifar10", "--data-root", "nowhere")
    assert (status, out) == (2, "")
    assert errors.startswith("gence: ")
    assert "nowhere" in errors
    assert list(tmp_path.iterdir()) == []


def test_a_long_tail_with_mixup_is_compared_and_the_page_names_it(run: Run, tmp_path: Path) -> None:
    flags = ("--regime", "long-tail:10", "--losses", "ce,ldam,adafocal", "--model", "mlp", "--mixup", "0.2")
    status, out, errors = run(
        "compare", "digits", *flags, "--seeds", "1", "--epochs", "1", "--workers", "1", "--out", "d"
    )
    assert status == 0, errors
    assert out.startswith("all labels, long-tail:10: ")
    with open(tmp_path / "d/results.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["regime"] for row in rows} == {"long-tail:10"}
    assert "regime long-tail:10" in (tmp_path / "d/report.html").read_text()
