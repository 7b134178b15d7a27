from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from gence import InputError
from gence.losses import Criterion, balanced_softmax, focal


def test_it_calls_its_function_with_its_settings() -> None:
    logits, target = torch.eye(3), torch.tensor([0, 1, 0])
    weight = torch.tensor([1.0, 2.0, 3.0])
    loss = Criterion(focal, weight, ignore_index=1, reduction="sum", gamma=3.0)
    assert_close(loss(logits, target), focal(logits, target, weight, 1, "sum", gamma=3.0))
    assert_close(Criterion(F.cross_entropy, weight)(logits, target), F.cross_entropy(logits, target, weight))


def test_tensors_move_with_the_module_and_are_saved_with_it() -> None:
    def scaled(input, target, weight, ignore_index, reduction, *, scale):
        return (input * scale).sum()

    loss = Criterion(scaled, torch.ones(3), scale=torch.tensor([1.0, 2.0])).double()
    assert (loss.weight.dtype, loss.scale.dtype) == (torch.float64, torch.float64)
    assert set(loss.state_dict()) == {"weight", "scale"}
    assert loss(torch.eye(2, dtype=torch.float64), torch.tensor([0, 1])).item() == 3.0


def test_a_misspelt_knob_or_reduction_is_named() -> None:
    with pytest.raises(InputError, match="unknown knob of focal 'gama': did you mean 'gamma'"):
        Criterion(focal, gama=1.0)
    with pytest.raises(ValueError, match="reduction must be one of none, mean, sum; got 'max'"):
        Criterion(focal, reduction="max")


def test_it_shows_its_settings() -> None:
    shown = repr(Criterion(focal, torch.ones(3), ignore_index=0, reduction="sum", gamma=1.0))
    assert shown == "Criterion(focal, gamma=1.0, ignore_index=0, reduction='sum')"


def test_its_tensors_are_copies() -> None:
    counts, weight = torch.tensor([3.0, 1.0]), torch.ones(2)
    loss = Criterion(balanced_softmax, weight, class_counts=counts)
    loss.load_state_dict({"class_counts": torch.tensor([7.0, 8.0]), "weight": torch.zeros(2)})
    assert (counts.tolist(), weight.tolist()) == ([3.0, 1.0], [1.0, 1.0])
