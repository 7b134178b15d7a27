from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gence import InputError
from gence.bench.inputs import StudyData
from gence.bench.plan import plan
from gence.bench.records import (
    TrialRecord,
    load_study,
    read_record,
    record_path,
    save_study,
    store,
    write_record,
)
from gence.bench.spec import Spec, TrainingSpec
from gence.bench.trial import run_trial
from gence.data import LabelledData


@pytest.fixture
def written(table: LabelledData, tmp_path: Path) -> tuple[Path, TrialRecord]:
    spec = Spec(data=("blobs",), losses=("ce",), labels_per_class=(10,), seeds=2, training=TrainingSpec(epochs=1))
    data = StudyData({"blobs": table})
    trials = plan(spec, data).trials
    save_study(tmp_path, spec.model_dump(mode="json"), {trial.key: trial.cell for trial in trials})
    record, arrays = run_trial(trials[0], data, torch.device("cpu"))
    return write_record(tmp_path, record, arrays), record


def test_a_record_comes_back_as_it_was_written_with_its_logits_beside_it(written: tuple[Path, TrialRecord]) -> None:
    path, record = written
    assert read_record(path) == record
    with np.load(path.parent / record.logits_file, allow_pickle=False) as arrays:
        assert arrays["test_logits"].shape == (60, 3)


def test_a_study_knows_its_grid_and_what_is_finished(written: tuple[Path, TrialRecord]) -> None:
    path, record = written
    study = load_study(path.parent.parent)
    assert (study.expected, study.records) == (2, (record,))
    assert study.spec["data"] == ["blobs"]


def test_records_of_other_trials_in_the_folder_are_not_the_study_s(written: tuple[Path, TrialRecord]) -> None:
    path, record = written
    stranger = record.model_copy(update={"key": "f" * 64})
    record_path(path.parent.parent, stranger.cell, stranger.key).write_text(stranger.model_dump_json())
    assert len(load_study(path.parent.parent).records) == 1


def test_the_logits_are_on_disk_before_the_record_is(
    written: tuple[Path, TrialRecord], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(store, "write_atomically", lambda path, content: order.append(path.suffix))
    write_record(tmp_path_factory.mktemp("other"), written[1], {})
    assert order == [".npz", ".json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:40], "not a trial record"),
        (lambda text: "[]", r"not a trial record \(.*\); move it away"),
        (lambda text: text.replace('"version":4', '"version":1', 1), "record version 1, this gence reads version 4"),
        (lambda text: json.dumps(json.loads(text) | {"extra": 1}), "not a trial record"),
        (lambda text: text.replace('"nll":', '"nlll":'), "not a trial record"),
        (lambda text: text.replace('"seed":0', '"seed":1'), "the record of another trial; move it away"),
    ],
)
def test_a_file_that_is_no_record_is_named_with_the_cure(
    written: tuple[Path, TrialRecord], change, message: str
) -> None:
    path, record = written
    path.write_text(change(record.model_dump_json()))
    with pytest.raises(InputError, match=message) as error:
        load_study(path.parent.parent)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"version": 4, "spec": {}}', '{"version": 4, "spec": 1, "trials": {"k": {}}}']
)
def test_a_study_file_that_is_broken_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(InputError, match=r"study\.json: not a study file; delete it"):
        load_study(tmp_path)


@pytest.mark.parametrize(("version", "known"), [({}, 1), ({"version": 3}, 3)])
def test_a_study_of_another_version_is_refused_by_name(
    written: tuple[Path, TrialRecord], version: dict[str, int], known: int
) -> None:
    path = written[0].parent.parent / "study.json"
    content = json.loads(path.read_text())
    assert content.pop("version") == 4
    path.write_text(json.dumps(content | version))
    with pytest.raises(InputError) as error:
        load_study(path.parent)
    expected = f"{path}: study version {known}, this gence reads version 4; start the study again with another --out"
    assert str(error.value) == expected


def test_the_name_of_a_record_tells_its_place_in_the_grid(written: tuple[Path, TrialRecord]) -> None:
    path, record = written
    assert path.name == f"blobs-mlp-ce-n10-b32-s0-{record.key[:12]}.json"


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study here"):
        load_study(tmp_path)
