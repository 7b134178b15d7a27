"""How the losses stand over many settings, in words and tables: ranks, wins and losses, pooled differences, power."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from gence.bench.records import Contrast, Pooled, Setting, Standing, Summary
from gence.report.columns import COLUMN, change, p_value, unit, within
from gence.report.names import calibrator_label, capital, counted, listed, loss_label


@dataclass(frozen=True)
class PooledRow:
    """A loss against cross-entropy over all settings, as the page's table shows it."""

    loss: str
    difference: str
    interval: str
    p: str
    p_holm: str
    record: str
    detectable: str
    sure: bool


def standing_of(summary: Summary, metric: str, calibrator: str) -> Standing | None:
    """The standing in a metric under a calibrator, if there is one."""
    return next((one for one in summary.standings if (one.metric, one.calibrator) == (metric, calibrator)), None)


def units(pooled: Pooled, standing: Standing) -> str:
    """What the pooled interval speaks of: so many settings, or so many data sets."""
    return counted(pooled.estimate.seeds, "setting" if pooled.estimate.seeds == standing.settings else "data set")


def pooled_rows(standing: Standing) -> list[PooledRow]:
    """A row a loss, best mean rank first."""
    column = COLUMN[standing.metric]
    by_loss = {one.loss: one for one in standing.pooled}
    rows: list[PooledRow] = []
    for loss in standing.losses:
        one = by_loss.get(loss)
        if one is None:
            continue
        low, high = one.estimate.low, one.estimate.high
        rows.append(
            PooledRow(
                loss=loss,
                difference=change(one.estimate.mean, column),
                interval="\u2013"
                if low is None or high is None
                else f"{change(low, column)} to {change(high, column)}",
                p=p_value(one.p_wilcoxon),
                p_holm=p_value(one.p_holm),
                record=f"{one.wins} / {one.ties} / {one.losses}",
                detectable="\u2013" if one.detectable is None else column.text(one.detectable),
                sure=one.p_holm is not None and one.p_holm <= 0.05,
            )
        )
    return rows


def ranking_sentence(standing: Standing) -> str:
    """Who leads in mean rank, and whom that does not tell apart."""
    metric = measure(standing.metric)
    start = f"By mean rank in {metric} {_under(standing.calibrator)} over {counted(standing.settings, 'setting')}, "
    first = standing.losses[0]
    ranked = [f"{loss_label(one)} ({rank:.1f})" for one, rank in zip(standing.losses, standing.ranks, strict=True)]
    start += f"{ranked[0]} comes before {listed(ranked[1:3])}" if len(ranked) > 1 else ranked[0]
    start += f" and {counted(len(ranked) - 3, 'other')}" if len(ranked) > 3 else ""
    if standing.friedman_p is None:
        return f"{start}; too few settings to test that."
    if standing.friedman_p > 0.05:
        return f"{start}; Friedman's test does not show that the losses differ (p {p_value(standing.friedman_p)})."
    group = next((clique for clique in standing.cliques if first in clique and len(clique) > 1), None)
    if group is None:
        return f"{start}; no other loss is within the critical difference of it."
    others = [loss_label(one) for one in group if one != first]
    shown = listed(others if len(others) < 5 else [*others[:3], f"{len(others) - 3} more"])
    return f"{start}; {shown} cannot be told apart from it."


def pooled_sentence(standing: Standing) -> str:
    """The leader against cross-entropy over all settings; empty where there is nothing to say."""
    first = next((loss for loss in standing.losses if loss != "ce"), None)
    pooled = next((one for one in standing.pooled if one.loss == first), None)
    if first is None or pooled is None:
        return ""
    column = COLUMN[standing.metric]
    low, high = pooled.estimate.low, pooled.estimate.high
    zero = "" if low is None or high is None else f", which {'in' if low <= 0 <= high else 'ex'}cludes zero"
    over = f"over {units(pooled, standing)}"
    difference = f"{within(pooled.estimate, column).removesuffix(')')} {over}{zero})"
    p = "" if pooled.p_holm is None else f", p {p_value(pooled.p_holm)} after Holm"
    return (
        f"Against cross-entropy {_under(standing.calibrator)}, {loss_label(first)} is, setting by setting, "
        f"better in {pooled.wins}, worse in {pooled.losses} and not told apart in {counted(pooled.ties, 'setting')}; "
        f"pooled, the difference in {measure(standing.metric)} is {difference}{p}."
    )


