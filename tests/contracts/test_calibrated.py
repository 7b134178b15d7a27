"""Every calibrator of the catalogue is the same elsewhere: in a module, an exported program, an ONNX file, a file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gence.calibration import Calibrated, catalogue, fit_prior_shift, load, save
from gence.calibration.calibrator import Calibrator

CLASSES = 5
FEATURES = 4
NAMES = [*catalogue.names(), "prior_shift"]

every_calibrator = pytest.mark.parametrize("name", NAMES)


def data() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """A model, rows and labels; all sixteenths, so that the logits are the same to the last bit wherever they are made.

    A calibrator may be steep, as isotonic regression is, and make much of a last bit.
    """
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(FEATURES, CLASSES).requires_grad_(False)
    model.weight.copy_(sixteenths(2 * torch.randn(CLASSES, FEATURES, generator=generator)))
    model.bias.copy_(sixteenths(torch.randn(CLASSES, generator=generator)))
    x = sixteenths(torch.randn(300, FEATURES, generator=generator))
    target = torch.multinomial((model(x) / 2).softmax(1), 1, generator=generator).squeeze(1)
    return model, x, target


def sixteenths(values: torch.Tensor) -> torch.Tensor:
    return (16 * values).round() / 16


@cache
def fitted(name: str) -> Calibrator:
    if name == "prior_shift":
        return fit_prior_shift([0.2] * CLASSES, [0.1, 0.1, 0.1, 0.3, 0.4])
    model, x, target = data()
    return catalogue.fit(name, model(x), target)


@every_calibrator
def test_a_module_gives_the_probabilities_of_the_calibrator(name: str) -> None:
    model, x, _ = data()
    calibrated = Calibrated(model, fitted(name))
    assert_close(calibrated(x), fitted(name)(model(x)).softmax(1))
    assert_close(calibrated(x).sum(1), torch.ones(300))


# torch.onnx copies tree specifications of torch, which warns of the type that they have.
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")
def test_torch_export_and_onnx_give_the_probabilities_of_every_calibrator() -> None:
    class Everyone(nn.Module):
        """All of them in one export, because most of the time of an export goes into starting it."""

        def __init__(self) -> None:
            super().__init__()
            self.each = nn.ModuleDict({name: Calibrated(model, fitted(name)) for name in NAMES})

        def forward(self, *args: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(calibrated(*args) for calibrated in self.each.values())

    model, x, _ = data()
    exported = torch.export.export(Everyone().eval(), (x[:7],), dynamic_shapes=(({0: torch.export.Dim("rows")},),))
    onnx = torch.onnx.export(exported, dynamo=True, output_names=NAMES, verbose=False)
    assert onnx is not None
    session = onnxruntime.InferenceSession(onnx.model_proto.SerializeToString())
    for rows in (1, 300):
        by_torch = exported.module()(x[:rows])
        by_onnx = session.run(NAMES, {session.get_inputs()[0].name: x[:rows].numpy()})
        for name, torch_probs, onnx_probs in zip(NAMES, by_torch, by_onnx, strict=True):
            expected = fitted(name)(model(x[:rows])).softmax(1).numpy()
            np.testing.assert_allclose(torch_probs, expected, rtol=0, atol=1e-6, err_msg=name)
            np.testing.assert_allclose(onnx_probs, expected, rtol=0, atol=1e-6, err_msg=name)


@every_calibrator
def test_the_state_dict_of_a_cast_model_brings_every_number_back(name: str) -> None:
    calibrator = fitted(name)
    stored = Calibrated(data()[0], calibrator).half().float().state_dict()
    for key, value in calibrator.tensors().items():
        assert_close(stored[f"calibrators.0.{key}"], value, rtol=0, atol=0)


@every_calibrator
def test_a_safetensors_file_brings_it_back(name: str, tmp_path: Path) -> None:
    assert load(save(fitted(name), tmp_path / "calibrator.safetensors")) == fitted(name)
