"""The measured columns: heading, unit, number of decimals, which way is better, and what the number means."""

from __future__ import annotations

from dataclasses import dataclass

from gence.bench.records import Estimate, SummaryRow


@dataclass(frozen=True)
class Column:
    """One measured column of the page; `factor` turns the recorded number into the shown one."""

    key: str
    heading: str
    meaning: str
    factor: float = 1.0
    decimals: int = 4
    higher_is_better: bool = False

    def estimate(self, row: SummaryRow) -> Estimate | None:
        """The row's estimate for this column, None where it was not measured."""
        return row.seconds if self.key == "seconds" else row.metrics.get(self.key)

    def text(self, value: float) -> str:
        """The recorded number as the page shows it, without its unit."""
        return fixed(value * self.factor, self.decimals)


COLUMNS = (
    Column(
        "accuracy",
        "Accuracy %",
        "Share of test rows whose most probable class is the right one. Accuracies are better high, all others low.",
        factor=100,
        decimals=2,
        higher_is_better=True,
    ),
    Column(
        "balanced_accuracy",
        "Balanced accuracy %",
        "Accuracy of every class by itself, averaged over the classes: rare classes count as much as common ones.",
        factor=100,
        decimals=2,
        higher_is_better=True,
    ),
    Column(
        "nll",
        "NLL",
        "Negative log-likelihood: mean of \u2212ln p(right class). A proper score: honest probabilities win.",
    ),
    Column(
        "brier",
        "Brier",
        "Squared distance between the probabilities and the truth (1 for the right class, 0 for the rest). Proper.",
    ),
    Column(
        "ece",
        "ECE % (width)",
        "Expected calibration error: mean gap between top confidence and accuracy, in bins of equal width.",
        factor=100,
        decimals=2,
    ),
    Column("ece_mass", "ECE % (mass)", "The same in bins that hold equally many rows.", factor=100, decimals=2),
    Column(
        "classwise_ece",
        "Classwise ECE %",
        "The gap for the probability of every class, not of the top one only, averaged over the classes.",
        factor=100,
        decimals=3,
    ),
    Column(
        "smooth_ece",
        "Smooth ECE %",
        "Calibration error with a kernel in place of bins, so that it does not hang on where bins begin.",
        factor=100,
        decimals=2,
    ),
    Column(
        "aurc",
        "AURC %",
        "Area under the risk-coverage curve: mean error rate when the least confident rows are set aside first.",
        factor=100,
        decimals=2,
    ),
    Column(
        "seconds",
        "Train s",
        "Wall-clock seconds to train one seed, on the machine named in the provenance.",
        decimals=2,
    ),
)

PERCENT = "\u00a0%"
"""The sign with a space that no line breaks at."""

COLUMN = {column.key: column for column in COLUMNS}


def fixed(value: float, decimals: int) -> str:
    r"""`value` with that many decimals and a true minus sign; a zero has no sign.

    >>> ascii(fixed(-0.5, 2)), fixed(-0.0001, 2)
    ("'\\u22120.50'", '0.00')
    """
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\u2212")


def change(value: float, column: Column, decimals: int | None = None) -> str:
    r"""A difference as shown, always with its sign, without its unit.

    >>> ascii(change(0.0123, COLUMN["accuracy"])), ascii(change(-0.5, COLUMN["nll"], 2))
    ("'+1.23'", "'\\u22120.50'")
    """
    text = fixed(value * column.factor, column.decimals if decimals is None else decimals)
    return f"+{text}" if value > 0 and float(text.replace("\u2212", "-")) != 0 else text


def unit(column: Column) -> str:
    """What follows a difference: points of a percentage, or nothing."""
    return " points" if column.factor == 100 else ""


def p_value(p: float | None) -> str:
    r"""A p value as it is shown; a dash where there is none.

    >>> p_value(0.0123), p_value(0.00001), p_value(0.5), ascii(p_value(None))
    ('0.012', '< 0.001', '0.50', "'\\u2013'")
    """
    if p is None:
        return "\u2013"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def spread(estimate: Estimate, column: Column) -> str:
    """Half the width of the interval, as in "± 0.31"; empty when there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return column.text((estimate.high - estimate.low) / 2)


def within(estimate: Estimate, column: Column) -> str:
    """A difference with its interval, as in "+0.8 points (95 % interval 0.2 to 1.4)"."""
    text = f"{change(estimate.mean, column)}{unit(column)}"
    if estimate.low is None or estimate.high is None:
        return f"{text} (no interval)"
    low, high = (change(end, column) for end in (estimate.low, estimate.high))
    return f"{text} (95{PERCENT} interval {low} to {high})"