def power_sentence(contrasts: Sequence[Contrast]) -> str:
    """What so many seeds could have found, of one metric under one calibrator; empty with one seed."""
    found = [one.detectable for one in contrasts if one.detectable is not None]
    if not found:
        return ""
    column = COLUMN[contrasts[0].metric]
    seeds = sorted({one.estimate.seeds for one in contrasts if one.detectable is not None})
    number = counted(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    many = len({one.setting for one in contrasts}) > 1
    middle, least, most = (column.text(value) for value in (statistics.median(found), min(found), max(found)))
    over = "losses and settings" if many else "losses"
    spread = f" (the median over {over}; {least} to {most})" if least != most else ""
    return (
        f"These {number} could have found a true difference of {middle}{unit(column)} of {measure(column.key)} to "
        f"cross-entropy{' at a setting' if many else ''} in 80 of 100 such studies{spread}; what is smaller they would "
        "mostly miss."
    )


def matrix_texts(standing: Standing) -> list[tuple[str, list[str]]]:
    """Wins, ties and losses of every loss against every other, as text; empty against itself."""
    return [
        (loss, ["" if i == j else "/".join(str(n) for n in counts) for j, counts in enumerate(row)])
        for i, (loss, row) in enumerate(zip(standing.losses, standing.matrix, strict=True))
    ]


def measure(metric: str) -> str:
    """A metric in a sentence.

    >>> measure("nll"), measure("balanced_accuracy"), measure("ece")
    ('NLL', 'balanced accuracy', 'ECE')
    """
    words = COLUMN[metric].heading.partition(" %")[0]
    return words if words.isupper() or metric == "brier" else words[0].lower() + words[1:]


def winners_sentence(summary: Summary) -> str:
    """How often which loss, and which calibrator, has the lowest test NLL."""
    answers = summary.answers
    losses, calibrators = (
        _tally(names) for names in ([a.best.loss for a in answers], [a.best.calibrator for a in answers])
    )
    parts = [f"{loss_label(name)} in {count}" for name, count in losses[:4]]
    rest = sum(count for _, count in losses[4:])
    if rest:
        parts.append(f"{counted(len(losses) - 4, 'other loss')} in {rest}")
    ways = [f"{calibrator_label(name)} in {count}" for name, count in calibrators[:3]]
    return (
        f"The lowest test NLL of {counted(len(answers), 'setting')} is reached by {listed(parts)}; "
        f"by calibrator, {listed(ways)}."
    )


def study_sentence(summary: Summary, calibrator: str) -> str:
    """How many differences to cross-entropy in NLL are more than chance when all settings are tested together."""
    tested = [one for one in summary.contrasts if (one.metric, one.calibrator) == ("nll", calibrator)]
    tested = [one for one in tested if one.p_study is not None]
    if not tested:
        return ""
    real = [one for one in tested if one.p_study is not None and one.p_study <= 0.05]
    better = sum(one.estimate.mean < 0 for one in real)
    split = f": {better} better, {len(real) - better} worse" if real else ""
    count = f"{len(real) or 'none'} of {counted(len(tested), 'difference')}"
    return (
        f"Tested together (Holm over the losses and all settings), {count} in NLL to cross-entropy "
        f"{_under(calibrator)} {'is' if len(real) < 2 else 'are'} more than chance{split}."
    )


def most_common_calibrator(summary: Summary) -> str | None:
    """The calibrator that wins most often."""
    tally = _tally([answer.best.calibrator for answer in summary.answers])
    return tally[0][0] if tally else None


def headline_of(summary: Summary) -> str:
    """The loss that wins most often, or those that share that place, as the headline of a study of many settings."""
    tally = _tally([answer.best.loss for answer in summary.answers])
    most = tally[0][1]
    leading = [loss_label(name) for name, count in tally if count == most]
    each = " each" if len(leading) > 1 else ""
    return f"{capital(listed(leading))}, in {most} of {len(summary.answers)}{each}"


def scope(settings: Sequence[Setting]) -> str:
    """What settings run over, as in "5 data sets, 2 models and 5 numbers of labels"."""
    axes = (
        ("data", "data set"),
        ("regime", "regime"),
        ("model", "model"),
        ("labels_per_class", "number of labels"),
        ("batch_size", "batch size"),
    )
    parts: list[str] = []
    for name, noun in axes:
        count = len({getattr(setting, name) for setting in settings})
        if count > 1:
            parts.append(f"{count} numbers of labels" if name == "labels_per_class" else counted(count, noun))
    return listed(parts)


def _tally(names: Sequence[str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return sorted(counts.items(), key=lambda item: -item[1])


def _under(calibrator: str) -> str:
    return "without calibrator" if calibrator == "none" else f"with {calibrator_label(calibrator)}"
