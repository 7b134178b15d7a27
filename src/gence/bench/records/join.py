"""Several studies as one, for a report over all of them: a trial that two of them have counts once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from gence._errors import InputError
from gence.bench.records.store import Study
from gence.bench.records.trial import Cell, FailureRecord, TrialRecord

_Found = TrialRecord | FailureRecord

_GRID = frozenset(
    {"version", "command", "data", "datasets", "models", "model", "regime", "regimes", "losses", "seeds"}
    | {"labels_per_class", "batch_size", "training.batch_size"}
)
"""Parts of a spec that say which cells a study has, and so may differ between studies that share some of them."""

_ROWS = ("test_fraction", "calibration_fraction", "tune.each_seed", "image_size")
"""Parts of a spec that decide which rows there are. Without a tuning the third is None."""

_OUTCOME = frozenset({"cautions", "seconds"})
"""Parts of a record's recipe that training itself wrote."""


def join_studies(studies: Sequence[Study]) -> Study:
    """Join studies into one, in the order given.

    A trial with the same key in two of them is kept once; if it failed in one and finished in another, it finished.
    Studies may differ in calibrators, but then a cell may be in one of them only, as its key depends on them.

    Args:
        studies: At least one, each as read from its folder.

    Returns:
        A study whose folder is that of the first, whose spec is `{"joined": [{"folder": ..., "spec": ...}, ...]}`
        with the specs of all, and which expects what all of them do, less the trials that were found twice.
        A single study is returned as it is.

    Raises:
        InputError: If two studies have the same cell of the grid, but not the same trial there, or the same seed of a
            setting, but not the same rows there: losses are compared seed by seed.
        ValueError: If there is no study.
    """
    if not studies:
        raise ValueError("studies: at least one is expected, got none")
    if len(studies) == 1:
        return studies[0]
    first: dict[Cell, tuple[Study, _Found]] = {}
    finished: dict[str, TrialRecord] = {}
    failed: dict[str, FailureRecord] = {}
    by_rows: dict[tuple[Any, ...], tuple[Study, TrialRecord]] = {}
    twice = 0
    for study in studies:
        for found in (*study.records, *study.failures):
            owner, other = first.setdefault(found.cell, (study, found))
            if other.key != found.key:
                raise _refusal(owner, other, study, found)
            twice += owner is not study
            if isinstance(found, TrialRecord):
                beside = by_rows.setdefault(_place_of_rows(found.cell), (study, found))
                if _rows(beside[1]) != _rows(found):
                    raise _other_rows(*beside, study, found)
                finished.setdefault(found.key, found)
            else:
                failed.setdefault(found.key, found)
    joined = [{"folder": str(study.folder), "spec": study.spec} for study in studies]
    return Study(
        studies[0].folder,
        {"joined": joined},
        sum(study.expected for study in studies) - twice,
        tuple(finished.values()),
        tuple(failure for key, failure in failed.items() if key not in finished),
    )


def _refusal(owner: Study, other: _Found, study: Study, found: _Found) -> InputError:
    name, there, here = _first_difference(owner, other, study, found)
    cell = found.cell
    place = f"{cell.loss} on {cell.data} ({cell.regime}, {cell.model}), {cell.labels_per_class} labels a class"
    return InputError(
        f"{owner.folder} and {study.folder}: another trial in each of the same place, {place}, batches of "
        f"{cell.batch_size}, seed {cell.seed}; {name} is {_short(there)} in the first and {_short(here)} in "
        "the second: join studies that agree on it, or leave that loss or setting out of one of them"
    )


def _place_of_rows(cell: Cell) -> tuple[Any, ...]:
    """What decides the rows of a trial besides the spec: neither its model, its batches nor its loss."""
    return cell.data, cell.regime, cell.labels_per_class, cell.seed


def _rows(record: TrialRecord) -> tuple[Any, ...]:
    """The data and the rows of them that are the same for every loss, whether or not it looks at validation rows."""
    chosen = record.data.get("rows_sha256", {})
    return record.data.get("fingerprint"), chosen.get("calibration"), chosen.get("test")


def _other_rows(owner: Study, other: TrialRecord, study: Study, found: TrialRecord) -> InputError:
    first, second = (dict(_flat(one.spec)) for one in (owner, study))
    compared = [(name, first.get(name), second.get(name)) for name in _ROWS]
    compared += [("the fingerprint of the data", _rows(other)[0], _rows(found)[0])]
    differing = (one for one in compared if one[1] != one[2])
    name, there, here = next(differing, ("the sha256 of rows", _rows(other)[1:], _rows(found)[1:]))
    cell = found.cell
    return InputError(
        f"{owner.folder} and {study.folder}: other rows in each for the same seed, {cell.data} ({cell.regime}), "
        f"{cell.labels_per_class} labels a class, seed {cell.seed}; {name} is {_short(there)} in the first and "
        f"{_short(here)} in the second: losses are compared on the same rows, so join studies that agree on it"
    )


def _first_difference(owner: Study, other: _Found, study: Study, found: _Found) -> tuple[str, Any, Any]:
    """The first part of their recipes, data, calibrators or specs that differs; the key itself where none does."""
    for name, there, here in _compared(owner, other, study, found):
        if there != here:
            return name, there, here
    return "the key", other.key[:12], found.key[:12]


def _compared(owner: Study, other: _Found, study: Study, found: _Found) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(other, TrialRecord) and isinstance(found, TrialRecord):
        for prefix, there, here in (
            ("training.", other.training, found.training),
            ("data.", other.data, found.data),
        ):
            for key in dict.fromkeys((*there, *here)):
                if key not in _OUTCOME:
                    yield f"{prefix}{key}", there.get(key), here.get(key)
        yield "calibrators", list(other.results), list(found.results)
    there, here = (dict(_flat(one.spec)) for one in (owner, study))
    for key in dict.fromkeys((*there, *here)):
        if key not in _GRID:
            yield key, there.get(key), here.get(key)


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}\u2026"
