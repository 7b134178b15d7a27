"""The commands around a study: run one from flags or from a file, and draw its report."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gence._errors import InputError
from gence.bench.records import Cell, load_study
from gence.bench.spec import Spec, parse_spec, read_spec
from gence.cli.names import folder_name

if TYPE_CHECKING:
    from gence.bench.study import Progress as StudyProgress

_Out = Annotated[Path | None, typer.Option("--out", help="Folder for report, table and records.", show_default=False)]
_Workers = Annotated[int | None, typer.Option("--workers", help="Worker processes.", show_default="one a core")]


def compare(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A named data set (gence list data), a folder of images (one subfolder a class), a .csv or .parquet "
            "table, an .npz with X and y, a folder of Hugging Face parquet files, or hf:org/name[:config].",
        ),
    ],
    target: Annotated[str | None, typer.Option(help="The label column of a table.", show_default=False)] = None,
    losses: Annotated[
        str, typer.Option(help="Losses to compare, separated by commas, or all, or all but some: all,-cals.")
    ] = (",".join(Spec.model_fields["losses"].default)),
    labels_per_class: Annotated[
        str | None,
        typer.Option(
            help="Labels a class, those for calibration included: numbers and 'all', separated by commas.",
            show_default="10,50, or all where the data have fewer",
        ),
    ] = None,
    regime: Annotated[
        str, typer.Option(help="Thin out or spoil the labels, as in long-tail:100 (gence list regimes).")
    ] = "none",
    seeds: Annotated[int, typer.Option(help="Repetitions, each with its own rows and weights.")] = 5,
    model: Annotated[str, typer.Option(help="auto, or one of gence list models.")] = "auto",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training rows.", show_default="about 300 updates")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Resize images to this height and width.", show_default=False)
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(help="Rows a batch: one number, or several to compare, separated by commas.", show_default="32"),
    ] = None,
    augment: Annotated[
        str, typer.Option(help="crop, flip, both separated by a comma, none, or auto: as is usual for the data set.")
    ] = "auto",
    mixup: Annotated[float, typer.Option(help="Mix pairs of training rows, with this alpha; 0 does not.")] = 0.0,
    data_root: Annotated[
        str | None,
        typer.Option(help="Folder that named data sets lie in.", show_default="the Hugging Face hub and its cache"),
    ] = None,
    workers: _Workers = None,
    out: _Out = None,
) -> None:
    """Train every loss on the same few labels, calibrate, and report which is best and whether that is real."""
    training: dict[str, Any] = {"mixup": mixup} if epochs is None else {"mixup": mixup, "epochs": epochs}
    training["augment"] = _augmentations(augment)
    if batch_size is not None:
        training["batch_size"] = [_size(word) for word in _words(batch_size)]
    content: dict[str, Any] = {
        "data": data,
        "data_root": data_root,
        "target": target,
        "image_size": image_size,
        "regime": regime,
        "losses": _words(losses),
        "seeds": seeds,
        "model": model,
        "training": training,
    }
    if labels_per_class is not None:
        content["labels_per_class"] = [_budget(word) for word in _words(labels_per_class)]
    _run(parse_spec(content, "compare"), out or folder_name(data.removeprefix("hf:")), workers)


def run(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="A TOML file that describes a study.", show_default=False)
    ],
    out: _Out = None,
    workers: _Workers = None,
) -> None:
    """Run the study of a TOML file, or go on with it."""
    _run(read_spec(spec), out or folder_name(spec), workers)


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a study.", show_default=False)],
) -> None:
    """Write report.html and results.csv again from the records of a study."""
    _report(folder)


def _run(spec: Spec, folder: Path, workers: int | None) -> None:
    # Imported here and below, so that help and a typing error do not wait for scipy and matplotlib.
    from gence.bench.study import run_study

    screen = Console(stderr=True)
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
        name = "done" if progress.done == progress.total else name
        if cell is None:
            bar.start()
            bar.start_task(task)
        bar.update(task, description=name, total=progress.total, completed=progress.done)

    if screen.is_terminal:  # elsewhere a bar is drawn once, at its end
        bar.start()
    workers = os.cpu_count() or 1 if workers is None else workers
    try:
        try:
            study, failures = run_study(spec, folder, workers=workers, command=command, on_progress=show)
        finally:
            if bar.live.is_started:
                bar.stop()
    except KeyboardInterrupt:
        kept = len(load_study(folder).records) if (folder / "study.json").exists() else 0
        print(f"Stopped. {kept} finished trials are kept in {folder}; go on with:\n  {command}", file=sys.stderr)
        sys.exit(130)
    for failure in failures:
        place = _place(failure.cell, spec, "labels a class")
        print(f"gence: the trial {place} failed: {failure.reason}", file=sys.stderr)
    if study.records:
        _report(folder)
    if failures:
        sys.exit(1)


def _place(cell: Cell, spec: Spec, unit: str) -> str:
    batches = f", batches of {cell.batch_size}" if len(spec.training.batch_size) > 1 else ""
    labels = "all labels" if cell.labels_per_class == "all" else f"{cell.labels_per_class} {unit}"
    return f"{cell.loss}, {labels}{batches}, seed {cell.seed}"


def _report(folder: Path) -> None:
    from gence.bench.stats import summarize
    from gence.report import answer_lines, write_csv, write_report

    study = load_study(folder)
    if not study.records:
        raise InputError(f"{folder}: no trial has finished yet; run the study first")
    summary = summarize(study)
    table = write_csv(study, folder)
    page = write_report(study, summary, folder)
    print(*answer_lines(summary), sep="\n")
    print(f"\nreport: {page}\ntable:  {table}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _augmentations(text: str) -> str | list[str]:
    words = _words(text)
    alone = [word for word in words if word in ("none", "auto")]
    if not words or (alone and len(words) > 1):
        got = f"{alone[0]!r} stands alone" if alone else "it is empty"
        raise InputError(f"--augment: crop, flip, both separated by a comma, none, or auto, is expected; {got}")
    return "auto" if alone == ["auto"] else [] if alone else words


def _budget(word: str) -> int | str:
    return word if word == "all" else _number(word, "--labels-per-class: whole numbers or 'all'")


def _size(word: str) -> int:
    return _number(word, "--batch-size: whole numbers")


def _number(word: str, expected: str) -> int:
    if not re.fullmatch(r"\d{1,9}", word):
        raise InputError(f"{expected}, separated by commas, are expected; got {word!r}")
    return int(word)
