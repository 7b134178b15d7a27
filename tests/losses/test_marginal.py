from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gence.losses import generative_cross_entropy
from gence.losses.marginal import dca, mdca, mmce
from gence.metrics import expected_calibration_error

WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)


def batch() -> tuple[Tensor, Tensor]:
    """Rows of label 2 are to be ignored; some answers are right and some wrong."""
    logits = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.arange(20) % 4


def of_confidence(right: int, wrong: int, confidence: float = 0.75) -> tuple[Tensor, Tensor]:
    """Rows of two classes that all say the first with the same confidence."""
    row = torch.tensor([confidence, 1.0 - confidence], dtype=torch.float64).log()
    return row.repeat(right + wrong, 1), torch.tensor([0] * right + [1] * wrong)


def softmax(row: list[float]) -> list[float]:
    return [math.exp(v) / sum(math.exp(u) for u in row) for v in row]


def naive(penalty: float) -> float:
    """The weighted mean of -log p_y + penalty over the rows that count."""
    total = weights = 0.0
    for row, label in zip(*(t.tolist() for t in batch()), strict=True):
        if label != 2:
            total += WEIGHT[label].item() * (penalty - math.log(softmax(row)[label]))
            weights += WEIGHT[label].item()
    return total / weights


def counting() -> list[tuple[list[float], int]]:
    """(probabilities, label) of the rows that count."""
    logits, target = batch()
    return [(softmax(row), y) for row, y in zip(logits.tolist(), target.tolist(), strict=True) if y != 2]


def test_weighted_mmce_equals_the_naive_loop_with_weights_and_ignored_rows() -> None:
    """Kumar et al. 2018: three sums over pairs, of right rows, of wrong rows, and of one right and one wrong row."""
    right = [max(p) for p, y in counting() if p[y] == max(p)]
    wrong = [max(p) for p, y in counting() if p[y] != max(p)]
    m, n = len(right), len(wrong)

    def k(c: float, d: float) -> float:
        return math.exp(-abs(c - d) / 0.3)

    square = sum((1 - c) * (1 - d) * k(c, d) for c in right for d in right) / m**2
    square += sum(c * d * k(c, d) for c in wrong for d in wrong) / n**2
    square -= 2 * sum((1 - c) * d * k(c, d) for c in right for d in wrong) / (m * n)
    expected = naive(1.5 * math.sqrt(square))
    assert mmce(*batch(), WEIGHT, 2, lambd=1.5, width=0.3, weighted=True).item() == pytest.approx(expected, rel=1e-12)


def test_unweighted_mmce_equals_the_naive_loop() -> None:
    """Kumar et al. 2018: all pairs, by the square of their number."""
    rows = [(max(p), float(p[y] == max(p))) for p, y in counting()]
    square = sum((a - c) * (b - d) * math.exp(-abs(c - d) / 0.4) for c, a in rows for d, b in rows) / len(rows) ** 2
    expected = naive(2.0 * math.sqrt(square))
    assert mmce(*batch(), WEIGHT, 2).item() == pytest.approx(expected, rel=1e-12)


def test_mdca_equals_the_naive_loop() -> None:
    """Hebbalaguppe et al. 2022: the mean over classes of |mean probability - frequency|."""
    rows = counting()
    gap = sum(abs(sum(p[k] - (y == k) for p, y in rows) / len(rows)) for k in range(4)) / 4
    assert mdca(*batch(), WEIGHT, 2, beta=1.5).item() == pytest.approx(naive(1.5 * gap), rel=1e-12)


def test_dca_equals_the_naive_loop() -> None:
    """Liang et al. 2020: |mean confidence - accuracy|."""
    rows = counting()
    gap = abs(sum(max(p) - (p[y] == max(p)) for p, y in rows) / len(rows))
    assert dca(*batch(), WEIGHT, 2, beta=1.5).item() == pytest.approx(naive(1.5 * gap), rel=1e-12)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("loss", "off"), [(mmce, {"lambd": 0.0}), (mdca, {"beta": 0.0}), (dca, {"beta": 0.0})])
def test_without_the_error_they_are_cross_entropy(loss, off, reduction) -> None:
    logits, target = batch()
    assert_close(
        loss(logits, target, WEIGHT, reduction=reduction, **off),
        F.cross_entropy(logits, target, WEIGHT, reduction=reduction),
    )


