"""Where a number comes from: the records behind it, what each of them measured, and what is made of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from gence.bench.records import Contrast, Estimate, Setting, Summary, TrialRecord
from gence.report.columns import COLUMN, PERCENT, change, spread, unit
from gence.report.names import BASELINE

_Cell = tuple[Setting, str, str]
_Table = list[tuple[str, list[str]]]
_NONE = "\u2013"


def trace_lines(
    picked: Sequence[tuple[TrialRecord, str]], summary: Summary, metrics: Sequence[str], files: Mapping[str, Path]
) -> list[str]:
    """Every cell of those records: setting, loss and calibrator; its numbers seed by seed, and the file of each.

    Numbers have all their digits, as in results.csv and in the CSV files of `tables/`. "in tables" is what the page and
    the LaTeX tables show: the mean with half of the width of its 95 % interval (Student's t). A dash stands where there
    is none: of one seed no interval, of a metric outside `CONTRASTED` or a loss without seeds of cross-entropy's no
    difference.

    Args:
        picked: Records, each with the calibrator that is asked about.
        summary: Of the study that they belong to, all its seeds or the one asked about.
        metrics: To be shown, of `METRICS`.
        files: Key of a record -> the file that it was read from.
    """
    cells: dict[_Cell, list[TrialRecord]] = {}
    for record, calibrator in picked:
        cells.setdefault((record.cell.setting, record.cell.loss, calibrator), []).append(record)
    estimates = {(row.setting, row.loss, row.calibrator): row.metrics for row in summary.rows}
    contrasts: dict[_Cell, dict[str, Contrast]] = {}
    for one in summary.contrasts:
        contrasts.setdefault((one.setting, one.loss, one.calibrator), {})[one.metric] = one
    lines: list[str] = []
    for cell, records in cells.items():
        records.sort(key=lambda record: record.cell.seed)
        lines += [*([""] if lines else []), _title(cell)]
        lines += _laid_out(
            [
                ("", list(metrics)),
                *_measured(records, cell[2], metrics),
                *_means(records, cell[2], estimates[cell], metrics),
                *_against_baseline(cell, contrasts.get(cell, {}), metrics),
            ]
        )
        lines += [_source(record, files) for record in records]
    return lines


def _title(cell: _Cell) -> str:
    setting, loss, calibrator = cell
    return (
        f"data={setting.data} regime={setting.regime} model={setting.model} loss={loss} "
        f"labels_per_class={setting.labels_per_class} batch_size={setting.batch_size} calibrator={calibrator}"
    )


def _measured(records: Sequence[TrialRecord], calibrator: str, metrics: Sequence[str]) -> _Table:
    return [
        (f"seed {record.cell.seed}", [repr(record.results[calibrator].metrics[name]) for name in metrics])
        for record in records
    ]


def _means(
    records: Sequence[TrialRecord], calibrator: str, found: Mapping[str, Estimate], metrics: Sequence[str]
) -> _Table:
    values = [[record.results[calibrator].metrics[name] for record in records] for name in metrics]
    return [
        ("mean", [repr(found[name].mean) for name in metrics]),
        ("sd", [repr(statistics.stdev(one)) if len(one) > 1 else _NONE for one in values]),
        ("n", [str(found[name].seeds) for name in metrics]),
        ("half width", [_half_width(found[name]) for name in metrics]),
        ("in tables", [_in_tables(found[name], name) for name in metrics]),
    ]


def _half_width(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return _NONE
    return repr((estimate.high - estimate.low) / 2)


def _in_tables(estimate: Estimate, metric: str) -> str:
    column = COLUMN[metric]
    half = spread(estimate, column)
    ends = f" \u00b1 {half}" if half else ""
    return f"{column.text(estimate.mean)}{ends}{PERCENT if column.factor == 100 else ''}"


def _against_baseline(cell: _Cell, found: Mapping[str, Contrast], metrics: Sequence[str]) -> _Table:
    """The paired difference to cross-entropy under the same calibrator, if it is another loss."""
    if cell[1] == BASELINE[0]:
        return []

    def row(label: str, texts: Mapping[str, str]) -> tuple[str, list[str]]:
        return label, [texts.get(name, _NONE) for name in metrics]

    if not any(name in found for name in metrics):
        return [row(f"minus {BASELINE[0]}", {})]
    return [
        row(f"minus {BASELINE[0]}", {name: repr(one.estimate.mean) for name, one in found.items()}),
        row("  low", {name: _number(one.estimate.low) for name, one in found.items()}),
        row("  high", {name: _number(one.estimate.high) for name, one in found.items()}),
        row("  n", {name: str(one.estimate.seeds) for name, one in found.items()}),
        row("  p", {name: _number(one.p_t) for name, one in found.items()}),
        row("  p, Holm", {name: _number(one.p_holm) for name, one in found.items()}),
        row("  p, study", {name: _number(one.p_study) for name, one in found.items()}),
        row("  in tables", {name: _change(one) for name, one in found.items()}),
    ]


def _change(contrast: Contrast) -> str:
    column = COLUMN[contrast.metric]
    return f"{change(contrast.estimate.mean, column)}{unit(column)}"


def _number(value: float | None) -> str:
    return _NONE if value is None else repr(value)


def _source(record: TrialRecord, files: Mapping[str, Path]) -> str:
    versions = ", ".join(f"{name} {record.environment.get(name, 'not known')}" for name in ("gence", "torch"))
    return f"seed {record.cell.seed}: {files[record.key]}, finished {record.finished_at}, {versions}"


def _laid_out(table: _Table) -> list[str]:
    first = max(len(label) for label, _ in table)
    widths = [max(map(len, column)) for column in zip(*(texts for _, texts in table), strict=True)]
    return [
        f"{label:<{first}}  {'  '.join(f'{text:<{width}}' for text, width in zip(texts, widths, strict=True))}".rstrip()
        for label, texts in table
    ]
