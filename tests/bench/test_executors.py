"""Where jobs are done changes nothing but the times; what happens to a process happens to one job."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import misbehaviour
from gence import InputError
from gence.bench import jobs
from gence.bench.executors import InProcess, RayCluster, Workers, cluster, in_process, workers
from gence.bench.inputs import StudyData
from gence.bench.jobs import Done, Executor, Failed, Outcome
from gence.bench.spec import Spec
from gence.bench.spec_parts import TrainingSpec, TuneSpec
from gence.bench.study import run_study
from misbehaviour import Piece

from .conftest import assert_same_study, make_table

CPU = torch.device("cpu")
NOTHING = StudyData({})
SPEC = Spec(
    data=("digits",),
    losses=("ce", "focal"),
    labels_per_class=(5,),
    seeds=2,
    model=("mlp",),
    calibrators=("none", "temperature"),
    training=TrainingSpec(epochs=2),
    tune=TuneSpec(trials=2, epochs=(1, 3)),
)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of two cores on this machine, which the caller has started."""
    found = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(misbehaviour.__file__).parent), prepend=os.pathsep)
        found.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield found
        assert found.is_initialized(), "a connection that is not ours is left as it is"
        found.shutdown()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of `SPEC` in this process."""
    folder = tmp_path_factory.mktemp("study")
    assert len(run_study(SPEC, folder).records) == 4
    return folder


@dataclass
class Run:
    """What an executor made of some jobs; `follow` gives the words of the jobs that follow from one."""

    notes: Path
    follow: Callable[[str], Sequence[str]] = lambda word: ()
    go_on: Callable[[], bool] = lambda: True
    told: list[str] = field(default_factory=list)

    def __call__(self, executor: Executor, *words: str) -> dict[str, Outcome]:
        found: dict[str, Outcome] = {}
        self.told.clear()

        def jobs(words: Sequence[str]) -> Any:
            return [Piece(word, str(self.notes)) for word in words]

        def finished(job: Any, outcome: Outcome) -> Sequence[Any]:
            self.told.append(job.word)
            found[job.word] = outcome
            return jobs(self.follow(job.word))

        executor.run(jobs(words), finished, self.go_on)
        assert len(found) == len(self.told), "each is told of once"
        return found

    def tries(self) -> dict[str, int]:
        return {note.name: len(note.read_text().splitlines()) for note in self.notes.iterdir()}


@pytest.fixture
def run_jobs(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_two_processes_make_the_records_that_one_makes(tmp_path: Path, unbroken: Path, quick: None) -> None:
    """Those that start as a user's do are in `test_study`, where one table is that of a study in a single process."""
    study = run_study(SPEC, tmp_path, workers=2)
    assert {record.environment["threads"] for record in study.records} == {1}
    assert_same_study(unbroken, tmp_path)


def test_a_ray_cluster_makes_the_records_that_one_process_makes(tmp_path: Path, unbroken: Path, ray: Any) -> None:
    study = run_study(SPEC, tmp_path, ray="local")
    assert {record.environment["threads"] for record in study.records} == {1}
    assert_same_study(unbroken, tmp_path)


@pytest.fixture(params=["in process", "workers", "ray"])
def executor(request: pytest.FixtureRequest, quick: None, monkeypatch: pytest.MonkeyPatch) -> Executor:
    """Each of them, doing as the words of its jobs say."""
    if request.param == "ray":
        request.getfixturevalue("ray")
        monkeypatch.setattr(cluster, "_do_on_a_node", misbehaviour.act)
        return RayCluster(NOTHING, "auto", 1.0, CPU)
    if request.param == "workers":
        monkeypatch.setattr(workers, "_do_in_worker", misbehaviour.act)
        return Workers(NOTHING, 2, CPU)
    monkeypatch.setattr(in_process, "do", misbehaviour.act)
    return InProcess(NOTHING, CPU)


def test_jobs_that_follow_are_done_too(executor: Executor, run_jobs: Run) -> None:
    run_jobs.follow = lambda word: [f"{word}{n}" for n in "12"] if len(word) < 3 else ()
    tree = ("a", "a1", "a2", "a11", "a12", "a21", "a22", "b", "b1", "b2", "b11", "b12", "b21", "b22")
    assert set(run_jobs(executor, "a", "b")) == set(tree)
    assert run_jobs.tries() == dict.fromkeys(tree, 1)
    assert run_jobs(executor) == {}


def test_once_it_may_not_go_on_only_what_was_started_is_brought_to_its_end(executor: Executor, run_jobs: Run) -> None:
    run_jobs.follow = lambda word: [word + "+"]
    run_jobs.go_on = lambda: not run_jobs.told
    run_jobs(executor, *"abcdefghij")
    # On a cluster of two cores four are on their way.
    assert 1 <= len(run_jobs.told) <= 4
    assert sorted(run_jobs.tries()) == sorted(run_jobs.told)
    assert not any("+" in word for word in run_jobs.told)
    run_jobs.go_on = lambda: False
    assert run_jobs(executor, "a") == {}


