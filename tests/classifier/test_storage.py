"""A folder brings the model back to the last bit, or says in one line why it does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from gence import InputError
from gence.calibration import load as load_calibrator
from gence.calibration.external import ExternalCalibrator
from gence.classifier import KeptModel, load, save, storage
from gence.classifier.folder import FILES, check_model_place, whole_folder
from gence.data import LabelledData, read_predictions

pytestmark = pytest.mark.usefixtures("no_onnx")


@pytest.fixture
def folder(kept: KeptModel, tmp_path: Path) -> Path:
    assert save(kept, tmp_path / "model") == ()
    return tmp_path / "model"


def test_what_was_saved_comes_back_to_the_last_bit(kept: KeptModel, folder: Path, data: LabelledData) -> None:
    back = load(folder)
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(FILES)
    np.testing.assert_array_equal(back.probabilities(data.inputs), kept.probabilities(data.inputs))
    np.testing.assert_array_equal(back.logits(data.inputs), kept.logits(data.inputs))
    for name in ("architecture", "calibrator", "class_names", "form", "origin", "evidence"):
        assert getattr(back, name) == getattr(kept, name), name
    assert not back.network.model.training
    assert (back.network.updates, back.network.cautions) == (kept.network.updates, kept.network.cautions)
    assert back.held_out is not None
    assert kept.held_out is not None
    assert_close(back.held_out.logits, kept.held_out.logits, rtol=0, atol=0)
    np.testing.assert_array_equal(back.held_out.labels, kept.held_out.labels)
    save(back, folder.with_name("again"))
    for name in ("model.json", "model.safetensors", "calibrator.json", "README.md"):
        assert (folder.with_name("again") / name).read_bytes() == (folder / name).read_bytes()


def test_probabilities_are_those_of_network_and_calibrator(kept: KeptModel, data: LabelledData) -> None:
    expected = kept.calibrator(kept.network.logits(data.inputs).double()).softmax(1).numpy()
    np.testing.assert_array_equal(kept.probabilities(data.inputs), expected)
    np.testing.assert_allclose(kept.probabilities(data.inputs).sum(1), 1.0)


def test_no_file_is_a_pickle(folder: Path) -> None:
    with np.load(folder / "held_out.npz", allow_pickle=False) as file:
        assert {name: file[name].dtype.kind for name in file.files}.keys() >= {"logits", "labels", "class_names"}
    assert not [entry for entry in folder.iterdir() if entry.read_bytes()[:1] == b"\x80"]


def test_the_parts_serve_the_other_commands_as_they_stand(kept: KeptModel, folder: Path) -> None:
    assert load_calibrator(folder / "calibrator.json") == kept.calibrator
    predictions = read_predictions(folder / "held_out.npz", logits_only=True)
    assert kept.held_out is not None
    assert predictions.class_names == kept.class_names
    np.testing.assert_array_equal(predictions.labels, kept.held_out.labels)
    np.testing.assert_array_equal(predictions.logits, kept.held_out.logits)


def test_inputs_of_another_form_are_refused(kept: KeptModel, data: LabelledData) -> None:
    with pytest.raises(InputError, match=r"shape \(90, 3\) and the type float64; \(rows, 9\) float64 is expected"):
        kept.probabilities(data.inputs[:, :3])
    with pytest.raises(InputError, match="the type uint8"):
        kept.probabilities(np.zeros((2, 9), np.uint8))
    with pytest.raises(InputError, match="infinity"):
        kept.logits(np.full((1, 9), np.inf))
    assert kept.logits(data.inputs[:2].astype(np.float32)).shape == (2, 3)


def test_a_model_is_replaced_and_what_else_lies_there_stays(kept: KeptModel, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "held_out.npz").unlink()
    save(kept, folder)
    assert sorted(entry.name for entry in folder.iterdir()) == sorted((*FILES, "notes.txt"))
    assert list(folder.parent.iterdir()) == [folder]


def test_a_write_that_fails_leaves_the_old_model_and_no_trace(
    kept: KeptModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {entry.name: entry.read_bytes() for entry in folder.iterdir()}

    def full(*_: Any, **__: Any) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr(storage, "card", full)
    for place in (folder, folder.with_name("new")):
        with pytest.raises(OSError, match="no space"):
            save(kept, place)
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_cannot_take_its_place_gives_it_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gence.classifier import folder as module

    rename = module.os.rename

    def fails(old: Path, new: Path) -> None:
        if Path(old).suffix == ".tmp":
            raise OSError("busy")
        rename(old, new)

    monkeypatch.setattr(module.os, "rename", fails)
    with pytest.raises(OSError, match="busy"), whole_folder(folder) as new:
        (new / "model.json").write_text("{}")
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(FILES)
    assert list(folder.parent.iterdir()) == [folder]


def test_something_else_than_a_model_is_never_replaced(kept: KeptModel, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "model.json").write_text('{"format": "mine"}')
    with pytest.raises(InputError, match="holds something else than a model; name a new folder"):
        save(kept, tmp_path / "photos")
    with pytest.raises(InputError, match="this is a file; give a folder"):
        save(kept, tmp_path / "photos" / "model.json")
    (tmp_path / "empty").mkdir()
    save(kept, tmp_path / "empty")


def test_a_folder_that_cannot_be_replaced_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here/deeper").mkdir(parents=True)
    (tmp_path / "mounted").mkdir()
    monkeypatch.chdir(tmp_path / "here/deeper")
    with pytest.raises(InputError, match=r"^\.: you are in this folder, or it is mounted"):
        check_model_place(".")
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).name == "mounted")
    with pytest.raises(InputError, match="give a folder inside it"):
        check_model_place(tmp_path / "mounted")
    assert check_model_place(tmp_path / "mounted/model") == tmp_path / "mounted/model"


def test_a_calibrator_of_another_package_is_refused(kept: KeptModel, tmp_path: Path) -> None:
    import dataclasses

    foreign = dataclasses.replace(kept, calibrator=ExternalCalibrator("probmetrics:platt", 3, 9, 1.0, 0.9, fitted=None))
    with pytest.raises(InputError, match="holds code and cannot be saved"):
        save(foreign, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_without_the_packages_for_onnx_the_rest_is_written(
    kept: KeptModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(kept: KeptModel) -> bytes:
        raise InputError("an .onnx file needs onnxscript: pip install 'gence[onnx]'")

    monkeypatch.setattr(storage, "to_onnx", missing)
    assert save(kept, tmp_path / "model") == (
        "model.onnx was left out: an .onnx file needs onnxscript: pip install 'gence[onnx]'",
    )
    assert sorted(entry.name for entry in (tmp_path / "model").iterdir()) == sorted(set(FILES) - {"model.onnx"})
    assert "ONNX Runtime" not in (tmp_path / "model/README.md").read_text()
    load(tmp_path / "model")


def test_held_out_rows_may_be_taken_away(folder: Path) -> None:
    (folder / "held_out.npz").unlink()
    assert load(folder).held_out is None


def edited(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A change of a JSON file; a changed calibrator is entered in model.json as if it had been saved so."""

    def do(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))
        if name != "model.json":
            model = json.loads((folder / "model.json").read_text())
            model["sha256"][name] = storage._sha256(folder / name)
            (folder / "model.json").write_text(json.dumps(model))

    return do


