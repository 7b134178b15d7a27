"""What GenCE's own term adds: every loss of ours that has it, beside the same loss without."""

from __future__ import annotations

from dataclasses import dataclass

from measures import TWINS, Cells, at, metric, over_settings, paired, places

from gence.bench.records import Estimate

WITHOUT = {
    "gence": "ce",
    "gence_moving": "ce",
    "gence_smoothing": "label_smoothing",
    "gence_focal": "focal",
    "gence_margin": "mbls",
    "gence_prior": "logit_adjusted",
    "gence_balanced": "gence_balanced:strength=0.0",
}
"""The loss with the term -> the loss without it, each tuned for itself."""


@dataclass(frozen=True)
class Added:
    """A loss with the term minus the loss without, uncalibrated: intervals over settings, by metric."""

    changes: dict[str, Estimate | None]
    settings: int


def added(cells: Cells, loss: str) -> Added:
    """What the term adds to a loss, over the settings at which the loss is no other one."""
    pairs = [
        (at(cells, place, loss), at(cells, place, WITHOUT[loss]))
        for place in places(cells)
        if place.tail or loss not in TWINS
    ]
    pairs = [(mine, plain) for mine, plain in pairs if mine and plain]
    changes = {
        name: over_settings(paired(mine, plain, metric(name)) for mine, plain in pairs)
        for name in ("balanced_accuracy", "ece", "nll")
    }
    return Added(changes, len(pairs))
