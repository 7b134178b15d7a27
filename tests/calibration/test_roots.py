from __future__ import annotations

import torch
from torch import Tensor

from gence.calibration.roots import falling_root


def test_many_roots_are_found_at_once_where_newton_alone_would_run_away() -> None:
    wanted = torch.tensor([-3.0, 0.0, 0.5, 4.9], dtype=torch.float64)
    calls = 0

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        return (wanted - x).atan(), -1.0 / (1.0 + (wanted - x).square())  # Newton diverges from more than 1.39 away

    low, high = torch.full_like(wanted, -5.0), torch.full_like(wanted, 5.0)
    torch.testing.assert_close(falling_root(function, low, high), wanted, rtol=1e-12, atol=1e-12)
    assert calls < 20


def test_a_function_that_does_not_cross_gives_the_end_it_points_to() -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tensor([1.0, -1.0], dtype=x.dtype), torch.zeros_like(x)

    low, high = torch.tensor([0.0, 0.0]).double(), torch.tensor([1.0, 1.0]).double()
    torch.testing.assert_close(falling_root(function, low, high), torch.tensor([1.0, 0.0]).double())
