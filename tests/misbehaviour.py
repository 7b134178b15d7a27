"""What may happen to a job in another process: functions to be put in the place of the one that does it.

They lie here and not in a test file, because the other process imports them by name.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gence.bench.executors import workers
from gence.bench.jobs import Done, Outcome


@dataclass(frozen=True)
class Piece:
    """A job that says what shall become of it; each time it is tried it leaves a note in a folder."""

    word: str
    notes: str


class Unreadable(Exception):
    """An exception that can be sent and cannot be read: it wants two arguments, and only one of them is kept."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class Unsendable:
    def __reduce__(self) -> Any:
        raise MemoryError("too large to send")


def done(word: object) -> Done:
    return Done((("word", str(word).encode()),), 0.0)


def act(job: Piece, data: Any = None, device: Any = None) -> Outcome:
    note = Path(job.notes) / job.word
    first = not note.exists()
    with note.open("a") as stream:
        stream.write("again\n")
    if job.word == "dies" or (job.word == "dies once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if job.word == "raises unreadable":
        raise Unreadable("one", "two")
    if job.word == "returns unsendable":
        return Unsendable()  # type: ignore[return-value]
    if job.word == "finds no room":
        Path.write_bytes = _full  # type: ignore[method-assign]
    if job.word == "exits":
        sys.exit(3)
    return done(job.word)


def _full(*arguments: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def describe(job: Piece) -> Outcome:
    """What this process has of the study's data, and how it computes."""
    assert isinstance(workers._at_work, tuple), "a worker that is ready has its data"
    study, device = workers._at_work
    data = study.labelled["blobs"]
    return done([isinstance(data.inputs, np.memmap), data.fingerprint, torch.get_num_threads(), device.type])


@dataclass(frozen=True)
class Data:
    """Data that can be sent; something happens where they are read."""

    happens: Callable[[], Any]

    def __reduce__(self) -> Any:
        return self.happens, ()


def not_found() -> Any:
    raise ModuleNotFoundError("No module named 'lost'")


def die() -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
