"""A study whose workers are killed at random, whose parent is killed once and whose disk is full once: nothing is lost.

    python tests/faults.py --trials 400

Runs a study on digits twice as a user would, with `gence run`: once left alone, once with everything done to it that
may happen to a long study, each time started again with the same command. Exits with status 1 if a record, an array or
the table differs, a finished trial was done again, or one was lost. The disk is a small tmpfs, which only root can
mount; without it that part is left out, and the script says so.
"""

from __future__ import annotations

import argparse
import csv
import errno
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SPEC = """
data = "digits"
model = "mlp"
losses = ["ce", "label_smoothing", "focal", "gence"]
labels_per_class = [4, 8]
seeds = {seeds}
calibrators = ["none", "temperature"]
[training]
epochs = 30
"""
TIMES = {"seconds", "environment", "finished_at"}
Stamp = tuple[int, int, bytes]


class Study:
    """A study folder, and the process that works on it."""

    def __init__(self, spec: Path, folder: Path) -> None:
        self.command = [sys.executable, "-m", "gence.cli", "run", str(spec), "--out", str(folder), "--workers", "2"]
        self.folder = folder
        self.stamps: dict[str, Stamp] = {}
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate()
        return self.process.returncode, errors

    def finished(self) -> int:
        return len(list((self.folder / "trials").glob("*.json")))

    def workers(self) -> list[int]:
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"spawn_main" in (place / "cmdline").read_bytes():
                    found.append(int(place.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return sorted(found)

    def check_nothing_done_twice(self) -> None:
        """Every trial that was finished before is the very file that it was: same inode, time and bytes."""
        now = {}
        for path in (self.folder / "trials").glob("*.json"):
            for file in (path, path.with_suffix(".npz")):
                now[file.name] = (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes())
        changed = [name for name, stamp in self.stamps.items() if now.get(name) != stamp]
        expect(not changed, f"finished trials were lost or done again: {changed[:3]}")
        self.stamps = now


def expect(right: bool, wrong: str) -> None:
    if not right:
        sys.exit(f"WRONG: {wrong}")


def wait_until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < end, "the study stands still")
        time.sleep(0.01)


@contextmanager
def small_disk(folder: Path, size: str = "256m") -> Iterator[bool]:
    """`folder` as a disk of its own; False where that is not possible."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
        ).returncode
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as stream:
        chunk = 1 << 20
        while chunk:
            try:
                stream.write(b"\0" * chunk)
            except OSError as error:
                expect(error.errno == errno.ENOSPC, f"the disk says {error}")
                chunk //= 2
    return ballast


def break_it(study: Study, disk: Path | None, trials: int, dice: random.Random) -> list[str]:
    """Do to a study all that may happen to it, and start it again each time that ended it; what was done."""
    log = []
    # Apart by a trial, so that at least one is finished in between: workers that only ever die end a study, rightly.
    kills = dice.sample(range(1, int(0.9 * trials)), max(trials // 30, 1))
    events = [(at, "kill a worker") for at in kills] + [(int(0.4 * trials), "kill the parent")]
    if disk is not None:
        events.append((int(0.65 * trials), "fill the disk"))
    study.start()
    for at, event in sorted(events):
        wait_until(
            lambda at=at: study.process.poll() is not None or (study.finished() >= at and len(study.workers()) > 0)
        )
        if study.process.poll() is not None:
            expect(False, f"the study ended by itself: {study.end()}")
        log.append(f"{event} after {study.finished()} trials")
        if event == "kill a worker":
            os.kill(dice.choice(study.workers()), signal.SIGKILL)
            continue
        family = study.workers()
        if event == "kill the parent":
            check_second_is_refused(study)
            study.process.kill()
            status, errors = study.end()
            expect(status == -signal.SIGKILL, f"the parent ended with {status}: {errors}")
        else:
            assert disk is not None
            ballast = fill(disk)
            status, errors = study.end()
            expect(status == 2 and "the disk is full" in errors, f"a full disk ended it with {status}: {errors}")
            said = [
                line for line in errors.splitlines() if line.strip() and "left" not in line
            ]  # less the progress bar
            expect(len(said) == 1 and "Traceback" not in errors, f"one line is expected of a full disk: {said}")
            ballast.unlink()
        wait_until(lambda family=family: not any(Path(f"/proc/{pid}").exists() for pid in family), 60)
        study.check_nothing_done_twice()
        study.start()
    status, errors = study.end()
    expect(status == 0, f"the last run ended with {status}: {errors}")
    study.check_nothing_done_twice()
    return log


def check_second_is_refused(study: Study) -> None:
    second = subprocess.run(study.command, capture_output=True, text=True)
    expect(second.returncode == 2 and "running already" in second.stderr, f"a second study: {second.stderr}")
    expect(study.process.poll() is None, "the first study ended while the second was refused; use more --trials")


def check_equal(one: Path, other: Path, trials: int) -> None:
    """Same records, same arrays, same table; no failure and no half file in the one that was broken."""
    names = sorted(path.name for path in (one / "trials").iterdir())
    expect(len(names) == 2 * trials, f"{len(names)} files of {trials} trials")
    expect(names == sorted(path.name for path in (other / "trials").iterdir()), "the folders list different files")
    for name in names:
        first, second = one / "trials" / name, other / "trials" / name
        if name.endswith(".json"):
            same = _timeless(json.loads(first.read_text())) == _timeless(json.loads(second.read_text()))
        else:
            with np.load(first) as a, np.load(second) as b:
                same = sorted(a) == sorted(b) and all(np.array_equal(a[key], b[key]) for key in a)
        expect(same, f"{name} differs")
    tables = []
    for folder in (one, other):
        with open(folder / "results.csv", newline="") as stream:
            tables.append([{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)])
        expect(not list(folder.rglob("*.tmp")), f"{folder} holds half files")
        expect(not list((folder / "failures").glob("*")), f"{folder} holds failures")
    expect(tables[0] == tables[1] and len(tables[0]) == 2 * trials, "the tables differ")


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in TIMES}
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=400, help="a multiple of 8")
    parser.add_argument("--seed", type=int, default=0, help="of what happens when")
    options = parser.parse_args()
    trials, started = options.trials, time.monotonic()
    if trials < 40 or trials % 8:
        parser.error(f"--trials: a multiple of 8, and at least 40, is expected; got {trials}")
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk") as mounted:
        spec = Path(name) / "study.toml"
        spec.write_text(SPEC.format(seeds=trials // 8))
        disk = Path(name) / "disk"
        if not mounted:
            print("LEFT OUT: the full disk, because a tmpfs cannot be mounted here (root is needed)")
        broken, unbroken = Study(spec, disk / "study"), Study(spec, Path(name) / "unbroken")
        for line in break_it(broken, disk if mounted else None, trials, random.Random(options.seed)):
            print(" ", line)
        middle = time.monotonic()
        unbroken.start()
        status, errors = unbroken.end()
        expect(status == 0, f"the unbroken run ended with {status}: {errors}")
        check_equal(broken.folder, unbroken.folder, trials)
    print(
        f"{trials} trials, started {broken.starts} times: every record, array and row of the table equals the unbroken "
        f"run's; nothing was done twice, nothing lost ({middle - started:.0f} s broken, "
        f"{time.monotonic() - middle:.0f} s unbroken)"
    )


if __name__ == "__main__":
    main()
