from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from gence.metrics import (
    accuracy,
    bootstrap_interval,
    bootstrap_intervals,
    brier_score,
    by_group,
    classwise_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
    per_class,
    shot_groups,
)


def predictions(rows: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Five classes, of which the last has no rows and is never predicted."""
    generator = torch.Generator().manual_seed(0)
    logits = 1.5 * torch.randn(rows, 5, dtype=torch.float64, generator=generator)
    logits[:, 4] -= 12.0
    return logits.softmax(1), torch.multinomial(logits[:, :4].softmax(1), 1, generator=generator).squeeze(1)


def test_every_class_equals_the_metrics_of_its_rows() -> None:
    probs, target = predictions()
    found = per_class(probs, target)
    for k in range(4):
        mine = target == k
        assert found.rows[k] == mine.sum()
        assert found.recall[k].item() == pytest.approx(accuracy(probs[mine], target[mine]).item(), abs=1e-12)
        assert found.nll[k].item() == pytest.approx(negative_log_likelihood(probs[mine], target[mine]).item())
        assert found.brier[k].item() == pytest.approx(brier_score(probs[mine], target[mine]).item())


def test_precision_and_recall_are_those_of_scikit_learn() -> None:
    probs, target = predictions()
    found = per_class(probs, target)
    precision, recall, _, rows = precision_recall_fscore_support(target, probs.argmax(1), labels=range(4))
    np.testing.assert_allclose(found.precision[:4], precision)
    np.testing.assert_allclose(found.recall[:4], recall)
    np.testing.assert_allclose(found.rows[:4], rows)


def test_what_is_over_all_rows_adds_up() -> None:
    probs, target = predictions()
    found = per_class(probs, target)
    assert found.rows.sum() == found.predicted.sum() == 300
    assert found.mean_probability.sum().item() == pytest.approx(1.0)
    assert found.frequency.sum().item() == pytest.approx(1.0)
    assert found.calibration_error.mean().item() == pytest.approx(classwise_calibration_error(probs, target).item())
    assert (found.mean_probability - found.frequency).abs().le(found.calibration_error + 1e-12).all()


def test_a_class_without_rows_has_nothing_to_average() -> None:
    found = per_class(*predictions())
    assert (found.rows[4], found.predicted[4], found.frequency[4]) == (0, 0, 0)
    assert all(math.isnan(value[4]) for value in (found.recall, found.precision, found.nll, found.brier))
    assert found.calibration_error[4].item() == pytest.approx(found.mean_probability[4].item())


def test_shots_are_counted_as_in_open_long_tailed_recognition() -> None:
    counts = [101, 100, 20, 19]
    expected = ("many", "medium", "medium", "few")
    for given in (counts, np.array(counts), torch.tensor(counts), tuple(counts)):
        assert shot_groups(given) == expected
    assert shot_groups(counts, many=19, few=20) == ("many", "many", "many", "few")


@pytest.mark.parametrize("counts", [[1.5, 2.0], [-1, 2], [[1, 2]], [True, False]])
def test_counts_that_are_none_are_refused(counts: Any) -> None:
    with pytest.raises(ValueError, match="train_counts must hold one whole number of rows a class, none negative"):
        shot_groups(counts)


def test_limits_that_cross_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"few must be at most many \+ 1, so that no class is both; got few 50, many 20"
    ):
        shot_groups([1], many=20, few=50)


def test_a_group_is_the_rows_of_its_classes() -> None:
    probs, target = predictions()
    groups = ["many", "few", "many", "medium", "rare"]
    found = by_group(expected_calibration_error, probs, target, groups)
    assert list(found) == ["many", "few", "medium"]  # no row is of the class of group "rare"
    for name, value in found.items():
        rows = [i for i, y in enumerate(target.tolist()) if groups[y] == name]
        assert value.item() == expected_calibration_error(probs[rows], target[rows]).item()
    shares = {"many": 0.0, "few": 0.0, "medium": 0.0}
    for y in target.tolist():
        shares[groups[y]] += 1 / 300
    whole = sum(share * by_group(accuracy, probs, target, groups)[name].item() for name, share in shares.items())
    assert whole == pytest.approx(accuracy(probs, target).item())


def test_groups_take_intervals_as_they_take_numbers() -> None:
    probs, target = predictions()
    metrics = {"accuracy": accuracy, "nll": negative_log_likelihood}
    found = by_group(partial(bootstrap_intervals, metrics, resamples=20), probs, target, ["a", "a", "b", "b", "b"])
    rows = target >= 2
    assert found["b"]["nll"] == bootstrap_interval(negative_log_likelihood, probs[rows], target[rows], resamples=20)


@pytest.mark.parametrize("groups", ["abcde", ["a"] * 4])
def test_groups_that_do_not_fit_are_refused(groups: Any) -> None:
    with pytest.raises(ValueError, match="groups must name a group for each of the 5 columns of probs; got"):
        by_group(accuracy, *predictions(), groups)


def test_wrong_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"probs must lie in \[0, 1\]"):
        per_class(torch.tensor([[2.0, -1.0]]), torch.tensor([0]))
