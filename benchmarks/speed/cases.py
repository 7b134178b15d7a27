"""One case: a shape, and all that is measured of the candidates at it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from speed.candidates import DENSE, LINEAR, Candidate
from speed.machines import Machine, Step
from speed.pairs import in_turns, reason, summary

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

APART = {"float32": 1e-3, "bfloat16": 5e-2}
"""How far a gradient may be from that of the first candidate of its kind, relative to its norm, and not be wrong."""


@dataclass(frozen=True)
class Case:
    """What is computed, and by whom.

    Args:
        rows: Of the batch.
        classes: How many.
        dtype: Of the logits, or of features and weight.
        features: Of a linear layer before the logits; 0 if the logits are the input.
        scale: Standard deviation of the logits. At 20, probabilities lie too far apart for float32.
        names: The candidates, first those that ratios are taken to.
        bases: The names of those.
    """

    rows: int
    classes: int
    names: tuple[str, ...]
    bases: tuple[str, ...]
    dtype: str = "float32"
    features: int = 0
    scale: float = 1.0

    def __str__(self) -> str:
        through = f" x {self.features}" if self.features else ""
        scale = f", logits of scale {self.scale:g}" if self.scale != 1.0 else ""
        return f"{self.rows}{through} x {self.classes} {self.dtype}{scale}"

    @property
    def logits_bytes(self) -> int:
        """What a tensor of rows times classes takes: the unit of memory."""
        return self.rows * self.classes * DTYPES[self.dtype].itemsize

    def inputs(self, device: torch.device) -> tuple[Tensor, ...]:
        """(logits, target), or (features, weight, target)."""
        torch.manual_seed(0)
        dtype = DTYPES[self.dtype]
        target = torch.randint(self.classes, (self.rows,), device=device)
        if not self.features:
            logits = torch.randn(self.rows, self.classes, device=device, dtype=dtype).mul_(self.scale)
            return logits.requires_grad_(), target
        features = torch.randn(self.rows, self.features, device=device, dtype=dtype)
        weight = torch.randn(self.classes, self.features, device=device, dtype=dtype).mul_(self.features**-0.5)
        return features.requires_grad_(), weight.requires_grad_(), target


@dataclass(frozen=True)
class Effort:
    """How long each setting is timed: `seconds`, but no fewer than `least` and no more than `most` rounds.

    `backend` is what compiles the compiled.
    """

    seconds: float
    least: int
    most: int
    backend: str = "inductor"


def measure(case: Case, machine: Machine, effort: Effort, changed: Callable[[dict[str, Any]], object]) -> None:
    """All that is measured of a case, told to `changed` whenever there is more of it.

    A candidate that fails has an `error` and takes no further part. Where one may bring the process down, its name
    stands under `at` meanwhile.

    Raises:
        RuntimeError: If a candidate, named under `at`, has left the device unusable.
    """
    candidates = LINEAR if case.features else DENSE
    if any(candidates[name].compiled for name in case.names):
        torch.compiler.reset()  # or it would tire of compiling the same function for every shape
    found: dict[str, Any] = {**asdict(case), "case": str(case), "logits_bytes": case.logits_bytes}
    entries: dict[str, dict[str, Any]] = {name: {} for name in case.names}
    found["candidates"] = entries
    found["copy_rate"] = machine.copy_rate(2**30)
    found["copy_rate_at_this_size"] = machine.copy_rate(case.logits_bytes)

    @contextmanager
    def noting_failure(name: str) -> Iterator[dict[str, Any]]:
        found["at"] = name
        changed(found)
        try:
            yield entries[name]
            machine.finish()
        except Exception as error:
            entries[name]["error"] = reason(error)
        if "error" in entries[name]:
            gc.collect()
            changed(found)
            machine.finish()
        del found["at"]

    steps = _steps_that_are_right(case, machine, effort, noting_failure)
    for name, step in steps.items():
        with noting_failure(name) as entry:
            entry["peak_bytes"] = machine.peak_bytes(step)
            entry["peak"] = entry["peak_bytes"] / case.logits_bytes
            kernels = machine.kernels(step)
            if kernels:
                entry["launches"], entry["kernels"] = len(kernels), kernels[:40]
    for setting in machine.settings:
        going = {name: step for name, step in steps.items() if "error" not in entries[name]}
        timed = {name: partial(machine.time, step, setting) for name, step in going.items()}
        gc.collect()
        gc.disable()
        rounds, failed = in_turns(timed, seconds=effort.seconds, least=effort.least, most=effort.most)
        gc.enable()
        for name, times in summary(rounds, case.bases).items():
            entries[name].setdefault("times", {})[setting] = times
        for name, why in failed.items():
            with noting_failure(name) as entry:
                entry["error"] = why
        changed(found)


def _steps_that_are_right(
    case: Case,
    machine: Machine,
    effort: Effort,
    noting_failure: Callable[[str], AbstractContextManager[dict[str, Any]]],
) -> dict[str, Step]:
    """A step of each candidate that computes what the first of its kind computes."""
    inputs = case.inputs(machine.device)
    steps: dict[str, Step] = {}
    right: dict[str, tuple[Tensor, ...]] = {}
    for name in case.names:
        with noting_failure(name) as entry:
            candidate = (LINEAR if case.features else DENSE)[name]
            step = _step(candidate, inputs, effort.backend)
            value, gradients = step.run()
            entry["loss"] = value.item()
            labels = None if case.features else inputs[-1]
            entry["apart"] = _apart(gradients, right.setdefault(candidate.of, gradients), labels)
            if not entry["apart"] <= APART[case.dtype]:
                raise ArithmeticError(f"a gradient is {entry['apart']:.2g} from that of the first of its kind")
            steps[name] = step
    return steps


def _step(candidate: Candidate, inputs: Sequence[Tensor], backend: str) -> Step:
    loss = candidate.loss(backend)
    if not candidate.overwrites:
        return Step(loss, inputs)
    logits = inputs[0].detach().clone().requires_grad_()

    def restore() -> None:
        with torch.no_grad():
            logits.copy_(inputs[0])

    return Step(loss, (logits, *inputs[1:]), restore)


def _apart(gradients: Sequence[Tensor], right: Sequence[Tensor], labels: Tensor | None) -> float:
    """The greatest distance of a gradient from the right one, relative to its norm.

    That of logits is looked at apart where the labels are and elsewhere: with many classes the former is nearly all of
    its norm, and the class mass, or even the softmax, could be left out unseen.
    """
    if gradients is right:
        return 0.0

    def norm(tensor: Tensor) -> float:
        return torch.linalg.vector_norm(tensor, dtype=torch.float32).item()

    def parts(gradient: Tensor) -> list[Tensor]:
        if labels is None:
            return [gradient]
        at = labels.unsqueeze(1)
        return [gradient.gather(1, at), gradient.scatter(1, at, 0.0)]

    pairs = (pair for both in zip(gradients, right, strict=True) for pair in zip(*map(parts, both), strict=True))
    return max(norm(own - other) / norm(other) for own, other in pairs)
