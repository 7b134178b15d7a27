"""results.csv: the numbers of every trial, for whoever wants to count for himself."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gence.bench.records import (
    RECORD_VERSION,
    CalibratorResult,
    Cell,
    FailureRecord,
    PerClass,
    Reliability,
    Study,
    TrialRecord,
    Tried,
    Tuned,
)
from gence.report import write_csv

METRICS = {
    "accuracy": 0.9,
    "balanced_accuracy": 0.85,
    "nll": 0.30000000000000004,
    "brier": 0.15,
    "ece": 1e-07,
    "ece_mass": 0.02,
    "classwise_ece": 0.003,
    "smooth_ece": 0.018,
    "aurc": 0.011,
}


def record(metrics: dict[str, float] = METRICS, **cell: Any) -> TrialRecord:
    reliability = Reliability(counts=(1,), confidence_sums=(0.5,), correct_counts=(1,))
    classes = PerClass(rows=(1,), correct=(1,), nll=(0.1,), confidence=(0.5,), predicted=(1,))
    result = CalibratorResult(
        metrics=metrics, reliability=reliability, per_class=classes, fitted={}, remarks=(), seconds=0.1
    )
    place = {"data": "digits", "regime": "none", "model": "mlp", "loss": "ce", "labels_per_class": 10} | cell
    return TrialRecord(
        version=RECORD_VERSION,
        key="k" * 64,
        spec_hash="s" * 64,
        cell=Cell(**{"batch_size": 32, "seed": 0} | place),
        training={},
        data={},
        results={"none": result, "ats": result},
        seconds={"train": 2.5, "predict": 0.1},
        environment={},
        finished_at="2026-05-01T10:00:00+00:00",
        logits_file="l.npz",
    )


def study(*records: TrialRecord) -> Study:
    return Study(Path("study"), {}, len(records), records)


def test_the_file_is_exactly_this_for_one_trial_with_two_calibrators(tmp_path: Path) -> None:
    path = write_csv(study(record(batch_size=8)), tmp_path)
    assert path == tmp_path / "results.csv"
    numbers = "0.9,0.85,0.30000000000000004,0.15,1e-07,0.02,0.003,0.018,0.011,2.5"
    assert path.read_bytes().decode() == (
        "data,regime,model,loss,calibrator,labels_per_class,batch_size,seed,"
        "accuracy,balanced_accuracy,nll,brier,ece,ece_mass,classwise_ece,smooth_ece,aurc,seconds\n"
        f"digits,none,mlp,ce,none,10,8,0,{numbers}\n"
        f"digits,none,mlp,ce,ats,10,8,0,{numbers}\n"
    )


def test_every_float_comes_back_as_it_was(tmp_path: Path) -> None:
    metrics = {name: (i + 1) / 7 for i, name in enumerate(METRICS)}
    with open(write_csv(study(record(metrics)), tmp_path), newline="") as stream:
        row = next(csv.DictReader(stream))
    assert {name: float(row[name]) for name in METRICS} == metrics


def test_a_name_with_commas_quotes_and_newlines_stays_one_field(tmp_path: Path) -> None:
    name = 'a, "b"\nc; é 日本'
    path = write_csv(study(record(data=name, labels_per_class="all", seed=3)), tmp_path)
    with open(path, newline="", encoding="utf-8") as stream:
        row = next(csv.DictReader(stream))
    assert (row["data"], row["labels_per_class"], row["seed"]) == (name, "all", "3")


def test_a_study_without_trials_has_a_header_only(tmp_path: Path) -> None:
    assert len(write_csv(study(), tmp_path / "new" / "folder").read_text().splitlines()) == 1


def test_an_older_file_stays_whole_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(study(record()), tmp_path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        write_csv(replace(study(record()), records=()), tmp_path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.csv"]


def tuning(chosen: int = 1) -> Tuned:
    tried = [
        Tried(
            number=i,
            learning_rate=0.1 * (i + 1),
            weight_decay=1e-4,
            epochs=10,
            knobs={"gamma": 2.0},
            nll=nll,
            accuracy=None if nll is None else 0.8,
            failure="the loss is nan" if nll is None else None,
        )
        for i, nll in enumerate((None, 0.5))
    ]
    return Tuned(key="t" * 64, metric="nll", chosen=chosen, tried=tuple(tried))


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_what_was_chosen_stands_with_the_trial_and_what_was_tried_once_a_tuning(tmp_path: Path) -> None:
    tuned = [record(seed=seed).model_copy(update={"tuning": tuning()}) for seed in (0, 1)]
    rows = read(write_csv(study(*tuned, record(loss="focal")), tmp_path))
    assert [(row["learning_rate"], row["epochs"], row["knobs"]) for row in rows[::2]] == [
        ("0.2", "10", '{"gamma": 2.0}'),
        ("0.2", "10", '{"gamma": 2.0}'),
        ("", "", ""),
    ]
    tried = read(tmp_path / "tuning.csv")
    assert [(one["number"], one["nll"], one["failure"], one["chosen"]) for one in tried] == [
        ("0", "", "the loss is nan", "False"),
        ("1", "0.5", "", "True"),
    ]
    assert "seed" not in tried[0]


def test_failed_trials_have_a_file_of_their_own_which_goes_when_they_do(tmp_path: Path) -> None:
    failure = FailureRecord(
        version=RECORD_VERSION,
        key="k" * 64,
        spec_hash="s" * 64,
        cell=record(seed=4).cell,
        kind="memory",
        reason="no room, for 3 GB",
        attempts=2,
        seconds=1.0,
        environment={},
        failed_at="2026-05-01",
    )
    write_csv(replace(study(record()), failures=(failure,)), tmp_path)
    (row,) = read(tmp_path / "failures.csv")
    assert (row["loss"], row["seed"], row["kind"], row["reason"], row["attempts"]) == (
        "ce",
        "4",
        "memory",
        "no room, for 3 GB",
        "2",
    )
    write_csv(study(record()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]
