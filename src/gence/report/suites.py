"""The tables of one setting beside its results: by groups of classes, under shift, and out of distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gence.bench.records import Estimate, GroupRow, OODRow, Setting, ShiftRow, Summary
from gence.report.columns import COLUMN, fixed, spread
from gence.report.names import calibrator_label

_GROUPS = ("head", "medium", "tail")
_Row = TypeVar("_Row", GroupRow, ShiftRow, OODRow)


@dataclass(frozen=True)
class SuiteTable:
    """A table of numbers: what it shows, headings in two storeys, and a row a loss with more words and its cells."""

    title: str
    note: str
    heads: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    words: str
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Suites:
    """All such rows of a summary by setting, so that each setting finds its own at once."""

    groups: dict[Setting, list[GroupRow]]
    shifts: dict[Setting, list[ShiftRow]]
    ood: dict[Setting, list[OODRow]]


def suites(summary: Summary) -> Suites:
    """Sort the rows by setting."""
    return Suites(_by_setting(summary.groups), _by_setting(summary.shifts), _by_setting(summary.ood))


def suite_tables(found: Suites, setting: Setting) -> list[SuiteTable]:
    """The tables that a setting has rows for."""
    groups = found.groups.get(setting, [])
    tables = [
        _group_table([row for row in groups if row.group in _GROUPS]),
        *_class_tables([row for row in groups if row.group not in _GROUPS]),
        _shift_table(found.shifts.get(setting, [])),
        _ood_table(found.ood.get(setting, [])),
    ]
    return [table for table in tables if table is not None]


def _group_table(rows: Sequence[GroupRow]) -> SuiteTable | None:
    if not rows:
        return None
    sizes = {row.group: row.classes for row in rows}
    shown = [(name, sizes[name]) for name in _GROUPS if name in sizes]
    measures: tuple[tuple[str, Callable[[GroupRow], str]], ...] = (
        ("Accuracy %", lambda row: _share(row.accuracy)),
        ("NLL", lambda row: _plain(row.nll)),
        ("Conf. \u2212 acc. %", lambda row: _share(row.gap)),
    )
    by_name = {(row.loss, row.calibrator, row.group): row for row in rows}
    return SuiteTable(
        title="Head, medium and tail classes",
        note="Classes with many, some and few training rows. Accuracy is the mean over the classes of a group; "
        "confidence minus accuracy above zero is overconfident.",
        heads=tuple((f"{name} ({count} class{'' if count == 1 else 'es'})", len(measures)) for name, count in shown),
        columns=tuple(words for _ in shown for words, _ in measures),
        words="Calibrator",
        rows=tuple(
            (
                loss,
                calibrator_label(calibrator),
                tuple(
                    text(by_name[loss, calibrator, g]) if (loss, calibrator, g) in by_name else "\u2013"
                    for g, _ in shown
                    for _, text in measures
                ),
            )
            for loss, calibrator in dict.fromkeys((row.loss, row.calibrator) for row in rows)
        ),
    )


def _class_tables(rows: Sequence[GroupRow]) -> list[SuiteTable]:
    """Class by class under the first calibrator only: most calibrators leave the predictions as they are."""
    if not rows:
        return []
    calibrator = rows[0].calibrator if all(row.calibrator != "none" for row in rows) else "none"
    rows = [row for row in rows if row.calibrator == calibrator]
    classes = tuple(dict.fromkeys(row.group for row in rows))
    by_name = {(row.loss, row.group): row for row in rows}
    measures: tuple[tuple[str, str, Callable[[GroupRow], Estimate]], ...] = (
        ("Accuracy by class, %", "Share of the test rows of the class that were given it.", lambda row: row.accuracy),
        ("Confidence minus accuracy by class, %", "Above zero: overconfident on that class.", lambda row: row.gap),
    )
    return [
        SuiteTable(
            title=f"{title} ({calibrator_label(calibrator)})",
            note=note,
            heads=(),
            columns=tuple(name.removeprefix("class ") for name in classes),
            words="",
            rows=tuple(
                (
                    loss,
                    "",
                    tuple(
                        _share(value(by_name[loss, name]), short=True) if (loss, name) in by_name else "\u2013"
                        for name in classes
                    ),
                )
                for loss in dict.fromkeys(row.loss for row in rows)
            ),
        )
        for title, note, value in measures
    ]


def _shift_table(rows: Sequence[ShiftRow]) -> SuiteTable | None:
    if not rows:
        return None
    severities = sorted({row.severity for row in rows})
    metrics = [name for name in ("accuracy", "nll", "ece") if any(name in row.metrics for row in rows)]
    by_name = {(row.loss, row.calibrator, row.severity): row.metrics for row in rows}

    def text(loss: str, calibrator: str, severity: int, metric: str) -> str:
        estimate = by_name.get((loss, calibrator, severity), {}).get(metric)
        return "\u2013" if estimate is None else COLUMN[metric].text(estimate.mean)

    return SuiteTable(
        title="Under shift",
        note="Means over the shifts of the suite at each severity.",
        heads=tuple((COLUMN[metric].heading, len(severities)) for metric in metrics),
        columns=tuple(str(severity) for _ in metrics for severity in severities),
        words="Calibrator",
        rows=tuple(
            (
                loss,
                calibrator_label(calibrator),
                tuple(text(loss, calibrator, s, m) for m in metrics for s in severities),
            )
            for loss, calibrator in dict.fromkeys((row.loss, row.calibrator) for row in rows)
        ),
    )


def _ood_table(rows: Sequence[OODRow]) -> SuiteTable | None:
    """Area under the curve and false alarms on each set; a row a loss, calibrator and score."""
    if not rows:
        return None
    sets = tuple(dict.fromkeys(row.set_name for row in rows))
    measures = (("auroc", "AUROC %"), ("fpr95", "FPR95 %"))
    by_name = {(row.loss, row.calibrator, row.score, row.set_name): row.measures for row in rows}

    def text(place: tuple[str, str, str], name: str, measure: str) -> str:
        estimate = by_name.get((*place, name), {}).get(measure)
        return "\u2013" if estimate is None else _share(estimate)

    return SuiteTable(
        title="Out of distribution",
        note="How well a score tells rows of another set from the test rows: AUROC is better high, the false-positive "
        "rate at 95 % of them found (FPR95) is better low.",
        heads=tuple((name, len(measures)) for name in sets),
        columns=tuple(words for _ in sets for _, words in measures),
        words="Calibrator and score",
        rows=tuple(
            (
                place[0],
                f"{calibrator_label(place[1])}, {place[2]}",
                tuple(text(place, s, m) for s in sets for m, _ in measures),
            )
            for place in dict.fromkeys((row.loss, row.calibrator, row.score) for row in rows)
        ),
    )


def _by_setting(rows: Iterable[_Row]) -> dict[Setting, list[_Row]]:
    found: dict[Setting, list[_Row]] = {}
    for row in rows:
        found.setdefault(row.setting, []).append(row)
    return found


def _share(estimate: Estimate, *, short: bool = False) -> str:
    """A share in percent, with half its interval where there is room."""
    text = fixed(100 * estimate.mean, 1)
    half = "" if short else spread(estimate, COLUMN["accuracy"])
    return f"{text} \u00b1 {float(half):.1f}" if half else text


def _plain(estimate: Estimate) -> str:
    return fixed(estimate.mean, 3)
