from __future__ import annotations

import numpy as np
import pytest
import relplot
import torch
from scipy.stats import norm

from gence.metrics import smooth_calibration_error
from gence.metrics.smooth import fixed_point, residual_spectrum, smoothed_mass


def two_class(confidence: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([confidence, 1 - confidence], 1))


def cases() -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 3000)
    gap = np.sin(12 * confidence) * 0.2
    return [
        (confidence, (generator.uniform(size=3000) < np.clip(confidence - shift, 0, 1)).astype(int))
        for shift in (0.0, 0.1, gap)
    ]


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.3])
def test_smoothing_equals_a_sum_over_mirror_images(sigma: float) -> None:
    confidence, correct = (some[:500] for some in cases()[2])
    residual = (confidence - correct) / len(confidence)
    t = np.linspace(0, 1, 2001)
    images = [sign * confidence + 2 * k for sign in (1, -1) for k in (-1, 0, 1)]
    kernel = sum(norm.pdf(t[:, None] - image[None], scale=sigma) for image in images)
    naive = np.trapezoid(np.abs(kernel @ residual), t)
    spectrum = residual_spectrum(torch.from_numpy(confidence), torch.from_numpy(residual)[None])
    assert smoothed_mass(spectrum, torch.tensor([sigma], dtype=torch.float64)).item() == pytest.approx(
        naive, rel=1e-3, abs=1e-5
    )


@pytest.mark.parametrize("case", range(3))
def test_it_agrees_with_relplot_to_its_step_of_a_thousandth(case: int) -> None:
    confidence, correct = cases()[case]
    ours = smooth_calibration_error(two_class(confidence), torch.from_numpy(1 - correct)).item()
    assert ours == pytest.approx(relplot.smECE(confidence, correct.astype(float)), abs=1.5e-3)


def test_the_value_is_the_fixed_point() -> None:
    confidence, correct = cases()[2]
    value = smooth_calibration_error(two_class(confidence), torch.from_numpy(1 - correct))
    residual = torch.from_numpy((confidence - correct) / len(confidence))
    at_itself = smoothed_mass(residual_spectrum(torch.from_numpy(confidence), residual[None]), value[None])
    assert at_itself.item() == pytest.approx(value.item(), abs=1e-12)


def test_one_sided_error_is_its_size_whatever_the_bandwidth() -> None:
    """Collapse: where stated confidence is everywhere too high by 0.1, no bandwidth can cancel anything."""
    confidence = np.tile([0.6, 0.7, 0.8, 0.9], 100)
    correct = np.concatenate([np.repeat([0, 1], [50, 50]), np.zeros(0, int)])
    stated = np.full(100, 0.6)
    assert smooth_calibration_error(two_class(stated), torch.from_numpy(1 - correct)).item() == pytest.approx(0.1, 1e-6)
    assert smooth_calibration_error(two_class(confidence), torch.zeros(400, dtype=torch.long)).item() == pytest.approx(
        0.25, 1e-6
    )


def test_certainty_that_is_right_costs_nothing_and_that_is_wrong_costs_everything() -> None:
    sure = torch.tensor([[1.0, 0.0]]).repeat(50, 1)
    assert smooth_calibration_error(sure, torch.zeros(50, dtype=torch.long)).item() == 0.0
    assert smooth_calibration_error(sure, torch.ones(50, dtype=torch.long)).item() == pytest.approx(1.0, abs=1e-6)


def test_many_fixed_points_at_once_are_those_found_one_by_one_by_bisection() -> None:
    generator = torch.Generator().manual_seed(0)
    place = torch.rand(300, dtype=torch.float64, generator=generator)
    strength = torch.tensor([1e-4, 0.01, 0.1, 0.5, 1.0], dtype=torch.float64)[:, None]
    shape = torch.stack([torch.sin(k * place) for k in (1, 9)]).repeat_interleave(5, 0)
    spectrum = residual_spectrum(place, strength.repeat(2, 1) * shape / 300)
    for line, found in zip(spectrum, fixed_point(spectrum).tolist(), strict=True):
        low, high = 1e-3, 1.0
        for _ in range(35):
            middle = torch.tensor([(low + high) / 2], dtype=torch.float64)
            low, high = (middle.item(), high) if smoothed_mass(line[None], middle) > middle else (low, middle.item())
        assert found == pytest.approx(
            smoothed_mass(line[None], torch.tensor([high], dtype=torch.float64)).item(), abs=1e-10
        )
