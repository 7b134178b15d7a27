"""What goes wrong in a long study costs one trial, or a line that says what to do, and never a finished trial."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gence import InputError
from gence import _files as files
from gence.bench import jobs, ledger
from gence.bench.ledger import Progress
from gence.bench.records import Study, load_study, write_archive
from gence.bench.spec import Spec
from gence.bench.spec_parts import TrainingSpec, TuneSpec
from gence.bench.study import run_study

from .conftest import assert_same_study

SPEC = Spec(
    data=("digits",),
    losses=("ce", "focal"),
    labels_per_class=(4,),
    seeds=2,
    model=("mlp",),
    calibrators=("none",),
    training=TrainingSpec(epochs=1),
)
TUNED = SPEC.model_copy(update={"tune": TuneSpec(trials=2, epochs=(1, 2)), "losses": ("ce",)})


def finished(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every finished trial's files, with the moment in which they were written."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (folder / "trials").glob("[!.]*")}


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception, loss: str = "focal") -> None:
    """Trials of that loss raise that error."""
    real = jobs.run_trial

    def run_trial(trial: Any, *rest: Any) -> Any:
        if trial.cell.loss == loss:
            raise error
        return real(trial, *rest)

    monkeypatch.setattr(jobs, "run_trial", run_trial)


def test_twelve_trials_survive_a_killed_worker_a_full_disk_and_a_stop(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPEC.model_copy(update={"seeds": 6})
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    killed: list[int] = []

    def kill_one(progress: Progress) -> None:
        if progress.done == 2:
            victim = multiprocessing.active_children()[0].pid
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    real = ledger.write_files

    def full(folder: Path, content: Any) -> None:
        if len(list((folder / "trials").glob("*.json"))) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(folder, content)

    monkeypatch.setattr(ledger, "write_files", full)
    with pytest.raises(InputError, match="the disk is full; every finished trial is kept: make room and run the same"):
        run_study(spec, broken, workers=2, on_progress=kill_one)
    assert killed
    assert not multiprocessing.active_children()
    before = finished(broken)
    assert len(before) == 10
    monkeypatch.setattr(ledger, "write_files", real)
    assert len(run_study(spec, broken, stop_after=0).records) == 5
    steps: list[Progress] = []
    assert len(run_study(spec, broken, on_progress=steps.append).records) == 12
    assert [step.done for step in steps] == list(range(5, 13))
    after = finished(broken)
    assert {name: after[name] for name in before} == before
    run_study(spec, unbroken)
    assert_same_study(broken, unbroken)


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_disk_that_fills_in_mid_write_leaves_no_half_of_a_record(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(SPEC, tmp_path / "whole")
    calls = []

    def full(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 4:  # study.json, a trial of two files, and the arrays of the next one
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    if where == "write":
        real = files.write_atomically

        def half(path: Path, content: bytes) -> None:
            try:
                full(path, content)
            except OSError:
                path.with_name(f".{path.name}.0.tmp").write_bytes(content[:100])  # the run is killed as well
                raise

        monkeypatch.setattr("gence.bench.records.store.write_atomically", half)
    else:
        real = getattr(os, where)
        monkeypatch.setattr(os, where, full)
    folder = tmp_path / "broken"
    with pytest.raises(InputError, match="the disk is full"):
        run_study(SPEC, folder)
    monkeypatch.undo()
    assert len(load_study(folder).records) == 1
    run_study(SPEC, folder)
    assert not list(folder.rglob("*.tmp"))
    assert_same_study(folder, tmp_path / "whole")


def test_another_error_of_the_disk_is_not_called_a_full_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, content: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(ledger, "write_files", broken)
    with pytest.raises(OSError, match="Input/output error"):
        run_study(SPEC, tmp_path)


def test_a_second_study_on_the_folder_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    hold = (
        "import filelock, sys\nlock = filelock.FileLock(sys.argv[1])\nlock.acquire()\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    lock = str(tmp_path / "study.lock")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", hold, lock], **pipes) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="this study is running already; wait until that run has ended"):
            run_study(SPEC, tmp_path)
        assert not (tmp_path / "study.json").exists()
        first.kill()
    assert len(run_study(SPEC, tmp_path).records) == 4


@pytest.mark.parametrize("version", [1, 2, 3])
def test_what_an_older_version_wrote_is_refused_by_name(version: int, tmp_path: Path) -> None:
    def as_written_by(path: Path, change: Callable[[dict[str, Any]], None]) -> bytes:
        before = path.read_bytes()
        content = json.loads(before)
        change(content)
        path.write_text(json.dumps(content))
        return before

    def older(content: dict[str, Any]) -> None:
        content["version"] = version
        content["gone"] = "a field that is no more"

    run_study(TUNED, tmp_path)
    study = tmp_path / "study.json"
    before = as_written_by(study, older)
    with pytest.raises(
        InputError, match=rf"study version {version}, this gence reads version 4; start the study again"
    ):
        run_study(TUNED, tmp_path)
    study.write_bytes(before)
    [record, *_] = sorted((tmp_path / "trials").glob("*.json"))
    record.with_name("kept").write_bytes(record.read_bytes())
    as_written_by(record, older)
    refused = rf"record version {version}, this gence reads version 4; move it away to have the trial run again"
    with pytest.raises(InputError, match=refused):
        run_study(TUNED, tmp_path)
    record.unlink()
    # Without its record the trial is to be done, and its tuning is taken up.
    [tuned, *_] = sorted((tmp_path / "tuning").glob("*.json"))
    before = as_written_by(tuned, older)
    with pytest.raises(InputError, match=refused):
        run_study(TUNED, tmp_path)
    tuned.write_bytes(before)
    failure = tmp_path / "failures" / record.name
    failure.parent.mkdir()
    failure.write_text(json.dumps({"version": version}))
    with pytest.raises(InputError, match=refused):
        run_study(TUNED, tmp_path)


def failures(study: Study) -> list[tuple[str, str, int]]:
    return [(failure.cell.loss, failure.kind, failure.attempts) for failure in study.failures]


def test_a_failed_trial_is_left_alone_until_it_is_to_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, RuntimeError("two\nlines"))
    steps: list[Progress] = []
    study = run_study(SPEC, tmp_path, on_progress=steps.append)
    assert failures(study) == [("focal", "error", 1)] * 2
    assert study.failures[0].reason == "RuntimeError: two lines"
    assert [step.done for step in steps] == [0, 1, 2, 3, 4]
    assert [step.failure for step in steps if step.cell and step.cell.loss == "focal"] == [
        "RuntimeError: two lines"
    ] * 2
    assert [record.cell.loss for record in study.records] == ["ce", "ce"]
    assert failures(run_study(SPEC, tmp_path)) == [("focal", "error", 1)] * 2
    assert failures(run_study(SPEC, tmp_path, retry_failed=True)) == [("focal", "error", 2)] * 2
    monkeypatch.undo()
    assert failures(run_study(SPEC, tmp_path)) == [("focal", "error", 2)] * 2
    before = finished(tmp_path)
    [one, other] = (tmp_path / "failures").iterdir()
    kept = one.read_bytes()
    study = run_study(SPEC, tmp_path, retry_failed=True)
    assert (len(study.records), study.failures) == (4, ())
    assert not one.exists()
    assert not other.exists()
    assert {name: finished(tmp_path)[name] for name in before} == before
    # A run that was killed between the record and this removes it the next time.
    one.write_bytes(kept)
    assert run_study(SPEC, tmp_path).failures == ()
    assert not one.exists()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FloatingPointError("training diverged"), "diverged"),
        (MemoryError(), "memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (RuntimeError("CUDA error: out of memory"), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "error"),
        (ValueError("shapes"), "error"),
    ],
)
def test_the_kind_of_a_failure(error: Exception, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, error)
    spec = SPEC.model_copy(update={"seeds": 1})
    study = run_study(spec, tmp_path)
    assert failures(study) == [("focal", kind, 1)]
    assert study.failures[0].reason.startswith(type(error).__name__)
    assert len(study.records) == 1


def test_a_model_for_which_the_memory_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def huge(*arguments: Any, **options: Any) -> Any:
        return torch.nn.Linear(1 << 24, 1 << 24)  # a petabyte

    monkeypatch.setattr("gence.classifier.network.build", huge)
    study = run_study(SPEC.model_copy(update={"seeds": 1, "losses": ("ce",)}), tmp_path)
    assert failures(study) == [("ce", "memory", 1)]


def test_a_loss_that_is_never_finite(tmp_path: Path, broken: Callable[[str], None]) -> None:
    broken("focal")
    study = run_study(SPEC, tmp_path)
    assert failures(study) == [("focal", "diverged", 1)] * 2
    assert "training diverged" in study.failures[0].reason


def test_a_model_that_exits_ends_its_trial_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_trial(trial: Any, *rest: Any) -> Any:
        sys.exit("enough")

    monkeypatch.setattr(jobs, "run_trial", run_trial)
    assert failures(run_study(SPEC, tmp_path)) == [("ce", "error", 1)] * 2 + [("focal", "error", 1)] * 2


def test_a_tuning_of_which_nothing_came_is_done_again_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_tuning_trial(*arguments: Any) -> Any:
        raise MemoryError("today")

    monkeypatch.setattr(jobs, "run_tuning_trial", run_tuning_trial)
    study = run_study(TUNED, tmp_path)
    assert study.failures[0].reason == "every one of the 2 trials of its tuning failed"
    assert [f.cell.seed for f in study.failures] == [0, 1]
    monkeypatch.undo()
    assert len(run_study(TUNED, tmp_path).failures) == 2
    study = run_study(TUNED, tmp_path, retry_failed=True)
    assert (len(study.records), study.failures) == (2, ())
    assert_same_study(tmp_path, _whole(TUNED, tmp_path / "whole"))


def test_a_tuning_of_which_something_came_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = jobs.run_tuning_trial, []

    def run_tuning_trial(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise MemoryError("once")
        return real(*arguments)

    monkeypatch.setattr(jobs, "run_tuning_trial", run_tuning_trial)
    raising(monkeypatch, RuntimeError("no"), loss="ce")
    run_study(TUNED, tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "tuning").iterdir()}
    monkeypatch.undo()
    study = run_study(TUNED, tmp_path, retry_failed=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "tuning").iterdir()} == before
    tuned = study.records[0].tuning
    assert tuned is not None
    assert [tried.failure for tried in tuned.tried] == ["memory: MemoryError: once", None]


def _whole(spec: Spec, folder: Path) -> Path:
    run_study(spec, folder)
    return folder


def test_a_study_that_is_stopped_in_time_goes_on_where_it_was(tmp_path: Path) -> None:
    study = run_study(TUNED, tmp_path, stop_after=0)
    assert (len(study.records), study.expected) == (0, 2)
    assert len(run_study(TUNED, tmp_path).records) == 2


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"share": 0.0}, "the share of a CPU or GPU that a trial takes is over 0 and at most 1; got 0.0"),
        ({"device": "gpu"}, "unknown device 'gpu'; cpu, cuda or cuda:N is expected"),
        ({"device": "cuda:77"}, "device 'cuda:77' is asked for, but torch sees . GPUs here"),
        ({"device": "cuda:1", "ray": "auto"}, "a Ray cluster chooses the GPU of each trial; give --device cuda, not"),
    ],
)
def test_wishes_that_cannot_be_met(wish: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run_study(SPEC, tmp_path / "out", **wish)
    assert not (tmp_path / "out").exists()


def test_a_study_goes_on_from_its_archive_in_a_new_folder(tmp_path: Path, quick: None) -> None:
    whole = run_study(TUNED, tmp_path / "whole")
    begun = tmp_path / "begun"
    shutil.copytree(whole.folder, begun)
    done = sorted((begun / "trials").glob("*.json"))
    sorted((begun / "tuning").glob("*.json"))[1].unlink()
    done[0].unlink()
    archive = write_archive(begun, tmp_path / "begun.study.gz")

    study = run_study(TUNED, tmp_path / "on", start_from=archive)
    for path in done[1:]:  # what an archive does not hold
        (whole.folder / "trials" / path.with_suffix(".npz").name).unlink()
    assert_same_study(study.folder, whole.folder)
    assert [path.stem for path in (study.folder / "trials").glob("*.npz")] == [done[0].stem], "it alone was run"

    # Once it has begun, the archive has no more to say: what was removed since is run, not unpacked.
    record = study.folder / "trials" / done[1].name
    record.unlink()
    run_study(TUNED, study.folder, start_from=archive)
    assert record.with_suffix(".npz").is_file()

    other = TUNED.model_copy(update={"training": TrainingSpec(epochs=2)})
    with pytest.raises(InputError, match=r"begun.study.gz holds another study: its training.epochs is 1, now 2"):
        run_study(other, tmp_path / "other", start_from=archive)
    assert not (tmp_path / "other").exists()