def reweighted(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        model = json.loads((folder / "model.json").read_text())
        model["sha256"]["model.safetensors"] = storage._sha256(folder / "model.safetensors")
        (folder / "model.json").write_text(json.dumps(model))

    return do


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-20])


def pickled(folder: Path) -> None:
    arrays = {name: np.array([{}], object) for name in ("logits", "labels", "rows", "fold")}
    np.savez(folder / "held_out.npz", **arrays)  # type: ignore[arg-type]


HEAD = "network.head.bias"
TAMPERED: list[tuple[str, Callable[[Path], Any], str]] = [
    ("gone", shutil.rmtree, "there is no such model; make one with gence fit"),
    ("empty", lambda f: (f / "model.json").unlink(), r"no model \(model.json is missing\); give the --out folder"),
    ("no weights", lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    ("no calibrator", lambda f: (f / "calibrator.json").unlink(), "calibrator.json is missing"),
    ("cut weights", cut("model.safetensors"), "model.safetensors: damaged or changed"),
    ("cut calibrator", cut("calibrator.json"), "calibrator.json: damaged or changed"),
    ("cut model", cut("model.json"), "model.json: damaged, this is not JSON"),
    ("cut rows", cut("held_out.npz"), "held_out.npz: damaged"),
    ("pickled rows", pickled, "held_out.npz: damaged"),
    ("other JSON", edited("model.json", lambda c: c.update(format="x")), "this is other JSON"),
    ("newer", edited("model.json", lambda c: c.update(version=2)), "model version 2, this gence reads version 1; up"),
    ("no origin", edited("model.json", lambda c: c.pop("origin")), "damaged, it has no origin"),
    ("bad origin", edited("model.json", lambda c: c["origin"].update(rows="x")), "damaged, origin.rows: "),
    ("bad form", edited("model.json", lambda c: c["form"].update(kind="sound")), "the input form is damaged"),
    ("fewer classes", edited("model.json", lambda c: c["class_names"].pop()), r"network.head.weight is \(3, 8\)"),
    ("same classes", edited("model.json", lambda c: c.update(class_names=["a"] * 3)), "two different class names"),
    ("other names", edited("model.json", lambda c: c.update(class_names=list("abc"))), "its classes are not those"),
    ("no list", edited("model.json", lambda c: c.update(class_names="abc")), "no list of texts"),
    ("no such net", edited("model.json", lambda c: c["architecture"].update(name="rnn")), "unknown model 'rnn'"),
    ("no such loss", edited("model.json", lambda c: c["origin"]["settings"].update(loss="x")), "unknown loss 'x'"),
    ("huge net", edited("model.json", lambda c: c["architecture"].update(hidden=[10**9])), "network.body.1.weight is"),
    ("half", edited("model.json", lambda c: c.update(dtype="float16")), "neither float32 nor float64"),
    ("bad training", edited("model.json", lambda c: c["training"].pop("seconds")), "entries of its training do not"),
    ("other head", edited("model.json", lambda c: c["origin"]["settings"].update(loss="ldam")), "not those of the net"),
    ("other kind", edited("calibrator.json", lambda c: c.update(kind="magic")), "unknown calibrator 'magic'"),
    (
        "float64",
        reweighted(lambda t: t.update({HEAD: torch.zeros(3).double()})),
        r"torch.float64; \(3,\) torch.float32 is",
    ),
    ("short", reweighted(lambda t: t.update({"standardize.mean": torch.zeros(2)})), "one a channel or column, 9"),
    ("more", reweighted(lambda t: t.update(extra=torch.zeros(2))), r"its tensors are not those .* \(extra\)"),
]


@pytest.mark.parametrize(("tamper", "message"), [case[1:] for case in TAMPERED], ids=[case[0] for case in TAMPERED])
def test_a_folder_that_was_tampered_with_is_one_line(folder: Path, tamper: Callable[[Path], Any], message: str) -> None:
    tamper(folder)
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_the_wrong_place_is_told(folder: Path, table: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean '.*model'\?"):
        load(folder.with_name("modle"))
    with pytest.raises(InputError, match="a file of a model; give its folder"):
        load(folder / "model.onnx")
    with pytest.raises(InputError, match="a file, but no model"):
        load(table)
