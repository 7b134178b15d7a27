"""What a trial measures: against loops over rows, and against the sums of what is already measured."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gence import metrics
from gence.bench.measures import measure, per_class, reliability
from gence.bench.records import METRICS, SHIFT_METRICS


def predictions(rows: int = 300, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Logits and classes; no row is of the last class, and some rows are given it."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(rows, classes, generator=generator)
    return logits, torch.randint(classes - 1, (rows,), generator=generator)


def test_the_sums_of_every_class_are_those_of_a_loop_over_rows() -> None:
    logits, target = predictions()
    rows, correct, nll, confidence, predicted = ([0] * 4, [0] * 4, [0.0] * 4, [0.0] * 4, [0] * 4)
    for row, label in zip(logits.tolist(), target.tolist(), strict=True):
        total = sum(math.exp(z) for z in row)
        probs = [math.exp(z) / total for z in row]
        answer = probs.index(max(probs))
        rows[label] += 1
        correct[label] += answer == label
        nll[label] -= math.log(probs[label])
        confidence[label] += max(probs)
        predicted[answer] += 1
    found = per_class(logits, target)
    assert (found.rows, found.correct, found.predicted) == (tuple(rows), tuple(correct), tuple(predicted))
    assert found.nll == pytest.approx(nll, rel=1e-12)
    assert found.confidence == pytest.approx(confidence, rel=1e-12)
    assert (found.rows[3], found.nll[3]) == (0, 0.0)
    assert found.predicted[3] > 0


def test_pooled_over_the_classes_the_sums_are_the_metrics() -> None:
    logits, target = predictions()
    found, values = per_class(logits, target), measure(logits, target)
    assert sum(found.correct) / sum(found.rows) == values["accuracy"]
    assert sum(found.nll) / sum(found.rows) == pytest.approx(values["nll"], rel=1e-12)
    recall = [right / rows for right, rows in zip(found.correct, found.rows, strict=True) if rows]
    assert sum(recall) / 3 == pytest.approx(values["balanced_accuracy"], rel=1e-12)
    assert sum(found.confidence) == pytest.approx(sum(reliability(logits, target).confidence_sums), rel=1e-12)


def test_a_probability_that_float32_cannot_hold_costs_its_true_price() -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], dtype=torch.float64)
    assert per_class(logits, torch.tensor([1, 1])).nll == (0.0, 200.0)


def test_the_metrics_that_are_asked_for_come_in_that_order_and_as_the_whole_has_them() -> None:
    logits, target = predictions()
    every = measure(logits, target)
    assert tuple(every) == METRICS
    assert measure(logits, target, SHIFT_METRICS) == {name: every[name] for name in SHIFT_METRICS}
    probs = logits.double().softmax(1)
    assert every["ece_mass"] == metrics.expected_calibration_error(probs, target, binning="mass").item() != every["ece"]
