"""The answer in words: who wins, by how much, and whether the difference is real."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gence.bench.records import Answer, Difference, Setting, Summary, SummaryRow
from gence.report.columns import COLUMN, PERCENT, fixed
from gence.report.names import BASELINE, combination_label, headline, setting_labels

_NLL = COLUMN["nll"]


@dataclass(frozen=True)
class Verdict:
    """What the page says about one setting: `sentences` at length, `line` in short."""

    setting: str
    winner: str
    sentences: tuple[str, str]
    line: str


def verdicts(summary: Summary) -> list[Verdict]:
    """Put every answer into words."""
    labels = setting_labels(answer.setting for answer in summary.answers)
    return [_verdict(answer, labels[answer.setting]) for answer in summary.answers]


def _verdict(answer: Answer, setting: str) -> Verdict:
    best = answer.best
    return Verdict(
        setting=setting,
        winner=headline(best.loss, best.calibrator),
        sentences=(_against_baseline(answer, setting), _against_next(answer)),
        line=_line(answer),
    )


def answer_lines(summary: Summary) -> tuple[str, ...]:
    """One line a setting, for a terminal."""
    return tuple(f"{one.setting}: {one.line}" for one in verdicts(summary))


def small_print(summary: Summary) -> tuple[str, ...]:
    """What a reader must know to trust the sentences as far as they can be trusted, and no further."""
    differences = [d for answer in summary.answers for d in (*answer.against_baseline, *answer.against_next)]
    compared = sorted({d.comparisons for d in differences if d.excludes_zero is not None})
    lines: list[str] = []
    if compared:
        number = str(compared[0]) if len(compared) == 1 else f"{compared[0]} to {compared[-1]}"
        noun = "combination" if number == "1" else "combinations"
        lines.append(
            f"Intervals of differences are 95{PERCENT} Student's t intervals over seeds, paired seed by seed, and "
            f"widened (Bonferroni) for the {number} other {noun} that the winner was compared with."
        )
    if any(d.excludes_zero is None for d in differences):
        lines.append("With one seed no interval can be given: run more seeds before you act on a difference.")
    if differences:
        lines.append(
            "They speak of other seeds on these same rows; another sample of rows could move every number further."
        )
    lines.append(
        "Every loss ran at its default settings, untuned; a comparison in which each loss is tuned may end differently."
    )
    if differences:
        lines.append(
            "The winner was picked on the test rows that it is reported on, so its own numbers flatter it a little."
        )
    return tuple(lines)


def row_of(rows: Sequence[SummaryRow], combination: tuple[str, str], setting: Setting) -> SummaryRow | None:
    """The row of a loss and calibrator at a setting, None if it was not run."""
    for row in rows:
        if (row.loss, row.calibrator) == combination and row.setting == setting:
            return row
    return None


def nll_difference(differences: Iterable[Difference]) -> Difference | None:
    """The difference in NLL among the metrics compared."""
    return next((d for d in differences if d.metric == "nll"), None)


def _against_baseline(answer: Answer, setting: str) -> str:
    best = answer.best
    start = f"With {setting}, "
    if (best.loss, best.calibrator) == BASELINE:
        return (
            f"{start}plain cross-entropy without calibrator is itself the best: it has the lowest test NLL, "
            f"{_value(best, 'nll')} (accuracy {_value(best, 'accuracy')}, ECE {_value(best, 'ece')}, "
            f"{_seeds(best.seeds)}), and nothing else tried here comes below it."
        )
    start += f"{combination_label(best.loss, best.calibrator)} has the lowest test NLL, {_value(best, 'nll')}"
    baseline = row_of(answer.rows, BASELINE, answer.setting)
    difference = nll_difference(answer.against_baseline)
    if baseline is None or difference is None:
        return (
            f"{start} (accuracy {_value(best, 'accuracy')}, ECE {_value(best, 'ece')}, {_seeds(best.seeds)}); "
            "plain cross-entropy without calibrator has no finished trial with the same seeds to hold it against."
        )
    return (
        f"{start}: against plain cross-entropy without calibrator ({_value(baseline, 'nll')}) the difference is "
        f"{_difference(difference)}, with accuracy {_value(best, 'accuracy')} against "
        f"{_value(baseline, 'accuracy')} and ECE {_value(best, 'ece')} against {_value(baseline, 'ece')}."
    )


def _against_next(answer: Answer) -> str:
    difference = nll_difference(answer.against_next)
    if difference is None:
        if any(row.setting == answer.setting and row.loss != answer.best.loss for row in answer.rows):
            return "No trial of another loss with the same seeds has finished, so the losses cannot be told apart yet."
        return "Only one loss was trained, so these trials say nothing about the choice of the loss."
    estimate = difference.estimate
    second = row_of(answer.rows, difference.second, answer.setting)
    value = f" at {_value(second, 'nll')}" if second is not None else ""
    start = (
        "Against the best combination that trains with another loss, "
        f"{combination_label(*difference.second)}{value}, the difference is "
    )
    if difference.excludes_zero is None:
        return f"{start}{_mean(difference)}; with one seed there is no interval, so nothing can be said about the loss."
    start += f"{_mean(difference)} ({_interval(difference)} over {_seeds(estimate.seeds)}); "
    if not difference.excludes_zero:
        seeds = f"these {_seeds(estimate.seeds)} do not show"
        return f"{start}the interval includes zero: {seeds} a difference between the two losses."
    return f"{start}the interval excludes zero: between these two it is more than chance among seeds."


def _line(answer: Answer) -> str:
    best = answer.best
    parts = [f"{combination_label(best.loss, best.calibrator)}, NLL {_value(best, 'nll')}"]
    for differences in (answer.against_baseline, answer.against_next):
        difference = nll_difference(differences)
        if difference is not None:
            parts.append(f"against {combination_label(*difference.second)} {_difference(difference)}")
    return "; ".join(dict.fromkeys(parts)) + "."


def _difference(difference: Difference) -> str:
    """The mean difference, its interval, and whether that holds zero."""
    if difference.excludes_zero is None:
        return f"{_mean(difference)} (one seed: no interval, so it may be chance)"
    zero = "excludes zero" if difference.excludes_zero else "includes zero"
    return f"{_mean(difference)} ({_interval(difference)} over {_seeds(difference.estimate.seeds)}, which {zero})"


def _mean(difference: Difference) -> str:
    return fixed(difference.estimate.mean, _decimals(difference))


def _interval(difference: Difference) -> str:
    decimals = _decimals(difference)
    low, high = difference.estimate.low, difference.estimate.high
    if low is None or high is None:
        return "no interval"
    return f"95{PERCENT} interval {fixed(low, decimals)} to {fixed(high, decimals)}"


def _decimals(difference: Difference) -> int:
    """As many as the NLL has, and more where an end of the interval would be shown as zero and is not."""
    numbers = (difference.estimate.mean, difference.estimate.low, difference.estimate.high)
    decimals = _NLL.decimals
    while decimals < 8 and any(n and float(f"{n:.{decimals}f}") == 0 for n in numbers):
        decimals += 1
    return decimals


def _value(row: SummaryRow, metric: str) -> str:
    estimate = row.metrics.get(metric)
    if estimate is None:
        return "unknown"
    return COLUMN[metric].text(estimate.mean) + (PERCENT if COLUMN[metric].factor == 100 else "")


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
