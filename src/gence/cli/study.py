"""The commands that run a study, from flags or from a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from gence._errors import InputError
from gence.bench.spec import Spec, parse_spec, read_spec
from gence.cli.flags import DataRoot, augmentations, words
from gence.cli.names import folder_name
from gence.cli.running import How, run_and_report

_Out = Annotated[Path | None, typer.Option("--out", help="Folder for report, table and records.", show_default=False)]
_Workers = Annotated[
    int | None, typer.Option("--workers", help="Worker processes.", show_default="one a core, or 1 on a GPU")
]
_Ray = Annotated[
    str | None,
    typer.Option(
        "--ray", help="Run on Ray: local (this machine), auto (its cluster), or an address.", show_default=False
    ),
]
_Share = Annotated[
    float | None,
    typer.Option("--share", help="With --ray: the share of a CPU or GPU that a trial takes.", show_default="1"),
]
_Device = Annotated[str, typer.Option("--device", help="Where models are trained: cpu, cuda or cuda:1.")]
_RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try those trials again that failed before.")]
_StopAfter = Annotated[
    float | None,
    typer.Option("--stop-after", metavar="MINUTES", help="Start no trial after so long.", show_default=False),
]
_StartFrom = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="ARCHIVE",
        help="Begin a new --out with the records that gence report --archive wrote, and run what they lack.",
        show_default=False,
    ),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the grid and what it would take, after timing a little of it.")
]
_TFlops = Annotated[
    float | None,
    typer.Option(
        "--tflops",
        help="With --dry-run: assume so many 10^12 operations a second, and read and time nothing.",
        show_default=False,
    ),
]


def compare(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A named data set (gence list data), a folder of images (one subfolder a class), a .csv or .parquet "
            "table, an .npz with X and y, a folder of Hugging Face parquet files, or hf:org/name[:config]; several "
            "separated by commas.",
        ),
    ],
    target: Annotated[str | None, typer.Option(help="The label column of a table.", show_default=False)] = None,
    losses: Annotated[
        str,
        typer.Option(
            help="Losses to compare, separated by commas, with knobs if need be (focal:gamma=1), or all, or all but "
            "some: all,-cals."
        ),
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
    calibrators: Annotated[
        str, typer.Option(help="Calibrators to fit, of gence list calibrators, separated by commas.")
    ] = (",".join(Spec.model_fields["calibrators"].default)),
    seeds: Annotated[int, typer.Option(help="Repetitions, each with its own rows and weights.")] = 5,
    model: Annotated[str, typer.Option(help="auto, or some of gence list models, separated by commas.")] = "auto",
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
    tune: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Look for each loss's own recipe first, with N trials a loss.", show_default="no tuning"
        ),
    ] = None,
    data_root: DataRoot = None,
    out: _Out = None,
    workers: _Workers = None,
    ray: _Ray = None,
    share: _Share = None,
    device: _Device = "cpu",
    retry_failed: _RetryFailed = False,
    stop_after: _StopAfter = None,
    dry_run: _DryRun = False,
    tflops: _TFlops = None,
) -> None:
    """Train every loss on the same few labels, calibrate, and report which is best and whether that is real."""
    training: dict[str, Any] = {"mixup": mixup} if epochs is None else {"mixup": mixup, "epochs": epochs}
    training["augment"] = augmentations(augment)
    if batch_size is not None:
        training["batch_size"] = [_size(word) for word in words(batch_size)]
    content: dict[str, Any] = {
        # A path may hold a comma.
        "data": [data] if Path(data).exists() else words(data),
        "data_root": data_root,
        "target": target,
        "image_size": image_size,
        "regime": words(regime),
        "losses": words(losses),
        "calibrators": words(calibrators),
        "seeds": seeds,
        "model": words(model),
        "training": training,
    }
    if labels_per_class is not None:
        content["labels_per_class"] = [_budget(word) for word in words(labels_per_class)]
    if tune is not None:
        content["tune"] = {"trials": tune}
    how = How(workers, ray, share, device, retry_failed, stop_after, dry_run, tflops)
    run_and_report(parse_spec(content, "compare"), out or folder_name(data.removeprefix("hf:")), how, next_step=True)


def run(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="A TOML file that describes a study.", show_default=False)
    ],
    data_root: DataRoot = None,
    out: _Out = None,
    workers: _Workers = None,
    ray: _Ray = None,
    share: _Share = None,
    device: _Device = "cpu",
    retry_failed: _RetryFailed = False,
    stop_after: _StopAfter = None,
    start_from: _StartFrom = None,
    dry_run: _DryRun = False,
    tflops: _TFlops = None,
) -> None:
    """Run the study of a TOML file, or go on with it."""
    how = How(workers, ray, share, device, retry_failed, stop_after, dry_run, tflops, start_from)
    study = read_spec(spec)
    if data_root is not None:
        study = study.model_copy(update={"data_root": data_root})
    run_and_report(study, out or folder_name(spec), how)


def _budget(word: str) -> int | str:
    return word if word == "all" else _number(word, "--labels-per-class: whole numbers or 'all'")


def _size(word: str) -> int:
    return _number(word, "--batch-size: whole numbers")


def _number(word: str, expected: str) -> int:
    if not re.fullmatch(r"\d{1,9}", word):
        raise InputError(f"{expected}, separated by commas, are expected; got {word!r}")
    return int(word)