def test_dca_adds_the_expected_calibration_error_of_one_bin() -> None:
    logits, target = batch()
    error = expected_calibration_error(logits.softmax(1), target, bins=1)
    assert_close(dca(logits, target) - F.cross_entropy(logits, target), torch.as_tensor(error, dtype=torch.float64))


def test_of_equal_confidences_mmce_is_the_gap_and_its_weighted_form_is_0_only_at_one_half() -> None:
    """The kernel is 1, so the sum of e is left: accuracy - c unweighted, (1 - c) - c weighted whatever the accuracy."""

    def error(rows: tuple[Tensor, Tensor], weighted: bool) -> float:
        return (mmce(*rows, lambd=1.0, weighted=weighted) - F.cross_entropy(*rows)).item()

    honest = of_confidence(right=6, wrong=2)
    assert error(honest, weighted=False) == pytest.approx(0.0, abs=1e-12)
    assert error(honest, weighted=True) == pytest.approx(0.5)
    assert error(of_confidence(right=2, wrong=6), weighted=False) == pytest.approx(0.5)
    assert error(of_confidence(right=2, wrong=6, confidence=0.500001), weighted=True) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("weighted", [True, False])
def test_mmce_is_finite_where_all_rows_are_right_or_wrong_and_surely_so(weighted: bool) -> None:
    for scale in [1.0, 500.0]:
        for target in [torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])]:
            logits = (scale * torch.eye(3)).requires_grad_()
            loss = mmce(logits, target, weighted=weighted)
            assert loss.isfinite()
            assert torch.autograd.grad(loss, logits)[0].isfinite().all()
    sure = 500.0 * torch.eye(3)
    assert mmce(sure, torch.tensor([0, 1, 2]), weighted=weighted).item() == 0.0


@pytest.mark.parametrize("loss", [mmce, mdca, dca])
def test_the_gradient_is_right(loss) -> None:
    """Away from ties; right and wrong do not change with a small step, so nothing flows through them."""
    logits, target = batch()
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())
    if loss is mmce:
        assert torch.autograd.gradcheck(lambda z: mmce(z, target), logits)


def terms(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What mdca and GenCE add to cross-entropy, and the gradients of the two."""
    logits = logits.clone().requires_grad_()
    gap = mdca(logits, target) - F.cross_entropy(logits, target)
    term = generative_cross_entropy(logits, target) - F.cross_entropy(logits, target)
    return gap, term, *(torch.autograd.grad(value, logits)[0] for value in (gap, term))


def test_what_mdca_and_gence_add_has_no_gradient_where_the_batch_marginals_match() -> None:
    """The class mass of (3/4, 1/4) and (1/4, 3/4) is that of one label of each class, of uniform rows too."""
    pair = torch.tensor([[3.0, 1.0], [1.0, 3.0]], dtype=torch.float64).log()
    for logits in [pair, torch.zeros(2, 2, dtype=torch.float64)]:
        gap, _, _, of_gence = terms(logits, torch.tensor([0, 1]))
        assert gap.item() == pytest.approx(0.0, abs=1e-15)
        assert_close(of_gence, torch.zeros_like(logits), rtol=0.0, atol=1e-15)
    # At a kink the sign of a rounding error is the gradient, so it is taken where nothing is rounded.
    assert_close(terms(torch.zeros(2, 2, dtype=torch.float64), torch.tensor([0, 1]))[2], torch.zeros_like(pair))
    unmatched = terms(pair, torch.tensor([0, 0]))
    assert unmatched[0].item() == pytest.approx(0.5)
    assert all(gradient.abs().max() > 1e-2 for gradient in unmatched[2:])


def test_mdca_is_least_among_the_neighbours_of_a_match() -> None:
    pair = torch.tensor([[3.0, 1.0], [1.0, 3.0]], dtype=torch.float64).log()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        near = pair + 0.1 * torch.randn(2, 2, dtype=torch.float64, generator=generator)
        assert terms(near, torch.tensor([0, 1]))[0] > 1e-4


def test_bad_settings_are_refused() -> None:
    logits, target = torch.zeros(2, 2), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"lambd must be a finite number of at least 0 \(0 is cross-entropy\); got -1"):
        mmce(logits, target, lambd=-1.0)
    with pytest.raises(ValueError, match="width must be a finite number above 0; got 0"):
        mmce(logits, target, width=0.0)
    for loss in (mdca, dca):
        with pytest.raises(
            ValueError, match=r"beta must be a finite number of at least 0 \(0 is cross-entropy\); got -1"
        ):
            loss(logits, target, beta=-1.0)
