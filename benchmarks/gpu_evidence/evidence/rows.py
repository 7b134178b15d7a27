"""Which rows a pack must hold: those that the trials of its specs touch, and some of the test rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from evidence.packed_data import PackedData
from gence._errors import InputError
from gence.bench.inputs import StudyData
from gence.bench.plan import Trial, plan
from gence.bench.rows import choose_rows
from gence.bench.spec import Spec
from gence.bench.suites import draw_rows
from gence.data import LabelledData, hold_out


def fewer_test_rows(data: LabelledData, count: int) -> PackedData:
    """The data with so many of their test rows, equally many of every class; all other rows keep their numbers.

    A trial therefore trains and calibrates on the rows that it would have with all data, and has fewer to be tested on.

    Args:
        data: With a test split, whose rows come last.
        count: At least one a class, fewer than there are.

    Raises:
        InputError: If the data are not so, or there are not so many.
    """
    test = data.test_rows
    pool = len(data.labels) - (0 if test is None else len(test))
    if test is None or not np.array_equal(test, np.arange(pool, len(data.labels))):
        raise InputError(f"{data.name}: data with a test split whose rows come last are expected; pack other data")
    if not data.num_classes <= count < len(test):
        raise InputError(f"{data.name}: {data.num_classes} to {len(test) - 1} test rows can be packed; got {count}")
    _, drawn = hold_out(data.labels[test], count / len(test), seed=0)
    kept = np.concatenate([np.arange(pool), pool + drawn])
    note = f"tested on {len(drawn):,} of its {len(test):,} test rows, as many of every class"
    # Not over all inputs again, but over that of all data: which rows are kept decides the rest.
    identity = hashlib.sha256(data.fingerprint.encode() + drawn.tobytes()).hexdigest()
    return PackedData(
        data.name,
        data.kind,
        data.inputs[kept],
        data.labels[kept],
        data.class_names,
        np.arange(pool, len(kept)),
        (*data.notes, note),
        identity=identity,
    )


def some_of(images: np.ndarray, count: int) -> np.ndarray:
    """At most so many of the foreign images, always the same."""
    return images[draw_rows(len(images), count, seed=0)]


def rows_of(trial: Trial, data: StudyData) -> np.ndarray:
    """Every row that a trial touches."""
    parts = choose_rows(
        data.labelled[trial.cell.data],
        trial.cell,
        trial.test_fraction,
        trial.calibration_fraction,
        test_seed=trial.test_seed,
    )
    return np.unique(np.concatenate(list(parts.parts().values())))


def rows_needed(specs: Iterable[Spec], data: StudyData) -> dict[str, np.ndarray]:
    """By the name of the data, the rows that some trial of some spec touches.

    Raises:
        InputError: As `plan` does, or if a spec is tuned: what is looked for decides nothing that could be packed, but
            the machine has no Optuna to look with.
    """
    needed: dict[str, set[int]] = {name: set() for name in data.labelled}
    for spec in specs:
        refuse_tuned(spec)
        own = StudyData({name: data.labelled[name] for name in spec.data})
        seen = set()
        for trial in plan(spec, own).trials:
            cell = trial.cell
            # The parts of all losses are the same rows, however they are shared out.
            if (place := (cell.data, cell.regime, cell.labels_per_class, cell.seed)) not in seen:
                seen.add(place)
                needed[cell.data].update(rows_of(trial, data).tolist())
    return {name: np.array(sorted(rows)) for name, rows in needed.items()}


def refuse_tuned(spec: Spec) -> None:
    """Refuse a spec with tunings."""
    if spec.tune is not None:
        raise InputError("a spec with [tune] needs Optuna, which the machine lacks; write the recipe into [training]")
