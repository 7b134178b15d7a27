from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gence.calibration import HistogramBinning, fit_histogram_binning
from gence.calibration._columns import edges_below


def rows_of(rows: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, 4, dtype=torch.float64, generator=generator)
    return logits, torch.multinomial((logits / 2).softmax(1), 1, generator=generator).squeeze(1)


def naive(z: Tensor, y: Tensor, new: Tensor, bins: int, binning: str) -> list[list[float]]:
    """Each class's frequencies by loops over rows, then each row divided by its sum."""
    stated: list[list[float]] = [[0.0] * z.shape[1] for _ in new]
    for k in range(z.shape[1]):
        column = z.softmax(1)[:, k].tolist()
        if binning == "width":
            edges = [b / bins for b in range(1, bins)]
        else:
            ordered = sorted(column)
            bin_of = [i * bins // len(ordered) for i in range(len(ordered))]
            edges = [
                (a + b) / 2 for a, b, i, j in zip(ordered, ordered[1:], bin_of, bin_of[1:], strict=False) if i != j
            ]
        borders = [-1.0, *edges, 2.0]
        for row, p in enumerate(new.softmax(1)[:, k].tolist()):
            low, high = next((a, b) for a, b in pairwise(borders) if a < p <= b)
            inside = [i for i, value in enumerate(column) if low < value <= high]
            right = sum(int(y[i] == k) for i in inside)
            centre = (max(low, 0.0) + min(high, 1.0)) / 2
            stated[row][k] = (right + 1) / (len(inside) + 2) if inside else centre
    return [[p / sum(row) for p in row] for row in stated]


@pytest.mark.parametrize("binning", ["mass", "width"])
@pytest.mark.parametrize("bins", [1, 4, 15])
def test_it_agrees_with_the_loop(bins: int, binning: Any) -> None:
    (z, y), (new, _) = rows_of(70), rows_of(40, seed=1)
    fitted = fit_histogram_binning(z, y, bins=bins, binning=binning)
    assert_close(fitted(new).exp(), torch.tensor(naive(z, y, new, bins, binning), dtype=torch.float64))


def test_the_sizes_of_bins_of_equal_mass_differ_by_one_at_most() -> None:
    z, y = rows_of(100)
    fitted = fit_histogram_binning(z, y, bins=7)
    edges = torch.tensor(fitted.edges, dtype=torch.float64)
    for column in edges_below(z.softmax(1), edges).T:
        assert sorted(column.bincount().tolist()) == [14] * 5 + [15] * 2


def test_one_bin_states_the_class_frequencies() -> None:
    z, y = rows_of(50)
    counts = (y.bincount(minlength=4) + 1.0) / 52
    stated = fit_histogram_binning(z, y, bins=1)(z).exp()
    assert_close(stated, (counts / counts.sum()).double().expand(50, 4), rtol=1e-6, atol=1e-6)


def test_zero_and_all_of_n_rows_are_neither_impossible_nor_certain() -> None:
    z = torch.tensor([[3.0, 0.0]]).repeat(6, 1)
    fitted = fit_histogram_binning(z, torch.zeros(6, dtype=torch.long))
    assert fitted.frequencies == ((7 / 8,), (1 / 8,))


def test_a_bin_without_rows_states_its_centre() -> None:
    z = torch.tensor([[0.9, 0.1], [0.9, 0.1]], dtype=torch.float64).log()
    fitted = fit_histogram_binning(z, torch.tensor([0, 0]), bins=5, binning="width")
    assert fitted.frequencies[0] == pytest.approx((0.1, 0.3, 0.5, 0.7, 3 / 4))
    assert fitted.frequencies[1] == pytest.approx((1 / 4, 0.3, 0.5, 0.7, 0.9))


def test_equal_probabilities_are_never_parted() -> None:
    z = torch.tensor([[2.0, 0.0]]).repeat(10, 1)
    z[8:] = torch.tensor([0.0, 2.0])
    fitted = fit_histogram_binning(z, torch.arange(10) % 2, bins=5)
    assert [len(edges) for edges in fitted.edges] == [1, 1]
    saturated = fit_histogram_binning(1e4 * z, torch.arange(10) % 2, bins=5)
    assert saturated(1e4 * z).isfinite().all()


@pytest.mark.parametrize("rows", [40, 41, 57, 200])
def test_distinct_values_with_enough_rows_have_a_bin_each_wherever_the_cuts_fall(rows: int) -> None:
    values = torch.tensor([0.1, 0.4, 0.6, 0.95], dtype=torch.float64)
    stated = values[torch.arange(rows) % 4]
    fitted = fit_histogram_binning(torch.stack([stated, 1 - stated], 1).log(), torch.arange(rows) % 2, bins=8)
    assert [len(edges) for edges in fitted.edges] == [3, 3]


def test_saturated_logits_keep_their_predictions() -> None:
    predicted = torch.arange(300) % 3
    z = 50.0 * torch.nn.functional.one_hot(predicted, 3).double()
    target = torch.where(torch.arange(300) % 8 == 0, (predicted + 1) % 3, predicted)
    assert torch.equal(fit_histogram_binning(z, target)(z).argmax(1), predicted)


def test_a_row_that_is_no_number_stays_none() -> None:
    fitted = fit_histogram_binning(torch.randn(50, 3), torch.arange(50) % 3)
    after = fitted(torch.tensor([[math.nan, 0.0, 1.0], [math.inf, 0.0, 1.0], [0.0, 1.0, 2.0]]))
    assert after.isnan().any(1).tolist() == [True, True, False]


def test_probabilities_0_and_1_fall_in_the_first_and_the_last_bin() -> None:
    edges = torch.tensor([[0.25, 0.5, 0.75]] * 2, dtype=torch.float64)
    values = torch.tensor([[0.0, 1.0], [0.25, 0.75], [0.26, 0.76]], dtype=torch.float64)
    assert edges_below(values, edges).tolist() == [[0, 3], [0, 2], [1, 3]]


@pytest.mark.parametrize("width", range(1, 18))
def test_the_search_agrees_with_torch(width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    edges = torch.rand(3, width, generator=generator, dtype=torch.float64).sort(1).values
    values = torch.cat([torch.rand(50, 3, generator=generator, dtype=torch.float64), edges.T])
    expected = torch.searchsorted(edges, values.T.contiguous()).T
    assert torch.equal(edges_below(values, edges), expected)


def test_with_many_rows_it_recovers_the_frequencies() -> None:
    (z, y), (new, new_y) = rows_of(20000), rows_of(5000, seed=1)
    nll = torch.nn.functional.cross_entropy(fit_histogram_binning(z, y)(new), new_y)
    truth = torch.nn.functional.cross_entropy(new / 2, new_y)
    assert nll < torch.nn.functional.cross_entropy(new, new_y) - 0.1
    assert nll < truth + 0.05


def test_harm_on_its_own_rows_is_remarked() -> None:
    z, y = 4 * torch.eye(10).repeat(2, 1), torch.arange(10).repeat(2)
    fitted = fit_histogram_binning(z, y)
    assert fitted.nll_after > fitted.nll_before
    assert fitted.remarks[0].startswith("it did harm: the NLL of its own calibration rows rose from")
    assert fit_histogram_binning(*rows_of(500)).remarks == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 0}, "bins must be at least 1; got 0"),
        ({"binning": "depth"}, "binning must be one of width, mass; got"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_histogram_binning(*rows_of(10), **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": ((), (0.5,))}, "one frequency more than it has edges"),
        ({"edges": ((0.5, 0.4), (0.5,)), "frequencies": ((0.1,) * 3, (0.1,) * 2)}, "must increase"),
        ({"frequencies": ((0.0, 0.5), (0.5, 0.5))}, "frequencies must lie between 0 and 1"),
        ({"frequencies": ((math.nan, 0.5), (0.5, 0.5))}, "frequencies must lie between 0 and 1"),
    ],
)
def test_fields_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    fitted = HistogramBinning(((0.5,), (0.5,)), ((0.1, 0.9), (0.1, 0.9)), 1, 1.0, 1.0)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(fitted, **change)


def test_logits_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="each of 4 classes, logits has 3 columns"):
        fit_histogram_binning(*rows_of(50))(torch.zeros(2, 3))
