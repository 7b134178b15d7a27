"""The commands around a model to keep: fit one to labelled data, and predict with it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gence._errors import InputError
from gence.cli.flags import DataRoot, augmentations
from gence.cli.names import model_name


def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A named data set (gence list data), a folder of images (one subfolder a class), a .csv or .parquet "
            "table, an .npz with X and y, a folder of Hugging Face parquet files, or hf:org/name[:config].",
            show_default=False,
        ),
    ],
    target: Annotated[str | None, typer.Option(help="The label column of a table.", show_default=False)] = None,
    loss: Annotated[
        str, typer.Option(help="The training loss (gence list losses), with knobs if need be: focal:gamma=1.")
    ] = "gence",
    calibrate: Annotated[
        str,
        typer.Option(help="auto (the best of several on held-out rows), none, or one of gence list calibrators."),
    ] = "auto",
    model: Annotated[str, typer.Option(help="auto, or one of gence list models.")] = "auto",
    hidden: Annotated[
        str | None,
        typer.Option(help="Widths of an mlp's hidden layers, separated by commas, or none.", show_default="128,128"),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the rows.", show_default="the best of three on the first fold"),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Rows a batch.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="At the start of a cosine.")] = 0.05,
    weight_decay: Annotated[float, typer.Option(help="L2 penalty.")] = 5e-4,
    augment: Annotated[
        str, typer.Option(help="crop, flip, both separated by a comma, none, or auto: as is usual for the data set.")
    ] = "auto",
    image_size: Annotated[
        int | None, typer.Option(help="Resize images to this height and width.", show_default=False)
    ] = None,
    folds: Annotated[int, typer.Option(help="Parts of the rows, each held out once for the calibrator.")] = 5,
    seed: Annotated[int, typer.Option(help="Of folds, weights and batches.")] = 0,
    data_root: DataRoot = None,
    device: Annotated[str, typer.Option(help="Where networks are trained: cpu, cuda or cuda:1.")] = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the model; a model in it is replaced.", show_default="NAME-model"),
    ] = None,
) -> None:
    """Fit a calibrated classifier to all labelled rows, and keep it in a folder with what was measured of it."""
    # Imported here and below, so that help and a typing error do not wait for scipy.
    from gence.bench.study import find_device
    from gence.classifier import Settings
    from gence.classifier.making import fit_source

    named = augmentations(augment)
    settings = Settings(
        loss=loss,
        calibrate=calibrate,
        model=model,
        hidden=_widths(hidden),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        augment=() if isinstance(named, str) else tuple(named),
        folds=folds,
        seed=seed,
    )
    place = find_device(device)
    with _bar("trainings", "reading the data, then the first training") as show:
        result = fit_source(
            data,
            out or model_name(data),
            settings,
            augment=named == "auto",
            target=target,
            image_size=image_size,
            data_root=data_root,
            device=place,
            command=shlex.join(["gence", *sys.argv[1:]]),
            on_training=show,
        )
    print(*result.lines(), sep="\n")


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The folder that gence fit wrote.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Rows to classify: all that gence fit takes, without labels too; also a folder of images or one "
            "image.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The predictions: a file ending in .parquet or .csv.", show_default=False)],
    data_root: DataRoot = None,
    device: Annotated[str, typer.Option(help="Where the network computes: cpu, cuda or cuda:1.")] = "cpu",
    batch_rows: Annotated[
        int | None,
        typer.Option(min=1, help="Rows in memory at a time.", show_default="512 images, 8192 rows of a table"),
    ] = None,
) -> None:
    """Write the class and the calibrated probabilities of every row, for files larger than memory too."""
    from gence.bench.study import find_device
    from gence.classifier.predictions import predict_source

    place = find_device(device)
    with _bar("rows", "reading the model") as show:
        result = predict_source(
            model, data, out, data_root=data_root, device=place, batch_rows=batch_rows, on_rows=show
        )
    print(*result.lines(), sep="\n")


@contextmanager
def _bar(unit: str, start: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, nothing elsewhere; it is told how many of how many are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
    task = bar.add_task(start, total=None)

    def show(done: int, total: int | None) -> None:
        name = "measuring and writing" if unit == "trainings" and done == total else unit
        bar.update(task, description=name, completed=done, total=total)

    with bar:
        yield show


def _widths(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = [] if text.strip() == "none" else [word.strip() for word in text.split(",")]
    if not all(re.fullmatch(r"\d{1,9}", word) for word in words):
        raise InputError(f"--hidden: whole numbers, separated by commas, or none, are expected; got {text!r}")
    return tuple(map(int, words))
