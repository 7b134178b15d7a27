from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from gence.bench.stats.paired import corrected_t, holm, signed_rank
from gence.bench.stats.power import detectable_effect

RANDOM = np.random.default_rng(0)


def test_without_overlap_the_corrected_test_is_scipy_s_paired_one() -> None:
    differences = RANDOM.normal(0.3, 1, (20, 7))
    assert corrected_t(differences) == pytest.approx(stats.ttest_1samp(differences, 0, axis=1).pvalue)


def test_the_corrected_test_reads_like_its_equation() -> None:
    found = corrected_t(np.array([[0.1, 0.3, 0.2, 0.4]]), overlap=0.2)
    # Nadeau and Bengio: a fifth of the rows is tested on, the other four fifths are trained on.
    t = 0.25 / np.sqrt((1 / 4 + 1 / 4) * np.var([0.1, 0.3, 0.2, 0.4], ddof=1))
    assert found == pytest.approx(2 * stats.t.sf(t, 3))


def test_each_row_may_have_its_own_overlap() -> None:
    row = RANDOM.normal(size=(1, 6))
    found = corrected_t(np.repeat(row, 2, axis=0), overlap=np.array([0.0, 0.5]))
    assert found == pytest.approx([corrected_t(row)[0], corrected_t(row, overlap=0.5)[0]])
    assert found[1] > found[0]


@pytest.mark.parametrize("value", [0.0, 0.1, -1.0])
def test_seeds_that_change_nothing_claim_nothing(value: float) -> None:
    assert corrected_t(np.full((1, 10), value) + 0.0) == 1.0


def test_the_corrected_test_holds_its_level_where_the_plain_one_does_not() -> None:
    # Every seed tests on 60 of the same 200 rows: what it finds is mostly those rows.
    random = np.random.default_rng(1)
    rows = random.normal(size=(600, 200))
    seeds = [[pool[random.permutation(200)[:60]].mean() for _ in range(10)] for pool in rows]
    plain, corrected = (corrected_t(np.array(seeds), overlap=overlap) <= 0.05 for overlap in (0.0, 0.3))
    assert plain.mean() > 0.25
    assert corrected.mean() < 0.075


def naive_signed_rank(differences: np.ndarray) -> float:
    kept = differences[differences != 0]
    ranks = stats.rankdata(np.abs(kept))
    sums = [sum(rank for rank, up in zip(ranks, ups, strict=True) if up) for ups in _signs(len(kept))]
    seen, middle = ranks[kept > 0].sum(), ranks.sum() / 2
    return float(np.mean([abs(one - middle) >= abs(seen - middle) - 1e-9 for one in sums]))


def _signs(n: int) -> list[tuple[bool, ...]]:
    return list(itertools.product((False, True), repeat=n))


def test_the_signed_rank_test_with_ties_and_zeros_is_the_naive_loop() -> None:
    differences = RANDOM.integers(-3, 5, (12, 7)) / 360
    assert signed_rank(differences) == pytest.approx([naive_signed_rank(row) for row in differences])


@pytest.mark.parametrize("n", [2, 5, 10, 13, 14, 30, 60])
def test_the_signed_rank_test_is_scipy_s(n: int) -> None:
    differences = RANDOM.normal(0.2, 1, (6, n))
    assert signed_rank(differences) == pytest.approx(stats.wilcoxon(differences, axis=1).pvalue)


def test_many_tied_differences_are_judged_by_scipy_s_approximation_and_none_by_one() -> None:
    differences = np.stack([RANDOM.integers(-3, 5, 20), np.zeros(20), RANDOM.normal(size=20)])
    found = signed_rank(differences)
    assert found[0] == pytest.approx(stats.wilcoxon(differences[0], method="asymptotic").pvalue)
    assert found[1] == 1.0
    assert found[2] == pytest.approx(stats.wilcoxon(differences[2], method="exact").pvalue)


def test_five_differences_of_one_sign_are_not_enough_and_six_are() -> None:
    assert signed_rank(np.arange(1.0, 6)[None]) == pytest.approx(2 / 32)
    assert signed_rank(np.arange(1.0, 7)[None]) == pytest.approx(2 / 64)


def test_holm_by_hand_in_the_order_given() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([0.2])) == pytest.approx([0.2])
    assert len(holm(np.zeros(0))) == 0


def test_holm_is_between_the_plain_p_and_bonferroni_s() -> None:
    p = RANDOM.random(9) ** 3
    assert (p <= holm(p)).all()
    assert (holm(p) <= np.minimum(1, 9 * p)).all()
    assert holm(p).min() == pytest.approx(9 * p.min())


def test_the_detectable_effect_is_known_from_books_and_has_its_power() -> None:
    # R: power.t.test(n = 20, power = 0.8, type = "one.sample") has delta 0.6604.
    assert detectable_effect(20) / np.sqrt(20) == pytest.approx(0.6604, abs=1e-4)
    # Of very many values it is the normal distribution's.
    assert detectable_effect(10**6) == pytest.approx(stats.norm.ppf(0.975) + stats.norm.ppf(0.8), abs=1e-3)
    effect = detectable_effect(5, comparisons=4)
    samples = RANDOM.normal(effect / np.sqrt(5), 1, (20000, 5))
    assert np.mean(corrected_t(samples) * 4 <= 0.05) == pytest.approx(0.8, abs=0.01)


def test_what_cannot_be_tested_is_refused_with_a_cure() -> None:
    with pytest.raises(ValueError, match=r"differences: an array \(rows, n\) with n at least 2 .* got shape \(3, 1\)"):
        corrected_t(np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"differences: .* got shape \(3,\); one difference has no spread"):
        signed_rank(np.zeros(3))
    with pytest.raises(ValueError, match=r"overlap: numbers from 0 to below 1 are expected, got 1.0; 0 is the plain"):
        corrected_t(np.zeros((3, 2)), overlap=1.0)
    with pytest.raises(ValueError, match="n: at least 2 values are expected, got 1; one value finds no difference"):
        detectable_effect(1)
