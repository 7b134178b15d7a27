from __future__ import annotations

import json
import math
import os
import pickle
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from gence import InputError
from gence.calibration import PriorShift, TemperatureScaling, catalogue, load, save
from gence.calibration.calibrator import Calibrator
from gence.calibration.storage import class_names_of

FIELDS = {"temperature": 2.0, "rows": 3, "nll_before": 1.0, "nll_after": 0.5}
TEMPERATURE = TemperatureScaling(**FIELDS)  # type: ignore[arg-type]
both_formats = pytest.mark.parametrize("name", ["c.json", "c.safetensors"])


@dataclass(frozen=True)
class Anything(Calibrator):
    """A calibrator with one field, for whatever a field may hold."""

    field: Any

    @property
    def summary(self) -> str:
        return "anything"

    def tensors(self) -> dict[str, Tensor]:
        return {}

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        return logits


@pytest.fixture
def anything(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = catalogue.Entry("anything", "", Anything, lambda logits, target: Anything(None), True)
    monkeypatch.setitem(catalogue.CATALOGUE, "anything", entry)


def content(**change: object) -> str:
    return json.dumps({"format": "gence calibrator", "version": 1, "kind": "temperature", "fields": FIELDS} | change)


def write_safetensors(path: Path, tensors: dict[str, np.ndarray] | None = None, **change: str) -> Path:
    metadata = {"format": "gence calibrator", "version": "1", "kind": "temperature", "fields": json.dumps(FIELDS)}
    save_file(tensors or {}, path, metadata | change)
    return path


def assert_same(a: Any, b: Any) -> None:
    """Equal in value and type at every depth, and to the last bit."""
    assert type(a) is type(b)
    if isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    elif isinstance(a, float):
        assert struct.pack("d", a) == struct.pack("d", b)
    else:
        assert a == b


@both_formats
@pytest.mark.parametrize("names", [None, ("cat", "dog\n", "ü"), ("1", "0")])
def test_class_names_come_back_in_their_order(tmp_path: Path, name: str, names: tuple[str, ...] | None) -> None:
    path = save(TEMPERATURE, tmp_path / name, class_names=names)
    assert class_names_of(path) == names
    assert load(path) == TEMPERATURE


def test_files_from_before_class_names_were_saved_have_none(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(content())
    for path in (tmp_path / "c.json", write_safetensors(tmp_path / "c.safetensors")):
        assert class_names_of(path) is None
        assert load(path) == TEMPERATURE


@pytest.mark.parametrize("names", ["ab", [1, 2], ["a", "a"], {"a": 1}])
def test_class_names_that_are_none_are_refused(tmp_path: Path, names: object) -> None:
    (tmp_path / "c.json").write_text(content(class_names=names))
    stored = write_safetensors(tmp_path / "c.safetensors", class_names=json.dumps(names))
    for path in (tmp_path / "c.json", stored):
        with pytest.raises(InputError, match="this calibrator is damaged: its class names"):
            class_names_of(path)


@both_formats
@pytest.mark.usefixtures("anything")
@pytest.mark.parametrize(
    "field",
    [
        (0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308),
        ((0.1, 2.0), (3.0, 4.0), (5.0, 6.0)),
        (((0.1,), (2.0,)), ((3.0,), (4.0,))),
        ((0.1, 2.0), (3.0,)),
        ((0.1, 2.0), ()),
        (((0.1, 2.0),), ((3.0,),)),
        ((0.1, 2.0), 3.0),
        (3.0, (0.1, 2.0)),
        ((3, 0.1, 2.0), (4, 0.5, 1.0)),
        (1.0, 2, 3.0),
        (1, 2),
        (),
        ((), ()),
        ("a", ("b", 1.0), None, True),
        (True, False),
        2.0,
        2**80,
        "text ü \n",
        None,
        True,
        math.inf,
        (0.0, -math.inf, math.nan),
        ((1.0, math.inf), (2.0,)),
    ],
    ids=str,
)
def test_a_field_comes_back_with_its_types_and_to_the_last_bit(tmp_path: Path, name: str, field: object) -> None:
    assert_same(load(save(Anything(field), tmp_path / name)).field, field)  # type: ignore[attr-defined]


@both_formats
def test_a_prior_shift_comes_back(tmp_path: Path, name: str) -> None:
    shift = PriorShift((0.1, 0.2, 0.7), (0.3, 0.3, 0.4), 10, 3, False, 0.1)
    assert load(save(shift, tmp_path / name)) == shift


def test_regular_tables_of_floats_are_tensors_and_the_rest_is_readable(tmp_path: Path) -> None:
    path = save(PriorShift((0.1, 0.2, 0.7), (0.3, 0.3, 0.4)), tmp_path / "c.safetensors")
    with safe_open(path, framework="numpy") as stored:
        assert sorted(stored.keys()) == ["target_prior", "train_prior"]
        np.testing.assert_array_equal(stored.get_tensor("train_prior"), np.array([0.1, 0.2, 0.7]))
        assert stored.get_tensor("train_prior").dtype == np.float64
        metadata = stored.metadata()
    fields = json.loads(metadata.pop("fields"))
    assert metadata == {"format": "gence calibrator", "version": "1", "kind": "prior_shift"}
    assert fields == {"rows": 0, "iterations": 0, "converged": True, "log_likelihood_gain": 0.0}


def test_what_was_written_by_hand_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(content())
    assert load(tmp_path / "c.json") == TEMPERATURE
    assert load(write_safetensors(tmp_path / "c.SafeTensors")) == TEMPERATURE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "a calibrator saved by gence is expected, this is not JSON"),
        ("9" * 5000, "this is not JSON"),
        ("[" * 100000, "this is not JSON"),
        ("[1]", "a calibrator saved by gence is expected, this is other JSON"),
        (content()[:-20], "this is not JSON"),
        (content(version=2), "calibrator version 2; this gence reads 1: upgrade"),
        (content(kind=["a"]), r"unknown calibrator \['a'\]; known"),
        (content(kind="temprature"), "unknown calibrator 'temprature'; known: none, temperature, ats.*, prior_shift"),
        (content(fields={"temperature": 2.0}), "the fields of this 'temperature' calibrator do not fit"),
        (content(fields=FIELDS | {"temperature": -2.0}), "must be a positive"),
        (content(fields=FIELDS | {"temperature": 10**400}), "do not fit"),
        (content(fields=FIELDS | {"temperature": {"double": "2.0"}}), "do not fit: 'float'"),
        (content(fields=[1]), "do not fit"),
    ],
    ids=range(13),
)
def test_a_file_that_is_no_calibrator_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("tensors", "change", "message"),
    [
        ({}, {"format": "pt"}, "a calibrator saved by gence is expected, this is another safetensors file"),
        ({}, {"version": "2"}, "calibrator version 2; this gence reads 1: upgrade"),
        ({}, {"kind": "temprature"}, "unknown calibrator 'temprature'; known: none, temperature, ats.*, prior_shift"),
        ({}, {"fields": "{"}, "this safetensors file is damaged: its metadata is not JSON"),
        ({}, {"fields": "[1]"}, "damaged: its fields and its tensors do not agree"),
        ({"temperature": np.ones(2)}, {}, "damaged: its fields and its tensors do not agree"),
        ({"knots": np.ones(2, dtype=np.float32)}, {}, "damaged: its fields and its tensors do not agree"),
        ({"knots": np.ones(2)}, {}, "the fields of this 'temperature' calibrator do not fit: .*'knots'"),
        ({}, {"fields": '{"temperature": 2.0}'}, "the fields of this 'temperature' calibrator do not fit"),
    ],
)
def test_safetensors_that_are_no_calibrator_are_refused_with_the_reason(
    tmp_path: Path, tensors: dict[str, np.ndarray], change: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(write_safetensors(tmp_path / "c.safetensors", tensors, **change))


def test_safetensors_without_metadata_are_refused(tmp_path: Path) -> None:
    save_file({"weight": np.ones(2)}, tmp_path / "c.safetensors")
    with pytest.raises(InputError, match="this is another safetensors file"):
        load(tmp_path / "c.safetensors")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = save(PriorShift((0.1, 0.2, 0.7), (0.3, 0.3, 0.4)), tmp_path / "c.safetensors").read_bytes()
    for size in (0, 7, 8, 100, len(whole) - 24, len(whole) - 1):
        (tmp_path / "c.safetensors").write_bytes(whole[:size])
        with pytest.raises(InputError, match="a calibrator saved by gence is expected, this is no safetensors file"):
            load(tmp_path / "c.safetensors")


@both_formats
def test_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError):
        load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@both_formats
def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        load(tmp_path / name)


@both_formats
def test_something_else_is_not_saved(tmp_path: Path, name: str) -> None:
    with pytest.raises(TypeError, match="a fitted calibrator of gence is expected; got dict"):
        save({}, tmp_path / name)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a fitted calibrator of gence is expected; got Anything"):
        save(Anything(1.0), tmp_path / name)
    assert not list(tmp_path.iterdir())


@both_formats
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_loses_nothing(tmp_path: Path, name: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    path = save(TEMPERATURE, tmp_path / name)
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space"):
        save(PriorShift((0.5, 0.5), (0.1, 0.9)), path)
    assert load(path) == TEMPERATURE
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_without_safetensors_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(TEMPERATURE, tmp_path / "c.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for needy in (lambda: save(TEMPERATURE, path), lambda: load(path)):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'gence\[lab\]', or use a name ending in .json"):
            needy()
    assert load(save(TEMPERATURE, tmp_path / "c.json")) == TEMPERATURE
