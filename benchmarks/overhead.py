"""What a study costs beside its trials: its wall time less the trials' own time a worker, as a share of it.

    python benchmarks/overhead.py --trials 200

Trials of about `--seconds` each on digits, in this process, in two worker processes and on a Ray cluster of two of this
machine's cores, in turns. The trials' own time is what their executor measures around each, where it is done; all else
counts as overhead: reading the data, starting processes or the cluster, sending, waiting, and writing records.
`start` is the part of it before the first trial. Writes benchmarks/overhead.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from gence.bench.environment import environment
from gence.bench.executors import InProcess, RayCluster, Workers
from gence.bench.inputs import StudyData, read_inputs
from gence.bench.jobs import Executor, Job, Outcome
from gence.bench.ledger import Ledger
from gence.bench.plan import plan
from gence.bench.records import save_study
from gence.bench.spec import Spec
from gence.bench.spec_parts import TrainingSpec

CPU = torch.device("cpu")
EXECUTORS: dict[str, tuple[int, Callable[[StudyData], Executor]]] = {
    "in process": (1, lambda data: InProcess(data, CPU)),
    "2 workers": (2, lambda data: Workers(data, 2, CPU)),
    "ray, 2 cores": (2, lambda data: RayCluster(data, "local", 1.0, CPU)),
}


def spec(trials: int, epochs: int) -> Spec:
    return Spec(
        data=("digits",),
        losses=("ce",),
        labels_per_class=("all",),
        seeds=trials,
        model=("mlp",),
        calibrators=("none", "temperature"),
        training=TrainingSpec(epochs=epochs),
    )


def run(spec: Spec, name: str) -> dict[str, float]:
    """One study from its spec to its last record, as `run_study` does it, with the trials' own seconds."""
    workers, make = EXECUTORS[name]
    own: list[float] = []
    first = 0.0
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        data = read_inputs(spec)
        planned = plan(spec, data)
        save_study(Path(place), spec.model_dump(mode="json"), {trial.key: trial.cell for trial in planned.trials})
        ledger = Ledger(planned, Path(place), retry_failed=False, on_progress=lambda progress: None)

        def finished(job: Job, outcome: Outcome) -> Sequence[Job]:
            nonlocal first
            first = first or time.perf_counter() - started - outcome.seconds
            own.append(outcome.seconds)
            return ledger.finished(job, outcome)

        make(data).run(ledger.start(), finished, lambda: True)
        wall = time.perf_counter() - started
    beside = wall - sum(own) / workers
    return {
        "wall": wall,
        "trials": len(own),
        "seconds_a_trial": statistics.fmean(own),
        "start": first,
        "overhead": beside,
        "share": beside / wall,
        "share_after_start": (beside - first) / (wall - first),
    }


def epochs_for(seconds: float) -> int:
    """How many epochs a trial of that length has on this machine now."""
    run(spec(1, 5), "in process")
    short, long = (run(spec(1, epochs), "in process")["seconds_a_trial"] for epochs in (5, 25))
    return max(round(5 + (seconds - short) * 20 / (long - short)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a trial")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(EXECUTORS), default=list(EXECUTORS))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    names = [name for name in options.only if "ray" not in name or importlib.util.find_spec("ray")]
    epochs = epochs_for(options.seconds)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name in names:
            found[name].append(run(spec(options.trials, epochs), name))
            one = found[name][-1]
            print(
                f"{name:14} {one['wall']:6.1f} s, {one['trials']} trials of {one['seconds_a_trial']:.2f} s: "
                f"{one['share']:6.1%} overhead, {one['share_after_start']:.1%} after a start of {one['start']:.1f} s",
                flush=True,
            )
    content: dict[str, Any] = {
        "what": "share of a study's wall time that is not its trials' own time a worker",
        "environment": environment(),
        "cores": os.cpu_count(),
        "load_average_at_the_end": os.getloadavg(),
        "epochs": epochs,
        "median_share": {name: statistics.median(one["share"] for one in runs) for name, runs in found.items()},
        "runs": found,
    }
    options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
