"""Calibrating a file and applying the result: against plain loops, and what is refused before any fitting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from gence import calibration
from gence._errors import InputError
from gence.audit import calibrate
from gence.audit.calibrate import apply_file, calibrate_file
from gence.audit.files import audit_file
from gence.calibration import catalogue, cross_fit, selection
from gence.data import read_predictions

FEW = ("none", "temperature")


def overconfident(rows: int, classes: int = 3, factor: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits `factor` times too large, and labels drawn from the honest ones."""
    generator = np.random.default_rng(seed)
    honest = 1.5 * generator.normal(size=(rows, classes))
    draws = generator.random((rows, 1))
    return factor * honest, (draws > softmax(honest, axis=1).cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    logits, labels = overconfident(600)
    np.savez(tmp_path / "p.npz", logits=logits, labels=labels)
    return tmp_path / "p.npz"


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_the_numbers_are_those_of_a_cross_validation_written_out(file: Path, tmp_path: Path) -> None:
    result = calibrate_file(file, tmp_path / "c.json", method="temperature", folds=4, seed=5)
    with np.load(file) as arrays:
        z, y = arrays["logits"], arrays["labels"]
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(5)).numpy()
    held_out = np.empty_like(z)
    for fold in np.array_split(order, 4):
        others = np.setdiff1d(order, fold)
        held_out[fold] = calibration.fit_temperature(z[others], y[others])(z[fold])
    for scores, logits in ((result.before, z), (result.after, held_out)):
        assert scores.nll == pytest.approx(-log_softmax(logits, axis=1)[np.arange(len(z)), y].mean(), abs=1e-12)
        confidence, right = softmax(logits, axis=1).max(axis=1), logits.argmax(axis=1) == y
        bins = np.ceil(confidence * 15)
        gaps = [abs((confidence - right)[bins == b].sum()) for b in range(1, 16)]
        assert scores.ece == pytest.approx(sum(gaps) / len(z), abs=1e-12)
        assert scores.accuracy == right.mean()
    assert result.after.nll < result.before.nll
    assert (result.rows, result.folds, result.why, result.remarks) == (600, 4, None, ())
    assert calibration.load(result.out) == calibration.fit_temperature(z, y)


@pytest.mark.parametrize("ending", [".json", ".safetensors", ".JSON"])
def test_what_was_saved_makes_the_probabilities_that_the_calibrator_gives(
    file: Path, tmp_path: Path, ending: str
) -> None:
    result = calibrate_file(file, tmp_path / f"deep/er/c{ending}", method="ensemble")
    applied = apply_file(result.out, file, tmp_path / "q.npz")
    with np.load(file) as arrays:
        expected = softmax(catalogue.fit("ensemble", arrays["logits"], arrays["labels"])(arrays["logits"]), axis=1)
    found = read_predictions(applied.out)
    np.testing.assert_allclose(found.probs, expected, rtol=1e-12)
    np.testing.assert_array_equal(found.labels, read_predictions(file).labels)
    assert (applied.rows, applied.classes) == (600, 3)


def test_batches_of_rows_do_not_show(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = calibrate_file(file, tmp_path / "c.json", method="temperature").out
    # Memory that was never written must not happen to hold the answer.
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float, **_: np.full(shape, 7, dtype))
    whole = read_predictions(apply_file(saved, file, tmp_path / "a.npz").out).probs
    monkeypatch.setattr(calibrate, "_BATCH_ROWS", 7)
    np.testing.assert_array_equal(read_predictions(apply_file(saved, file, tmp_path / "b.npz").out).probs, whole)


def test_auto_takes_the_lowest_held_out_nll_and_says_why(file: Path, tmp_path: Path) -> None:
    result = calibrate_file(file, tmp_path / "c.json", candidates=FEW)
    with np.load(file) as arrays:
        z, y = torch.from_numpy(arrays["logits"]), torch.from_numpy(arrays["labels"])
    nll = {name: torch.nn.functional.cross_entropy(cross_fit(name, z, y), y).item() for name in FEW}
    assert nll[result.method] == min(nll.values())
    assert result.method == "temperature"
    assert result.after.nll == pytest.approx(nll["temperature"], abs=1e-12)
    assert result.before.nll == pytest.approx(nll["none"], abs=1e-12)
    assert f"{nll['temperature']:.4f}" in (result.why or "")
    assert "chosen: temperature has the lowest NLL" in result.lines()[1]


def test_auto_may_find_that_nothing_helps(tmp_path: Path) -> None:
    z, y = overconfident(300, factor=1.0, seed=3)
    path = save(tmp_path / "p.npz", logits=z, labels=y)
    scores = {name: calibrate_file(path, tmp_path / f"{name}.json", method=name).after.nll for name in FEW}
    assert scores["none"] < scores["temperature"]
    assert calibrate_file(path, tmp_path / "c.json", candidates=FEW).method == "none"


