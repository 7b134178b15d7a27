from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gence.metrics import (
    Interval,
    accuracy,
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_intervals,
    brier_score,
    classwise_calibration_error,
    debiased_calibration_error,
    expected_calibration_error,
    ks_calibration_error,
    negative_log_likelihood,
)
from gence.metrics import bootstrap as module
from gence.metrics._counted import _FORMS, counted
from gence.metrics.bootstrap import row_counts


def predictions(rows: int, *, seed: int = 0, sharpness: float = 1.0, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Calibrated at sharpness 1, overconfident above."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    target = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    return (sharpness * logits).softmax(1), target


def tied(probs: Tensor) -> Tensor:
    """The same, on a coarse grid with confidence 1 among it: most rows share their confidence with another."""
    rounded = (probs * 6).round() + 1e-300
    rounded[:20] = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    return rounded / rounded.sum(1, keepdim=True)


KNOBS: dict[Any, list[dict[str, Any]]] = {
    expected_calibration_error: [
        {"bins": bins, "binning": binning, "norm": norm}
        for bins in (1, 15, 500)
        for binning in ("width", "mass")
        for norm in ("l1", "l2", "max")
    ],
    debiased_calibration_error: [
        {"bins": bins, "binning": binning, "norm": norm}
        for bins in (1, 15, 190)
        for binning in ("width", "mass")
        for norm in ("l1", "l2")
    ],
    classwise_calibration_error: [
        {"binning": binning, "norm": norm} for binning in ("width", "mass") for norm in ("l1", "l2", "max")
    ],
}
CASES = [partial(metric, **knobs) for metric in _FORMS for knobs in KNOBS.get(metric, [{}])]


def test_every_scalar_metric_of_probabilities_has_a_closed_form() -> None:
    assert len(_FORMS) == 9


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "tied"])
@pytest.mark.parametrize("metric", CASES, ids=lambda m: "-".join([m.func.__name__, *map(str, m.keywords.values())]))
def test_the_closed_form_equals_the_metric_of_the_rows_that_were_drawn(metric: Any, ties: bool) -> None:
    probs, target = predictions(193, sharpness=1.5)
    probs = tied(probs) if ties else probs
    counts = next(row_counts(193, 6, seed=1))
    form = counted(metric, probs, target)
    values = form.pivot(counts) if form.finish is None else form.finish(form.pivot(counts))
    rows = np.arange(193)
    loop = [metric(probs[drawn], target[drawn]) for drawn in (np.repeat(rows, line.int().numpy()) for line in counts)]
    torch.testing.assert_close(values, torch.stack(loop), rtol=0, atol=1e-12)


def test_a_resample_has_as_many_rows_and_chunks_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.cat(list(row_counts(50, 9, seed=3)))
    assert whole.shape == (9, 50)
    assert (whole.sum(1) == 50).all()
    monkeypatch.setattr(module, "_AT_ONCE", 100)
    parts = list(row_counts(50, 9, seed=3))
    assert [len(part) for part in parts] == [2, 2, 2, 2, 1]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(torch.cat(list(row_counts(50, 9, seed=4))), whole)


def test_the_ends_are_the_quantiles_of_the_naive_loop() -> None:
    probs, target = predictions(80)
    lines = torch.cat(list(row_counts(80, 40, seed=5))).int()
    drawn = [np.repeat(np.arange(80), line.numpy()) for line in lines]
    for metric in (brier_score, lambda p, y: (p.amax(1) - y).square().mean().item()):  # ours, and one from elsewhere
        low, high = np.quantile([float(metric(probs[rows], target[rows])) for rows in drawn], [0.05, 0.95])
        value = float(metric(probs, target))
        shift = np.mean([float(metric(probs[rows], target[rows])) for rows in drawn]) - value
        ends = {
            "percentile": (low, high),
            "basic": (2 * value - high, 2 * value - low),
            "centred": (low - shift, high - shift),
        }
        for method, expected in ends.items():
            found = bootstrap_interval(metric, probs, target, resamples=40, level=0.9, method=method, seed=5)  # pyright: ignore
            assert found == Interval(found.value, found.low, found.high, 0.9, 40, method)  # pyright: ignore
            assert (found.value, found.low, found.high) == pytest.approx((value, *expected), abs=1e-12)


def test_the_interval_of_a_mean_is_the_normal_one_for_many_rows() -> None:
    probs, target = predictions(4000)
    found = bootstrap_interval(negative_log_likelihood, probs, target, seed=2)
    half = 1.96 * (-probs[range(4000), target].log()).std().item() / math.sqrt(4000)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.15 * half)


def test_several_metrics_share_their_draws_and_the_seed_decides() -> None:
    probs, target = predictions(200)
    metrics = {"nll": negative_log_likelihood, "debiased": debiased_calibration_error, "own": lambda p, y: p.amax()}
    together = bootstrap_intervals(metrics, probs, target, resamples=50, seed=7)
    assert together == {n: bootstrap_interval(m, probs, target, resamples=50, seed=7) for n, m in metrics.items()}
    assert together["debiased"].method == "centred"
    assert together["nll"].method == "basic"
    assert together["nll"] != bootstrap_interval(negative_log_likelihood, probs, target, resamples=50, seed=8)
    assert bootstrap_intervals(metrics, probs.numpy(), target.numpy(), resamples=50, seed=7) == together


