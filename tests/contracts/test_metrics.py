"""What every metric owes: the same checks, float64 inside, and no dependence on the order of rows or classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from gence import metrics

NO_SCALAR = {
    "ClassBreakdown", "Interval", "ReliabilityBand", "ReliabilityBins", "bootstrap_difference", "bootstrap_interval",
    "bootstrap_intervals", "by_group", "per_class", "reliability_band", "reliability_bins", "shot_groups",
}  # fmt: skip
METRICS = {
    name: getattr(metrics, name) for name in metrics.__all__ if name not in NO_SCALAR and not name.startswith("ood_")
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def predictions() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    probs = (2 * torch.randn(200, 5, dtype=torch.float64, generator=generator)).softmax(1)
    return probs, torch.randint(5, (200,), generator=generator)


def test_the_contract_covers_the_ten_metrics_of_the_package() -> None:
    assert len(METRICS) == 10
    assert set(metrics.__all__) > NO_SCALAR


@every_metric
def test_it_gives_a_float64_scalar_for_torch_and_numpy_alike(metric) -> None:
    probs, target = predictions()
    value = metric(probs, target)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert_close(metric(probs.numpy(), target.numpy()), value)
    assert_close(metric(probs.float(), target.int()), value, rtol=1e-3, atol=1e-3)


@every_metric
def test_the_order_of_rows_and_classes_does_not_matter_even_with_ties(metric) -> None:
    probs, target = predictions()
    probs = (probs * 8).round() / 8
    probs = probs / probs.sum(1, keepdim=True)
    top_twice = (probs == probs.amax(1, keepdim=True)).sum(1) > 1
    probs, target = probs[~top_twice], target[~top_twice]  # a tie within a row is settled by the class order
    assert len(probs.amax(1).unique()) < len(probs) / 2
    generator = torch.Generator().manual_seed(1)
    rows, classes = torch.randperm(len(probs), generator=generator), torch.randperm(5, generator=generator)
    value = metric(probs, target)
    assert_close(metric(probs[rows], target[rows]), value, rtol=1e-10, atol=1e-10)
    assert_close(metric(probs[:, classes], classes.argsort()[target]), value, rtol=1e-10, atol=1e-10)


@every_metric
def test_one_row_is_enough_and_certainty_is_allowed(metric) -> None:
    assert metric(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).isfinite()
    assert metric(torch.tensor([[1.0, 0.0]]), torch.tensor([1])).isfinite()


@every_metric
@pytest.mark.parametrize(
    ("probs", "target", "message"),
    [
        ([[1.2, -0.2]], [0], r"probs must lie in \[0, 1\] without NaN; got values from -0.2 to 1.2: for logits use"),
        ([[math.nan, 0.5]], [0], r"probs must lie in \[0, 1\] without NaN"),
        ([[0.5, 0.1]], [0], "every row of probs must sum to 1; got a row that is off by 0.4"),
        ([0.5, 0.5], [0], r"probs must have shape \(rows, classes\), at least \(1, 2\); got \(2,\)"),
        ([[1.0]], [0], r"got \(1, 1\)"),
        ([[0.5, 0.5]], [0, 1], r"target must hold one class number a row, shape \(1,\); got shape \(2,\)"),
        ([[0.5, 0.5]], [2], r"target must lie in 0..1 for 2 columns of probs; got 2..2"),
        ([[0.5, 0.5]], [-1], r"got -1..-1"),
        ([[0.5, 0.5]], [0.0], "target must hold class numbers as integers; got torch.float32"),
    ],
)
def test_a_wrong_prediction_or_target_is_a_value_error_that_says_what_was_expected(
    metric, probs: list, target: list, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(torch.tensor(probs), torch.tensor(target))
    with pytest.raises(ValueError, match=message):
        metric(np.array(probs, np.float32), np.array(target, np.float32 if isinstance(target[0], float) else np.int64))