def test_with_many_classes_auto_leaves_out_what_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = overconfident(20)
    path = save(tmp_path / "p.npz", logits=z, labels=y)
    monkeypatch.setattr(selection, "_MOST_CLASSES", 2)
    result = calibrate_file(path, tmp_path / "c.json", candidates=("none", "dirichlet"))
    assert result.method == "none"
    assert "dirichlet was not tried: with 3 classes it takes long" in result.remarks


def test_a_calibrator_that_does_harm_says_so(tmp_path: Path) -> None:
    z, y = overconfident(40, classes=8, factor=1.0)
    path = save(tmp_path / "p.npz", logits=z, labels=y)
    result = calibrate_file(path, tmp_path / "c.json", method="histogram")
    assert result.after.nll > result.before.nll
    assert any("does harm" in remark for remark in result.remarks)


def test_few_rows_and_classes_without_a_row_are_remarked(tmp_path: Path) -> None:
    z, y = overconfident(50, classes=4)
    path = save(tmp_path / "p.npz", logits=z, labels=np.minimum(y, 2), class_names=np.array(["a", "b", "c", "d"]))
    result = calibrate_file(path, tmp_path / "c.json", method="temperature")
    assert "50 rows are few: another sample of rows may give quite other numbers" in result.remarks
    assert "1 class without a row: d" in result.remarks
    assert "note: 1 class without a row: d" in result.lines()


