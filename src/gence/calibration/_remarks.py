"""What more than one kind of calibrator has to say about its fit."""

from __future__ import annotations


def harm_remarks(before: float, after: float) -> tuple[str, ...]:
    """The sentence that a fit which raised the NLL of its own rows calls for; none for another."""
    if after <= before:
        return ()
    return (f"it did harm: the NLL of its own calibration rows rose from {before:.4g} to {after:.4g}",)
