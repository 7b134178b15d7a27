"""How a study is run for somebody at a terminal: what it costs, how far it is, what failed, and its report."""

from __future__ import annotations

import math
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gence._errors import InputError
from gence.bench.records import Cell, Study, Summary, load_study
from gence.bench.spec import Spec
from gence.cli.next_step import fit_line

if TYPE_CHECKING:
    from gence.bench.ledger import Progress as StudyProgress

_FAILURES_SHOWN = 5


@dataclass(frozen=True)
class How:
    """How a study is run: every flag that changes no number in it."""

    workers: int | None
    ray: str | None
    share: float | None
    device: str
    retry_failed: bool
    stop_after: float | None
    dry_run: bool
    tflops: float | None
    start_from: Path | None = None

    def __post_init__(self) -> None:
        if self.ray is not None and self.workers is not None:
            raise InputError("--workers and --ray exclude each other: how many trials Ray runs at once says --share")
        if self.share is not None and self.ray is None:
            raise InputError("--share is for --ray, which is not given; leave it out, or add --ray local")
        if self.tflops is not None and not self.dry_run:
            raise InputError("--tflops is for --dry-run, which is not given; leave it out, or add --dry-run")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers must be at least 1; got {self.workers}")
        for flag, value in (("--share", self.share), ("--stop-after", self.stop_after), ("--tflops", self.tflops)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"{flag}: a number above 0 is expected; got {value:g}")

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def count(self) -> int:
        """Worker processes: one a core, where none of them waits for a GPU or for other processes."""
        alone = self.on_gpu or _rank() is not None
        return self.workers or (1 if alone else os.cpu_count() or 1)


def _rank() -> str | None:
    """Which of the processes that torchrun started this is; the first of them speaks for all."""
    return os.environ.get("RANK") if "TORCHELASTIC_RUN_ID" in os.environ else None


def run_and_report(spec: Spec, folder: Path, how: How, *, next_step: bool = False) -> None:
    """Run a study in `folder` and write its report there, or with a dry run say what it would take.

    With `next_step` it ends with what to type to keep a model of the winner. The process ends with status 1 if a trial
    of the grid has failed, 130 if it was interrupted.
    """
    if how.dry_run:
        print(*_dry_run(spec, how), sep="\n")
        return
    # Imported here and below, so that help and a typing error do not wait for scipy and matplotlib.
    from gence.bench.study import run_study

    follows = _rank() not in (None, "0")
    screen = Console(stderr=True, quiet=follows)
    command = shlex.join(["gence", *sys.argv[1:]])
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=screen,
    )
    task = bar.add_task("reading the data", total=None, start=False)

    def show(progress: StudyProgress) -> None:
        cell = progress.cell
        name = _place(cell, spec, "labels") if cell else "training"
        name = "done" if progress.done == progress.total else f"tuning {name}" if progress.tuning else name
        if cell is None:
            bar.start()
            bar.start_task(task)
        bar.update(task, description=name, total=progress.total, completed=progress.done)

    if screen.is_terminal and not follows:  # elsewhere a bar is drawn once, at its end
        bar.start()
    try:
        try:
            study = run_study(
                spec,
                folder,
                workers=how.count(),
                ray=how.ray,
                share=how.share or 1.0,
                device=how.device,
                retry_failed=how.retry_failed,
                stop_after=None if how.stop_after is None else 60 * how.stop_after,
                start_from=how.start_from,
                command=command,
                on_progress=show,
            )
        finally:
            if bar.live.is_started:
                bar.stop()
    except KeyboardInterrupt:
        kept = len(load_study(folder).records) if (folder / "study.json").exists() else 0
        print(f"Stopped. {kept} finished trials are kept in {folder}; go on with:\n  {command}", file=sys.stderr)
        sys.exit(130)
    if follows:
        return
    if study.records:
        summary = report_on(study, folder)
        line = fit_line(study, summary) if next_step else None
        if line:
            print(f"\n{line}")
    _say_what_is_missing(study, spec, command)
    if study.failures:
        sys.exit(1)


def _say_what_is_missing(study: Study, spec: Spec, command: str) -> None:
    for failure in study.failures[:_FAILURES_SHOWN]:
        place = _place(failure.cell, spec, "labels a class")
        print(f"gence: the trial {place} failed ({failure.kind}): {failure.reason}", file=sys.stderr)
    if len(study.failures) > _FAILURES_SHOWN:
        print(f"gence: and {len(study.failures) - _FAILURES_SHOWN} more", file=sys.stderr)
    if study.failures:
        print("gence: the same command with --retry-failed tries them again", file=sys.stderr)
    left = study.expected - len(study.records) - len(study.failures)
    if left:
        print(f"Stopped. {left} of {study.expected} trials are left; go on with:\n  {command}", file=sys.stderr)


def _dry_run(spec: Spec, how: How) -> list[str]:
    from gence.bench.cost import at_rate, estimate_cost, published_data
    from gence.cli.cost import cost_lines

    if how.tflops is not None:
        cost = estimate_cost(spec, published_data(spec), at_rate(1e12 * how.tflops))
        return cost_lines(cost, unit="GPU", workers=how.count(), tflops=how.tflops)
    from gence.bench.inputs import read_inputs
    from gence.bench.pilot import Stopwatch
    from gence.bench.study import find_device

    device = find_device(how.device)
    stopwatch = Stopwatch(read_inputs(spec), device)
    cost = estimate_cost(spec, stopwatch.data, stopwatch)
    return cost_lines(cost, unit="GPU" if how.on_gpu else "CPU", workers=how.count(), timed=stopwatch.timed)


def _place(cell: Cell, spec: Spec, unit: str) -> str:
    """A trial in words: what it has in common with all others is left out."""
    labels = "all labels" if cell.labels_per_class == "all" else f"{cell.labels_per_class} {unit}"
    parts = (
        (cell.loss, True),
        (cell.data, len(spec.data) > 1),
        (cell.regime, len(spec.regime) > 1),
        (cell.model, len(spec.model) > 1),
        (labels, True),
        (f"batches of {cell.batch_size}", len(spec.training.batch_size) > 1),
        (f"seed {cell.seed}", True),
    )
    return ", ".join(part for part, told in parts if told)


def report_on(study: Study, folder: Path, *, export: bool = False) -> Summary:
    """Write the report of a study into `folder`, for a paper with tables and figures as well, and print the answer."""
    from gence.bench.stats import summarize
    from gence.report import advice_on, answer_lines, write_csv, write_figures, write_report, write_tables

    if not study.records:
        raise InputError(f"{study.folder}: no trial has finished yet; run the study first")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a folder is expected for --out, this is a file; name another")
    summary = summarize(study)
    table = write_csv(study, folder)
    page = write_report(study, summary, folder)
    files = (*write_tables(study, summary, folder), *write_figures(summary, folder)) if export else ()
    print(*answer_lines(summary), *filter(None, [advice_on(study)]), sep="\n")
    print(f"\nreport: {page}\ntable:  {table}")
    for place in dict.fromkeys(file.parent for file in files):
        print(f"export: {place}")
    return summary