def test_of_very_many_rows_some_are_drawn(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "MOST_ROWS", 250)
    result = calibrate_file(file, tmp_path / "c.json", method="temperature")
    assert result.rows == 250
    assert "fitted and judged on 250 of 600 rows, drawn at random" in result.remarks


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "temprature"}, ("unknown method 'temprature'", "did you mean 'temperature'?", "auto, none")),
        ({"method": "probmetrics:ts-mix"}, ("'probmetrics:ts-mix'", "cannot be saved", "auto, none, temperature")),
        ({"out": "c.pt"}, ("c.pt", ".safetensors or .json")),
        ({"out": "c"}, (".safetensors or .json",)),
        ({"labels": "y"}, ("no array 'y' among logits, labels",)),
        ({"logits": "z"}, ("no array 'z' among logits, labels",)),
    ],
)
def test_calibrate_refuses_before_it_writes(
    file: Path, tmp_path: Path, options: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        calibrate_file(file, tmp_path / options.pop("out", "c.json"), **options)
    for word in words:
        assert word in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["p.npz"]


def test_a_folder_is_no_calibrator_to_write(file: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").mkdir()
    with pytest.raises(InputError, match="this is a folder"):
        calibrate_file(file, tmp_path / "c.json")


@pytest.mark.parametrize("rows", [1, 4])
def test_too_few_rows_say_how_many_are_needed(tmp_path: Path, rows: int) -> None:
    z, y = overconfident(rows)
    path = save(tmp_path / "p.npz", logits=z, labels=y)
    with pytest.raises(InputError, match=rf"{rows} labelled rows?; at least 5 are needed .*, and 200 or more"):
        calibrate_file(path, tmp_path / "c.json", method="temperature")


def test_five_rows_are_enough(tmp_path: Path) -> None:
    z, y = overconfident(5)
    path = save(tmp_path / "p.npz", logits=z, labels=y)
    assert calibrate_file(path, tmp_path / "c.json", candidates=FEW).rows == 5


def test_probabilities_are_no_logits(tmp_path: Path) -> None:
    z, y = overconfident(20)
    saved = calibrate_file(save(tmp_path / "p.npz", logits=z, labels=y), tmp_path / "c.json", method="none").out
    path = save(tmp_path / "q.npz", probs=softmax(z, axis=1), labels=y)
    for call in (
        lambda: calibrate_file(path, tmp_path / "d.json"),
        lambda: apply_file(saved, path, tmp_path / "r.npz"),
    ):
        with pytest.raises(InputError, match=r"only probabilities are there, .* the logarithm"):
            call()


def test_a_calibrator_of_other_classes_is_refused(tmp_path: Path) -> None:
    z, y = overconfident(100)
    saved = calibrate_file(save(tmp_path / "p.npz", logits=z, labels=y), tmp_path / "c.json", method="vector").out
    other = save(tmp_path / "q.npz", logits=overconfident(9, classes=5)[0])
    with pytest.raises(
        InputError, match=r"c\.json does not suit .*q\.npz: .*it was fitted on 3 classes \(0, 1, 2\), the file has 5"
    ):
        apply_file(saved, other, tmp_path / "r.npz")
    assert not (tmp_path / "r.npz").exists()


def named(path: Path, z: np.ndarray, names: tuple[str, ...], **arrays: Any) -> Path:
    return save(path, logits=z, class_names=np.array(names), **arrays)


def test_columns_in_another_order_get_the_probabilities_of_their_own_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, y = overconfident(300)
    z = z * [1.0, 2.0, 0.5] + [0.0, 3.0, -1.0]
    path = named(tmp_path / "p.npz", z, ("cat", "dog", "newt"), labels=y)
    saved = calibrate_file(path, tmp_path / "c.json", method="vector").out
    expected = read_predictions(apply_file(saved, path, tmp_path / "q.npz").out).probs
    order = [2, 0, 1]
    other = named(tmp_path / "o.npz", z[:, order], ("newt", "cat", "dog"), labels=np.argsort(order)[y])
    monkeypatch.setattr(calibrate, "_BATCH_ROWS", 7)
    applied = apply_file(saved, other, tmp_path / "r.npz")
    found = read_predictions(applied.out)
    assert found.class_names == ("newt", "cat", "dog")
    np.testing.assert_allclose(found.probs, expected[:, order], rtol=1e-12)
    assert any("another order than the calibrator's (cat, dog, newt)" in remark for remark in applied.remarks)


def test_a_calibrator_of_differently_named_classes_is_refused(tmp_path: Path) -> None:
    z, y = overconfident(60)
    path = named(tmp_path / "p.npz", z, ("cat", "dog", "newt"), labels=y)
    saved = calibrate_file(path, tmp_path / "c.json", method="vector").out
    other = named(tmp_path / "o.npz", z, ("newt", "cat", "eel"))
    with pytest.raises(InputError, match=r"c\.json does not suit .*o\.npz: .* classes 'dog', .* the file has 'eel';"):
        apply_file(saved, other, tmp_path / "r.npz")
    assert not (tmp_path / "r.npz").exists()


def test_without_names_on_one_side_the_columns_are_taken_as_they_stand(file: Path, tmp_path: Path) -> None:
    with np.load(file) as arrays:
        other = named(tmp_path / "o.npz", arrays["logits"], ("cat", "dog", "newt"), labels=arrays["labels"])
    for fitted, applied in ((file, other), (other, file)):
        saved = calibrate_file(fitted, tmp_path / "c.json", method="vector").out
        result = apply_file(saved, applied, tmp_path / "q.npz")
        assert any("column by column" in remark for remark in result.remarks)
    same = calibrate_file(file, tmp_path / "c.json", method="vector").out
    assert apply_file(same, file, tmp_path / "q.npz").remarks == ()


def test_probabilities_that_are_no_numbers_are_not_written(file: Path, tmp_path: Path) -> None:
    saved = calibrate_file(file, tmp_path / "c.json", method="temperature").out
    damaged = tmp_path / "d.json"
    damaged.write_text(re.sub(r'"temperature": [\d.]+', '"temperature": 1e-300', saved.read_text()))
    z = np.ones((4, 3))
    z[2] = [1.0, 1e300, 1e300]
    with pytest.raises(InputError, match=r"d\.json makes no probabilities of row 2 \(counted from 0\) of .*\(1 of 4"):
        apply_file(damaged, save(tmp_path / "q.npz", logits=z), tmp_path / "r.npz")
    assert not (tmp_path / "r.npz").exists()


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_logits_too_large_to_calibrate_are_refused(tmp_path: Path, method: str) -> None:
    # Under-confident, so that the calibrator makes what is large larger.
    z, y = overconfident(200, factor=0.3)
    z[5], y[5] = [1.7e308, -1.7e308, 0], 0
    with pytest.raises(InputError, match=r"p\.npz: .*too large"):
        calibrate_file(save(tmp_path / "p.npz", logits=z, labels=y), tmp_path / "c.json", method=method)
    assert not (tmp_path / "c.json").exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "q.csv").mkdir()
    for call in (
        lambda: calibrate_file("nowhere.npz", tmp_path / "f/c.json"),
        lambda: apply_file("nowhere.json", "nowhere.npz", tmp_path / "f/q.csv"),
    ):
        with pytest.raises(InputError, match=r"f' is a file, not a folder"):
            call()
    with pytest.raises(InputError, match=r"q\.csv: this is a folder"):
        apply_file("nowhere.json", "nowhere.npz", tmp_path / "q.csv")


def test_apply_refuses_a_calibrator_that_is_none(file: Path, tmp_path: Path) -> None:
    saved = calibrate_file(file, tmp_path / "c.json", method="temperature").out
    (tmp_path / "other.json").write_text("{}")
    for calibrator, words in (
        (tmp_path / "d.json", f"did you mean '{saved}'?"),
        (tmp_path / "nowhere/d.json", "make it with gence calibrate"),
        (file, "gence apply CALIBRATOR PREDICTIONS"),
        (tmp_path / "other.json", "this is other JSON"),
    ):
        with pytest.raises(InputError) as caught:
            apply_file(calibrator, file, tmp_path / "q.npz")
        assert words in str(caught.value)


def test_apply_writes_what_it_can_and_not_over_its_input(file: Path, tmp_path: Path) -> None:
    saved = calibrate_file(file, tmp_path / "c.json", method="temperature").out
    with pytest.raises(InputError, match="read from this file"):
        apply_file(saved, file, file)
    with pytest.raises(InputError, match=r"files that end in \.npz, \.csv, \.parquet"):
        apply_file(saved, file, tmp_path / "q.xlsx")


def test_the_errors_of_an_audit_are_one_line_of_input(file: Path) -> None:
    with pytest.raises(InputError, match="bins must be at least 1; got 0"):
        audit_file(file, bins=0)
    with pytest.raises(InputError, match="no array 'y'"):
        audit_file(file, labels="y")
