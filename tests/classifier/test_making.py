"""From a source to a folder: which rows are trained on, what is refused before any work, and every loss of them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gence import InputError
from gence.audit.records import Estimate
from gence.classifier import Settings, fit_source, load, making
from gence.classifier.evidence import METRICS
from gence.data import load as load_data
from gence.losses import catalogue as losses

pytestmark = pytest.mark.usefixtures("no_onnx")
QUICK = Settings(calibrate="temperature", hidden=(8,), epochs=1, folds=2)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """An .npz file with a test split of its own."""
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 4
    inputs = np.eye(4, 5)[labels] + generator.normal(size=(120, 5))
    file = tmp_path / "split.npz"
    np.savez(file, X=inputs[:80], y=labels[:80], X_test=inputs[80:], y_test=labels[80:])
    return file


def test_a_test_split_is_not_trained_on_but_measures(split: Path, tmp_path: Path) -> None:
    result = fit_source(str(split), tmp_path / "model", QUICK, command="gence fit split.npz")
    evidence = result.kept.evidence
    assert evidence is not None
    assert (evidence.on, evidence.rows, result.kept.origin.rows) == ("test split", 40, 80)
    assert result.kept.held_out is not None
    assert len(result.kept.held_out.labels) == 80
    back, inputs = load(tmp_path / "model"), load_data(str(split)).inputs
    np.testing.assert_array_equal(back.probabilities(inputs), result.kept.probabilities(inputs))
    lines = result.lines()
    assert lines[0] == "split: mlp trained with gence on 80 rows of 4 classes, 1 epoch"
    assert lines[-1] == f"model: {tmp_path / 'model'}"
    assert any(
        line.startswith("on the 40 rows of the data's test split, with 95 % intervals, before") for line in lines
    )


def test_digits_come_back_as_they_were(tmp_path: Path) -> None:
    result = fit_source("digits", tmp_path / "model", replace(QUICK, hidden=None))
    inputs = load_data("digits").inputs
    assert result.kept.architecture.name == "small_resnet"
    np.testing.assert_array_equal(load(tmp_path / "model").probabilities(inputs), result.kept.probabilities(inputs))
    assert result.kept.evidence is not None
    assert result.kept.evidence.after["accuracy"].value > 0.5


@pytest.mark.parametrize("loss", losses.names())
def test_every_loss_gives_a_model_that_comes_back(loss: str, split: Path, tmp_path: Path) -> None:
    result = fit_source(str(split), tmp_path / "model", replace(QUICK, loss=loss))
    inputs = load_data(str(split)).inputs
    found = load(tmp_path / "model").probabilities(inputs)
    np.testing.assert_array_equal(found, result.kept.probabilities(inputs))
    np.testing.assert_allclose(found.sum(1), 1.0)


def test_a_handful_of_rows_claims_nothing(tmp_path: Path) -> None:
    for rows, name in ((4, "few"), (2, "two")):
        np.savez(tmp_path / f"{name}.npz", X=np.random.default_rng(0).normal(size=(rows, 2)), y=np.arange(rows) % 2)
        result = fit_source(str(tmp_path / f"{name}.npz"), tmp_path / name, replace(QUICK, calibrate="auto"))
        assert load(tmp_path / name).evidence == result.kept.evidence
    assert "nothing could be measured: too few rows to hold some out" in result.lines()
    assert "Nothing could be measured: too few rows to hold some out. So" in (tmp_path / "two/README.md").read_text()


def test_rows_that_can_be_held_out_but_not_measured_are_told_as_such(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(3, 2))
    np.savez(tmp_path / "three.npz", X=inputs[[0, 1, 2]], y=[0, 0, 1])
    result = fit_source(str(tmp_path / "three.npz"), tmp_path / "model", replace(QUICK, calibrate="auto"))
    assert result.kept.held_out is not None
    assert result.kept.evidence is None
    told = "othing could be measured: too few rows held out to calibrate on some and measure on others"
    assert f"n{told}" in result.lines()
    assert f"N{told}. So nobody knows" in (tmp_path / "model/README.md").read_text()


REFUSED: list[tuple[Settings, str]] = [
    (replace(QUICK, model="resnet99"), "unknown model 'resnet99': did you mean"),
    (replace(QUICK, model="resnet18"), "hidden widths are for the model 'mlp'"),
    (replace(QUICK, calibrate="probmetrics:svs"), "holds code and cannot be kept"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_the_settings_alone_tell_is_refused_before_reading(
    settings: Settings, message: str, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("the data were read")

    monkeypatch.setattr(making, "load_data", read)
    with pytest.raises(InputError, match=message):
        fit_source(str(split), tmp_path / "model", settings)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.png").write_text("")
    with pytest.raises(InputError, match="something else than a model"):
        fit_source(str(split), tmp_path / "mine", QUICK)


def test_a_folder_of_rows_gets_no_model_inside(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    for out in (tmp_path / "rows/deeper/model", tmp_path / "rows"):
        with pytest.raises(InputError, match=r"rows are read from the folder .*; give a place outside of it"):
            fit_source(str(tmp_path / "rows"), out, QUICK)


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_a_seed_that_some_generator_does_not_take_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match=rf"seed must lie between 0 and 4294967295; got {seed}"):
        replace(QUICK, seed=seed)
    assert replace(QUICK, seed=(1 << 32) - 1).seed == 4294967295


def test_what_goes_wrong_in_measuring_is_not_taken_for_too_few_rows(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(making, "evidence_of_folds", broken)
    with np.load(split) as file:
        np.savez(tmp_path / "rows.npz", X=file["X"], y=file["y"])
    with pytest.raises(ValueError, match="a fault"):
        fit_source(str(tmp_path / "rows.npz"), tmp_path / "model", QUICK)


def test_numbers_with_long_intervals_stay_apart(split: Path, tmp_path: Path) -> None:
    result = fit_source(str(split), tmp_path / "model", QUICK)
    evidence = result.kept.evidence
    assert evidence is not None
    long = Estimate(277.455, 218.422, 342.392)
    metrics = dict.fromkeys(METRICS, long)
    model = replace(result.kept, evidence=replace(evidence, before=metrics, after=metrics))
    line = next(one for one in replace(result, kept=model).lines() if one.startswith("  NLL"))
    assert line == "  NLL         277.455 (218.422 to 342.392)  277.455 (218.422 to 342.392)"


def test_what_does_not_suit_the_data_is_one_line(split: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"augmentation \(flip\) is for images; split is a table: give --augment none"):
        fit_source(str(split), tmp_path / "model", replace(QUICK, augment=("flip",)))
    with pytest.raises(InputError, match="resnet18"):
        fit_source(str(split), tmp_path / "model", replace(QUICK, model="resnet18", hidden=None))
    with pytest.raises(InputError, match=r"split.npz: the training diverged: .*learning rate"):
        fit_source(str(split), tmp_path / "model", replace(QUICK, learning_rate=1e30, epochs=5))
    assert not (tmp_path / "model").exists()


def test_a_data_set_known_by_name_is_augmented_as_is_usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "augmentation", lambda name: ("flip",))
    result = fit_source("digits", tmp_path / "model", QUICK, augment=True)
    assert result.kept.origin.recipe["augment"] == ["flip"]
    assert "augmented by flip" in (tmp_path / "model/README.md").read_text()
