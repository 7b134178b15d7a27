from __future__ import annotations

import pytest
import torch
from scipy.spatial import KDTree
from torch.testing import assert_close

from gence.ood import fit_knn, knn

GENERATOR = torch.Generator().manual_seed(0)
TRAIN = torch.randn(80, 6, dtype=torch.float64, generator=GENERATOR)
ROWS = torch.randn(25, 6, dtype=torch.float64, generator=GENERATOR)


@pytest.mark.parametrize("k", [1, 7, 80])
def test_a_naive_loop_and_scipy_agree(k: int) -> None:
    scores = fit_knn(TRAIN, k=k)(ROWS)
    for row, score in zip(ROWS, scores, strict=True):
        distances = sorted((row / row.norm() - other / other.norm()).norm().item() for other in TRAIN)
        assert -score.item() == pytest.approx(distances[k - 1])
    unit = TRAIN / TRAIN.norm(dim=1, keepdim=True)
    found, _ = KDTree(unit.numpy()).query((ROWS / ROWS.norm(dim=1, keepdim=True)).numpy(), k=[k])
    assert_close(scores, -torch.from_numpy(found[:, 0]))


def test_a_training_row_is_its_own_neighbour_whatever_its_length_to_the_last_digit() -> None:
    assert_close(fit_knn(TRAIN, k=1)(5 * TRAIN), torch.zeros(80, dtype=torch.float64), rtol=0, atol=1e-15)
    near = TRAIN[:1] + 1e-10 * ROWS[:1]
    unit = [v / v.norm() for v in (near, TRAIN[:1])]
    assert_close(fit_knn(TRAIN, k=1)(near), -(unit[0] - unit[1]).norm(dim=1), rtol=1e-3, atol=0)


def test_further_neighbours_are_further_and_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [fit_knn(TRAIN, k=k)(ROWS) for k in (1, 5, 20)]
    assert (whole[0] > whole[1]).all()
    assert (whole[1] > whole[2]).all()
    monkeypatch.setattr(knn, "_SIMILARITIES_AT_ONCE", 300)
    assert_close(fit_knn(TRAIN, k=5)(ROWS), whole[1])
    monkeypatch.setattr(knn, "_SIMILARITIES_AT_ONCE", 1)
    assert_close(fit_knn(TRAIN, k=5)(ROWS), whole[1])


def test_features_that_are_all_zero_are_at_distance_1_from_every_direction() -> None:
    zeros = torch.zeros(2, 6)
    assert fit_knn(TRAIN, k=3)(zeros).tolist() == pytest.approx([-1.0, -1.0])
    assert fit_knn(torch.cat([zeros.double(), TRAIN]), k=2)(zeros).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("k", [0, -1, 81])
def test_there_are_only_so_many_neighbours(k: int) -> None:
    with pytest.raises(ValueError, match=rf"k must lie in 1..80, the number of training rows; got {k}"):
        fit_knn(TRAIN, k=k)


def test_without_k_it_is_the_50th_or_the_last_of_fewer_rows() -> None:
    assert fit_knn(TRAIN).k == 50
    assert fit_knn(TRAIN[:7]).k == 7
