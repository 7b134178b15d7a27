"""Studies joined for one report: a trial counts once, and what does not fit together is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gence._errors import InputError
from gence.bench.records import (
    METRICS,
    RECORD_VERSION,
    CalibratorResult,
    Cell,
    FailureRecord,
    PerClass,
    Reliability,
    Study,
    TrialRecord,
    join_studies,
)


def record(
    loss: str = "ce",
    seed: int = 0,
    key: str = "",
    *,
    calibrators: tuple[str, ...] = ("none",),
    data: dict[str, Any] | None = None,
    **training: Any,
) -> TrialRecord:
    result = CalibratorResult(
        metrics=dict.fromkeys(METRICS, 0.5),
        reliability=Reliability(counts=(), confidence_sums=(), correct_counts=()),
        per_class=PerClass(rows=(), correct=(), nll=(), confidence=(), predicted=()),
        fitted={},
        remarks=(),
        seconds=0.0,
    )
    place = Cell(data="digits", regime="none", model="mlp", loss=loss, labels_per_class=10, batch_size=32, seed=seed)
    return TrialRecord(
        version=RECORD_VERSION,
        key=(key or f"{loss}{seed}").ljust(64, "0"),
        spec_hash="s" * 64,
        cell=place,
        training={"epochs": 10} | training,
        data=data or {},
        results=dict.fromkeys(calibrators, result),
        seconds={"train": 1.0},
        environment={},
        finished_at="2026-05-01T10:00:00+00:00",
        logits_file="l.npz",
    )


def failure(of: TrialRecord) -> FailureRecord:
    return FailureRecord(
        version=RECORD_VERSION,
        key=of.key,
        spec_hash=of.spec_hash,
        cell=of.cell,
        kind="died",
        reason="gone",
        attempts=1,
        seconds=1.0,
        environment={},
        failed_at="2026-05-01",
    )


def study(folder: str, *records: TrialRecord, failures: tuple[FailureRecord, ...] = (), **spec: Any) -> Study:
    return Study(Path(folder), spec, len(records) + len(failures), records, failures)


def test_studies_are_joined_in_order_and_a_trial_of_two_counts_once() -> None:
    first = study("a", record("ce"), record("focal"), seeds=1)
    second = study("b", record("focal"), record("gence", calibrators=("none", "ats")), seeds=2)
    joined = join_studies([first, second])
    assert [one.cell.loss for one in joined.records] == ["ce", "focal", "gence"]
    assert (joined.expected, joined.folder) == (3, Path("a"))
    assert joined.spec == {"joined": [{"folder": "a", "spec": {"seeds": 1}}, {"folder": "b", "spec": {"seeds": 2}}]}


def test_a_trial_that_failed_in_one_and_finished_in_the_other_is_finished() -> None:
    done = record("ce")
    for studies in (
        [study("a", failures=(failure(done),)), study("b", done)],
        [study("b", done), study("a", failures=(failure(done),))],
    ):
        joined = join_studies(studies)
        assert (joined.records, joined.failures, joined.expected) == ((done,), (), 1)
    both = join_studies([study(name, failures=(failure(done),)) for name in ("a", "b")])
    assert (len(both.failures), both.expected) == (1, 1)


def test_one_study_stays_as_it_is() -> None:
    one = study("a", record())
    assert join_studies([one]) is one


def test_the_same_cell_with_another_recipe_is_refused_with_what_differs() -> None:
    first = study("runs/a", record(key="x", weight_decay=0.1, cautions=["slow"]))
    second = study("runs/b", record(key="y", weight_decay=0.2))
    with pytest.raises(InputError) as caught:
        join_studies([first, second])
    assert str(caught.value) == (
        "runs/a and runs/b: another trial in each of the same place, ce on digits (none, mlp), 10 labels a class, "
        "batches of 32, seed 0; training.weight_decay is 0.1 in the first and 0.2 in the second: join studies that "
        "agree on it, or leave that loss or setting out of one of them"
    )


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (
            study("a", record(key="x")),
            study("b", record(key="y", calibrators=("ats",))),
            "calibrators is ['none'] in the first and ['ats'] in the second",
        ),
        (
            study("a", record(key="x"), losses=["ce"], test={"fraction": 0.2}),
            study("b", record(key="y"), losses=["mbls"], test={"fraction": 0.3}),
            "test.fraction is 0.2 in the first and 0.3 in the second",
        ),
        (study("a", record(key="x")), study("b", record(key="y")), "the key is 'x00000000000' in the first and 'y0"),
        (
            study("a", failures=(failure(record(key="x")),), tune="t" * 90),
            study("b", record(key="y"), tune=None),
            f"tune is '{'t' * 58}\u2026 in the first and None in the second",
        ),
    ],
)
def test_what_differs_is_looked_for_in_recipe_calibrators_and_spec(first: Study, second: Study, words: str) -> None:
    with pytest.raises(InputError) as caught:
        join_studies([first, second])
    assert words in str(caught.value)


def rows(fingerprint: str = "f", train: str = "a", calibration: str = "b", test: str = "c") -> dict[str, Any]:
    chosen = {"train": train, "validation": "", "calibration": calibration, "test": test}
    return {"fingerprint": fingerprint, "rows_sha256": chosen}


def test_a_loss_that_looks_at_validation_rows_may_come_from_another_study() -> None:
    # Its training rows are fewer; what it is calibrated and tested on are those of the others.
    first, second = study("a", record(data=rows())), study("b", record("cals", data=rows(train="fewer")))
    assert len(join_studies([first, second]).records) == 2
    other_seed = study("b", record("gence", seed=1, data=rows(test="its own")))
    assert len(join_studies([first, other_seed]).records) == 2


@pytest.mark.parametrize(
    ("other", "spec", "words"),
    [
        (rows(test="d"), {"test_fraction": 0.4}, "test_fraction is 0.3 in the first and 0.4 in the second"),
        (rows(test="d"), {"tune": {"each_seed": False}}, "tune.each_seed is None in the first and False in the second"),
        (rows(calibration="d"), {"calibration_fraction": 0.1}, "calibration_fraction is None in the first and 0.1 in"),
        (rows("g"), {}, "the fingerprint of the data is 'f' in the first and 'g' in the second"),
        (rows(test="d"), {}, "the sha256 of rows is ('b', 'c') in the first and ('b', 'd') in the second"),
    ],
)
def test_losses_that_did_not_meet_the_same_rows_are_not_joined(
    other: dict[str, Any], spec: dict[str, Any], words: str
) -> None:
    first = study("runs/a", record(data=rows()), test_fraction=0.3)
    second = study("runs/b", record("gence", data=other), **{"test_fraction": 0.3} | spec)
    with pytest.raises(InputError) as caught:
        join_studies([first, second])
    assert str(caught.value).startswith(
        "runs/a and runs/b: other rows in each for the same seed, digits (none), 10 labels a class, seed 0; "
    )
    assert words in str(caught.value)
    assert str(caught.value).endswith("losses are compared on the same rows, so join studies that agree on it")


def test_no_study_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="studies: at least one is expected, got none"):
        join_studies([])
