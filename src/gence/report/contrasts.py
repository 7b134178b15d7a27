"""Every loss against cross-entropy at every setting: the heat map, as a table of words and levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gence.bench.records import Contrast, Setting, Summary
from gence.report.columns import COLUMN, change, p_value, unit, within
from gence.report.names import family, family_labels, loss_label, place_labels, setting_labels

LEVELS = 4


@dataclass(frozen=True)
class HeatCell:
    """A difference to cross-entropy as shown: how strong its colour is, and whether it is more than chance.

    `sure` rests on the p over all settings: of many cells looked at together, some pass a test of their own by luck.
    """

    text: str
    title: str
    level: int
    better: bool
    sure: bool


@dataclass(frozen=True)
class HeatRow:
    """A setting, by its number on the page and its words; with no cells and no number, the head of its family."""

    label: str
    number: int | None
    cells: tuple[HeatCell | None, ...]


@dataclass(frozen=True)
class Heat:
    """The differences in one metric under one calibrator: a row a setting, a column a loss."""

    metric: str
    calibrator: str
    losses: tuple[str, ...]
    rows: tuple[HeatRow, ...]


@dataclass(frozen=True)
class Place:
    """What a contrast stands at: its metric and calibrator."""

    metric: str
    calibrator: str


def heats(summary: Summary, settings: Sequence[Setting]) -> list[Heat]:
    """A heat map for each metric and calibrator that losses were compared in."""
    found: dict[Place, list[Contrast]] = {}
    for contrast in summary.contrasts:
        found.setdefault(Place(contrast.metric, contrast.calibrator), []).append(contrast)
    return [_heat(place, contrasts, settings) for place, contrasts in found.items()]


def _heat(place: Place, contrasts: Sequence[Contrast], settings: Sequence[Setting]) -> Heat:
    column = COLUMN[place.metric]
    losses = tuple(dict.fromkeys(contrast.loss for contrast in contrasts))
    sizes = sorted(abs(contrast.estimate.mean) for contrast in contrasts)
    # A single runaway must not turn all other cells pale.
    strongest = sizes[math.ceil(0.9 * len(sizes)) - 1] or sizes[-1] or 1.0
    long = setting_labels(settings)
    cells: dict[tuple[Setting, str], HeatCell] = {}
    for contrast in contrasts:
        mean = contrast.estimate.mean
        cells[contrast.setting, contrast.loss] = HeatCell(
            text=change(mean, column, 1 if column.factor == 100 else 3),
            title=_title(contrast, long[contrast.setting]),
            level=min(LEVELS, math.ceil(LEVELS * abs(mean) / strongest)),
            better=(mean > 0) == column.higher_is_better,
            sure=contrast.p_study is not None and contrast.p_study <= 0.05,
        )
    families, short = family_labels(settings), place_labels(settings)
    rows: list[HeatRow] = []
    last = None
    for number, setting in enumerate(settings):
        if len(families) > 1 and family(setting) != last:
            rows.append(HeatRow(families[family(setting)], None, ()))
        last = family(setting)
        rows.append(HeatRow(short[setting], number, tuple(cells.get((setting, loss)) for loss in losses)))
    return Heat(place.metric, place.calibrator, losses, tuple(rows))


def _title(contrast: Contrast, setting: str) -> str:
    column = COLUMN[contrast.metric]
    words = f"{loss_label(contrast.loss)}, {setting}: {within(contrast.estimate, column)}"
    words += f", {contrast.estimate.seeds} seeds" if contrast.estimate.seeds > 1 else ", 1 seed"
    if contrast.p_t is not None:
        words += f"; p {p_value(contrast.p_t)}, after Holm at this setting {p_value(contrast.p_holm)}"
    if contrast.p_study is not None:
        words += f", over all settings {p_value(contrast.p_study)}"
    if contrast.detectable is not None:
        words += f"; could have found {column.text(contrast.detectable)}{unit(column)}"
    return words