def test_what_is_raised_when_a_job_is_told_of_ends_the_run(executor: Executor, run_jobs: Run) -> None:
    def refuse(word: str) -> Sequence[str]:
        raise OSError(28, "No space left on device")

    run_jobs.follow = refuse
    with pytest.raises(OSError, match="No space left"):
        run_jobs(executor, *"abcdef")
    assert len(run_jobs.told) == 1
    assert not multiprocessing.active_children()


def test_what_happens_to_a_process_happens_to_one_job(
    quick: None, monkeypatch: pytest.MonkeyPatch, run_jobs: Run
) -> None:
    monkeypatch.setattr(workers, "_do_in_worker", misbehaviour.act)
    words = ("fine", "dies", "raises unreadable", "well", "returns unsendable", "exits", "dies once", "good")
    found = run_jobs(Workers(NOTHING, 2, CPU), *words)
    assert set(found) == set(words)
    for word in ("fine", "well", "good", "dies once"):
        assert found[word] == misbehaviour.done(word)
    reasons = {word: (o.kind, o.reason) for word, o in found.items() if isinstance(o, Failed)}
    assert reasons == {
        "dies": ("died", "its worker process died 3 times, perhaps for want of memory"),
        "raises unreadable": ("error", "Unreadable: one"),
        "returns unsendable": ("memory", "MemoryError: too large to send"),
        "exits": ("error", "SystemExit: 3"),
    }
    assert run_jobs.tries() == {**dict.fromkeys(words, 1), "dies": 3, "dies once": 2}


def test_what_happens_on_a_cluster_happens_to_one_job(ray: Any, monkeypatch: pytest.MonkeyPatch, run_jobs: Run) -> None:
    monkeypatch.setattr(cluster, "_do_on_a_node", misbehaviour.act)
    executor = RayCluster(NOTHING, "auto", 1.0, CPU)
    words = ("fine", "raises unreadable", "well", "returns unsendable", "dies once", "good")
    found = run_jobs(executor, *words)
    assert set(found) == set(words)
    for word in ("fine", "well", "good", "dies once"):
        assert found[word] == misbehaviour.done(word)
    assert isinstance(found["raises unreadable"], Failed)
    unsendable = found["returns unsendable"]
    assert isinstance(unsendable, Failed)
    assert (unsendable.kind, unsendable.reason) == ("memory", "MemoryError: too large to send")
    assert run_jobs.tries() == {**dict.fromkeys(words, 1), "dies once": 2, "raises unreadable": 3}
    monkeypatch.setattr(jobs, "ATTEMPTS", 1)  # each death costs the start of a process
    died = run_jobs(executor, "dies")["dies"]
    assert isinstance(died, Failed)
    assert (died.kind, died.reason) == ("died", "its worker process died 1 times, perhaps for want of memory")


def test_workers_map_the_same_data_and_take_one_thread(
    quick: None, monkeypatch: pytest.MonkeyPatch, run_jobs: Run
) -> None:
    monkeypatch.setattr(workers, "_do_in_worker", misbehaviour.describe)
    data = make_table(rows=900)  # large enough to be worth a file
    found = run_jobs(Workers(StudyData({"blobs": data}), 1, CPU), "a")
    assert found["a"] == misbehaviour.done([True, data.fingerprint, 1, "cpu"])


def test_data_are_shared_as_they_are(tmp_path: Path) -> None:
    table = make_table(rows=900)
    foreign = {"blobs": {"noise": np.zeros((0, 3)), "more": np.arange(3000.0).reshape(3, 1000)}}
    opened = pickle.loads(workers._share(StudyData({"blobs": table, "twin": table}, foreign), tmp_path))
    assert opened.fingerprint("blobs") == StudyData({"blobs": table}, foreign).fingerprint("blobs")
    assert isinstance(opened.foreign["blobs"]["more"], np.memmap)
    # The labels, the inputs and the larger of the foreign sets; the twin is the same object.
    assert len(list(tmp_path.iterdir())) == 3
    np.testing.assert_array_equal(opened.labelled["twin"].labels, table.labels)


def test_there_are_no_more_workers_than_jobs_and_none_after_them(
    quick: None, monkeypatch: pytest.MonkeyPatch, run_jobs: Run
) -> None:
    monkeypatch.setattr(workers, "_do_in_worker", misbehaviour.act)
    seen: list[int] = []

    def follow(word: str) -> Sequence[str]:
        seen.append(len(multiprocessing.active_children()))
        return ("b", "c", "d") if word == "a" else ()

    run_jobs.follow = follow
    run_jobs(Workers(NOTHING, 100, CPU), "a")
    assert seen[0] == 1
    assert max(seen) <= 4
    assert not multiprocessing.active_children()


def test_data_that_a_worker_cannot_read_end_the_run_with_the_reason(quick: None, run_jobs: Run) -> None:
    data: Any = misbehaviour.Data(misbehaviour.not_found)
    with pytest.raises(InputError, match="a worker process cannot start: ModuleNotFoundError: No module named 'lost'"):
        run_jobs(Workers(data, 2, CPU), "a", "b")


