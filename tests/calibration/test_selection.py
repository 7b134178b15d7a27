"""The choice of a calibrator: on rows it was not fitted on, and nothing richer than what they show."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gence.calibration import cross_fit, fit_best, fit_temperature
from gence.calibration.selection import CANDIDATES, affordable


def rows(count: int, temperature: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels that are honest at that temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(count, 4, generator=generator, dtype=torch.float64)
    target = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]
    return logits, target


@pytest.mark.parametrize("seed", range(4))
def test_honest_logits_are_left_alone(seed: int) -> None:
    chosen = fit_best(*rows(300, seed=seed))
    assert chosen.name == "none"
    # A richer one may come out lower by chance; that is no reason to take it.
    if chosen.lowest != "none":
        assert "within one standard error of the lowest" in chosen.why
        assert chosen.lowest in chosen.why


def test_overconfident_logits_get_one_temperature() -> None:
    logits, target = rows(600, temperature=2.5)
    chosen = fit_best(logits, target)
    assert chosen.name == "temperature"
    assert chosen.calibrator == fit_temperature(logits, target)
    assert torch.equal(chosen.held_out, cross_fit("temperature", logits, target))


def test_what_one_temperature_cannot_mend_gets_more() -> None:
    logits, target = rows(2000)
    shift = torch.tensor([2.0, 0.0, 0.0, -2.0], dtype=torch.float64)
    chosen = fit_best(logits + shift, target)
    assert chosen.name in ("vector", "dirichlet")


def test_the_rule_is_the_difference_row_by_row_against_its_standard_error() -> None:
    logits, target = rows(150, temperature=1.3, seed=5)
    names = ("none", "temperature", "vector", "histogram")
    nll = {name: F.cross_entropy(cross_fit(name, logits, target), target, reduction="none") for name in names}
    lowest = min(names, key=lambda name: nll[name].mean())
    expected = next(
        name
        for name in names
        if (nll[name] - nll[lowest]).mean() <= (nll[name] - nll[lowest]).std() / len(target) ** 0.5
    )
    chosen = fit_best(logits, target, candidates=names)
    assert (chosen.name, chosen.lowest) == (expected, lowest)
    assert dict(chosen.scores) == pytest.approx({name: value.mean().item() for name, value in nll.items()})


def test_the_lowest_is_taken_where_it_is_the_simplest() -> None:
    logits, target = rows(600, temperature=2.5)
    chosen = fit_best(logits, target, candidates=("temperature", "none"))
    assert chosen.name == chosen.lowest == "temperature"
    assert "temperature has the lowest NLL" in chosen.why
    assert "uncalibrated" in chosen.why


def test_many_classes_leave_out_what_holds_a_number_for_every_pair() -> None:
    assert affordable(CANDIDATES, 50) == CANDIDATES
    assert set(CANDIDATES) - set(affordable(CANDIDATES, 51)) == {"dirichlet"}


def test_no_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one calibrator"):
        fit_best(*rows(20), candidates=())
