"""A study from spec to records: what is on disk is never done again."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import torch

from gence._errors import InputError
from gence.bench.executors import InProcess, RayCluster, Together, Workers, join_ranks, launched_together
from gence.bench.inputs import StudyData, read_inputs
from gence.bench.jobs import Executor
from gence.bench.ledger import Ledger, Progress
from gence.bench.plan import plan
from gence.bench.records import (
    FAILURES,
    SPEC_FILE,
    TRIALS,
    TUNING,
    Study,
    load_study,
    read_archive,
    save_study,
    unpack_archive,
)
from gence.bench.spec import Spec

_FREE = {"losses", "labels_per_class", "seeds", "training.batch_size", "data_root", "command"}
"""What a study may be run again with, changed: its finished trials still belong to it."""

_AXES = {"data", "regime", "model"}
"""What a study may be given more or less of, as long as something stays."""

_LOCK = "study.lock"
_OURS = {
    TRIALS,
    TUNING,
    FAILURES,
    _LOCK,
    "report.html",
    "results.csv",
    "failures.csv",
    "tuning.csv",
    "tables",
    "figures",
}
"""What may lie in a folder whose study.json is lost."""


def run_study(
    spec: Spec,
    folder: Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    share: float = 1.0,
    device: str = "cpu",
    retry_failed: bool = False,
    stop_after: float | None = None,
    start_from: Path | None = None,
    command: str | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Study:
    """Run every trial of the spec that has neither a record nor a failure in `folder` yet.

    Nothing is written before the data have been read and every setting has been checked against them. Where torchrun
    started several processes that call this, they train every model together, and the first of them alone writes.

    Args:
        spec: The study.
        folder: Where it lies, or shall lie.
        workers: Worker processes; 1 runs in this process.
        ray: The address of a Ray cluster, `"auto"` for the one this machine belongs to, `"local"` for one of this
            machine's cores; trials then run there and `workers` does not count.
        share: Of a CPU, or on a GPU of a GPU, that each trial of a Ray cluster takes.
        device: Where models are trained: `"cpu"`, `"cuda"` or `"cuda:1"`; with `"cuda"`, workers take the GPUs in turn.
        retry_failed: Try those trials again that failed before.
        stop_after: Seconds after which no trial is started any more.
        start_from: An archive of this study: a new `folder` begins with its records, without their logits.
        command: What was typed to get here, for the report.
        on_progress: Called at the start and after every trial.

    Returns:
        The study as it is on disk now, with its failures.

    Raises:
        InputError: If the data or the spec cannot be used, `folder` or the archive holds another study, or `folder` one
            that is running, or the disk is full.
    """
    end = None if stop_after is None else time.monotonic() + stop_after
    if workers < 1:
        raise InputError(f"workers must be at least 1; got {workers}")
    if not 0 < share <= 1:
        raise InputError(f"the share of a CPU or GPU that a trial takes is over 0 and at most 1; got {share}")
    together = launched_together()
    if together and (workers > 1 or ray is not None):
        raise InputError("torchrun has started the processes that train together; leave --workers and --ray out")
    _refuse_other_folder(spec, folder)
    if start_from is not None:
        _refuse_other_study(spec, read_archive(start_from), "start from an archive of this one")
    data = read_inputs(spec)
    planned = plan(spec, data)
    place = find_device(device, elsewhere=ray is not None)
    if together:
        executor = Together(data, join_ranks(place))
        if not executor.leads:
            executor.follow()
            return load_study(folder)
    else:
        executor = _executor(data, workers, ray, share, place)
    with _room(folder), _alone(folder):
        _clear_away_halves(folder)
        # Once: a study that has begun keeps what has been tried again since.
        if start_from is not None and not (folder / SPEC_FILE).exists():
            unpack_archive(start_from, folder)
        written = {**spec.model_dump(mode="json"), "command": command}
        save_study(folder, written, {trial.key: trial.cell for trial in planned.trials})
        ledger = Ledger(planned, folder, retry_failed=retry_failed, on_progress=on_progress)
        executor.run(ledger.start(), ledger.finished, lambda: end is None or time.monotonic() < end)
        return load_study(folder)


def _executor(data: StudyData, workers: int, ray: str | None, share: float, device: torch.device) -> Executor:
    if ray is not None:
        return RayCluster(data, ray, share, device)
    return InProcess(data, device) if workers == 1 else Workers(data, workers, device)


def find_device(name: str, *, elsewhere: bool = False) -> torch.device:
    """The device of that name; one that is `elsewhere`, on a cluster, need not be here.

    Raises:
        InputError: If there is no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}; cpu, cuda or cuda:N is expected") from error
    if elsewhere:
        if device.index is not None:
            raise InputError(f"a Ray cluster chooses the GPU of each trial; give --device cuda, not {name}")
        return device
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise InputError(f"device {name!r} is asked for, but torch sees {have} GPUs here; use --device cpu")
    return device


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, so that no trial runs twice; the system lets go of it however this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(
            f"{folder}: this study is running already; wait until that run has ended, or stop it, or name another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(
            f"{folder}: the disk is full; every finished trial is kept: make room and run the same command again"
        ) from error


def _clear_away_halves(folder: Path) -> None:
    """Files that were being written when a run was killed; nobody writes now, and nobody else would remove them."""
    for place in (folder, *(folder / name for name in (TRIALS, TUNING, FAILURES))):
        for half in place.glob(".*.tmp"):
            half.unlink(missing_ok=True)


def _refuse_other_folder(spec: Spec, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a folder is expected for --out, this is a file; name another")
    if not (folder / SPEC_FILE).exists():
        if folder.exists() and any(p.name not in _OURS and p.suffix != ".tmp" for p in folder.iterdir()):
            raise InputError(
                f"{folder}: a new or empty folder is expected for --out, or one of this study; name another"
            )
        return
    _refuse_other_study(spec, load_study(folder), "name another --out folder")


def _refuse_other_study(spec: Spec, study: Study, cure: str) -> None:
    before, now = _flat(study.spec), _flat(spec.model_dump(mode="json"))
    # Of both: a table that only one of them has, such as [tune], has its keys there only.
    keys = dict.fromkeys((*now, *before))
    changed = [key for key in keys if key not in _FREE and before.get(key) != now.get(key)]
    changed = [key for key in changed if key not in _AXES or not set(now[key]) & set(before.get(key) or ())]
    if changed:
        key = changed[0]
        raise InputError(
            f"{study.folder} holds another study: its {key} is {before.get(key)!r}, now {now.get(key)!r} is asked for; "
            f"{cure}"
        )


def _flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with the keys of its tables beside the others, as `training.epochs`."""
    tables = {key: value for key, value in spec.items() if isinstance(value, dict)}
    inner = {f"{table}.{key}": value for table, keys in tables.items() for key, value in keys.items()}
    return {**{key: value for key, value in spec.items() if key not in tables}, **inner}
