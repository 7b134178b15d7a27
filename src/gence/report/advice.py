"""What our evidence, on other data, adds to a comparison: losses worth trying that it did not try."""

from __future__ import annotations

from gence.bench.records import Study, TrialRecord
from gence.report.names import listed

LOPSIDED = 10
"""How often the commonest class has the training rows of the rarest, from which on there is evidence."""

FOR_LONG_TAILS = {"logit_adjusted": "logit_adjusted", "gence_balanced:strength=0.0": "logit_adjusted_smoothing"}
"""The losses that docs/evidence.md recommends under long tails: as its study wrote them -> by name."""

CALIBRATOR = "temperature_balanced"
"""One temperature of calibration rows with a tail can do harm: it is that of the common classes."""


def advice_on(study: Study) -> str | None:
    """What to try besides, in a sentence or two; None where there is no evidence, or where all of it was tried."""
    factor = max(map(_imbalance, study.records), default=1.0)
    tried = {record.cell.loss for record in study.records}
    left = [name for written, name in FOR_LONG_TAILS.items() if not _was_tried(tried, written, name)]
    if factor < LOPSIDED or not left:
        return None
    return (
        f"The commonest class has {factor:.0f} times the training rows of the rarest. Where rare classes matter as "
        f"much as common ones, try {listed(left)} too, with {CALIBRATOR} as a calibrator, and look at balanced "
        "accuracy: under long tails of other data, tested on balanced rows, they were more accurate than a tuned "
        "cross-entropy, and with that calibrator on both sides had the lower NLL (docs/evidence.md)."
    )


def _imbalance(record: TrialRecord) -> float:
    counts = [count for count in record.data.get("train_class_counts", ()) if count > 0]
    return max(counts) / min(counts) if counts else 1.0


def _was_tried(tried: set[str], written: str, name: str) -> bool:
    """Whether a loss is among those tried, whatever its knobs."""
    return any(one == written or one.partition(":")[0] == name for one in tried)
