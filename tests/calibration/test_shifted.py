"""ATS fitted on calibration rows pooled with shifted copies of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gence.calibration import fit_adaptive_temperature
from gence.metrics import expected_calibration_error

Rows = tuple[Tensor, Tensor]


def rows(count: int, shift: float, *, seed: int = 0) -> Rows:
    """The model keeps its logits' scale where the signal in them fades: the more shift, the more overconfident."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(5, (count,), generator=generator)
    signal = 4.0 * (1.0 - shift) * torch.nn.functional.one_hot(target, 5)
    logits = signal + torch.randn(count, 5, dtype=torch.float64, generator=generator) * 1.5
    return 2.0 * logits, target


def ece(calibrator, given: Rows) -> float:
    return expected_calibration_error(calibrator(given[0]).softmax(1), given[1]).item()


def test_pooling_shifted_rows_mends_shifts_that_were_not_seen_and_costs_a_little_on_clean_rows() -> None:
    clean = rows(1000, 0.0)
    plain = fit_adaptive_temperature(*clean)
    pooled = fit_adaptive_temperature(*clean, shifted=[rows(1000, 0.4, seed=1), rows(1000, 0.8, seed=2)])
    assert (pooled.rows, pooled.shifted_rows) == (1000, 2000)
    unseen = rows(20000, 0.6, seed=3)
    assert ece(pooled, unseen) < 0.6 * ece(plain, unseen)
    fresh = rows(20000, 0.0, seed=4)
    assert ece(pooled, fresh) > ece(plain, fresh)


def test_it_is_the_fit_on_the_rows_put_together() -> None:
    clean, shifted = rows(400, 0.0), rows(300, 0.5, seed=1)
    settings = {"bins": (5,), "shrinkage": (30.0,)}
    pooled = fit_adaptive_temperature(*clean, shifted=[shifted], **settings)
    together = fit_adaptive_temperature(
        torch.cat([clean[0], shifted[0]]), torch.cat([clean[1], shifted[1]]), **settings
    )
    assert (pooled.base_temperature, pooled.knots) == (together.base_temperature, together.knots)
    assert pooled.nll_before == together.nll_before
    assert fit_adaptive_temperature(*clean, shifted=[], **settings) == fit_adaptive_temperature(*clean, **settings)


def test_copies_of_a_row_share_its_fold() -> None:
    # Rows of pure noise, three copies each: a fold that held a row out but not its copies would prefer many pieces.
    generator = torch.Generator().manual_seed(0)
    logits, target = 3 * torch.randn(120, 4, generator=generator), torch.randint(4, (120,), generator=generator)
    copies = fit_adaptive_temperature(logits, target, shifted=[(logits, target)] * 2, bins=(4,), shrinkage=(0.0,))
    alone = fit_adaptive_temperature(logits, target, bins=(4,), shrinkage=(0.0,))
    for (_, _, one), (_, _, three) in zip(alone.cross_validated_nll, copies.cross_validated_nll, strict=True):
        assert three == pytest.approx(one, abs=0.01)  # only Laplace's rule knows the difference
    assert copies.cross_validated_nll[0][2] == pytest.approx(alone.cross_validated_nll[0][2], abs=1e-9)


def test_a_single_set_that_was_not_put_into_a_list_is_told_how() -> None:
    with pytest.raises(ValueError, match=r"a sequence of pairs.*got Tensor at place 0: a single set is shifted=\[\("):
        fit_adaptive_temperature(*rows(50, 0.0), shifted=rows(50, 0.5))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shifted", "message"),
    [
        (
            (torch.zeros(3, 4), torch.zeros(3, dtype=torch.long)),
            r"shifted\[1\]: logits with 5 classes are expected.*got 4",
        ),
        ((torch.full((3, 5), torch.nan), torch.zeros(3, dtype=torch.long)), r"shifted\[1\]: .*row 0 holds NaN"),
        ((torch.full((3, 5), 0.2), torch.zeros(3, dtype=torch.long)), r"shifted\[1\]: .*these rows are probabilities"),
    ],
)
def test_a_shifted_set_that_does_not_fit_is_named(shifted: Rows, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_adaptive_temperature(*rows(50, 0.0), shifted=[rows(50, 0.5), shifted])
