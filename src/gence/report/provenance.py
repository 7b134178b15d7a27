"""Where the numbers come from: spec, rows, versions, hardware, seeds and dates, gathered from the records."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gence.bench.records import Setting, Study, TrialRecord
from gence.report.names import (
    budget_label,
    calibrator_label,
    counted,
    family,
    family_labels,
    loss_label,
    setting_labels,
)

Pairs = list[tuple[str, str]]
"""A table of two columns: a name and its value."""

_SHOWN_CLASSES = 40
_SHOWN_LINES = 30
_SHOWN_VALUES = 12


@dataclass(frozen=True)
class Classes:
    """The classes of a data set by name, and how many more there are; `data` is empty where there is one set only."""

    data: str
    names: list[str]
    more: int


@dataclass(frozen=True)
class Provenance:
    """What the last section of the page shows; every field may be empty, as a record may hold less than hoped."""

    notes: list[str]
    fits: list[str]
    classes: list[Classes]
    rows: Pairs
    specs: list[tuple[str, Pairs]]
    training: Pairs
    environment: Pairs
    run: Pairs
    commands: list[str]


def provenance(study: Study) -> Provenance:
    """Gather it. Where trials differ in a value, all its values are shown."""
    records = study.records
    specs = _specs(study.spec)
    return Provenance(
        notes=_some(_notes(records)),
        fits=_some(_fits(records)),
        classes=_classes(records),
        rows=_by_budget(records),
        specs=[(f"Spec of {folder}" if folder else "Spec", _flat(spec)) for folder, spec in specs],
        training=_distinct(
            {key: value for key, value in record.training.items() if key != "cautions"} for record in records
        ),
        environment=_distinct(record.environment for record in records),
        run=_run(study),
        commands=[command for _, spec in specs if (command := _command(spec.get("command")))],
    )


def _specs(spec: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The spec, or those of the studies that were joined with their folders."""
    joined = [_mapping(one) for one in items(spec.get("joined"))]
    found = [(str(one.get("folder", "")), _mapping(one.get("spec"))) for one in joined if one]
    return [(folder, inner) for folder, inner in found if inner is not None] or [("", spec)]


def _classes(records: Sequence[TrialRecord]) -> list[Classes]:
    sets = {record.cell.data: record.data for record in reversed(records)}
    found: list[Classes] = []
    for name in dict.fromkeys(record.cell.data for record in records):
        classes = [str(one) for one in items(sets[name].get("class_names"))]
        if classes:
            shown = name if len(sets) > 1 else ""
            found.append(Classes(shown, classes[:_SHOWN_CLASSES], max(len(classes) - _SHOWN_CLASSES, 0)))
    return found


def _some(lines: list[str]) -> list[str]:
    """As many lines as somebody will read, and how many more there are."""
    more = len(lines) - _SHOWN_LINES
    return lines if more <= 0 else [*lines[:_SHOWN_LINES], f"and {counted(more, 'more remark')} like these"]


def _notes(records: Sequence[TrialRecord]) -> list[str]:
    """What was said of the data, and what a loss first warned of in training at each setting."""
    notes = dict.fromkeys(str(note) for record in records for note in items(record.data.get("notes")))
    cautions: dict[tuple[str, Setting], str] = {}
    for record in records:
        for caution in items(record.training.get("cautions")):
            cautions.setdefault((record.cell.loss, record.cell.setting), f"{loss_label(record.cell.loss)}: {caution}")
    return list(dict.fromkeys([*notes, *cautions.values()]))


def first_data(study: Study) -> dict[str, Any]:
    """What the first record says about the data, or nothing."""
    return study.records[0].data if study.records else {}


def items(value: Any) -> list[Any]:
    """The items of a list or tuple; anything else has none."""
    return list(cast("list[Any]", value)) if isinstance(value, list | tuple) else []


def dates(study: Study) -> str:
    """The day of the trials, or the first and the last day."""
    days = sorted({record.finished_at[:10] for record in study.records})
    return " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""


def seeds(study: Study) -> list[int]:
    """The seeds of the finished trials."""
    return sorted({record.cell.seed for record in study.records})


def _fits(records: Sequence[TrialRecord]) -> list[str]:
    """What the fits of the calibrators had to remark, and in how many of the trials of a setting."""
    trials: Counter[Setting] = Counter(record.cell.setting for record in records)
    labels = setting_labels(trials)
    remarks: Counter[tuple[Setting, str, str]] = Counter(
        (record.cell.setting, name, remark)
        for record in records
        for name, result in record.results.items()
        for remark in result.remarks
    )
    return [
        f"{labels[setting]}, {calibrator_label(name)}: {remark} ({count} of {trials[setting]} trials)"
        for (setting, name, remark), count in remarks.items()
    ]


def _command(value: Any) -> str:
    return shlex.join(str(part) for part in items(value)) or ("" if value is None else str(value))


def _run(study: Study) -> Pairs:
    records = study.records
    pairs = [
        ("trials finished", f"{len(records)} of {study.expected}"),
        ("trials failed", str(len(study.failures)) if study.failures else ""),
        ("seeds", ", ".join(str(seed) for seed in seeds(study))),
        ("finished", _range(record.finished_at for record in records)),
        ("spec hash", _either(list(dict.fromkeys(record.spec_hash for record in records)))),
        ("data fingerprint", _either(list(dict.fromkeys(str(r.data.get("fingerprint", "")) for r in records)))),
    ]
    return [(name, value) for name, value in pairs if value]


def _by_budget(records: Iterable[TrialRecord]) -> Pairs:
    records = list(records)
    families = family_labels(record.cell.setting for record in records)
    counts: dict[str, dict[str, None]] = {}
    for record in records:
        rows, wrong = (_mapping(record.data.get(key)) for key in ("rows", "wrong_labels"))
        if rows:
            text = ", ".join(_rows(value, part, (wrong or {}).get(part)) for part, value in rows.items() if value)
            words = [families[family(record.cell.setting)]] if len(families) > 1 else []
            name = ", ".join([*words, budget_label(record.cell.labels_per_class)])
            counts.setdefault(name, {})[text] = None
    return [(budget, " or ".join(texts)) for budget, texts in counts.items()]


def _rows(count: Any, part: str, wrong: Any) -> str:
    return f"{count} {part} ({wrong} with a wrong label)" if wrong else f"{count} {part}"


def _distinct(mappings: Iterable[Mapping[str, Any]]) -> Pairs:
    values: dict[str, dict[str, None]] = {}
    for mapping in mappings:
        for key, value in _flat(mapping):
            values.setdefault(key, {})[value] = None
    return [(key, _either(list(texts))) for key, texts in values.items()]


def _either(texts: list[str]) -> str:
    more = len(texts) - _SHOWN_VALUES
    return " | ".join(texts if more <= 0 else [*texts[:_SHOWN_VALUES], f"and {more} more"])


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Pairs:
    pairs: Pairs = []
    for key, value in mapping.items():
        inner = _mapping(value)
        if inner:
            pairs += _flat(inner, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", _text(value)))
    return pairs


def _text(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, str):
        return value
    parts = items(value)
    if parts and all(isinstance(part, str | int | float) for part in parts):
        return ", ".join(str(part) for part in parts)
    return json.dumps(value, default=str)


def _range(values: Iterable[str]) -> str:
    ordered = sorted(set(values))
    return " to ".join(dict.fromkeys((ordered[0], ordered[-1]))) if ordered else ""


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else None
