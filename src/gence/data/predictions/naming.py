"""What was asked for, what a reader found, and what to type when it found nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gence._errors import InputError, nearest
from gence.data.predictions.classes import RawLabels
from gence.data.predictions.record import Kind
from gence.data.wording import listing

KINDS: dict[Kind, str] = {"logits": "scores before the softmax", "probs": "probabilities"}


@dataclass(frozen=True)
class Naming:
    """Which arrays or columns hold what, as the user named them; None where the documented names are meant.

    With `logits_only` there is no option to name probabilities, and messages must not offer it.
    """

    labels: str | None = None
    labels_required: bool = True
    scores: tuple[Kind, str] | None = None
    logits_only: bool = False

    def options(self, value: str) -> str:
        """What to type to name the scores."""
        if self.logits_only:
            return f"--logits {value} ({KINDS['logits']}); for probabilities there is gence audit"
        return " or ".join(f"--{kind} {value} ({meaning})" for kind, meaning in KINDS.items())


@dataclass(frozen=True)
class Found:
    """The contents of a file: scores `(rows, classes)` with the names of their columns, and labels if there are any."""

    kind: Kind
    scores: np.ndarray
    class_names: tuple[str, ...]
    labels: RawLabels | None
    notes: tuple[str, ...] = ()


def choose_labels(naming: Naming, default: str, what: str, there: Sequence[str], source: str) -> str | None:
    """The array or column (`what`) with the labels; None if it is the default one, absent, and not required.

    Raises:
        InputError: If it is absent otherwise; the message lists what is there.
    """
    name = naming.labels or default
    if name in there:
        return name
    if naming.labels or naming.labels_required:
        raise absent(what, name, "--labels", there, source)
    return None


def absent(what: str, name: str, option: str, there: Sequence[str], source: str) -> InputError:
    """The error for an array or column that is not in the file; it lists what is, and the option to type."""
    guess = nearest(name, there)
    cure = f"did you mean {option} {guess}?" if guess else f"name it with {option} NAME"
    return InputError(f"{source}: no {what} {name!r} among {listing(there, most=40) or 'none at all'}; {cure}")


def both_kinds(used: str, left: str) -> str:
    """The note when a file holds logits and probabilities."""
    return f"the logits ({used}) were used; the probabilities beside them ({left}) were not"
