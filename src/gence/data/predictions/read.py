"""The way in: which reader a file of predictions gets, and from what it finds to checked predictions."""

from __future__ import annotations

from pathlib import Path

from gence._errors import InputError, nearest
from gence.data.predictions.classes import class_numbers
from gence.data.predictions.columns import read_csv, read_parquet
from gence.data.predictions.naming import Found, Naming
from gence.data.predictions.npz import read_npz
from gence.data.predictions.record import Predictions, check_columns
from gence.data.wording import listing, one_line

_READERS = {".npz": read_npz, ".csv": read_csv, ".parquet": read_parquet}


def read_predictions(
    path: str | Path,
    *,
    labels: str | None = None,
    logits: str | None = None,
    probs: str | None = None,
    labels_required: bool = True,
    logits_only: bool = False,
) -> Predictions:
    """Read logits or probabilities, and the true labels, from an .npz, .csv or .parquet file; rows keep their order.

    An .npz file holds the array `logits` or `probs`, `(rows, classes)`, with `labels`, `(rows,)`, and perhaps
    `class_names`. A table holds a column for every class, `logit_CLASS`, `prob_CLASS` or `probability_CLASS`, with the
    label in `label`. Labels are the names of classes, or class numbers from 0. Classes whose names are all whole
    numbers are put in that order. Logits are used if there are probabilities beside them.

    Args:
        path: The file.
        labels: Another name of the array or column with the labels.
        logits: Another name of the array with the logits, or a pattern for their columns: `z_*`.
        probs: The same for probabilities.
        labels_required: Whether labels must be there and make sense; otherwise a note says why they were not used.
        logits_only: Whether messages are to offer no way of giving probabilities, because there is no use for them.

    Raises:
        InputError: If the file cannot be read, something is missing, or the numbers are not what their name says.
    """
    source = str(path)
    if logits is not None and probs is not None:
        raise InputError(f"{source}: --logits and --probs were both given; give one of the two")
    path = Path(path).expanduser()
    reader = _READERS.get(path.suffix.lower())
    if not path.exists():
        raise _not_found(path)
    if reader is None or not path.is_file():
        raise InputError(
            f"{source}: predictions are read from files that end in {listing(_READERS)}; give one of these"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{source}: the file is empty; save the predictions again")
    scores = ("logits", logits) if logits is not None else ("probs", probs) if probs is not None else None
    naming = Naming(labels, labels_required, scores, logits_only)
    try:
        return _checked(reader(path, naming), source, naming)
    except ModuleNotFoundError as error:
        raise InputError(f"{source}: reading it needs {error.name}; pip install 'gence[lab]'") from error
    except PermissionError as error:
        raise InputError(f"{source}: no permission to read it; change that, or give a copy") from error
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({one_line(error)}); check the path, or give a copy") from error


def _checked(found: Found, source: str, naming: Naming) -> Predictions:
    # First, because one column would make every other class number a label that is no class.
    check_columns(found.scores, found.class_names, found.kind, source)
    numbers, notes = None, list(found.notes)
    if found.labels is not None:
        try:
            numbers, note = class_numbers(found.labels, found.class_names, source)
            notes += [note] if note else []
        except InputError as error:
            if naming.labels_required or naming.labels:
                raise
            notes.append(f"the labels were not used: {error}")
    return Predictions(
        logits=found.scores if found.kind == "logits" else None,
        probs=found.scores if found.kind == "probs" else None,
        labels=numbers,
        class_names=found.class_names,
        source=source,
        notes=tuple(notes),
    )


def _not_found(path: Path) -> InputError:
    siblings = {entry.name: entry for entry in path.parent.iterdir()} if path.parent.is_dir() else {}
    guess = nearest(path.name, siblings)
    hint = f"did you mean '{siblings[guess]}'?" if guess else f"a file ending in {listing(_READERS)} is expected"
    return InputError(f"{str(path)!r}: there is no such file; {hint}")
