"""What the kernels promise, written down in float64, and how far they may be from it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gence.kernels import eager, triton_ops

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
LEAST = torch.finfo(torch.float32).min


@dataclass(frozen=True)
class Problem:
    """The arguments of both functions; `amount` and `log_mass` None for those of the batch itself, as in GenCE."""

    logits: Tensor
    target: Tensor
    counts: Tensor | None = None
    weight: Tensor | None = None
    smoothing: float = 0.0
    own: Tensor | None = None
    pull: Tensor | None = None
    amount: Tensor | None = None
    log_mass: Tensor | None = None

    @property
    def labels(self) -> tuple[Tensor, Tensor | None, Tensor | None, float]:
        return self.target, self.counts, self.weight, self.smoothing

    def terms(self, log_sums: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        one = torch.ones((), device=self.logits.device)
        own, pull = (one if number is None else number for number in (self.own, self.pull))
        amount = shares(self).sum(0).float() if self.amount is None else self.amount
        return own, pull, amount, log_sums if self.log_mass is None else self.log_mass


def problem(num_rows: int, num_classes: int, scale: float = 1.0, seed: int = 0, **given: object) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_rows, num_classes, generator=generator) * scale
    target = torch.randint(num_classes, (num_rows,), generator=generator)
    return replace(Problem(logits.to(DEVICE), target.to(DEVICE)), **given)


def shares(problem: Problem) -> Tensor:
    """P: what each row's target gives to each class, by the definition; 0 for rows that do not count."""
    num_rows, num_classes = problem.logits.shape
    counts = torch.ones(num_rows, dtype=torch.bool) if problem.counts is None else problem.counts.cpu()
    weight = torch.ones(num_classes) if problem.weight is None else problem.weight.cpu()
    given = torch.zeros(num_rows, num_classes, dtype=torch.float64)
    for i in range(num_rows):
        if counts[i]:
            given[i] = problem.smoothing / num_classes
            given[i, int(problem.target[i])] += 1.0 - problem.smoothing
    return (given * weight.double()).to(problem.logits.device)


def truth(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Log-likelihoods, log sums and the gradient, as the equations say, in float64."""
    given = shares(problem)
    counts = given.new_ones(len(given), dtype=torch.bool) if problem.counts is None else problem.counts
    z = problem.logits.double().masked_fill(~counts[:, None], 0.0)
    log_q = (z - z.logsumexp(1, keepdim=True)).masked_fill(~counts[:, None], -torch.inf)
    log_likelihood = torch.where(given == 0.0, 0.0, given * log_q).sum(1)
    log_sums = log_q.logsumexp(0).clamp(min=LEAST)

    own, pull, amount, log_mass = (number.double() for number in problem.terms(log_sums))
    own, pull = (number.expand(len(given))[:, None] for number in (own, pull))
    q = log_q.exp()
    t = torch.where(amount == 0.0, 0.0, amount * (log_q - log_mass).exp())
    gradient = own * (given.sum(1, keepdim=True) * q - given) + pull * (t - q * t.sum(1, keepdim=True))
    return log_likelihood, log_sums, torch.where(counts[:, None], gradient, 0.0)


def by_triton(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    log_likelihood, log_sums, saved = triton_ops.statistics(problem.logits, *problem.labels)
    gradient = triton_ops.gradient(problem.logits, saved, *problem.labels, *problem.terms(log_sums))
    assert gradient.dtype == problem.logits.dtype
    assert gradient.is_contiguous()
    return log_likelihood, log_sums, gradient


def by_eager(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    log_likelihood, log_sums, _ = eager.statistics(problem.logits, *problem.labels)
    gradient = eager.gradient(problem.logits, None, *problem.labels, *problem.terms(log_sums))
    return log_likelihood, log_sums, gradient


def assert_as_good_as_eager(problem: Problem) -> None:
    """At most twice as far from float64 as eager is, plus a rounding of the largest difference of two logits."""
    z = problem.logits.double()
    centred = (z - z.max(1, keepdim=True).values)[z.isfinite()]
    floor = 1e-6 * (1.0 + (centred.nan_to_num().abs().max().item() if centred.numel() else 0.0))
    names = ("log_likelihood", "log_sums", "gradient")
    results = zip(names, truth(problem), by_eager(problem), by_triton(problem), strict=True)
    for name, right, plain, fast in results:
        assert not fast.isnan().any(), name
        allowed = 2.0 * _distance(plain, right) + floor
        if name == "gradient" and fast.dtype == torch.bfloat16 and INTERPRETED and right.numel():
            allowed += 2.0**-7 * right.abs().max().item()  # the interpreter cuts what a GPU rounds
        assert _distance(fast, right) <= allowed, f"{name}: {_distance(fast, right):.2g} where {allowed:.2g} is allowed"


def _distance(numbers: Tensor, right: Tensor) -> float:
    same = numbers.double() == right  # also where both are infinite
    gap = torch.where(same | (numbers == LEAST) & (right == LEAST), 0.0, numbers.double() - right)
    return gap.abs().max().item() if gap.numel() else 0.0
