from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from gence.losses import brier
from gence.losses.rows import rows_of

WEIGHT = torch.tensor([1.0, 0.5, 2.0, 0.25], dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("shape", [(), (6,), (3, 2), (2, 1, 3)])
def test_reducing_the_terms_of_cross_entropy_gives_f_cross_entropy(shape, weight, reduction) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(*shape[:1], 4, *shape[1:], dtype=torch.float64, generator=generator)
    target = torch.randint(4, shape, generator=generator)
    if target.dim():
        target.view(-1)[1] = -100
    rows = rows_of(logits, target, weight, -100, reduction, "x")
    loss = rows.reduce(-rows.of_label(rows.log_probs()))
    assert_close(loss, F.cross_entropy(logits, target, weight, reduction=reduction))


def test_a_mean_is_over_the_rows_that_count_and_without_any_it_is_zero() -> None:
    rows = rows_of(torch.eye(3), torch.tensor([0, 7, 2]), None, 7, "mean", "x")
    assert_close(rows.mean(torch.tensor([1.0, 100.0, 3.0])), torch.tensor(2.0))
    assert_close(rows.mean(torch.eye(3)), torch.tensor([0.5, 0.0, 0.5]))
    none = rows_of(torch.eye(3), torch.tensor([7, 7, 7]), None, 7, "mean", "x")
    assert (none.mean(torch.eye(3)) == 0).all()


def test_autocast_leaves_a_mean_in_full_precision() -> None:
    values = torch.rand(64, 5, generator=torch.Generator().manual_seed(0))
    rows = rows_of(torch.zeros(64, 5), torch.zeros(64, dtype=torch.long), None, -100, "mean", "x")
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(rows.mean(values), values.mean(0))


def test_a_nan_in_an_ignored_row_reaches_neither_value_nor_gradient() -> None:
    logits = torch.tensor([[1.0, 2.0], [torch.nan, 0.0]], requires_grad=True)
    loss = brier(logits, torch.tensor([0, -100]))
    assert_close(loss, brier(logits[:1], torch.tensor([0])))
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_half_precision_is_computed_in_float32_and_given_back_as_f_cross_entropy_does() -> None:
    rows = rows_of(torch.zeros(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1]), None, -100, "mean", "x")
    assert (rows.logits.dtype, rows.dtype) == (torch.float32, torch.bfloat16)


def test_class_probabilities_are_refused_by_losses_of_class_numbers() -> None:
    with pytest.raises(
        ValueError, match=r"brier is defined for class numbers; got class probabilities of shape \(2, 3"
    ):
        brier(torch.zeros(2, 3), torch.full((2, 3), 1 / 3))


def test_the_one_hot_labels_are_those_of_pytorch_and_can_be_under_vmap_of_grad() -> None:
    logits, target = torch.zeros(2, 5, 3), torch.tensor([[0, 1, 2, 2, 0], [1, 0, 0, 2, 1]])

    def of_labels(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        rows = rows_of(logits, target, None, -100, "mean", "x")
        return (rows.one_hot() * rows.logits).sum()

    assert_close(torch.vmap(torch.func.grad(of_labels))(logits, target), F.one_hot(target, 3).float())
