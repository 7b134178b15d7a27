"""Jobs done on a Ray cluster: one that runs already, or a fresh one of this machine's cores."""

from __future__ import annotations

import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gence._errors import InputError
from gence.bench.executors.in_process import warm_up
from gence.bench.inputs import StudyData
from gence.bench.jobs import Attempt, Finished, Job, Outcome, after_death, do, failed

_ANSWER_WITHIN = 10.0
"""Seconds that a cluster has to answer at its address; Ray itself would ask for many minutes."""


@dataclass(frozen=True)
class RayCluster:
    """Every job is a task of one thread that takes `share` of a CPU, or on `"cuda"` of a GPU.

    Data go out once and results come back to this process, so the machines need no folder in common. A task whose
    worker or machine is lost is done again elsewhere. A connection that the caller has made is used, and stays.
    """

    data: StudyData
    address: str
    share: float
    device: torch.device

    def run(self, jobs: Sequence[Job], finished: Finished, go_on: Callable[[], bool]) -> None:
        """Do all of `jobs` and all that follows from them, while `go_on` says so.

        Raises:
            InputError: If Ray is not installed, no cluster answers, it has not got what one job takes, or its machines
                cannot run gence.
        """
        waiting = deque(Attempt(job) for job in jobs)
        if not waiting:
            return
        ray = _import_ray()
        with _connected(ray, self.address):
            unit = "GPU" if self.device.type == "cuda" else "CPU"
            takes = {"num_gpus": self.share, "num_cpus": 0} if unit == "GPU" else {"num_cpus": self.share}
            if ray.cluster_resources().get(unit, 0) < self.share:
                raise InputError(
                    f"the Ray cluster has {ray.cluster_resources().get(unit, 0):g} {unit}s and every trial takes "
                    f"{self.share:g}; add machines, or give a smaller share or another --device"
                )
            # Ray's own retries would not be counted, and the threads of a node are no business of a trial.
            options = {**takes, "max_retries": 0, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1"}}}
            task: Any = ray.remote(**options)(_do_on_a_node)
            data = ray.put(self.data)
            _check_nodes(ray, ray.remote(**options)(_be_ready))
            flying: dict[Any, tuple[Attempt, float]] = {}
            try:
                while True:
                    room = 2 * int(ray.cluster_resources().get(unit, 0) / self.share)
                    while waiting and len(flying) < max(room, 1) and go_on():
                        attempt = waiting.popleft()
                        flying[task.remote(attempt.job, data, self.device)] = (attempt, time.perf_counter())
                    if not flying:
                        return
                    [over], _ = ray.wait(list(flying), num_returns=1)
                    attempt, since = flying.pop(over)
                    result = _result(ray, over, attempt, time.perf_counter() - since)
                    if isinstance(result, Attempt):
                        waiting.append(result)
                    else:
                        waiting.extend(Attempt(job) for job in finished(attempt.job, result))
            finally:
                for reference in flying:
                    ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any, attempt: Attempt, seconds: float) -> Outcome | Attempt:
    try:
        return ray.get(reference)
    # A task that raised: what it returned, or what it was given, cannot be sent.
    except ray.exceptions.RayTaskError as error:
        return failed(error.cause if isinstance(error.cause, Exception) else error, seconds)
    # All else is a worker, a machine or a part of their memory that is gone.
    except ray.exceptions.RayError:
        return after_death(attempt, seconds)
    except Exception as error:  # what came back cannot be read
        return failed(error, seconds)


def _check_nodes(ray: Any, ready: Any) -> None:
    try:
        ray.get(ready.remote())
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        # Where even the import fails, Ray puts the error itself behind a page of its own.
        *page, last = str(cause).strip().splitlines()
        reason = last if page else failed(cause, 0.0).reason
        raise InputError(
            f"the workers of the Ray cluster cannot run gence: {reason}; install this gence on every machine of it"
        ) from error


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ModuleNotFoundError as error:
        raise InputError("--ray needs Ray; install it with: pip install 'gence[ray]'") from error
    return ray


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == "local":
            # A cluster that lives for one study reports to nobody.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            _knock(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
            ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the Ray cluster at {address!r} cannot be used ({reason}); start one with `ray start --head`, give its "
            "address, or --ray local for one of this machine's cores"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    found = re.fullmatch(r"(?:ray://)?(\[.+\]|[^:/]+):(\d+)", address)
    if found is not None:
        socket.create_connection((found[1].strip("[]"), int(found[2])), timeout=_ANSWER_WITHIN).close()


def _be_ready() -> None:
    torch.set_num_threads(1)
    warm_up()


def _do_on_a_node(job: Job, data: StudyData, device: torch.device) -> Outcome:
    _be_ready()
    return do(job, data, device)
