from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from gence import InputError
from gence.calibration import TemperatureScaling, load, save


def content(**change: object) -> str:
    fields = {"temperature": 2.0, "rows": 3, "nll_before": 1.0, "nll_after": 0.5}
    whole = {"format": "gence calibrator", "version": 1, "kind": "temperature", "fields": fields}
    return json.dumps(whole | change)


def test_what_was_written_by_hand_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(content())
    assert load(tmp_path / "c.json") == TemperatureScaling(2.0, 3, 1.0, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "a calibrator saved by gence is expected, this is not JSON"),
        ("[1]", "a calibrator saved by gence is expected, this is other JSON"),
        (content(version=2), "calibrator version 2; this gence reads 1: upgrade"),
        (content(kind=["a"]), r"unknown calibrator \['a'\]; known"),
        (content(kind="temprature"), "unknown calibrator 'temprature'; known: none, temperature, ats"),
        (content(fields={"temperature": 2.0}), "the fields of this 'temperature' calibrator do not fit"),
        (content(fields={"temperature": -2.0, "rows": 3, "nll_before": 1.0, "nll_after": 0.5}), "must be a positive"),
    ],
)
def test_a_file_that_is_no_calibrator_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "c.json")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "c.json").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError):
        load(tmp_path / "c.json")
    assert not (tmp_path / "sprung").exists()


def test_something_else_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a fitted calibrator of gence is expected; got dict"):
        save({}, tmp_path / "c.json")  # type: ignore[arg-type]
    assert not (tmp_path / "c.json").exists()
