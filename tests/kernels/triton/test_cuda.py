"""What only a GPU can show: no waiting, graphs, races, memory, more than 2**31 logits, a second device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from gence.kernels import triton_ops
from kernels.triton.by_definition import INTERPRETED, by_triton, problem, truth

pytestmark = pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="needs a CUDA GPU")

SIZES = [(513, 1000), (130, 16_384), (130, 32_003)]


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def everything(num_rows: int, num_classes: int):
    """All options, and the sums of the batch as they come from the forward pass."""
    counts = torch.arange(num_rows, device="cuda") % 5 != 0
    weight = torch.linspace(0.5, 1.5, num_classes, device="cuda")
    return problem(num_rows, num_classes, 3.0, counts=counts, weight=weight, smoothing=0.1, amount=weight)


@pytest.mark.parametrize("size", SIZES)
def test_waits_for_nothing(size):
    given = everything(*size)
    by_triton(given)
    torch.cuda.synchronize()
    with waiting_is_an_error():
        by_triton(given)


@pytest.mark.parametrize("size", SIZES)
def test_can_be_captured(size):
    given = everything(*size)
    by_triton(given)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = by_triton(given)
    given.logits.mul_(0.5)
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(captured, by_triton(given), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", SIZES)
def test_the_same_bits_fifty_times(size, dtype):
    given = everything(*size)
    given.logits.data = given.logits.to(dtype)
    first = by_triton(given)
    for _ in range(50):
        assert all(torch.equal(a, b) for a, b in zip(by_triton(given), first, strict=True))


@pytest.mark.parametrize("num_classes", [4096, 65_536])
def test_more_than_two_to_the_31_logits(num_classes):
    num_rows = 2**31 // num_classes + 5
    if torch.cuda.mem_get_info()[0] < 12 * 2**30:
        pytest.skip("needs 12 GB")
    few = problem(7, num_classes)
    logits = torch.zeros(num_rows, num_classes, dtype=torch.bfloat16, device="cuda")
    target = torch.zeros(num_rows, dtype=torch.int64, device="cuda")
    counts = torch.zeros(num_rows, dtype=torch.bool, device="cuda")
    logits[-7:], target[-7:], counts[-7:] = few.logits.bfloat16(), few.target, True
    labels = (counts, None, 0.0)
    log_likelihood, log_sums, saved = triton_ops.statistics(logits, target, *labels)
    few.logits.copy_(logits[-7:])
    right = truth(few)
    terms = few.terms(log_sums)
    gradient = triton_ops.gradient(logits, saved, target, *labels, *terms)
    torch.testing.assert_close(log_likelihood[-7:].double(), right[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(log_sums.double(), right[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient[-7:].double(), right[2], rtol=1e-2, atol=1e-5)
    assert not gradient[:-7].any()


@pytest.mark.parametrize("num_classes", [1000, 32_000])
def test_memory(num_classes):
    """At the peak: logits, gradient and 2 % of both."""
    num_rows = 2**28 // num_classes
    logits = torch.randn(num_rows, num_classes, dtype=torch.bfloat16, device="cuda")
    target = torch.zeros(num_rows, dtype=torch.int64, device="cuda")
    one, amount = torch.ones((), device="cuda"), torch.ones(num_classes, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _, log_sums, saved = triton_ops.statistics(logits, target, None, None, 0.0)
    gradient = triton_ops.gradient(logits, saved, target, None, None, 0.0, one, one, amount, log_sums)
    taken = torch.cuda.max_memory_allocated() - before
    assert taken <= gradient.nbytes + 0.02 * (logits.nbytes + gradient.nbytes)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second GPU")
def test_runs_where_the_logits_are():
    given = problem(33, 70)
    here = triton_ops.statistics(given.logits, *given.labels)
    there = triton_ops.statistics(given.logits.to("cuda:1"), given.target.to("cuda:1"), None, None, 0.0)
    assert all(torch.equal(a, b.to(a.device)) for a, b in zip(here, there, strict=True))
    assert all(b.device.index == 1 for b in there)
