"""Time a training step of a loss, and count the memory and the launches it needs, on a processor or on a GPU."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from speed.candidates import Loss
from speed.pairs import Parts


@dataclass(frozen=True)
class Step:
    """Forward and backward of a loss.

    Args:
        loss: What is computed of `inputs`.
        inputs: Those that require a gradient are given one.
        restore: Makes the inputs anew, for a loss that overwrites them; no part of what is timed.
    """

    loss: Loss
    inputs: Sequence[Tensor]
    restore: Callable[[], object] = lambda: None

    def forward(self) -> Tensor:
        return self.loss(*self.inputs)

    def backward(self, value: Tensor, upstream: Tensor | None) -> tuple[Tensor, ...]:
        return torch.autograd.grad(value, [one for one in self.inputs if one.requires_grad], upstream)

    def run(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        value = self.forward()
        return value, self.backward(value, None)


def _profile(*activities: ProfilerActivity, profile_memory: bool = False) -> profile:
    # Else it tells of its own start and end at each use.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    return profile(activities=activities, profile_memory=profile_memory)


class Machine(ABC):
    """What times and counts on one kind of device."""

    device: torch.device
    settings: tuple[str, ...]
    """The circumstances under which steps are timed."""

    @abstractmethod
    def time(self, step: Step, setting: str) -> Parts:
        """Seconds of forward, backward and both."""

    @abstractmethod
    def peak_bytes(self, step: Step) -> int:
        """The most memory that was held at once beyond the inputs; the gradient is a part of it."""

    @abstractmethod
    def kernels(self, step: Step) -> list[tuple[str, float]]:
        """The kernels that a step launches, each with its microseconds; none on a CPU."""

    @abstractmethod
    def copy_rate(self, num_bytes: int) -> float | None:
        """Bytes a second that copying a tensor of `num_bytes` moves, reading and writing counted; None on a CPU."""

    @abstractmethod
    def finish(self) -> None:
        """Wait until all is done; raise if the device can no longer be used."""


class Processor(Machine):
    """A CPU.

    Memory is the sum of all that PyTorch's allocator has given out and not got back, as its profiler reports it: it is
    the same in each run, and contains what an operator allocates inside. What the operating system counts is not the
    same twice, as freed memory is given back late or never.
    """

    device = torch.device("cpu")
    settings = ("plain",)

    def time(self, step: Step, setting: str) -> Parts:
        # A step of microseconds is timed in a row of them, as a look at the clock takes some too.
        logits = max(one.numel() for one in step.inputs)
        forward = backward = 0.0
        repeats = 1 if logits > 2**17 else 20
        for _ in range(repeats):
            step.restore()
            start = time.perf_counter()
            value = step.forward()
            between = time.perf_counter()
            gradients = step.backward(value, None)
            end = time.perf_counter()
            forward, backward = forward + between - start, backward + end - between
            del value, gradients
        return {
            "forward": forward / repeats,
            "backward": backward / repeats,
            "both": (forward + backward) / repeats,
        }

    def peak_bytes(self, step: Step) -> int:
        step.restore()
        with _profile(ProfilerActivity.CPU, profile_memory=True) as profiled:
            result = step.run()
            del result
        with tempfile.TemporaryDirectory() as place:
            trace = Path(place) / "trace.json"
            profiled.export_chrome_trace(str(trace))
            events = json.loads(trace.read_text())["traceEvents"]
        held = peak = 0
        for event in sorted((one for one in events if one["name"] == "[memory]"), key=lambda one: one["ts"]):
            held += event["args"]["Bytes"]
            peak = max(peak, held)
        return peak

    def kernels(self, step: Step) -> list[tuple[str, float]]:
        return []

    def copy_rate(self, num_bytes: int) -> None:
        return None

    def finish(self) -> None:
        """There is nothing to wait for."""


class Gpu(Machine):
    """A CUDA GPU, timed by its own events.

    A setting names what the cache holds (`cold`: nothing of the step; `warm`: what the same step left there) and the
    gradient that comes from above (`1`, as `loss.backward()` gives it, or `random`, as scaling a loss does). The queue
    is kept busy until the step has been launched, so these are times of the GPU; `host` is how long the launching took.
    """

    settings = ("cold, 1", "cold, random", "warm, 1", "warm, random")

    def __init__(self, device: torch.device) -> None:
        self.device = device
        number = torch.rand((), device=device)
        self._upstream = {dtype: number.to(dtype) for dtype in (torch.float32, torch.bfloat16)}
        cache = torch.cuda.get_device_properties(device).L2_cache_size
        self._cache = torch.empty(4 * cache, dtype=torch.int8, device=self.device)

    def time(self, step: Step, setting: str) -> Parts:
        cache, upstream = setting.split(", ")
        step.restore()
        if cache == "warm":
            step.run()
            step.restore()
        else:
            self._cache.zero_()
        start, between, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        torch.cuda._sleep(2_000_000)  # about a millisecond, so that the host is ahead
        launched = time.perf_counter()
        start.record()
        value = step.forward()
        between.record()
        gradients = step.backward(value, self._upstream[value.dtype] if upstream == "random" else None)
        end.record()
        host = time.perf_counter() - launched
        end.synchronize()
        del value, gradients
        forward, backward = start.elapsed_time(between) / 1e3, between.elapsed_time(end) / 1e3
        return {"forward": forward, "backward": backward, "both": forward + backward, "host": host}

    def peak_bytes(self, step: Step) -> int:
        step.restore()
        self.finish()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = step.run()
        self.finish()
        del result
        return torch.cuda.max_memory_allocated() - before

    def kernels(self, step: Step) -> list[tuple[str, float]]:
        step.restore()
        self.finish()
        with _profile(ProfilerActivity.CPU, ProfilerActivity.CUDA) as profiled:
            step.run()
            self.finish()
        events = profiled.events() or ()
        return [(one.name, one.device_time) for one in events if one.device_type == torch.autograd.DeviceType.CUDA]

    def finish(self) -> None:
        torch.cuda.synchronize()

    def copy_rate(self, num_bytes: int) -> float:
        source = torch.empty(num_bytes, dtype=torch.int8, device=self.device)
        target = torch.empty_like(source)
        milliseconds = []
        for _ in range(21):
            self._cache.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            target.copy_(source)
            end.record()
            end.synchronize()
            milliseconds.append(start.elapsed_time(end))
        return 2 * num_bytes / statistics.median(milliseconds) * 1e3
