"""The statistics of a linear layer by chunks: those of its logits, and operators that a graph can hold."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence.kernels import composed, linear

ROWS, FEATURES, CLASSES = 11, 4, 6


def layer() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = (ROWS, FEATURES), (CLASSES, FEATURES), (CLASSES,)
    parts = [torch.randn(size, dtype=torch.float64, generator=generator).requires_grad_() for size in sizes]
    return *parts, torch.randint(CLASSES, (ROWS,), generator=generator)


@pytest.mark.parametrize("rows", [1, 4, ROWS, 100])
def test_they_are_those_of_the_logits(rows: int) -> None:
    features, weight, bias, target = layer()
    upstream = torch.linspace(-1, 2, ROWS, dtype=torch.float64), torch.linspace(2, -1, CLASSES, dtype=torch.float64)
    class_weight = torch.linspace(0, 2, CLASSES, dtype=torch.float64)
    for counts, of_class, smoothing in itertools.product((None, target > 1), (None, class_weight), (0.0, 0.3)):
        labels = (target, counts, of_class, smoothing)
        found = linear.statistics(features, weight, bias, *labels, kernel="eager", rows=rows)
        expected = composed.statistics(F.linear(features, weight, bias), *labels)
        assert_close(found, expected, rtol=0.0, atol=1e-13)
        gradients = [torch.autograd.grad(both, (features, weight, bias), upstream) for both in (found, expected)]
        assert_close(gradients[0], gradients[1], rtol=0.0, atol=1e-13)


def test_where_no_row_counts_the_sums_are_the_least_number() -> None:
    features, weight, bias, target = layer()
    none = torch.zeros(ROWS, dtype=torch.bool)
    likelihood, log_sums = linear.statistics(
        features * torch.nan, weight, bias, target - 99, none, None, 0.0, kernel="eager", rows=4
    )
    assert torch.equal(likelihood, torch.zeros_like(likelihood))
    assert torch.equal(log_sums, torch.full_like(log_sums, torch.finfo(torch.float64).min))
    for gradient in torch.autograd.grad(likelihood.sum() + log_sums.sum(), (weight, bias)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_classes_that_hardly_exist_keep_their_digits_in_the_sum_over_chunks() -> None:
    features = torch.linspace(-1, 1, ROWS)[:, None].requires_grad_()
    weight, target = torch.tensor([[0.0], [1e3], [-1e3]]), torch.zeros(ROWS, dtype=torch.long)
    labels = (target, None, None, 0.0)
    _, log_sums = linear.statistics(features, weight, torch.tensor([0.0, -3e3, -9e3]), *labels, kernel="eager", rows=2)
    q = torch.log_softmax(F.linear(features, weight, torch.tensor([0.0, -3e3, -9e3])).double(), 1)
    assert_close(log_sums, q.logsumexp(0).float())


def test_the_default_chunk_grows_with_a_large_weight() -> None:
    def rows(classes: int, features: int) -> int:
        return linear.rows_of_chunk(torch.empty(classes, features, device="meta"))

    assert rows(50_000, 512) == linear._CHUNK // 50_000
    assert rows(128_256, 4096) == 1024
    assert rows(2**26, 1) == 1


@pytest.mark.parametrize("counted", [False, True])
def test_the_operators_are_what_pytorch_asks_of_one(counted: bool) -> None:
    features, weight, bias, target = layer()
    counts = target > 1 if counted else None
    arguments = (features, weight.detach(), bias, target, counts, None, 0.1, "eager", 4)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")  # graphs are tested with the loss
    torch.library.opcheck(torch.ops.gence.linear_statistics.default, arguments, test_utils=checks)
    plain = tuple(one.detach() if isinstance(one, Tensor) else one for one in arguments)
    likelihood, log_sums, saved = torch.ops.gence.linear_statistics(*plain)
    terms = (likelihood, log_sums, log_sums, saved, [True, False, True])
    torch.library.opcheck(torch.ops.gence.linear_gradient.default, (*plain, *terms), test_utils=checks)
