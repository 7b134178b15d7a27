from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from gence.calibration import Calibrated, TemperatureScaling, Uncalibrated, fit_prior_shift
from gence.calibration.external import ExternalCalibrator

TEMPERATURE = TemperatureScaling(1.7, 10, 1.0, 0.9)
SHIFT = fit_prior_shift([0.5, 0.3, 0.2], [0.1, 0.1, 0.8])


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def rows(count: int = 6) -> Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(1))


def test_it_gives_the_probabilities_of_the_calibrated_logits_of_the_model() -> None:
    model, x = linear(), rows()
    calibrated = Calibrated(model, TEMPERATURE)
    assert_close(calibrated(x), (model(x).double() / 1.7).softmax(1).float())
    assert_close(calibrated.logits(x), TEMPERATURE(model(x)))
    assert calibrated(x).dtype == torch.float32


def test_more_calibrators_are_applied_in_their_order() -> None:
    model, x = linear().double(), rows().double()
    calibrated = Calibrated(model, TEMPERATURE, SHIFT)
    assert_close(calibrated.logits(x), SHIFT(TEMPERATURE(model(x))))
    assert_close(calibrated(x), SHIFT(TEMPERATURE(model(x))).softmax(1))
    assert (Calibrated(model, SHIFT, TEMPERATURE)(x) - calibrated(x)).abs().max() > 0.01


def test_a_model_may_take_more_than_one_argument() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, *, scale: float) -> Tensor:
            return scale * x

    x = rows()
    assert_close(Calibrated(Scaled(), Uncalibrated())(x, scale=2.0), (2 * x).softmax(1))


def test_the_state_dict_brings_the_calibrator_back() -> None:
    calibrated, other = (
        Calibrated(linear(), SHIFT),
        Calibrated(nn.Linear(4, 3), fit_prior_shift([1 / 3] * 3, [1 / 3] * 3)),
    )
    other.load_state_dict(calibrated.state_dict())
    assert_close(other(rows()), calibrated(rows()), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_cast_leaves_the_numbers_of_the_calibrator_as_they_are(dtype: torch.dtype) -> None:
    calibrated = Calibrated(linear(), SHIFT)
    exact = SHIFT.tensors()["log_ratio"]
    for cast in (calibrated.to(dtype), calibrated.half().to(dtype)):
        assert_close(cast.state_dict()["calibrators.0.log_ratio"], exact, rtol=0, atol=0)
        assert cast.model.weight.dtype == dtype
    result = calibrated(rows().to(dtype))
    assert result.dtype == torch.float32
    assert_close(result, SHIFT(calibrated.model(rows().to(dtype))).softmax(1))


def test_it_moves_to_another_device_and_dtype_at_once() -> None:
    moved = Calibrated(linear(), SHIFT).to("meta", torch.float16)
    log_ratio = moved.state_dict()["calibrators.0.log_ratio"]
    assert log_ratio.device.type == "meta"
    assert log_ratio.dtype == torch.float64
    assert moved(torch.zeros(5, 4, device="meta", dtype=torch.float16)).shape == (5, 3)


def test_gradients_reach_the_model_and_not_the_calibrator() -> None:
    calibrated = Calibrated(linear(), SHIFT)
    calibrated(rows())[:, 0].sum().backward()
    assert calibrated.model.weight.grad.abs().max() > 0.0
    assert [name for name, _ in calibrated.named_parameters()] == ["model.weight", "model.bias"]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_left_as_it_is(training: bool) -> None:
    calibrated = Calibrated(linear().train(training), TEMPERATURE)
    assert calibrated.training is training
    assert calibrated.model.training is training


def test_it_says_what_it_is_made_of() -> None:
    assert "(0): _Numbers(TemperatureScaling)" in repr(Calibrated(linear(), TEMPERATURE))


def test_logits_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="numbers for each of 3 classes, logits has 5 columns"):
        Calibrated(nn.Linear(4, 5), SHIFT)(rows())


def test_a_model_that_gives_something_else_than_logits_is_refused() -> None:
    class Wordy(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": x}

    with pytest.raises(TypeError, match="must return its logits as a tensor; got dict: wrap it in a module"):
        Calibrated(Wordy(), TEMPERATURE)(rows())
    with pytest.raises(ValueError, match=r"logits must have shape \(rows, classes\)"):
        Calibrated(nn.Identity(), TEMPERATURE)(torch.zeros(3))


def test_something_else_than_a_model_and_calibrators_is_refused() -> None:
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module; got function"):
        Calibrated(linear, TEMPERATURE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a fitted calibrator of gence is expected; got float"):
        Calibrated(linear(), TEMPERATURE, 1.7)  # type: ignore[arg-type]


def test_a_calibrator_without_tensors_is_refused_with_its_own_reason() -> None:
    foreign = ExternalCalibrator("probmetrics:platt", 3, 10, 1.0, 0.9, fitted=None)
    with pytest.raises(TypeError, match="holds code, not numbers: it cannot be saved or exported"):
        Calibrated(linear(), foreign)
