from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from gence.calibration import AdaptiveTemperatureScaling, fit_temperature
from gence.metrics import ood_auroc
from gence.ood import energy, max_logit, max_softmax, negative_entropy

LOGITS = 3 * torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_naive_loops_agree() -> None:
    for row, *scores in zip(
        LOGITS, max_softmax(LOGITS), max_logit(LOGITS), energy(LOGITS), negative_entropy(LOGITS), strict=True
    ):
        z = row.tolist()
        total = sum(math.exp(v) for v in z)
        p = [math.exp(v) / total for v in z]
        expected = [max(p), max(z), math.log(total), sum(q * math.log(q) for q in p)]
        assert [s.item() for s in scores] == pytest.approx(expected)


def test_energy_lies_between_the_highest_logit_and_the_mean_logit_as_its_temperature_grows() -> None:
    assert_close(energy(LOGITS, temperature=1e-3), max_logit(LOGITS), rtol=0, atol=2e-3)
    assert_close(energy(LOGITS, temperature=1e6) - 1e6 * math.log(4), LOGITS.mean(1), rtol=0, atol=1e-4)
    for low, high in ((0.5, 1.0), (1.0, 3.0)):
        assert (energy(LOGITS, temperature=low) < energy(LOGITS, temperature=high)).all()


def test_equal_logits_are_the_least_sure_and_huge_ones_overflow_nothing() -> None:
    assert_close(max_softmax(torch.zeros(1, 4)), torch.tensor([0.25], dtype=torch.float64))
    assert_close(negative_entropy(torch.zeros(1, 4)), torch.tensor([-math.log(4)], dtype=torch.float64))
    huge = torch.tensor([[1e5, -1e5, 0.0]])
    assert [s(huge).item() for s in (max_softmax, max_logit, energy, negative_entropy)] == [1.0, 1e5, 1e5, 0.0]


def test_a_shift_of_all_logits_moves_the_highest_logit_and_the_energy_alone() -> None:
    for score in (max_softmax, negative_entropy):
        assert_close(score(LOGITS + 7), score(LOGITS))
    for score in (max_logit, energy):
        assert_close(score(LOGITS + 7), score(LOGITS) + 7)


def test_one_temperature_divides_the_highest_logit_and_is_a_temperature_of_the_energy() -> None:
    target = torch.randint(4, (60,), generator=torch.Generator().manual_seed(1))
    calibrator = fit_temperature(LOGITS, target)
    t = calibrator.temperature
    assert t > 1.5
    assert_close(max_logit(calibrator(LOGITS)), max_logit(LOGITS) / t)
    assert_close(energy(calibrator(LOGITS)), energy(LOGITS, temperature=t) / t)
    assert_close(energy(calibrator(LOGITS), temperature=2.0), energy(LOGITS, temperature=2.0 * t) / t)


def test_what_calibrators_do_to_the_order_of_rows() -> None:
    # One near rival, or two weaker ones: which row is surer depends on the temperature.
    one, two = torch.tensor([[0.0, -1.5, -50.0]]), torch.tensor([[0.0, -3.0, -3.0]])
    for score in (max_softmax, negative_entropy):
        assert ood_auroc(score(one), score(two)) == 0.0
        assert ood_auroc(score(one / 5), score(two / 5)) == 1.0
    assert ood_auroc(energy(one), energy(two)) == 1.0
    assert ood_auroc(energy(one / 5), energy(two / 5)) == 0.0
    a, b = LOGITS[:30], LOGITS[30:]
    assert ood_auroc(max_logit(a / 5), max_logit(b / 5)) == ood_auroc(max_logit(a), max_logit(b))
    for score in (max_softmax, negative_entropy):
        assert ood_auroc(score(a / 5), score(b / 5)) != ood_auroc(score(a), score(b))
        two_classes = [score(z[:, :2] / t) for t in (1, 5) for z in (a, b)]
        assert ood_auroc(*two_classes[:2]) == ood_auroc(*two_classes[2:])
    by_row = AdaptiveTemperatureScaling(1.0, (0.4, 0.9), (1.0, 4.0), 2, 0.0, 60, 1.0, 1.0, ())
    assert ood_auroc(max_logit(by_row(a)), max_logit(by_row(b))) != ood_auroc(max_logit(a), max_logit(b))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_a_positive_number(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be a positive number; got"):
        energy(LOGITS, temperature=temperature)
