"""Measurements in words, as the model card and the command line tell them."""

from __future__ import annotations

from gence.audit.records import Estimate
from gence.classifier.evidence import Evidence

NAMES = {"nll": "NLL", "accuracy": "accuracy", "ece": "ECE", "brier": "Brier score"}
"""Every metric of the evidence as it is called."""

_SHARES = frozenset({"accuracy", "ece"})


def number(metric: str, value: float) -> str:
    """A value of a metric, rounded.

    >>> number("ece", 0.01234), number("nll", 0.12345)
    ('1.2 %', '0.123')
    """
    return f"{_digits(metric, value, _decimals(metric, value))}{_unit(metric)}"


def estimate(metric: str, found: Estimate) -> str:
    """A value with its interval if there is one.

    >>> estimate("accuracy", Estimate(0.9731, 0.9642, 0.9809))
    '97.3 % (96.4 to 98.1)'
    """
    if found.low is None or found.high is None:
        return number(metric, found.value)
    decimals = _decimals(metric, found.value)
    low, high = (_digits(metric, end, decimals) for end in (found.low, found.high))
    return f"{number(metric, found.value)} ({low} to {high})"


def measured_on(evidence: Evidence) -> str:
    """Which rows were measured on."""
    if evidence.on == "test split":
        return f"the {evidence.rows} rows of the data's test split"
    return f"{evidence.rows} rows that were held out, fold by fold"


def verdict(evidence: Evidence) -> str:
    """Whether calibrating did anything that is more than chance, and what it did to the accuracy."""
    change = evidence.accuracy_change
    if change.value == 0.0 or change.low is None or change.high is None:
        return _nll_verdict(evidence.nll_change)
    return (
        f"{_nll_verdict(evidence.nll_change)} It gives some rows another class, which changed the accuracy by "
        f"{100 * change.value:+.1f} points (95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f})."
    )


def skill(evidence: Evidence) -> str:
    """Whether the calibrated probabilities know more of a row than how frequent the classes are."""
    gain = evidence.nll_gain
    if gain.low is None or gain.high is None:
        return "So few rows cannot show whether the model knows more than the shares of the classes."
    start = f"Giving every row the shares of the classes in training would have an NLL of {evidence.guess:.3f}"
    if gain.low <= 0.0 <= gain.high:
        return (
            f"{start}: these rows do not show that the model does better than that (95 % interval of the difference: "
            f"{gain.low:+.4f} to {gain.high:+.4f})."
        )
    low, high = sorted((abs(gain.low), abs(gain.high)))
    verb = "better" if gain.value < 0 else "worse"
    return f"{start}: the model is {verb} than that by {abs(gain.value):.3f} (95 % interval {low:.3f} to {high:.3f})."


def _nll_verdict(change: Estimate) -> str:
    if change.low is None or change.high is None:
        return "So few rows cannot show whether the calibrator helps."
    if change.low <= 0.0 <= change.high:
        return (
            f"The calibrator changed the NLL by {change.value:+.4f} (95 % interval {change.low:+.4f} to "
            f"{change.high:+.4f}): these rows do not show that it helps, nor that it harms."
        )
    helps = change.value < 0
    verb, low, high = ("lowered", -change.high, -change.low) if helps else ("raised", change.low, change.high)
    found = "the calibrated probabilities are better" if helps else "it does harm; --calibrate none is better"
    return (
        f"The calibrator {verb} the NLL by {abs(change.value):.4f} (95 % interval {low:.4f} to {high:.4f}), which is "
        f"more than chance: {found}."
    )


def _unit(metric: str) -> str:
    return " %" if metric in _SHARES else ""


def _decimals(metric: str, value: float) -> int:
    """One more where the number is small."""
    return 1 if metric in _SHARES else 3 if value >= 0.1 else 4


def _digits(metric: str, value: float, decimals: int) -> str:
    return f"{100 * value if metric in _SHARES else value:.{decimals}f}"
