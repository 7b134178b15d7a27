"""Both functions against float64: sizes, scales and every option."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kernels.triton.by_definition import DEVICE, assert_as_good_as_eager, by_triton, problem, truth

SCALES = ["0.1", "1", "10", "200", "shifted up", "shifted down", "peaked", "masked"]


def scaled(name: str, num_rows: int, num_classes: int):
    if name in ("0.1", "1", "10", "200"):
        return problem(num_rows, num_classes, float(name))
    given = problem(num_rows, num_classes)
    z, y = given.logits, given.target
    if name == "peaked":
        z.scatter_add_(1, y[:, None], torch.full_like(y[:, None], 30, dtype=z.dtype))
    elif name == "masked":
        masked = torch.arange(num_classes, device=DEVICE) % 3 == 1
        z.masked_fill_(masked, -torch.inf)
        y.masked_fill_(masked[y], 0)
    else:
        z.add_(1e4 if name == "shifted up" else -1e4)
    return given


def test_by_hand(either):
    """Two rows, two classes, all probabilities known."""
    given = problem(2, 2)
    given.logits.copy_(torch.tensor([[0.0, 0.0], [0.0, 3.0]]).log1p())  # q: a half each; a fifth and four fifths
    given.target.copy_(torch.tensor([0, 1]))
    log_likelihood, log_sums, gradient = by_triton(given)
    assert log_likelihood.exp().tolist() == pytest.approx([0.5, 0.8], rel=1e-6)
    assert log_sums.exp().tolist() == pytest.approx([0.7, 1.3], rel=1e-6)
    t = [[0.5 / 0.7, 0.5 / 1.3], [0.2 / 0.7, 0.8 / 1.3]]
    first, second = (0.5 - 1 + t[0][0] - 0.5 * sum(t[0])), (0.2 + t[1][0] - 0.2 * sum(t[1]))
    assert gradient.flatten().tolist() == pytest.approx([first, -first, second, -second], rel=1e-5)


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize(("num_rows", "num_classes"), [(33, 1), (31, 2), (33, 7), (300, 7), (17, 1000), (3, 1025)])
def test_sizes_and_scales(num_rows, num_classes, name):
    assert_as_good_as_eager(scaled(name, num_rows, num_classes))


@pytest.mark.parametrize("name", SCALES)
def test_long_rows_at_every_scale(rows_are_long, name):
    rows_are_long()
    assert_as_good_as_eager(scaled(name, 13, 70))


@pytest.mark.parametrize(("num_rows", "num_classes", "name"), [(3, 16384, "200"), (5, 20000, "10")])
def test_many_classes(num_rows, num_classes, name):
    assert_as_good_as_eager(scaled(name, num_rows, num_classes))


def options(num_rows: int, num_classes: int) -> dict[str, dict[str, object]]:
    generator = torch.Generator().manual_seed(1)

    def random(*size: int) -> torch.Tensor:
        return torch.rand(*size, generator=generator).to(DEVICE)

    signs = torch.where(torch.arange(num_classes, device=DEVICE) % 2 == 0, 1.0, -1.0)
    return {
        "nothing": {},
        "weight": {"weight": random(num_classes)},
        "weight in half precision": {"weight": random(num_classes).half()},
        "counts": {"counts": random(num_rows) > 0.4},
        "smoothing": {"smoothing": 0.1},
        "smoothing of all": {"smoothing": 1.0},
        "weight, counts and smoothing": {
            "weight": random(num_classes),
            "counts": random(num_rows) > 0.4,
            "smoothing": 0.3,
        },
        "frozen mass": {"amount": 4.0 * random(num_classes), "log_mass": random(num_classes).log()},
        "negative amount": {"amount": -random(num_classes)},
        "amount of both signs, some 0": {"amount": random(num_classes) * signs * (random(num_classes) > 0.5)},
        "own and pull of each row": {"own": random(num_rows) - 0.5, "pull": random(num_rows) - 0.5},
        "own of each row, pull of all": {"own": random(num_rows), "pull": random(1)[0]},
        "own and pull repeated": {"own": random(1).expand(num_rows), "pull": random(1).expand(num_rows)},
        "every second own": {"own": random(2 * num_rows)[::2]},
    }


@pytest.mark.parametrize("option", options(1, 1))
def test_options(either, option):
    given = problem(13, 70, 3.0, **options(13, 70)[option])
    if given.counts is not None:  # what does not count may hold anything
        given.logits[~given.counts] = torch.nan
        given.target[~given.counts] = -100
    assert_as_good_as_eager(given)
    if given.counts is not None:
        assert not by_triton(given)[2][~given.counts].any()
        assert not by_triton(given)[0][~given.counts].any()


def test_masses_whose_inverses_overflow(either):
    rare = torch.linspace(-120.0, 0.0, 70, device=DEVICE)
    given = problem(13, 70, amount=torch.linspace(-1.0, 1.0, 70, device=DEVICE), log_mass=rare - 3.0)
    given.logits.add_(rare)
    assert_as_good_as_eager(given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(either, dtype):
    given = problem(13, 70, 3.0, smoothing=0.1)
    assert_as_good_as_eager(replace(given, logits=given.logits.to(dtype)))


def test_small_factors_come_before_the_cast(either):
    """1 / N in float16 after the cast would leave nothing of small gradients."""
    given = problem(13, 70, 3.0, own=torch.tensor(2.0**16, device=DEVICE), pull=torch.tensor(0.0, device=DEVICE))
    given = replace(given, logits=(given.logits - 8.0).half())
    small = truth(given)[2].abs() < 2.0**-4
    gradient = by_triton(replace(given, own=given.own * 2.0**-16))[2]
    expected = truth(replace(given, own=given.own * 2.0**-16))[2]
    assert small.any()
    torch.testing.assert_close(gradient.double(), expected, rtol=2.0**-10, atol=2.0**-25)


@pytest.mark.parametrize("how", ["part of the columns", "every second row", "transposed", "offset", "one repeated row"])
def test_any_layout(either, how):
    wide = problem(26, 80, 3.0).logits
    wide = wide if how in ("transposed", "one repeated row") else wide.half()
    logits = {
        "part of the columns": wide[:13, 3:73],
        "every second row": wide[:26:2, :70],
        "transposed": wide.t().contiguous().t()[:13, :70],
        "offset": wide.flatten()[1 : 1 + 13 * 70].view(13, 70),
        "one repeated row": wide[:1, :70].expand(13, 70),
    }[how]
    before = logits.clone()
    assert_as_good_as_eager(replace(problem(13, 70), logits=logits))
    assert torch.equal(logits, before)


def test_labels_of_any_layout(either):
    given = problem(13, 70, 3.0)
    counts = (torch.arange(26, device=DEVICE) % 3 != 0)[::2]
    target = given.target.repeat_interleave(2)[::2]
    weight = torch.linspace(0.1, 2.0, 140, device=DEVICE)[::2]
    assert not any(vector.is_contiguous() for vector in (counts, target, weight))
    assert_as_good_as_eager(replace(given, target=target, counts=counts, weight=weight))


def test_offsets_beyond_32_bits(either):
    """The third row starts where 32 bits end; memory that is not touched is not taken. A fault shows as a crash."""
    try:
        far = torch.empty(2**31 + 4, dtype=torch.float16, device=DEVICE)
    except (RuntimeError, torch.OutOfMemoryError):
        pytest.skip("this machine promises no 4 GB")
    given = problem(3, 4)
    logits = far.as_strided((3, 4), (2**30, 1)).copy_(given.logits)
    near, apart = by_triton(replace(given, logits=logits.contiguous())), by_triton(replace(given, logits=logits))
    assert all(torch.equal(a, b) for a, b in zip(near, apart, strict=True))


def test_sums_to_nothing(either):
    """Collapse: the gradient of a row sums to 0, and that of GenCE over one row is 0."""
    given = problem(13, 70, 3.0, smoothing=0.2)
    assert by_triton(given)[2].sum(1).abs().max() < 1e-5
    assert by_triton(problem(1, 70, 3.0))[2].abs().max() < 1e-6


def test_is_cross_entropy_without_pull(either):
    """Collapse: with pull 0 the gradient is that of F.cross_entropy, and so is the log-likelihood."""
    weight = torch.linspace(0.1, 2.0, 70, device=DEVICE)
    given = problem(13, 70, 3.0, weight=weight, smoothing=0.2, pull=torch.tensor(0.0, device=DEVICE))
    leaf = given.logits.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(leaf, given.target, weight, label_smoothing=0.2, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    log_likelihood, _, mine = by_triton(given)
    torch.testing.assert_close(-log_likelihood, loss.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mine, gradient, rtol=1e-5, atol=1e-6)
