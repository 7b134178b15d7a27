"""The audit of a file: read, checked and audited in one call."""

from __future__ import annotations

from pathlib import Path

from gence._errors import InputError
from gence.audit.assess import audit_predictions
from gence.audit.records import Audit
from gence.data.predictions import read_predictions


def audit_file(
    path: str | Path,
    *,
    labels: str | None = None,
    logits: str | None = None,
    probs: str | None = None,
    bins: int = 15,
) -> Audit:
    """Audit the predictions of a file.

    Args:
        path: Predictions as `read_predictions` reads them.
        labels: As in `read_predictions`.
        logits: As in `read_predictions`.
        probs: As in `read_predictions`.
        bins: As in `audit_predictions`.

    Raises:
        InputError: If the file cannot be read or its predictions cannot be audited.
    """
    predictions = read_predictions(path, labels=labels, logits=logits, probs=probs)
    try:
        return audit_predictions(predictions, bins=bins)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