def test_workers_that_die_at_their_start_end_the_run(quick: None, run_jobs: Run) -> None:
    data: Any = misbehaviour.Data(misbehaviour.die)
    with pytest.raises(InputError, match=r"died 3 times while it started.* run the same command again, with fewer"):
        run_jobs(Workers(data, 1, CPU), "a", "b")
    assert not multiprocessing.active_children()


def test_no_room_for_the_data_of_the_workers(monkeypatch: pytest.MonkeyPatch, run_jobs: Run) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError("480 requested and 12 written")  # what numpy says of a full disk

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=r"workers share cannot be written there \(480 requested.*set TMPDIR"):
        run_jobs(Workers(StudyData({"blobs": make_table(rows=900)}), 2, CPU), "a")


def test_no_room_for_what_a_worker_has_made_is_no_failure_of_the_trial(
    quick: None, monkeypatch: pytest.MonkeyPatch, run_jobs: Run
) -> None:
    monkeypatch.setattr(workers, "_do_in_worker", misbehaviour.act)
    with pytest.raises(InputError, match=r"cannot be written there \(.*No space left.*every finished trial is kept"):
        run_jobs(Workers(NOTHING, 1, CPU), "fine", "finds no room", "well")
    assert run_jobs.told == ["fine"]
    assert not multiprocessing.active_children()


def test_no_more_than_a_name_goes_through_the_pipe(tmp_path: Path) -> None:
    # The parent waits for ever for the rest of a message whose sender is killed, unless it is sent in one piece.
    large = Done((("logits", bytes(1 << 20)),), 0.0)
    left = workers._leave(str(tmp_path), lambda job: large, Piece("a", ""))  # type: ignore[arg-type]
    assert len(pickle.dumps(left)) < select.PIPE_BUF
    assert pickle.loads(Path(left).read_bytes()) == large


def test_workers_take_the_gpus_in_turn_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    taken = [workers._of_worker(torch.device("cuda"), number).index for number in range(5)]
    assert taken == [0, 1, 0, 1, 0]
    assert workers._of_worker(torch.device("cuda:1"), 0) == torch.device("cuda:1")
    assert workers._of_worker(CPU, 3) == CPU


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, run_jobs: Run) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"--ray needs Ray; install it with: pip install 'gence\[ray\]'"):
        run_jobs(RayCluster(NOTHING, "local", 1.0, CPU), "a")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "auto", "no-such-machine.invalid:6379"])
def test_an_address_nobody_answers_at(address: str, monkeypatch: pytest.MonkeyPatch, run_jobs: Run) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    if address == "auto":
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(InputError, match=rf"the Ray cluster at '{address}' cannot be used \(.*start one with"):
        run_jobs(RayCluster(NOTHING, address, 1.0, CPU), "a")
    assert time.monotonic() - started < 15


def test_a_cluster_that_has_not_got_what_a_trial_takes(ray: Any, run_jobs: Run) -> None:
    with pytest.raises(InputError, match=r"the Ray cluster has 0 GPUs and every trial takes 0\.5"):
        run_jobs(RayCluster(NOTHING, "auto", 0.5, torch.device("cuda")), "a")


def test_a_cluster_whose_machines_cannot_run_gence(ray: Any, monkeypatch: pytest.MonkeyPatch, run_jobs: Run) -> None:
    monkeypatch.setattr(cluster, "_be_ready", misbehaviour.not_found)
    with pytest.raises(InputError, match=r"cannot run gence: ModuleNotFoundError: .*'lost'; install this gence on"):
        run_jobs(RayCluster(NOTHING, "auto", 1.0, CPU), "a")


def test_everything_is_done_when_more_is_waiting_than_the_cluster_takes(
    ray: Any, monkeypatch: pytest.MonkeyPatch, run_jobs: Run
) -> None:
    monkeypatch.setattr(cluster, "_do_on_a_node", misbehaviour.act)
    words = [f"job {n}" for n in range(30)]
    found = run_jobs(RayCluster(NOTHING, "auto", 1.0, CPU), *words)
    assert set(found) == set(words)
    assert all(isinstance(outcome, Done) for outcome in found.values())


class StillbornPool:
    """A pool whose process dies before it is ready."""

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    def submit(self, *call: object) -> Future[None]:
        future: Future[None] = Future()
        future.set_exception(BrokenProcessPool())
        return future

    def shutdown(self, **options: object) -> None:
        pass


def test_deaths_at_the_start_end_a_study_only_where_no_job_is_finished_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "ProcessPoolExecutor", StillbornPool)
    worker = workers._Worker(b"", "", torch.device("cpu"))
    for _ in range(10):
        worker.forgive()
        for _ in range(2):
            worker.start()
            assert worker.take() is None
            assert worker.is_dead
    worker.start()
    with pytest.raises(InputError, match="died 3 times while it started"):
        worker.take()
