from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from gence.calibration import fit_adaptive_temperature
from gence.calibration.monotone import log_odds, rising, scaled_to_log_odds


def uneven(rows: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The surest rows are right less often than those in the middle."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(rows, 4, dtype=torch.float64, generator=generator)
    confidence = logits.softmax(1).amax(1, keepdim=True)
    honest = torch.where(confidence > 0.95, logits / 8, logits)
    return logits, torch.multinomial(honest.softmax(1), 1, generator=generator).squeeze(1)


def test_log_odds_are_those_of_the_top_confidence_and_finite_where_it_rounds_to_one() -> None:
    logits = torch.randn(50, 6, dtype=torch.float64)
    torch.testing.assert_close(log_odds(logits), logits.softmax(1).amax(1).logit())
    assert log_odds(torch.tensor([[900.0, 0.0, 0.0]], dtype=torch.float64)).item() == pytest.approx(900 - math.log(2))
    assert log_odds(torch.zeros(1, 5, dtype=torch.float64)).item() == pytest.approx(-math.log(4))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9)), min_size=1, max_size=12))
def test_rising_values_are_those_of_isotonic_regression(pairs: list[tuple[float, float]]) -> None:
    values, weights = (list(column) for column in zip(*pairs, strict=True))
    expected = isotonic_regression(values, sample_weight=weights)
    assert rising(torch.tensor(values, dtype=torch.float64), torch.tensor(weights)).tolist() == pytest.approx(
        expected.tolist(), abs=1e-6
    )


def test_a_row_gets_the_log_odds_it_is_asked_for_and_keeps_its_prediction() -> None:
    logits = 5 * torch.randn(100, 7, dtype=torch.float64)
    wanted = torch.linspace(-1.5, 20.0, 100, dtype=torch.float64)
    scaled = scaled_to_log_odds(logits, wanted, torch.tensor(1e-6).double(), torch.tensor(1e6).double())
    torch.testing.assert_close(log_odds(scaled), wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(scaled.argmax(1), logits.argmax(1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_calibrated_confidence_never_falls_where_uncalibrated_confidence_rises(seed: int) -> None:
    ats = fit_adaptive_temperature(*uneven(300, seed=seed), bins=(6,), shrinkage=(0.0,), monotone=True)
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-4, 3, 400, dtype=torch.float64)[:, None]
    logits = scale * torch.randn(400, 4, dtype=torch.float64, generator=generator)
    temperature = logits[:, 0] / ats(logits)[:, 0]
    inside = (temperature > 0.5001 * min(ats.temperatures)) & (temperature < 1.9999 * max(ats.temperatures))
    assert inside.double().mean() > 0.9
    logits = logits[inside]
    calibrated = log_odds(ats(logits))[log_odds(logits).argsort()]
    assert ats.monotone
    assert (calibrated.diff() > -1e-9 * (1 + calibrated[1:].abs())).all()


def test_plain_ats_can_fall_and_pays_for_the_order_with_likelihood() -> None:
    logits, target = uneven(4000)
    plain = fit_adaptive_temperature(logits, target, bins=(10,), shrinkage=(0.0,))
    monotone = fit_adaptive_temperature(logits, target, bins=(10,), shrinkage=(0.0,), monotone=True)
    assert not plain.monotone
    order = log_odds(logits).argsort()
    assert (log_odds(plain(logits))[order].diff() < -0.1).any()
    assert plain.nll_after < monotone.nll_after < monotone.nll_before


def test_where_the_order_is_right_already_both_are_nearly_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    target = torch.multinomial((logits / 2).softmax(1), 1, generator=generator).squeeze(1)
    plain, monotone = (
        fit_adaptive_temperature(logits, target, bins=(5,), shrinkage=(30.0,), monotone=m) for m in (False, True)
    )
    torch.testing.assert_close(monotone(logits).softmax(1), plain(logits).softmax(1), rtol=0, atol=0.03)


def test_tied_and_nearly_tied_rows_are_not_driven_to_certainty_of_two_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 10, dtype=torch.float64, generator=generator)
    target = torch.multinomial((2.5 * logits).softmax(1), 1, generator=generator).squeeze(1)
    ats = fit_adaptive_temperature(logits, target, bins=(5,), shrinkage=(0.0,), monotone=True, fallback=False)
    tied = torch.tensor([[1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    for near in (0.0, 1e-9, 1e-3):
        tied[0, 1] = 1.0 - near
        assert ats(tied)[0, 0] / tied[0, 0] < 2.0 / min(ats.temperatures) + 1e-9
    rounded = logits.to(torch.bfloat16)
    nll = torch.nn.functional.cross_entropy
    assert nll(ats(rounded), target) < nll(rounded.float(), target)


def test_uniform_rows_stay_uniform() -> None:
    ats = fit_adaptive_temperature(*uneven(400), bins=(4,), shrinkage=(0.0,), monotone=True)
    uniform = torch.zeros(3, 4, dtype=torch.float64)
    torch.testing.assert_close(ats(uniform).softmax(1), uniform.softmax(1))
    same = torch.zeros(100, 4)
    assert fit_adaptive_temperature(same, torch.arange(100) % 4, monotone=True)(same).isfinite().all()
