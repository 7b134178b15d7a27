"""The audit in words: over- or under-confident, by how much, what mends it, and what the rows cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

from gence.audit.records import TRIAL_METRICS, Audit, CalibratorTrial, ClassRow, Slice
from gence.report.audit_columns import AUDIT_COLUMN, ends, percent, points
from gence.report.columns import PERCENT, fixed

_ALPHA = 0.05
_FEW_ROWS = 200
_FEW_EVENTS = 5
_NAMED = 5
_INTERVAL = f"95{PERCENT} interval"


@dataclass(frozen=True)
class Verdict:
    """What the page says first: a headline, sentences that bear it out, and what to be careful about."""

    headline: str
    sentences: tuple[str, ...]
    cautions: tuple[str, ...]


def verdict(audit: Audit) -> Verdict:
    """Put an audit into words; nothing is called an error of the model that chance alone may have made."""
    return Verdict(_headline(audit), (_on_average(audit), _by_confidence(audit), _mending(audit)), _cautions(audit))


def audit_lines(audit: Audit) -> list[str]:
    """The audit in five to ten lines, for a terminal."""
    found = verdict(audit)
    metrics = audit.metrics
    named = (("nll", "NLL", ""), ("brier", "Brier", ""), ("ece", "ECE", PERCENT))
    if all(metrics[key].low is not None for key, _, _ in named):
        bracket = {key: f" ({ends(metrics[key], AUDIT_COLUMN[key])})" for key, _, _ in named}
        remark = f"in brackets {_INTERVAL}s"
    else:
        bracket, remark = dict.fromkeys(metrics, ""), "too few rows for their intervals"
    values = ", ".join(
        f"{words} {AUDIT_COLUMN[key].text(metrics[key].value)}{unit}{bracket[key]}" for key, words, unit in named
    )
    kept = audit.coverage.points[1]
    lines = [
        f"{audit.source}: {_count(audit.rows, 'row')}, {len(audit.class_names)} classes. {found.headline}.",
        *found.sentences[:2],
        f"{values}; {remark}.",
        found.sentences[2],
        slices_sentence(audit),
        f"The most confident {percent(kept.coverage, 0)} of the rows are right {percent(kept.accuracy.value)} of the "
        f"time, all rows {percent(metrics['accuracy'].value)}.",
    ]
    return [*lines, *(f"Caution: {caution}" for caution in found.cautions[:3])]


def slices_sentence(audit: Audit) -> str:
    """How many slices were looked at, how many stand out, and the worst."""
    slices = audit.slices
    if slices.looked_at == 0:
        return f"No slice of the rows has the {slices.least_rows} rows that it takes to look at it."
    looked = f"{_count(slices.looked_at, 'slice')} with at least {slices.least_rows} rows"
    if slices.beyond_chance == 0:
        return f"Of {looked}, none shows a gap beyond what chance makes among so many."
    worst = slices.worst[0]
    verb = "shows" if slices.beyond_chance == 1 else "show"
    return (
        f"Of {looked}, {slices.beyond_chance} {verb} a gap beyond chance; the worst is {slice_words(worst)}: "
        f"{percent(worst.confidence)} claimed, {percent(worst.accuracy)} right ({_count(worst.rows, 'row')})."
    )


def slice_words(one: Slice) -> str:
    """A slice in words."""
    parts = [] if one.predicted is None else [f"predicted {one.predicted}"]
    if one.confidence_range is not None:
        parts.append(f"confidence {range_words(one.confidence_range)}")
    return ", ".join(parts)


def range_words(span: tuple[float, float]) -> str:
    r"""A range of confidence; its upper end belongs to it.

    >>> ascii(range_words((0.9, 0.99)))
    "'90 to 99\\xa0%'"
    """
    return f"{span[0] * 100:g} to {span[1] * 100:g}{PERCENT}"


def _headline(audit: Audit) -> str:
    gap = audit.metrics["confidence_gap"]
    if audit.chance is None:
        return "Too few rows to tell"
    if _gap_is_shown(audit):
        return f"{'Over' if gap.value > 0 else 'Under'}-confident by {_size(abs(gap.value))} points"
    if audit.chance.ece_share <= _ALPHA:
        return "Right on average, but not at every confidence"
    return "No miscalibration shown"


def _gap_is_shown(audit: Audit) -> bool:
    """Whether confidence and accuracy differ by more than chance makes."""
    found = audit.metrics["confidence_gap"].excludes_zero
    return found and audit.chance is not None and audit.chance.gap_share <= _ALPHA


def _on_average(audit: Audit) -> str:
    gap = audit.metrics["confidence_gap"]
    start = (
        f"On average it claims to be right {percent(audit.confidence)} of the time, and is right "
        f"{percent(audit.metrics['accuracy'].value)} of the time: a difference of {points(gap.value)} points"
    )
    if audit.chance is None:
        return f"{start}, on too few rows to call it more than chance."
    interval = ends(gap, AUDIT_COLUMN["confidence_gap"], decimals=1)
    zero = "excludes zero" if gap.excludes_zero else "includes zero"
    if gap.excludes_zero and audit.chance.gap_share > _ALPHA:
        zero += ", but honest probabilities would differ as much by chance"
    return f"{start} ({_INTERVAL} {interval}, which {zero})."


def _by_confidence(audit: Audit) -> str:
    column, chance = AUDIT_COLUMN["ece"], audit.chance
    ece, debiased = audit.metrics["ece"], audit.metrics["debiased_ece"]
    start = f"Its ECE, the mean gap at every level of confidence, is {column.text(ece.value)}{PERCENT}"
    if chance is None:
        return f"{start}; how much of that is chance cannot be told."
    honest = (
        f"perfectly honest probabilities would show {column.text(chance.ece)}{PERCENT} on as many rows by chance, and "
        f"more than {column.text(chance.ece_high)}{PERCENT} once in 20 times"
    )
    if chance.ece_share > _ALPHA:
        alone = "which alone would not show that" if _gap_is_shown(audit) else "which is no more than chance makes"
        return f"{start}, {alone}: {honest}."
    sentence = f"{start} ({_INTERVAL} {ends(ece, column)}), more than chance makes: {honest}."
    left = column.text(debiased.value)
    # The two errors have different bins: where this one finds nothing, it says nothing about the other.
    if _is_zero(left):
        return sentence
    return f"{sentence} Less what chance adds, the root mean square gap is {left}{PERCENT}."


def _mending(audit: Audit) -> str:
    mending = audit.mending
    best = mending.best
    if mending.refused:
        return f"What would mend it was not tried: {mending.refused}."
    if best is None:
        return "What would mend it is not known: no calibrator could be fitted."
    pronoun = "it was" if len(mending.trials) == 1 else "they were"
    judged = f"{_count(len(mending.trials), 'calibrator')}, judged on rows that {pronoun} not fitted on"
    if all(_changes_nothing(trial) for trial in mending.trials):
        return f"Of {judged}, none changes anything."
    tried = len(mending.trials) + len(mending.failures)
    level, widened = (_INTERVAL, "") if tried == 1 else ("interval", f", widened for the {tried} tried")
    difference = best.differences["nll"]
    nll = f"{_change(best, 'nll', level)}{widened})"
    if not difference.excludes_zero or difference.value >= 0:
        most = "changes nothing" if _changes_nothing(best) else f"changes it by {nll}"
        return f"Of {judged}, none lowers the NLL beyond chance; the best, {best.title}, {most}."
    likewise = ", likewise)" if widened else ")"
    ece = (
        f"the ECE by {_change(best, 'ece', level)}{likewise} points to "
        f"{AUDIT_COLUMN['ece'].text(best.metrics['ece'])}{PERCENT}"
    )
    right = best.differences["accuracy"]
    lost = right.value < 0 and not _is_zero(AUDIT_COLUMN["accuracy"].text(right.value))
    accuracy = f", and the accuracy by {_change(best, 'accuracy', level)}{likewise} points" if lost else ""
    return (
        f"Of {judged}, {best.title} mends it most: it changes the NLL by {nll} to "
        f"{AUDIT_COLUMN['nll'].text(best.metrics['nll'])},{' ' if lost else ' and '}{ece}{accuracy}."
    )


def _change(trial: CalibratorTrial, key: str, level: str) -> str:
    """A difference and its interval; the bracket is left open for what is to be said of the interval."""
    column, difference = AUDIT_COLUMN[key], trial.differences[key]
    return f"{column.text(difference.value)} ({level} {ends(difference, column)}"


def _changes_nothing(trial: CalibratorTrial) -> bool:
    """Whether every difference, and both ends of its interval, are zero to the decimals that are shown."""
    shown = (
        AUDIT_COLUMN[key].text(number)
        for key in TRIAL_METRICS
        for number in (trial.differences[key].value, trial.differences[key].low, trial.differences[key].high)
        if number is not None
    )
    return trial.changed == 0 and all(_is_zero(text) for text in shown)


def _cautions(audit: Audit) -> tuple[str, ...]:
    found: list[str] = []
    wrong = audit.rows - audit.right
    if audit.rows < _FEW_ROWS:
        tell = "tells" if audit.rows == 1 else "tell"
        limit = "there are no intervals of most numbers" if audit.chance is None else "intervals are wide"
        found.append(f"{_count(audit.rows, 'row')} {tell} little: {limit}, and what is not shown may be there.")
    if min(audit.right, wrong) < _FEW_EVENTS:
        kind, number = ("wrong", wrong) if wrong <= audit.right else ("right", audit.right)
        numbers = "NLL, Brier score and calibration errors cannot know of what did not happen"
        unknown = numbers if audit.chance is None else f"intervals of {numbers}, and are too narrow"
        found.append(
            f"{_count(number, 'row') if number else 'No row'} {'is' if number < 2 else 'are'} {kind}: {unknown}."
        )
    empty = [row for row in audit.classes if row.rows == 0]
    if empty:
        found.append(
            f"{len(empty)} of {len(audit.classes)} classes have no row ({_names(empty)}): nothing is known of them."
        )
    few = [row for row in audit.classes if 0 < row.rows < audit.slices.least_rows]
    if few and audit.rows >= _FEW_ROWS:
        found.append(
            f"{len(few)} of {len(audit.classes)} classes have fewer than {audit.slices.least_rows} rows "
            f"({_names(few)}): their lines in the table of classes are mostly chance."
        )
    if audit.rows > 1 and len({one.confidence for one in audit.reliability["mass"]}) == 1:
        found.append("All rows have the same confidence, so it tells nothing about which of them are right.")
    return tuple(found)


def _names(classes: list[ClassRow]) -> str:
    names = ", ".join(row.name for row in classes[:_NAMED])
    return names if len(classes) <= _NAMED else f"{names} and {len(classes) - _NAMED} more"


def _is_zero(text: str) -> bool:
    """Whether a number that is shown so is zero to its last decimal."""
    return text.strip("0.") == ""


def _size(gap: float) -> str:
    """Points with one decimal, or as many as it takes to see that they are not zero."""
    decimals = next((d for d in (1, 2, 3) if round(100 * gap, d)), 4)
    return fixed(100 * gap, decimals)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
