"""No rows, no class, no finite logit: what the kernels give where a formula would give NaN, and where NaN is right."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kernels.triton.by_definition import DEVICE, LEAST, assert_as_good_as_eager, by_eager, by_triton, problem, truth


@pytest.mark.parametrize("num_classes", [1, 2, 70])
def test_no_rows(either, num_classes):
    log_likelihood, log_sums, gradient = by_triton(problem(0, num_classes))
    assert log_likelihood.shape == (0,)
    assert gradient.shape == (0, num_classes)
    assert (log_sums == LEAST).all()


@pytest.mark.parametrize("num_classes", [1, 2, 70])
def test_one_row(either, num_classes):
    assert_as_good_as_eager(problem(1, num_classes, 3.0))


def test_no_row_counts(either):
    given = problem(5, 70, counts=torch.zeros(5, dtype=torch.bool, device=DEVICE))
    given.logits.fill_(torch.nan)
    infinite = torch.tensor(torch.inf, device=DEVICE)  # one over the number of rows
    log_likelihood, log_sums, gradient = by_triton(replace(given, own=infinite, pull=infinite))
    assert not log_likelihood.any()
    assert (log_sums == LEAST).all()
    assert not gradient.any()


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # numpy's, in the interpreter
@pytest.mark.parametrize("mask", [-torch.inf, LEAST, -1e9])
def test_impossible_classes(either, mask):
    """A class that is masked in all rows has the least sum, or the one of its logits where these are mere numbers."""
    given = problem(13, 70, 3.0)
    given.logits[:, 5:40] = mask
    given.target.clamp_(min=40)
    assert_as_good_as_eager(given)
    log_sums = by_triton(given)[1]
    if mask > -1e30:
        torch.testing.assert_close(log_sums.double(), truth(given)[1], rtol=1e-6, atol=1e-6)
    else:
        assert (log_sums[5:40] == LEAST).all()


def test_a_class_that_is_masked_in_most_rows(either):
    """What sums underflow to and what they are without any row are told apart."""
    given = problem(13, 70)
    given.logits[:, 7] = -torch.inf
    given.logits[10, 7] = -300.0
    assert_as_good_as_eager(given)
    assert -320.0 < by_triton(given)[1][7] < -300.0


def test_a_class_without_mass_and_amount(either):
    amount, log_mass = torch.ones(70, device=DEVICE), torch.zeros(70, device=DEVICE)
    amount[3], log_mass[3] = 0.0, LEAST
    assert_as_good_as_eager(problem(5, 70, amount=amount, log_mass=log_mass))


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # numpy's, in the interpreter
def test_a_large_amount_of_a_small_mass(either):
    """Amount over mass overflows; times a probability of 0 it would be NaN."""
    amount, log_mass = torch.ones(70, device=DEVICE), torch.zeros(70, device=DEVICE)
    amount[3], log_mass[3] = 1e10, -68.0
    given = problem(5, 70, amount=amount, log_mass=log_mass)
    given.logits[:, 3] = -300.0
    torch.testing.assert_close(by_triton(given)[2].double(), truth(given)[2], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy's, in the interpreter
@pytest.mark.parametrize("what", ["NaN in a row", "a row masked everywhere", "infinity in a row"])
def test_a_row_without_softmax_is_not_hidden(either, what):
    given = problem(5, 70)
    if what == "NaN in a row":
        given.logits[2, 3] = torch.nan
    elif what == "infinity in a row":
        given.logits[2, 3] = torch.inf
    else:
        given.logits[2] = -torch.inf
    plain, fast = by_eager(given), by_triton(given)
    assert fast[0].isnan().tolist() == plain[0].isnan().tolist() == [False, False, True, False, False]
    assert fast[1].isnan().all()
    assert fast[2].isnan().all()


@pytest.mark.parametrize("label", [-1, 70, -100, 2**40])
def test_a_label_that_is_no_class_makes_nan(either, label):
    given = problem(5, 70)
    given.target[2] = label
    log_likelihood, log_sums, _ = by_triton(replace(given, amount=torch.ones(70, device=DEVICE)))
    assert log_likelihood.isnan().tolist() == [False, False, True, False, False]
    assert log_sums.isfinite().all()


def test_the_same_bits_again(either):
    given = problem(20, 70, 3.0, smoothing=0.1)
    first, second = by_triton(given), by_triton(given)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
