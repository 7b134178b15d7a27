"""Jobs done by several processes at once, all on the same one: for a trial that is too big for one device."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from gence.bench.inputs import StudyData
from gence.bench.jobs import Failed, Finished, Job, Outcome, do


def launched_together() -> bool:
    """Whether torchrun started this process as one of several."""
    return dist.is_torchelastic_launched() and int(os.environ.get("WORLD_SIZE", "1")) > 1


@dataclass(frozen=True)
class Together:
    """All ranks that torchrun started train every model together; the first of them leads, the others follow.

    The leader alone knows the study: it hands every rank the next job, and tells them when there is none.
    """

    data: StudyData
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that calls `run`; the others call `follow`."""
        return dist.get_rank() == 0

    def run(self, jobs: Sequence[Job], finished: Finished, go_on: Callable[[], bool]) -> None:
        """Do all of `jobs` and all that follows from them, while `go_on` says so, with the ranks that `follow`."""
        waiting = deque(jobs)
        try:
            while waiting and go_on():
                job = waiting.popleft()
                _handed_out(job)
                waiting.extend(finished(job, self._do(job)))
        finally:
            _handed_out(None)
            dist.destroy_process_group()

    def follow(self) -> None:
        """Take part in every job of the leader until there is none; this process writes nothing."""
        while (job := _handed_out(None)) is not None:
            self._do(job)
        dist.destroy_process_group()

    def _do(self, job: Job) -> Outcome:
        outcome = do(job, self.data, self.device, dist.group.WORLD)
        # One rank's failure is everybody's: a model that only some ranks have trained is nobody's.
        outcomes: list[str | None] = [None] * dist.get_world_size()
        dist.all_gather_object(outcomes, outcome.reason if isinstance(outcome, Failed) else None)
        failed = next((reason for reason in outcomes if reason is not None), None)
        if failed is None or isinstance(outcome, Failed):
            return outcome
        return Failed("error", f"on another rank: {failed}", outcome.seconds)


def join_ranks(device: torch.device) -> torch.device:
    """Meet the other processes that torchrun started; each takes a GPU of its own where models are trained on GPUs."""
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type != "cuda":
        return device
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def _handed_out(job: Job | None) -> Job | None:
    """The leader's job, on every rank."""
    box: list[Job | None] = [job]
    dist.broadcast_object_list(box, src=0)
    return box[0]
