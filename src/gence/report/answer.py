"""The answer in words: who wins, by how much, and whether the difference is real."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gence.bench.records import Answer, Contrast, Difference, Setting, Study, Summary, SummaryRow
from gence.report.columns import COLUMN, PERCENT, fixed, p_value
from gence.report.names import BASELINE, combination_label, counted, headline, listed, loss_label, setting_labels
from gence.report.standings import (
    most_common_calibrator,
    pooled_sentence,
    power_sentence,
    ranking_sentence,
    standing_of,
    study_sentence,
    units,
    winners_sentence,
)

MANY = 8
"""With more settings than this, the answer speaks of all of them together."""

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
    several = len(summary.answers) > 1
    return [
        _verdict(one, labels[one.setting], _tested(summary, one) if several else None, several=several)
        for one in summary.answers
    ]


def _tested(summary: Summary, answer: Answer) -> Contrast | None:
    """The winner against cross-entropy under the same calibrator, in NLL."""
    mine = (answer.setting, answer.best.loss, answer.best.calibrator, "nll")
    found = (one for one in summary.contrasts if (one.setting, one.loss, one.calibrator, one.metric) == mine)
    return next(found, None)


def _verdict(answer: Answer, setting: str, tested: Contrast | None, *, several: bool) -> Verdict:
    best = answer.best
    return Verdict(
        setting=setting,
        winner=headline(best.loss, best.calibrator),
        sentences=(_against_baseline(answer, setting), _against_next(answer, several=several) + _over_all(tested)),
        line=_line(answer),
    )


def answer_lines(summary: Summary) -> tuple[str, ...]:
    """For a terminal: one line a setting; where there are many, a few about all of them."""
    if len(summary.answers) > MANY:
        return overview(summary)
    return (*(f"{one.setting}: {one.line}" for one in verdicts(summary)), *closing(summary))


def closing(summary: Summary) -> tuple[str, ...]:
    """What a few settings show when they are tested together, and what so many seeds could have found."""
    calibrator = most_common_calibrator(summary) or "none"
    mine = [one for one in summary.contrasts if (one.metric, one.calibrator) == ("accuracy", calibrator)]
    together = study_sentence(summary, calibrator) if len(summary.answers) > 1 else ""
    return tuple(sentence for sentence in (together, power_sentence(mine)) if sentence)


def overview(summary: Summary) -> tuple[str, ...]:
    """What the study says over all its settings, in a few sentences: who wins how often, and what is more than chance.

    Ranks and pooled differences are those in NLL under the calibrator that wins most often.
    """
    calibrator = most_common_calibrator(summary) or "none"
    standing = standing_of(summary, "nll", calibrator)
    sentences = [winners_sentence(summary), study_sentence(summary, calibrator)]
    if standing is not None and standing.settings > 1 and len(standing.losses) > 1:
        sentences += [ranking_sentence(standing), pooled_sentence(standing)]
    mine = [one for one in summary.contrasts if (one.metric, one.calibrator) == ("accuracy", calibrator)]
    sentences.append(power_sentence(mine))
    return tuple(sentence for sentence in sentences if sentence)


def small_print(summary: Summary, study: Study) -> tuple[str, ...]:
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
        if len(summary.answers) > 1:
            lines.append(
                "Each of these intervals is for its own setting and not widened for the number of settings; what is "
                "called more than chance here is so after Holm's correction over the losses and all settings."
            )
    if any(d.excludes_zero is None for d in differences):
        lines.append("With one seed no interval can be given: run more seeds before you act on a difference.")
    if differences:
        lines.append(
            "They speak of other seeds on these same rows; another sample of rows could move every number further."
        )
    pooled = [one for standing in summary.standings if standing.settings > 1 for one in standing.pooled]
    if pooled:
        lines.append(
            f"Pooled differences weigh every data set alike; their intervals speak of {_units(summary)}, and tests "
            "against cross-entropy are corrected for the number of losses (Holm). Wins, ties and losses are counted "
            "setting by setting: they describe, and claim nothing for the study."
        )
    if study.records:
        lines.append(_how_tuned(study))
        if _shares_tunings(study):
            lines.append(
                "One tuning serves all seeds, so no interval or test holds its luck: what they call more than chance "
                "is so of the recipes that were found, and not yet of the losses. each_seed = true tunes every seed."
            )
    if differences:
        lines.append(
            "The winner was picked on the test rows that it is reported on, so its own numbers flatter it a little."
        )
    return tuple(lines)


def _units(summary: Summary) -> str:
    """What other cases a pooled interval speaks of."""
    found = {units(one, standing).split()[-1] for standing in summary.standings for one in standing.pooled}
    return "other data sets like these" if found <= {"set", "sets"} else "other settings on these same data sets"


def _shares_tunings(study: Study) -> bool:
    """Whether several seeds of a loss at a setting have their recipe from one tuning."""
    keys = [record.tuning.key for record in study.records if record.tuning is not None]
    return len(set(keys)) < len(keys)


def _judged_by(metric: str) -> str:
    return "balanced NLL" if metric == "balanced_nll" else COLUMN[metric].heading.removesuffix(" %")


def _how_tuned(study: Study) -> str:
    """Whether the losses were tuned, with how much, and by what."""
    losses = list(dict.fromkeys(record.cell.loss for record in study.records))
    tuned = [record for record in study.records if record.tuning is not None]
    names = list(dict.fromkeys(record.cell.loss for record in tuned))
    if not names:
        given = "the settings that the spec gives it" if any(":" in loss for loss in losses) else "its default settings"
        return f"Every loss ran at {given}, untuned; a comparison in which each loss is tuned may end differently."
    tries = sorted({len(record.tuning.tried) for record in tuned if record.tuning})
    metrics = listed(sorted({_judged_by(record.tuning.metric) for record in tuned if record.tuning}))
    number = counted(tries[0], "trial") if len(tries) == 1 else f"{tries[0]} to {tries[-1]} trials"
    how = f"at each setting, by {metrics} on validation rows cut from the training rows"
    untuned = [loss_label(loss) for loss in losses if loss not in names]
    if not untuned and len(tuned) == len(study.records):
        budget = "with the same budget of" if len(tries) == 1 else "with"
        return f"Every loss was tuned {budget} {number} {how}; what was tried is in tuning.csv."
    rest = f"{listed(untuned)} ran untuned" if untuned else "some of their trials ran untuned"
    ours = listed([loss_label(name) for name in names])
    return f"{ours}: tuned with {number} {how}; {rest}, so this is no fair comparison."


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


def _against_next(answer: Answer, *, several: bool) -> str:
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
    if several:
        return f"{start}the interval excludes zero, looked at by itself; of many settings some do so by luck."
    return f"{start}the interval excludes zero: between these two it is more than chance among seeds."


def _over_all(tested: Contrast | None) -> str:
    """What the winner's loss has over cross-entropy once every other setting is tested with it; may be empty."""
    if tested is None or tested.p_study is None:
        return ""
    verb = "is more than chance" if tested.p_study <= 0.05 else "is not shown to be more than chance"
    return (
        f" Under the same calibrator, its difference to cross-entropy {verb} when all settings are tested together "
        f"(p {p_value(tested.p_study)} after Holm)."
    )


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
