"""Where the numbers come from: spec, rows, versions, hardware, seeds and dates, gathered from the records."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gence.bench.records import Setting, Study, TrialRecord
from gence.report.names import budget_label, calibrator_label, loss_label, setting_labels

Pairs = list[tuple[str, str]]
"""A table of two columns: a name and its value."""

_SHOWN_CLASSES = 40


@dataclass(frozen=True)
class Provenance:
    """What the last section of the page shows; every field may be empty, as a record may hold less than hoped."""

    notes: list[str]
    fits: list[str]
    classes: list[str]
    more_classes: int
    rows: Pairs
    spec: Pairs
    training: Pairs
    environment: Pairs
    run: Pairs
    command: str


def provenance(study: Study) -> Provenance:
    """Gather it. Where trials differ in a value, all its values are shown."""
    records = study.records
    classes = [str(name) for name in items(first_data(study).get("class_names"))]
    return Provenance(
        notes=_notes(records),
        fits=_fits(records),
        classes=classes[:_SHOWN_CLASSES],
        more_classes=max(len(classes) - _SHOWN_CLASSES, 0),
        rows=_by_budget(records),
        spec=_flat(study.spec),
        training=_distinct(
            {key: value for key, value in record.training.items() if key != "cautions"} for record in records
        ),
        environment=_distinct(record.environment for record in records),
        run=_run(study),
        command=_command(study.spec.get("command")),
    )


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
        ("seeds", ", ".join(str(seed) for seed in seeds(study))),
        ("finished", _range(record.finished_at for record in records)),
        ("spec hash", ", ".join(dict.fromkeys(record.spec_hash for record in records))),
        ("data fingerprint", ", ".join(dict.fromkeys(str(record.data.get("fingerprint", "")) for record in records))),
    ]
    return [(name, value) for name, value in pairs if value]


def _by_budget(records: Iterable[TrialRecord]) -> Pairs:
    counts: dict[str, dict[str, None]] = {}
    for record in records:
        rows, wrong = (_mapping(record.data.get(key)) for key in ("rows", "wrong_labels"))
        if rows:
            text = ", ".join(_rows(value, part, (wrong or {}).get(part)) for part, value in rows.items() if value)
            counts.setdefault(budget_label(record.cell.labels_per_class), {})[text] = None
    return [(budget, " or ".join(texts)) for budget, texts in counts.items()]


def _rows(count: Any, part: str, wrong: Any) -> str:
    return f"{count} {part} ({wrong} with a wrong label)" if wrong else f"{count} {part}"


def _distinct(mappings: Iterable[Mapping[str, Any]]) -> Pairs:
    values: dict[str, dict[str, None]] = {}
    for mapping in mappings:
        for key, value in _flat(mapping):
            values.setdefault(key, {})[value] = None
    return [(key, " | ".join(texts)) for key, texts in values.items()]


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
