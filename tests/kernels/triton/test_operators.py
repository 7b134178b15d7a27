"""The kernels as operators: what PyTorch's own checks say, in a compiled graph, and with the wrong tensors."""

from __future__ import annotations

import pytest
import torch

from gence.kernels import triton_ops, triton_support
from kernels.triton.by_definition import DEVICE, by_triton, problem

OPTIONS = {
    "plain": {},
    "all": {
        "counts": torch.tensor([True, False, True, True, True], device=DEVICE),
        "weight": torch.linspace(0.5, 1.5, 7, device=DEVICE),
        "smoothing": 0.1,
        "own": torch.linspace(0.5, 1.5, 5, device=DEVICE),
    },
}


@pytest.mark.parametrize("option", OPTIONS)
def test_opcheck(option):
    given = problem(5, 7, **OPTIONS[option])
    log_sums, saved = triton_ops.statistics(given.logits, *given.labels)[1:]
    torch.library.opcheck(torch.ops.gence.triton_statistics.default, (given.logits, *given.labels))
    arguments = (given.logits, saved, *given.labels, *given.terms(log_sums))
    torch.library.opcheck(torch.ops.gence.triton_gradient.default, arguments)


@pytest.mark.parametrize("layout", ["contiguous", "part of the columns"])
@pytest.mark.parametrize("option", OPTIONS)
def test_compiles_into_one_graph(option, layout):
    def both(logits, target, counts, weight, own):
        labels = (target, counts, weight, given.smoothing)
        log_likelihood, log_sums, saved = triton_ops.statistics(logits, *labels)
        terms = (own, torch.ones_like(own), torch.ones_like(log_sums), log_sums)
        return log_likelihood, log_sums, triton_ops.gradient(logits, saved, *labels, *terms)

    given = problem(5, 7, **OPTIONS[option])
    logits = given.logits if layout == "contiguous" else torch.cat([given.logits] * 2, 1)[:, :7]
    own = torch.ones((), device=DEVICE) if given.own is None else given.own
    arguments = (logits, given.target, given.counts, given.weight, own)
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")(*arguments)
    for a, b in zip(compiled, both(*arguments), strict=True):
        assert torch.equal(a, b)
        assert a.stride() == b.stride()


def test_compiles_for_any_number_of_rows():
    compiled = torch.compile(by_triton, fullgraph=True, backend="aot_eager", dynamic=True)
    weight = torch.ones(7, device=DEVICE)
    for num_rows in (5, 9):
        given = problem(num_rows, 7, weight=weight, amount=weight)
        assert all(torch.equal(a, b) for a, b in zip(compiled(given), by_triton(given), strict=True))


def test_the_choice_can_be_compiled():
    def choose(logits):
        return logits + (1.0 if triton_support.available(logits) else 0.0)

    logits = torch.zeros(2, 3, device=DEVICE)
    assert torch.compile(choose, fullgraph=True, backend="aot_eager")(logits).sum() == 6.0


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (torch.zeros(2, 3, dtype=torch.float64), "not torch.float64: use impl='eager'"),
        (torch.zeros(2, 3, 4), "not of shape (2, 3, 4): move the classes last"),
        (torch.zeros(2, 0), "1 to 262144 classes, not 0"),
        (torch.empty(0, 262_145), "1 to 262144 classes, not 262145"),
        (torch.zeros(2, 3, device="meta"), "on meta, not on a CUDA GPU"),
    ],
)
def test_says_why_not(logits, words):
    assert words in (triton_support.why_not(logits) or "")
    assert not triton_support.available(logits)


def test_says_when_there_are_too_many_rows():
    with pytest.raises(ValueError, match=r"at most 2147221504 rows, not 2147483648: use impl='eager'"):
        triton_ops.statistics(torch.empty(1, 1, device=DEVICE).expand(2**31, 1), torch.empty(0), None, None, 0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_is_available_for(dtype):
    assert triton_support.why_not(torch.zeros(2, 3, dtype=dtype, device=DEVICE)) is None
