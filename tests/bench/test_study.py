"""A study as a whole: resume, growth, refusal, workers, and what is left after kill -9."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gence import InputError
from gence.bench.ledger import Progress
from gence.bench.records import RECORD_VERSION
from gence.bench.spec import Spec
from gence.bench.spec_parts import TrainingSpec, TuneSpec
from gence.bench.study import run_study
from gence.report import write_csv

SPEC = Spec(
    data=("digits",),
    losses=("ce", "gence"),
    labels_per_class=(4,),
    seeds=2,
    model=("mlp",),
    training=TrainingSpec(epochs=2),
)


def table(folder: Path) -> list[dict[str, str]]:
    """results.csv without its times."""
    with open(folder / "results.csv", newline="") as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "trials").iterdir()}


def test_a_finished_study_is_not_run_again_and_its_files_do_not_change(tmp_path: Path) -> None:
    study = run_study(SPEC, tmp_path)
    assert (len(study.records), study.expected, study.failures) == (4, 4, ())
    before = contents(tmp_path)
    steps: list[Progress] = []
    again = run_study(SPEC, tmp_path, on_progress=steps.append)
    assert [(step.done, step.total) for step in steps] == [(4, 4)]
    assert contents(tmp_path) == before
    assert again.records == study.records


def test_a_grown_grid_runs_the_new_trials_only(tmp_path: Path) -> None:
    run_study(SPEC, tmp_path)
    before = contents(tmp_path)
    grown = SPEC.model_copy(update={"seeds": 3, "losses": ("ce", "gence", "focal")})
    study = run_study(grown, tmp_path)
    assert len(study.records) == study.expected == 9
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    shrunk = run_study(SPEC, tmp_path)
    assert len(shrunk.records) == 4


def test_batch_sizes_may_be_added_and_taken_away_as_losses_may(tmp_path: Path) -> None:
    def at(*sizes: int) -> Spec:
        # 30 training rows are three batches, or one.
        training = TrainingSpec(epochs=1, batch_size=sizes)
        return SPEC.model_copy(update={"seeds": 1, "training": training})

    run_study(at(10), tmp_path)
    before = contents(tmp_path)
    study = run_study(at(30, 10), tmp_path)
    assert [(r.cell.batch_size, r.cell.loss) for r in study.records] == [
        (10, "ce"),
        (10, "gence"),
        (30, "ce"),
        (30, "gence"),
    ]
    assert [record.training["updates"] for record in study.records] == [3, 3, 1, 1]
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert len(run_study(at(10), tmp_path).records) == 2
    other = at(10).training.model_copy(update={"momentum": 0.5})
    with pytest.raises(InputError, match=r"holds another study: its training\.momentum is 0\.9, now 0\.5 is asked for"):
        run_study(at(10).model_copy(update={"training": other}), tmp_path)


def test_a_tuned_study_is_another_one_than_the_untuned(tmp_path: Path) -> None:
    small = SPEC.model_copy(update={"losses": ("ce",), "seeds": 1, "labels_per_class": (8,)})
    tuned = small.model_copy(update={"tune": TuneSpec(trials=1)})
    run_study(tuned, tmp_path / "tuned")
    with pytest.raises(InputError, match=r"holds another study: its tune\.trials is 1, now None is asked for"):
        run_study(small, tmp_path / "tuned")
    run_study(small, tmp_path / "untuned")
    with pytest.raises(InputError, match=r"holds another study: its tune\.trials is None, now 1 is asked for"):
        run_study(tuned, tmp_path / "untuned")


def test_a_study_file_whose_recipe_is_no_table_is_another_study(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(f'{{"version": {RECORD_VERSION}, "trials": {{}}, "spec": {{"training": 1}}}}')
    with pytest.raises(InputError, match="holds another study: its version is None, now 1 is asked for"):
        run_study(SPEC, tmp_path)


def test_a_folder_with_another_study_or_other_files_is_refused_untouched(tmp_path: Path) -> None:
    run_study(SPEC, tmp_path / "a")
    other = SPEC.model_copy(update={"training": TrainingSpec(epochs=3)})
    with pytest.raises(InputError, match=r"holds another study: its training\.epochs is 2, now 3 is asked for"):
        run_study(other, tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").touch()
    with pytest.raises(InputError, match="a new or empty folder is expected for --out"):
        run_study(SPEC, tmp_path / "b")
    with pytest.raises(InputError, match="a folder is expected for --out, this is a file"):
        run_study(SPEC, tmp_path / "b" / "thesis.tex")
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["thesis.tex"]


def test_the_cure_for_a_broken_study_file_works(tmp_path: Path) -> None:
    run_study(SPEC, tmp_path)
    (tmp_path / "study.json").write_text("{")
    (tmp_path / ".study.json.0.tmp").touch()
    with pytest.raises(InputError, match="delete it and start the study again with the same --out"):
        run_study(SPEC, tmp_path)
    (tmp_path / "study.json").unlink()
    steps: list[Progress] = []
    run_study(SPEC, tmp_path, on_progress=steps.append)
    assert steps[0].done == 4


def test_data_that_cannot_be_used_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        run_study(Spec(data=("digts",)), tmp_path / "out")
    with pytest.raises(InputError, match="500 labels per class are asked for, but digits has only"):
        run_study(Spec(data=("digits",), labels_per_class=(500,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_running_in_this_process_gives_its_threads_back(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    run_study(SPEC.model_copy(update={"seeds": 1}), tmp_path, workers=1)
    assert torch.get_num_threads() == threads


def children(pid: int) -> list[int]:
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in listing.stdout.split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


ARGUMENTS = [
    *("compare", "digits", "--losses", "ce,gence", "--labels-per-class", "5", "--seeds", "6"),
    *("--model", "mlp", "--epochs", "80", "--workers", "2"),
]


def start(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gence.cli", *ARGUMENTS, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A suite that runs in the background inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def records(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "trials").glob("*.json")} if out.exists() else {}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to see that workers are gone")
def test_kill_9_in_mid_study_then_the_same_command_gives_the_unbroken_table(tmp_path: Path) -> None:
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    study = start(broken)
    wait_for(lambda: len(records(broken)) >= 3)
    family = children(study.pid)
    study.kill()
    study.communicate()
    kept = records(broken)
    assert 3 <= len(kept) < 12
    assert len(family) >= 2
    wait_for(lambda: not any(alive(pid) for pid in family))
    assert set(records(broken)) >= set(kept)
    kept = records(broken)
    process = start(broken)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    whole = SPEC.model_copy(update={"labels_per_class": (5,), "seeds": 6, "training": TrainingSpec(epochs=80)})
    write_csv(run_study(whole, unbroken), unbroken)
    after = records(broken)
    assert len(after) == 12
    assert {name: after[name] for name in kept} == kept
    assert table(broken) == table(unbroken)
    assert not list(broken.rglob("*.tmp"))


def test_ctrl_c_keeps_what_is_done_ends_the_workers_and_says_how_to_go_on(tmp_path: Path) -> None:
    study = start(tmp_path / "out")
    wait_for(lambda: len(records(tmp_path / "out")) >= 1)
    family = children(study.pid)
    os.killpg(study.pid, signal.SIGINT)
    _, errors = study.communicate(timeout=60)
    assert study.returncode == 130
    assert "Stopped. " in errors
    assert "finished trials are kept in" in errors
    assert " ".join(["gence", *ARGUMENTS]) in " ".join(errors.split())
    assert "Traceback" not in errors
    wait_for(lambda: not any(alive(pid) for pid in family))
