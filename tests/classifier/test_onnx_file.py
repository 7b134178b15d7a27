"""ONNX Runtime gives the probabilities of the kept model, from rows as the data hold them."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from gence import InputError
from gence.calibration import catalogue as calibrators
from gence.classifier import KeptModel, Settings, Task, fit_network, keep, to_onnx
from gence.classifier.network import Labelled
from gence.classifier.onnx_file import RowsToProbabilities
from gence.data import LabelledData


def by_onnx(content: bytes, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content)
    return session.run(["probabilities"], {"rows": rows})[0]


def fitted_to_images(shape: tuple[int, ...], dtype: str, **settings) -> tuple[KeptModel, LabelledData]:
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = generator.integers(0, 100, (40, *shape)) + 100 * labels.reshape(-1, 1, 1, 1)
    data = LabelledData("images", "image", images.astype(dtype), labels, ("dark", "light"))
    how = Settings(epochs=1, folds=2, batch_size=8, **settings)
    return keep(fit_network(Task(Labelled(data.inputs, labels), "image", 2), how), data, how), data


def test_a_table_with_gaps_without_a_word_of_the_exporter(
    kept: KeptModel, data: LabelledData, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert np.isnan(data.inputs).any()
    level = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        content = to_onnx(kept)
    assert (caught, tuple(capsys.readouterr())) == ([], ("", ""))
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
    assert logging.getLogger("torch.onnx").level == level
    assert not kept.network.model.training
    for rows in (data.inputs, data.inputs[:1], np.full((2, 9), np.nan)):
        found = by_onnx(content, rows)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, kept.probabilities(rows), rtol=0, atol=1e-6)
    session = onnxruntime.InferenceSession(content)
    (given,) = session.get_inputs()
    assert (given.type, given.shape[1:]) == ("tensor(double)", [9])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(kept.class_names)
    assert data.form is not None
    assert data.form.columns is not None
    assert json.loads(metadata["columns"]) == list(data.form.columns.names)


@pytest.mark.parametrize(
    ("shape", "dtype", "settings"),
    [
        ((3, 8, 8), "uint8", {"loss": "gence", "calibrate": "vector"}),
        ((1, 8, 8), "float32", {"loss": "ldam", "calibrate": "temperature", "hidden": (8,)}),
    ],
    ids=["uint8 and a linear head", "float32 and a cosine head"],
)
def test_images(shape: tuple[int, ...], dtype: str, settings: dict) -> None:
    kept, data = fitted_to_images(shape, dtype, **settings)
    content = to_onnx(kept)
    for rows in (data.inputs, data.inputs[:1]):
        np.testing.assert_allclose(by_onnx(content, rows), kept.probabilities(rows), rtol=0, atol=1e-5)


# torch.onnx copies tree specifications of torch, which warns of the type that they have.
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")
def test_every_calibrator(data: LabelledData) -> None:
    # In float64, because isotonic regression and histograms make much of a logit's last bit in float32.
    how = Settings(calibrate="none", hidden=(8,), epochs=2, folds=2)
    task = Task(Labelled(data.inputs, data.labels), "table", 3, dtype="float64")
    kept = keep(fit_network(task, how), data, how)
    assert kept.held_out is not None
    each = {
        name: dataclasses.replace(kept, calibrator=calibrators.fit(name, kept.held_out.logits, kept.held_out.labels))
        for name in calibrators.names()
    }

    class Everyone(nn.Module):
        """All of them in one export, because most of the time of an export goes into starting it."""

        def __init__(self) -> None:
            super().__init__()
            self.each = nn.ModuleList(RowsToProbabilities(one) for one in each.values())

        def forward(self, rows: Tensor) -> Tensor:
            return torch.stack([one(rows) for one in self.each])

    program = torch.onnx.export(
        Everyone().eval(),
        (torch.from_numpy(data.inputs[:2]),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        input_names=["rows"],
        output_names=["probabilities"],
        verbose=False,
    )
    assert program is not None
    content = program.model_proto.SerializeToString()
    found = by_onnx(content, data.inputs)
    for place, (name, one) in enumerate(each.items()):
        np.testing.assert_allclose(found[place], one.probabilities(data.inputs), rtol=0, atol=1e-6, err_msg=name)


def test_the_module_gives_the_same_in_torch(kept: KeptModel, data: LabelledData) -> None:
    found = RowsToProbabilities(kept)(torch.from_numpy(data.inputs)).detach()
    np.testing.assert_allclose(found, kept.probabilities(data.inputs), rtol=0, atol=1e-6)


def test_without_the_packages_it_says_what_to_install(kept: KeptModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"an .onnx file needs onnxscript: pip install 'gence\[onnx\]'"):
        to_onnx(kept)


def test_what_cannot_be_exported_is_one_line(kept: KeptModel, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reason(torch.onnx.OnnxExporterError):
        pass

    def fails(*_: object, **__: object) -> None:
        raise Reason("no such operator\nand a page of it")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(InputError, match=r"mlp cannot be written as ONNX \(no such operator\)"):
        to_onnx(kept)
