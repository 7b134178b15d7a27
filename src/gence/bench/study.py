"""A study from spec to records: what is on disk is never done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gence._errors import InputError
from gence.bench.executor import Failure, execute
from gence.bench.plan import Trial, plan
from gence.bench.records import Cell, Study, load_study, read_record, record_path, save_study
from gence.bench.spec import Spec
from gence.data import load

_GRID = {"losses", "labels_per_class", "seeds", "training.batch_size", "data_root"}
"""What a study may be run again with, changed: its finished trials still belong to it."""


_OURS = {"trials", "report.html", "results.csv"}
"""What may lie in a folder whose study.json is lost."""


@dataclass(frozen=True)
class Progress:
    """Where a study stands: called with the cell that just ended, or None at the start."""

    done: int
    total: int
    cell: Cell | None
    failure: Failure | None


def run_study(
    spec: Spec,
    folder: Path,
    *,
    workers: int = 1,
    command: str | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Study, tuple[Failure, ...]]:
    """Run every trial of the spec that has no record in `folder` yet.

    Nothing is written before the data have been read and every setting has been checked against them.

    Args:
        spec: The study.
        folder: Where it lies, or shall lie.
        workers: Worker processes.
        command: What was typed to get here, for the report.
        on_progress: Called at the start and after every trial.

    Returns:
        The study as it is on disk now, and the trials that failed this time.

    Raises:
        InputError: If the data or the spec cannot be used, or `folder` holds another study.
    """
    if workers < 1:
        raise InputError(f"workers must be at least 1; got {workers}")
    _refuse_other_study(spec, folder)
    data = load(spec.data, target=spec.target, image_size=spec.image_size, data_root=_root(spec))
    trials = plan(spec, data)
    written = {**spec.model_dump(mode="json"), "command": command}
    save_study(folder, written, {trial.key: trial.cell for trial in trials})
    pending = []
    for trial in trials:
        path = record_path(folder, trial.cell, trial.key)
        if path.is_file():
            read_record(path)
        else:
            pending.append(trial)
    done = len(trials) - len(pending)
    on_progress(Progress(done, len(trials), None, None))

    def count(trial: Trial, failure: Failure | None) -> None:
        nonlocal done
        done += 1
        on_progress(Progress(done, len(trials), trial.cell, failure))

    failures = execute(pending, data, folder, workers=workers, on_done=count)
    return load_study(folder), failures


def _root(spec: Spec) -> Path | None:
    return None if spec.data_root is None else Path(spec.data_root).expanduser()


def _refuse_other_study(spec: Spec, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a folder is expected for --out, this is a file; name another")
    if not (folder / "study.json").exists():
        if folder.exists() and any(p.name not in _OURS and p.suffix != ".tmp" for p in folder.iterdir()):
            raise InputError(
                f"{folder}: a new or empty folder is expected for --out, or one of this study; name another"
            )
        return
    before, now = _flat(load_study(folder).spec), _flat(spec.model_dump(mode="json"))
    changed = [key for key in now if key not in _GRID and before.get(key) != now[key]]
    if changed:
        key = changed[0]
        raise InputError(
            f"{folder} holds another study: its {key} is {before.get(key)!r}, now {now[key]!r} is asked for; name "
            "another --out folder"
        )


def _flat(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec with the keys of [training] beside the others, as `training.epochs`."""
    training = spec.get("training")
    inner = {f"training.{key}": value for key, value in training.items()} if isinstance(training, dict) else {}
    return {**{key: value for key, value in spec.items() if key != "training"}, **inner}
