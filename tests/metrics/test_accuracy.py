"""Accuracy, row by row and class by class."""

from __future__ import annotations

import warnings

import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import Tensor

from gence.metrics import accuracy, balanced_accuracy


def predictions(classes: int, of: int, rows: int = 400, *, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Rows of the first `of` classes, the later ones rarer, answered better than by chance."""
    generator = torch.Generator().manual_seed(classes)
    target = torch.multinomial(1 / torch.arange(1.0, of + 1), rows, replacement=True, generator=generator)
    logits = torch.randn(rows, classes, dtype=dtype, generator=generator)
    logits[torch.arange(rows), target] += 1.0
    return logits.softmax(1), target


def test_by_hand() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]], dtype=torch.float64)
    target = torch.tensor([0, 0, 0, 1])
    assert accuracy(probs, target).item() == balanced_accuracy(probs, target).item() == 1.0
    assert accuracy(probs, torch.tensor([0, 0, 1, 1])).item() == 0.75
    assert balanced_accuracy(probs, torch.tensor([0, 1, 1, 1])).item() == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize(("classes", "of"), [(2, 2), (5, 5), (30, 30), (6, 4)])
def test_the_naive_loop_and_scikit_learn_agree(classes: int, of: int) -> None:
    probs, target = predictions(classes, of)
    answers = probs.argmax(1)
    recalls = []
    for k in set(target.tolist()):
        mine = [answer == label for answer, label in zip(answers.tolist(), target.tolist(), strict=True) if label == k]
        recalls.append(sum(mine) / len(mine))
    found = balanced_accuracy(probs, target).item()
    assert found == pytest.approx(sum(recalls) / len(recalls), abs=1e-12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        assert found == pytest.approx(balanced_accuracy_score(target, answers), abs=1e-12)
    assert accuracy(probs, target).item() == pytest.approx(accuracy_score(target, answers), abs=1e-12)
    assert found != pytest.approx(accuracy(probs, target).item(), abs=1e-3)


def test_with_equally_many_rows_of_every_class_they_are_the_same() -> None:
    probs, _ = predictions(4, 4)
    target = torch.arange(400) % 4
    assert balanced_accuracy(probs, target).item() == pytest.approx(accuracy(probs, target).item(), abs=1e-12)


def test_copies_of_the_rows_of_one_class_change_nothing() -> None:
    probs, target = predictions(3, 3)
    again = target == 2
    more = torch.cat([probs, probs[again], probs[again]]), torch.cat([target, target[again], target[again]])
    assert balanced_accuracy(*more).item() == pytest.approx(balanced_accuracy(probs, target).item(), abs=1e-12)
    assert accuracy(*more).item() != pytest.approx(accuracy(probs, target).item(), abs=1e-3)


def test_a_classifier_that_always_says_the_commonest_class_is_worth_one_in_the_number_of_classes() -> None:
    probs = torch.tensor([[0.6, 0.2, 0.2]], dtype=torch.float64).repeat(100, 1)
    target = torch.tensor([0] * 90 + [1] * 7 + [2] * 3)
    assert accuracy(probs, target).item() == pytest.approx(0.9)
    assert balanced_accuracy(probs, target).item() == pytest.approx(1 / 3)
