from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gence.calibration import AdaptiveTemperatureScaling, fit_adaptive_temperature, fit_temperature
from gence.calibration.adaptive import _choice
from gence.calibration.pieces import fit_pieces
from gence.metrics import expected_calibration_error


def one_temperature(rows: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, 5, dtype=torch.float64, generator=generator)
    return logits, torch.multinomial((logits / 2).softmax(1), 1, generator=generator).squeeze(1)


def many_temperatures(rows: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sharp rows are overconfident four-fold, flat rows hardly at all: no one temperature fits both."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.where(torch.arange(rows) % 2 == 0, 1.5, 8.0)[:, None]
    logits = scale * torch.randn(rows, 5, dtype=torch.float64, generator=generator)
    confidence = logits.softmax(1).amax(1, keepdim=True)
    return logits, torch.multinomial((logits / (1 + 3 * confidence**4)).softmax(1), 1, generator=generator).squeeze(1)


def fitted(**change: Any) -> AdaptiveTemperatureScaling:
    fields: dict[str, Any] = {
        "base_temperature": 2.0, "knots": (0.4, 0.8), "temperatures": (1.0, 4.0), "bins": 2, "shrinkage": 10.0,
        "rows": 100, "nll_before": 1.0, "nll_after": 0.9, "cross_validated_nll": (),
    }  # fmt: skip
    return AdaptiveTemperatureScaling(**(fields | change))


def test_between_knots_the_temperature_is_log_linear_and_outside_it_is_flat() -> None:
    temperature = fitted().temperature_of(torch.tensor([0.1, 0.4, 0.6, 0.8, 1.0], dtype=torch.float64))
    assert temperature.tolist() == pytest.approx([1.0, 1.0, 2.0, 4.0, 4.0])


def test_interpolation_agrees_with_numpy() -> None:
    knots, temperatures = (0.3, 0.5, 0.55, 0.9), (0.5, 3.0, 1.0, 2.0)
    calibrator = fitted(knots=knots, temperatures=temperatures)
    x = torch.linspace(0.1, 1.0, 97, dtype=torch.float64)
    expected = np.exp(np.interp(x.numpy(), knots, np.log(temperatures)))
    np.testing.assert_allclose(calibrator.temperature_of(x).numpy(), expected, rtol=1e-12)


def test_knots_that_only_float64_tells_apart_are_interpolated_in_it() -> None:
    ats = fitted(knots=(1 - 3.4e-10, 1 - 8.7e-11), temperatures=(7.0, 5.0))
    assert ats.temperature_of(torch.tensor([0.9, 1.0])).tolist() == pytest.approx([7.0, 5.0])


def test_one_knot_or_none_is_one_temperature() -> None:
    logits, _ = one_temperature(20)
    for calibrator in (
        fitted(knots=(0.5,), temperatures=(3.0,)),
        fitted(knots=(), temperatures=(), base_temperature=3.0),
    ):
        torch.testing.assert_close(calibrator(logits), logits / 3.0)


def naive_piece(rows: list[list[float]], right: int) -> tuple[float, float]:
    """Mean confidence of a bin, and by a fine search the temperature whose mean confidence is (right + 1) / (n + 2)."""

    def mean_confidence(t: float) -> float:
        return sum(1 / sum(math.exp((v - max(row)) / t) for v in row) for row in rows) / len(rows)

    wanted = (right + 1) / (len(rows) + 2)
    grid = [math.exp(math.log(0.05) + i * (math.log(20) - math.log(0.05)) / 20000) for i in range(20001)]
    low, high = 0, 20000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if mean_confidence(grid[middle]) > wanted else (low, middle)
    return mean_confidence(1.0), grid[low]


def test_each_piece_matches_the_naive_search() -> None:
    logits, target = many_temperatures(101)
    pieces = fit_pieces(logits, target, 4)
    confidence = logits.softmax(1).amax(1)
    order = sorted(range(101), key=lambda i: confidence[i].item())
    for b in range(4):
        rows = [order[i] for i in range(101) if i * 4 // 101 == b]
        right = sum(int(logits[i].argmax() == target[i]) for i in rows)
        mean, temperature = naive_piece([logits[i].tolist() for i in rows], right)
        assert pieces.rows[b] == len(rows)
        assert pieces.knots[b].item() == pytest.approx(mean, rel=1e-9)
        assert pieces.temperatures[b].item() == pytest.approx(temperature, rel=1e-3)


def test_where_miscalibration_depends_on_confidence_it_beats_one_temperature() -> None:
    logits, target = many_temperatures(2000)
    ats, single = fit_adaptive_temperature(logits, target), fit_temperature(logits, target)
    assert not ats.fell_back
    assert ats.nll_after < single.nll_after
    new_logits, new_target = many_temperatures(20000, seed=1)
    ece = [expected_calibration_error(c(new_logits).softmax(1), new_target).item() for c in (ats, single)]
    assert ece[0] < 0.7 * ece[1]


def test_where_one_temperature_is_the_truth_it_is_hardly_worse() -> None:
    for rows in (200, 1000):
        logits, target = one_temperature(rows)
        ats, single = fit_adaptive_temperature(logits, target), fit_temperature(logits, target)
        new_logits, new_target = one_temperature(20000, seed=1)
        nll = [torch.nn.functional.cross_entropy(c(new_logits), new_target).item() for c in (ats, single)]
        assert nll[0] < nll[1] + 0.01


def test_with_too_few_rows_it_is_the_one_temperature_and_says_so() -> None:
    logits, target = one_temperature(40)
    ats = fit_adaptive_temperature(logits, target)
    assert ats.fell_back
    assert ats.cross_validated_nll == ()
    assert ats.base_temperature == fit_temperature(logits, target).temperature
    torch.testing.assert_close(ats(logits), fit_temperature(logits, target)(logits))


def test_a_fall_back_onto_a_bound_is_remarked_twice() -> None:
    ats = fit_adaptive_temperature(4 * torch.eye(3).repeat(5, 1), torch.arange(3).repeat(5))
    assert ats.remarks == (
        "too few calibration rows for pieces: it is one temperature",
        "the temperature stopped at its bound, 0.05: the calibration rows set no limit to sharpening, or the logits "
        "are on an unusual scale and should be multiplied by a constant first",
    )


def test_the_choice_is_the_most_shrunken_candidate_within_a_standard_error_of_the_best() -> None:
    candidates = ((0, 0.0), (3, 30.0), (5, 30.0), (3, 300.0), (5, 300.0))

    def chosen(*means: float, spread: float = 0.0) -> tuple[int, float]:
        noise = spread * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(50)[:, None]
        # Every candidate but the best one swings, so that the differences have that spread.
        swings = torch.tensor([m > min(means[1:]) for m in means], dtype=torch.float64)
        return candidates[_choice(torch.tensor(means, dtype=torch.float64) + noise * swings, candidates)]

    assert chosen(2.0, 1.0, 1.1, 1.2, 1.3) == (3, 30.0)
    assert chosen(2.0, 1.0, 1.1, 1.2, 1.3, spread=2.5) == (3, 300.0)  # error 0.25: 1.2 is within, 1.3 is not
    assert chosen(2.0, 1.0, 1.1, 1.2, 1.15, spread=2.5) == (5, 300.0)
    assert chosen(1.1, 1.0, 1.1, 1.2, 1.3, spread=2.5) == (0, 0.0)  # the shrunken one is worse than no pieces
    assert chosen(1.0, 1.0, 1.0, 1.0, 1.0) == (0, 0.0)


def test_every_candidate_is_scored_on_rows_it_was_not_fitted_on() -> None:
    logits, target = many_temperatures(300)
    ats = fit_adaptive_temperature(logits, target, bins=(3,), shrinkage=(30.0,), folds=3)
    fold = torch.randperm(300, generator=torch.Generator().manual_seed(0)) % 3
    for bins, shrinkage, nll in ats.cross_validated_nll:
        total = 0.0
        for k in range(3):
            train, test = (logits[fold != k], target[fold != k]), (logits[fold == k], target[fold == k])
            fit = fit_temperature(*train)
            if bins:
                fit = fit_adaptive_temperature(*train, bins=(bins,), shrinkage=(shrinkage,), fallback=False)
            total += torch.nn.functional.cross_entropy(fit(test[0]), test[1], reduction="sum").item()
        assert nll == pytest.approx(total / 300, rel=1e-9)
    assert len(fit_adaptive_temperature(logits, target).cross_validated_nll) == 1 + 3 * 4  # 20 bins need 400 rows


def test_pieces_that_fit_all_rows_together_worse_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = many_temperatures(400)
    monkeypatch.setattr("gence.calibration.adaptive._choice", lambda losses, candidates: 1)
    assert not fit_adaptive_temperature(logits, target).fell_back
    monkeypatch.setattr("gence.calibration.pieces.BOUNDS", (19.0, 20.0))  # pieces that soften everything away
    ats = fit_adaptive_temperature(logits, target)
    assert ats.fell_back
    assert ats.remarks == ("the pieces that cross-validation chose fit all rows together worse: it is one temperature",)
    assert ats.nll_after == fit_temperature(logits, target).nll_after


def test_no_pieces_win_when_no_candidate_is_better() -> None:
    ats = fit_adaptive_temperature(*one_temperature(300), bins=(3,), shrinkage=(0.0,))
    (_, _, plain), (_, _, pieces) = ats.cross_validated_nll
    assert ats.fell_back == (plain <= pieces)
    assert fit_adaptive_temperature(*one_temperature(300), bins=()).fell_back


def test_without_fallback_the_bare_rule_is_used_and_can_be_worse_than_one_temperature() -> None:
    logits, target = one_temperature(200)
    bare = fit_adaptive_temperature(logits, target, bins=(8,), shrinkage=(0.0,), fallback=False)
    pieces = fit_pieces(logits, target, 8)
    assert bare.knots == tuple(pieces.knots.tolist())
    assert bare.temperatures == pytest.approx(pieces.temperatures.tolist())
    assert bare.nll_after > fit_temperature(logits, target).nll_after
    assert fit_adaptive_temperature(logits, target, bins=(8,), shrinkage=(0.0,)).fell_back
    two = fit_adaptive_temperature(logits, target, bins=(3, 5), shrinkage=(0.0,), fallback=False)
    assert {bins for bins, _, _ in two.cross_validated_nll} == {3, 5}
    with pytest.raises(
        ValueError, match="without fallback at least 20 rows a bin are expected in 4 of 5 folds; got 90"
    ):
        fit_adaptive_temperature(logits[:90], target[:90], bins=(4, 5), fallback=False)


def test_endless_shrinkage_collapses_to_one_temperature() -> None:
    logits, target = many_temperatures(1000)
    ats = fit_adaptive_temperature(logits, target, bins=(5,), shrinkage=(1e12,))
    base = fit_temperature(logits, target).temperature
    assert ats.base_temperature == base
    assert all(t == pytest.approx(base, rel=1e-6) for t in ats.temperatures)


def test_saturated_rows_share_one_knot() -> None:
    logits, target = many_temperatures(600)
    logits[:400] *= 1e4  # confidence 1 to the last bit
    ats = fit_adaptive_temperature(logits, target, bins=(10,), shrinkage=(10.0,))
    assert all(b > a for a, b in pairwise(ats.knots))
    assert ats(logits).isfinite().all()


def test_the_seed_alone_decides_the_folds() -> None:
    logits, target = many_temperatures(300)
    assert fit_adaptive_temperature(logits, target) == fit_adaptive_temperature(logits, target)
    other = fit_adaptive_temperature(logits, target, seed=1)
    assert other.cross_validated_nll != fit_adaptive_temperature(logits, target).cross_validated_nll


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"bins": (1,)}, "every candidate of bins must be at least 2"), ({"folds": 1}, "folds must be at least 2; got 1"),
     ({"shrinkage": (-1.0,)}, "every candidate of shrinkage must be a finite number of rows")],
)  # fmt: skip
def test_a_wrong_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_adaptive_temperature(*one_temperature(50), **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"knots": (0.8, 0.4)}, "knots must increase"),
        ({"knots": (0.8, math.nan)}, "knots must increase"),
        ({"knots": (0.5,)}, "one temperature a knot is expected; got 2 for 1"),
        ({"temperatures": (1.0, math.inf)}, "temperatures must be positive finite"),
        ({"calibrated_log_odds": (1.0,)}, "one calibrated log-odds an uncalibrated one is expected; got 1 for 0"),
    ],
)
def test_fields_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted(**change)