def test_the_difference_draws_the_same_rows_for_both() -> None:
    probs, target = predictions(300)
    sharp = (2 * probs.log()).softmax(1)
    assert (
        bootstrap_difference(accuracy, sharp, probs, target).high == 0.0
    )  # the same rows are right, whatever is drawn
    found = bootstrap_difference(negative_log_likelihood, sharp, probs, target, resamples=60, seed=1)
    rows = (probs.log() - sharp.log())[range(300), target]
    naive = torch.cat([counts @ rows / 300 for counts in row_counts(300, 60, 1)])
    low, high = naive.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    mean = rows.mean().item()
    assert (found.value, found.low, found.high) == pytest.approx((mean, 2 * mean - high, 2 * mean - low), abs=1e-12)
    alone = [bootstrap_interval(negative_log_likelihood, p, target, resamples=60, seed=1) for p in (sharp, probs)]
    assert found.high - found.low < alone[0].high - alone[0].low
    swapped = bootstrap_difference(negative_log_likelihood, probs, sharp, target, resamples=60, seed=1)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low), abs=1e-12)


def test_the_difference_of_debiased_errors_is_centred_for_each_model() -> None:
    probs, target = predictions(400)
    sharp = (2 * probs.log()).softmax(1)
    found = bootstrap_difference(debiased_calibration_error, sharp, probs, target, resamples=200)
    assert found.method == "centred"
    assert 0 < found.low < found.value < found.high


def test_an_interval_keeps_to_the_values_a_metric_can_take() -> None:
    probs, target = predictions(60)
    assert bootstrap_interval(expected_calibration_error, probs, target, resamples=100).low >= 0.0
    sure = torch.tensor([[1.0, 0.0]]).repeat(5, 1)
    wrong = torch.tensor([0, 0, 0, 0, 1])
    assert bootstrap_interval(accuracy, sure, wrong, resamples=200).high == 1.0
    assert bootstrap_interval(negative_log_likelihood, sure, wrong, resamples=200).low == 0.0
    assert bootstrap_interval(brier_score, sure, 1 - wrong, resamples=200).high == 2.0
    assert bootstrap_interval(lambda p, y: -accuracy(p, y), sure, wrong, resamples=200).low == pytest.approx(-1.2)


def test_the_defaults_cover_where_percentiles_do_not() -> None:
    """95 % intervals of calibrated rows, whose error is 0, and of overconfident ones."""
    ece = expected_calibration_error
    hits = {"nll": 0, "ece percentile": 0, "ece basic": 0, "debiased": 0, "debiased, overconfident": 0}
    runs = 60
    big, labels = predictions(200_000, seed=10**6)
    nll = negative_log_likelihood(big, labels).item()
    gap = debiased_calibration_error(*predictions(200_000, seed=10**6, sharpness=1.5)).item()
    for seed in range(runs):
        settings: dict[str, Any] = {"resamples": 200, "seed": seed}
        probs, target = predictions(400, seed=seed)
        found = bootstrap_intervals(
            {"nll": negative_log_likelihood, "debiased": debiased_calibration_error}, probs, target, **settings
        )
        hits["nll"] += found["nll"].low <= nll <= found["nll"].high
        hits["debiased"] += found["debiased"].low <= 0.0
        hits["ece basic"] += bootstrap_interval(ece, probs, target, **settings).low <= 0.0
        hits["ece percentile"] += bootstrap_interval(ece, probs, target, method="percentile", **settings).low <= 0.0
        sharp = bootstrap_interval(debiased_calibration_error, *predictions(400, seed=seed, sharpness=1.5), **settings)
        hits["debiased, overconfident"] += sharp.low <= gap <= sharp.high
    assert hits["ece percentile"] == 0
    assert hits["ece basic"] > 0.2 * runs
    assert min(hits["nll"], hits["debiased"], hits["debiased, overconfident"]) >= 0.88 * runs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resamples": 1}, "resamples must be at least 2; got 1"),
        ({"level": 1.0}, "level must lie between 0 and 1, like 0.95; got 1.0"),
        ({"method": "bca"}, "method must be one of basic, percentile, centred; got 'bca'"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, Any], message: str) -> None:
    probs, target = predictions(10)
    for call in (
        lambda: bootstrap_interval(accuracy, probs, target, **change),
        lambda: bootstrap_intervals({"a": accuracy}, probs, target, **change),
        lambda: bootstrap_difference(accuracy, probs, probs, target, **change),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_wrong_predictions_and_wrong_metrics_are_errors_that_say_so() -> None:
    probs, target = predictions(10)
    with pytest.raises(ValueError, match=r"probs must lie in \[0, 1\]"):
        bootstrap_difference(accuracy, probs, 2 * probs, target)
    with pytest.raises(ValueError, match=r"a metric must give one number for \(probs, target\); got shape \(10, 4\)"):
        bootstrap_interval(lambda p, y: p, probs, target)
    with pytest.raises(ValueError, match="bins must be at least 1; got 0"):
        bootstrap_interval(partial(expected_calibration_error, bins=0), probs, target)


def test_the_ks_error_of_a_resample_of_one_row_is_its_gap() -> None:
    probs = torch.tensor([[0.7, 0.3]], dtype=torch.float64)
    found = bootstrap_interval(ks_calibration_error, probs, torch.tensor([0]), resamples=2)
    assert (found.low, found.high) == pytest.approx((0.3, 0.3))
