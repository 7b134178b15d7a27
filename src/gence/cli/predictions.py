"""The commands on a file of predictions: audit it, calibrate it, apply a calibrator to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gence.cli.names import folder_name

_Predictions = Annotated[
    str,
    typer.Argument(
        metavar="PREDICTIONS",
        help="An .npz with logits (or probs) and labels, or a .csv or .parquet table with logit_CLASS (or prob_CLASS) "
        "columns and a label column.",
        show_default=False,
    ),
]
_LabelledLogits = Annotated[
    str,
    typer.Argument(
        metavar="PREDICTIONS",
        help="An .npz with logits and labels, or a .csv or .parquet table with logit_CLASS columns and a label column.",
        show_default=False,
    ),
]
_Labels = Annotated[
    str | None, typer.Option(help="Array or column with the true classes.", show_default="labels in an .npz, or label")
]
_Logits = Annotated[
    str | None,
    typer.Option(
        help="Array with the scores before the softmax, or columns: 'z_*'.", show_default="logits, or logit_*"
    ),
]
_Probs = Annotated[
    str | None, typer.Option(help="Array with probabilities, or columns: 'p_*'.", show_default="probs, or prob_*")
]


def audit(
    predictions: _Predictions,
    labels: _Labels = None,
    logits: _Logits = None,
    probs: _Probs = None,
    bins: Annotated[int, typer.Option(min=1, help="Bins of the reliability diagram and of the ECE.")] = 15,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and the record.", show_default="gence-audit-NAME")
    ] = None,
) -> None:
    """Are these probabilities honest? A page with intervals, and what a calibrator would change."""
    from gence._files import check_place
    from gence.audit.files import audit_file
    from gence.report import audit_lines, write_audit

    folder = out or folder_name(predictions, "audit")
    check_place(folder, folder=True)
    found = audit_file(predictions, labels=labels, logits=logits, probs=probs, bins=bins)
    page = write_audit(found, folder)
    print(*audit_lines(found), sep="\n")
    print(f"\npage: {page}")


def calibrate(
    predictions: _LabelledLogits,
    out: Annotated[
        Path, typer.Option(help="The calibrator: a file ending in .safetensors or .json.", show_default=False)
    ],
    method: Annotated[
        str,
        typer.Option(
            help="auto (the best of several on held-out rows), none, temperature, ats, ensemble, vector, matrix, "
            "dirichlet, isotonic or histogram."
        ),
    ] = "auto",
    labels: _Labels = None,
    logits: _Logits = None,
) -> None:
    """Fit a calibrator on labelled logits that the model was not trained on, and save it."""
    from gence.audit.calibrate import calibrate_file

    print(*calibrate_file(predictions, out, method=method, labels=labels, logits=logits).lines(), sep="\n")


def apply(
    calibrator: Annotated[
        Path, typer.Argument(metavar="CALIBRATOR", help="What gence calibrate saved.", show_default=False)
    ],
    predictions: _LabelledLogits,
    out: Annotated[
        Path,
        typer.Option(help="The calibrated probabilities: an .npz, .csv or .parquet file.", show_default=False),
    ],
    labels: _Labels = None,
    logits: _Logits = None,
) -> None:
    """Write the calibrated probabilities of logits; labels are kept if there are any."""
    from gence.audit.calibrate import apply_file

    print(*apply_file(calibrator, predictions, out, labels=labels, logits=logits).lines(), sep="\n")
