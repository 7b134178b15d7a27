"""Files for papers and for other programs: LaTeX tables, the whole summary as CSV, and the charts as PDF and SVG."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gence._files import write_atomically
from gence.bench.records import Estimate, Setting, Standing, Study, Summary, SummaryRow
from gence.report.charts import Grid, efficiency
from gence.report.columns import COLUMN, COLUMNS, Column, change, p_value, spread
from gence.report.contrasts import heats
from gence.report.csv_files import write_rows
from gence.report.figures import line_drawing
from gence.report.mean_charts import trade_chart
from gence.report.names import (
    Family,
    calibrator_label,
    capital,
    counted,
    family,
    family_labels,
    looks,
    loss_label,
    place_labels,
    setting_labels,
    varied,
)
from gence.report.overview_figures import heat_drawing, ranks_drawing
from gence.report.standings import units

_SETTING = ("data", "regime", "model", "labels_per_class", "batch_size")
_ENDS = ("mean", "low", "high", "seeds")

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "\u2212": "$-$",
        "\u2013": "--",
        "\u00b1": r"$\pm$",
        "\u00a0": "~",
        "\n": " ",
    }
)


def write_tables(study: Study, summary: Summary, out: Path) -> tuple[Path, ...]:
    r"""Write `out/tables`: the summary as CSV files, and LaTeX tables of every metric and standing.

    A LaTeX table needs `\usepackage{booktabs}` and `\usepackage[T1]{fontenc}`. One a metric and, where there are
    several, family of settings: mean and half the width of its 95 % interval, the best of a column in bold.

    Args:
        study: The study; losses and calibrators are listed in its order.
        summary: What was made of it.
        out: The folder; it is made if it is not there.

    Returns:
        The files, each written whole or not at all.
    """
    folder = out / "tables"
    paths = _csv_files(summary, folder)
    order = list(dict.fromkeys([*(record.cell.loss for record in study.records), *(row.loss for row in summary.rows)]))
    ways = list(
        dict.fromkeys([*(name for r in study.records for name in r.results), *(r.calibrator for r in summary.rows)])
    )
    families = family_labels(row.setting for row in summary.rows)
    for column in COLUMNS:
        for one, label in families.items():
            rows = [row for row in summary.rows if family(row.setting) == one]
            name = column.key if len(families) == 1 else f"{column.key}-{_slug(one)}"
            text = _metric_table(rows, column, order, ways, label if len(families) > 1 else "")
            paths.append(_write(folder / f"{name}.tex", text))
    for standing in summary.standings:
        if standing.settings > 1 and standing.pooled:
            name = f"standing-{standing.metric}-{_slug([standing.calibrator])}.tex"
            paths.append(_write(folder / name, _standing_table(standing)))
    return tuple(paths)


def write_figures(summary: Summary, out: Path) -> tuple[Path, ...]:
    """Write `out/figures`: the charts of the page for a paper, each as PDF and SVG with a legend of its own.

    Heat maps of differences to cross-entropy, mean ranks, metrics against labels a class, and accuracy against
    calibration error and negative log-likelihood; those for which the summary has something to show.
    """
    folder = out / "figures"
    settings = list(dict.fromkeys(row.setting for row in summary.rows))
    losses = tuple(dict.fromkeys(row.loss for row in summary.rows))
    calibrators = tuple(dict.fromkeys(row.calibrator for row in summary.rows))
    calibrators = tuple(sorted(calibrators, key=lambda name: name != "none"))
    grid = Grid(losses, calibrators, tuple(settings), looks(losses), varied(settings), setting_labels(settings))
    paths: list[Path] = []
    for heat in heats(summary, settings):
        paths += heat_drawing(heat).save(folder / f"differences-{heat.metric}-{_slug([heat.calibrator])}")
    for standing in summary.standings:
        if standing.settings > 1 and len(standing.losses) > 1:
            name = f"ranks-{standing.metric}-{_slug([standing.calibrator])}"
            paths += ranks_drawing(standing, grid.looks).save(folder / name)
    for metric in ("accuracy", "nll", "ece"):
        for name, label, lines, places, axis in efficiency(summary, grid, metric, calibrators[0]) if settings else ():
            drawing = line_drawing(label, lines, places, axis, bands=True, legend=True)
            paths += drawing.save(folder / f"labels-{metric}-{_slug([name])}")
    for against in ("ece", "nll"):
        made = trade_chart(summary, grid, against, legend=True)
        if made is not None:
            paths += made[0].save(folder / f"accuracy-against-{against}")
    return tuple(paths)


def latex(text: str) -> str:
    r"""Text as LaTeX shows it.

    >>> latex("a_b & 50%")
    'a\\_b \\& 50\\%'
    """
    return text.translate(_LATEX)


def _csv_files(summary: Summary, folder: Path) -> list[Path]:
    contrast = ("p_t", "p_wilcoxon", "p_holm", "p_study", "outcome", "detectable")
    return [
        write_rows(
            folder / "summary.csv",
            [*_SETTING, "loss", "calibrator", "metric", *_ENDS],
            (
                [*_setting(row.setting), row.loss, row.calibrator, metric, *_numbers(estimate)]
                for row in summary.rows
                for metric, estimate in (row.metrics | {"seconds": row.seconds}).items()
            ),
        ),
        write_rows(
            folder / "contrasts.csv",
            [*_SETTING, "loss", "calibrator", "metric", *_ENDS, *contrast],
            (
                [
                    *_setting(one.setting),
                    one.loss,
                    one.calibrator,
                    one.metric,
                    *_numbers(one.estimate),
                    *(getattr(one, name) for name in contrast),
                ]
                for one in summary.contrasts
            ),
        ),
        *_standing_files(summary, folder),
        *_suite_files(summary, folder),
    ]


def _standing_files(summary: Summary, folder: Path) -> list[Path]:
    pooled = ("p_wilcoxon", "p_holm", "wins", "ties", "losses", "detectable")
    tested = ("friedman_p", "critical_difference")
    return [
        write_rows(
            folder / "ranks.csv",
            ["metric", "calibrator", "loss", "mean_rank", "settings", *tested],
            (
                [one.metric, one.calibrator, loss, rank, one.settings, *(getattr(one, name) for name in tested)]
                for one in summary.standings
                for loss, rank in zip(one.losses, one.ranks, strict=True)
            ),
        ),
        write_rows(
            folder / "pooled.csv",
            ["metric", "calibrator", "loss", "mean", "low", "high", "units", *pooled],
            (
                [
                    one.metric,
                    one.calibrator,
                    row.loss,
                    *_numbers(row.estimate),
                    *(getattr(row, name) for name in pooled),
                ]
                for one in summary.standings
                for row in one.pooled
            ),
        ),
        write_rows(
            folder / "wins.csv",
            ["metric", "calibrator", "loss", "against", "wins", "ties", "losses"],
            (
                [one.metric, one.calibrator, first, second, *counts]
                for one in summary.standings
                for first, row in zip(one.losses, one.matrix, strict=True)
                for second, counts in zip(one.losses, row, strict=True)
                if first != second
            ),
        ),
    ]


def _suite_files(summary: Summary, folder: Path) -> list[Path]:
    place = [*_SETTING, "loss", "calibrator"]
    files = (
        (
            "groups.csv",
            [*place, "group", "classes", "metric", *_ENDS],
            [
                [*_setting(row.setting), row.loss, row.calibrator, row.group, row.classes, name, *_numbers(found)]
                for row in summary.groups
                for name, found in (("accuracy", row.accuracy), ("nll", row.nll), ("gap", row.gap))
            ],
        ),
        (
            "shifts.csv",
            [*place, "severity", "metric", *_ENDS],
            [
                [*_setting(row.setting), row.loss, row.calibrator, row.severity, name, *_numbers(found)]
                for row in summary.shifts
                for name, found in row.metrics.items()
            ],
        ),
        (
            "ood.csv",
            [*place, "set", "score", "measure", *_ENDS],
            [
                [*_setting(row.setting), row.loss, row.calibrator, row.set_name, row.score, name, *_numbers(found)]
                for row in summary.ood
                for name, found in row.measures.items()
            ],
        ),
    )
    return [write_rows(folder / name, header, rows) for name, header, rows in files if rows]


def _metric_table(
    rows: Sequence[SummaryRow], column: Column, losses: Sequence[str], calibrators: Sequence[str], where: str
) -> str:
    """Losses down, settings across, calibrators one block after the other; the best of a column in bold."""
    settings = list(dict.fromkeys(row.setting for row in rows))
    by_name = {(row.loss, row.calibrator, row.setting): row for row in rows}
    best = {setting: _best([row for row in rows if row.setting == setting], column) for setting in settings}
    labels = place_labels(settings)
    caption = f"{column.heading}{f' on {where}' if where else ''}: mean over seeds and half of its 95 % interval."
    lines = [
        f"% {caption} Best of a column in bold. Needs booktabs.".replace("\n", " "),
        rf"\begin{{tabular}}{{l{'r' * len(settings)}}}",
        r"\toprule",
        " & ".join(["", *(latex(labels[setting]) for setting in settings)]) + r" \\",
    ]
    for calibrator in [name for name in calibrators if any(row.calibrator == name for row in rows)]:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{len(settings) + 1}}}{{l}}{{\emph{{{latex(capital(calibrator_label(calibrator)))}}}}} \\",
        ]
        for loss in losses:
            found = [by_name.get((loss, calibrator, setting)) for setting in settings]
            if any(found):
                cells = (_cell(row, column, best[setting]) for row, setting in zip(found, settings, strict=True))
                lines.append(" & ".join([latex(loss_label(loss)), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(row: SummaryRow | None, column: Column, best: str | None) -> str:
    estimate = None if row is None else column.estimate(row)
    if estimate is None:
        return "--"
    text, half = column.text(estimate.mean), spread(estimate, column)
    shown = rf"\textbf{{{latex(text)}}}" if text == best else latex(text)
    return rf"{shown} {{\scriptsize$\pm${half}}}" if half else shown


def _best(rows: Iterable[SummaryRow], column: Column) -> str | None:
    means = [estimate.mean for row in rows if (estimate := column.estimate(row)) is not None]
    return column.text(max(means) if column.higher_is_better else min(means)) if means else None


def _standing_table(standing: Standing) -> str:
    """Mean rank, wins and the pooled difference of every loss; bold where it is more than chance."""
    column, by_loss = COLUMN[standing.metric], {one.loss: one for one in standing.pooled}
    over = units(standing.pooled[0], standing)
    lines = [
        f"% {column.heading}, {calibrator_label(standing.calibrator)}, over {counted(standing.settings, 'setting')}; "
        f"differences to cross-entropy pooled over {over}, bold where p <= 0.05 after Holm over the losses. "
        "Win/tie/loss counts settings one by one: a description, no test of the study. Needs booktabs.".replace(
            "\n", " "
        ),
        r"\begin{tabular}{lrrrr}",
        r"\toprule",
        r"Loss & Mean rank & Win/tie/loss & Difference (95\,\% interval) & $p$ (Holm) \\",
        r"\midrule",
    ]
    for loss, rank in zip(standing.losses, standing.ranks, strict=True):
        one = by_loss.get(loss)
        cells = [latex(loss_label(loss)), f"{rank:.2f}", "--", "--", "--"]
        if one is not None:
            low, high = one.estimate.low, one.estimate.high
            text = latex(change(one.estimate.mean, column))
            sure = one.p_holm is not None and one.p_holm <= 0.05
            ends = (
                "" if low is None or high is None else f" ({latex(change(low, column))}, {latex(change(high, column))})"
            )
            cells[2:] = [
                f"{one.wins}/{one.ties}/{one.losses}",
                (rf"\textbf{{{text}}}" if sure else text) + ends,
                latex(p_value(one.p_holm)),
            ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _setting(setting: Setting) -> list[Any]:
    return [getattr(setting, name) for name in _SETTING]


def _numbers(estimate: Estimate) -> list[Any]:
    return [estimate.mean, estimate.low, estimate.high, estimate.seeds]


def _slug(names: Family | Sequence[str]) -> str:
    """Names as part of a file name."""
    return "-".join(re.sub(r"[^\w.=+-]+", "-", name) for name in names if name not in ("", "none")) or "none"


def _write(path: Path, text: str) -> Path:
    write_atomically(path, text.encode())
    return path
