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
        "Share of test rows whose most probable class is the right one. Higher is better; all others: lower is better.",
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


def spread(estimate: Estimate, column: Column) -> str:
    """Half the width of the interval, as in "± 0.31"; empty when there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return column.text((estimate.high - estimate.low) / 2)
