"""Jobs done one after another in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from gence.bench.inputs import StudyData
from gence.bench.jobs import Finished, Job, do


@dataclass(frozen=True)
class InProcess:
    """Every job computes with one thread on a CPU, so that its numbers do not depend on where it is done."""

    data: StudyData
    device: torch.device

    def run(self, jobs: Sequence[Job], finished: Finished, go_on: Callable[[], bool]) -> None:
        """Do all of `jobs` and all that follows from them, while `go_on` says so."""
        waiting = deque(jobs)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        if waiting:
            warm_up()
        try:
            while waiting and go_on():
                job = waiting.popleft()
                waiting.extend(finished(job, do(job, self.data, self.device)))
        finally:
            torch.set_num_threads(threads)


def warm_up() -> None:
    """Take the first optimiser step of a process, which imports for seconds, off the clock of its first trial."""
    weight = torch.zeros(1, requires_grad=True)
    weight.sum().backward()
    torch.optim.SGD([weight]).step()
