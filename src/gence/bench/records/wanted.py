"""Which records somebody asks for, in words: "data=digits loss=gence calibrator=none"."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from gence._errors import InputError, unknown_name
from gence.bench.records.store import Study
from gence.bench.records.trial import METRICS, Cell, TrialRecord

SHOWN = ("accuracy", "balanced_accuracy", "nll", "ece")
"""The metrics that are meant where none is named."""

_KEYS = (*Cell.model_fields, "calibrator", "metric")


@dataclass(frozen=True)
class Wanted:
    """Values that records and their calibrators must have, and the metrics that are asked for.

    Attributes:
        values: By key, in the order in which they were given: the fields of a `Cell`, and `calibrator`; all as text.
        metrics: Of `METRICS`.
    """

    values: dict[str, str]
    metrics: tuple[str, ...] = SHOWN

    def pick(self, records: Sequence[TrialRecord]) -> list[tuple[TrialRecord, str]]:
        """The records that have all values, each with every calibrator of its own that is meant.

        Raises:
            InputError: If there are none; it names the first key that none of those left has, and what they have.
        """
        left = [(record, calibrator) for record in records for calibrator in record.results]
        given: list[str] = []
        for key, value in self.values.items():
            there = dict.fromkeys(_text(one, key) for one in left)
            left = [one for one in left if _text(one, key) == value]
            if not left:
                before = f" with {' '.join(given)}" if given else ""
                raise InputError(f"--trace: no record{before} has {key}={value}; {key} is there: {', '.join(there)}")
            given.append(f"{key}={value}")
        return left

    def at_seed(self, study: Study) -> Study:
        """The study as if it had been run with the seed alone that is asked for; as it is if none is."""
        seed = self.values.get("seed")
        if seed is None:
            return study
        return dataclasses.replace(study, records=tuple(one for one in study.records if str(one.cell.seed) == seed))


def parse_wanted(text: str) -> Wanted:
    """Read `key=value` words; a word with a space in it is put in quotes.

    >>> parse_wanted("loss=focal:gamma=1.0 'data=my table.csv' metric=nll")
    Wanted(values={'loss': 'focal:gamma=1.0', 'data': 'my table.csv'}, metrics=('nll',))

    Raises:
        InputError: If there is no word, one has no value, a key or a metric does not exist, or a key is there twice.
    """
    expected = f"key=value words are expected, with the keys {', '.join(_KEYS)}"
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--trace: a quote is not closed in {text!r}; close it, or leave it out") from error
    if not words:
        raise InputError(f"--trace: {expected}; got none")
    values: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not value:
            raise InputError(f"--trace: {expected}; got {word!r}")
        if key not in _KEYS:
            raise unknown_name("key of --trace", key, _KEYS)
        if key in values:
            raise InputError(f"--trace: {key} is there twice; keep one, or leave it out for all that there are")
        values[key] = value
    metric = values.pop("metric", None)
    if metric is None:
        return Wanted(values)
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    return Wanted(values, (metric,))


def _text(one: tuple[TrialRecord, str], key: str) -> str:
    record, calibrator = one
    return calibrator if key == "calibrator" else str(getattr(record.cell, key))
