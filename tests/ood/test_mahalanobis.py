from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance, ledoit_wolf
from torch.testing import assert_close

from gence.ood import fit_mahalanobis

GENERATOR = torch.Generator().manual_seed(0)
TARGET = torch.arange(90) % 3
MIX = torch.randn(5, 5, dtype=torch.float64, generator=GENERATOR)
MEANS = 6 * torch.randn(3, 5, dtype=torch.float64, generator=GENERATOR)
TRAIN = MEANS[TARGET] + torch.randn(90, 5, dtype=torch.float64, generator=GENERATOR) @ MIX
ROWS = 4 * torch.randn(25, 5, dtype=torch.float64, generator=GENERATOR)


def class_means(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.stack([features[target == k].mean(0) for k in range(3)])


def within(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return features - class_means(features, target)[target]


MEANS_OF_TRAIN = class_means(TRAIN, TARGET)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_naive_loop_agrees(alpha: float) -> None:
    residuals = within(TRAIN, TARGET)
    covariance = sum(torch.outer(r, r) for r in residuals) / len(residuals)
    covariance = (1 - alpha) * covariance + alpha * covariance.trace() / 5 * torch.eye(5, dtype=torch.float64)
    inverse = torch.linalg.inv(covariance)
    score = fit_mahalanobis(TRAIN, TARGET, shrinkage=alpha)
    assert score.shrinkage == alpha
    for row, value in zip(ROWS, score(ROWS), strict=True):
        differences = [row - mean for mean in MEANS_OF_TRAIN]
        assert value.item() == pytest.approx(-min((d @ inverse @ d).item() for d in differences))


@pytest.mark.parametrize("rows", [90, 12])
def test_scikit_learn_gives_the_same_distances_and_the_same_shrinkage(rows: int) -> None:
    features, target = TRAIN[:rows], TARGET[:rows]
    residuals = within(features, target).numpy()
    covariance, alpha = ledoit_wolf(residuals, assume_centered=True)
    score = fit_mahalanobis(features, target)
    assert score.shrinkage == pytest.approx(alpha)
    assert 0.0 < alpha < 1.0
    assert_close(score.whitening @ score.whitening.T, torch.from_numpy(np.linalg.inv(covariance)))
    one_class = fit_mahalanobis(features, torch.zeros(rows, dtype=torch.long), shrinkage=0.0)
    expected = EmpiricalCovariance().fit(features.numpy()).mahalanobis(ROWS.numpy())
    assert_close(one_class(ROWS), -torch.from_numpy(expected))


def test_a_linear_map_of_the_features_does_not_matter_without_shrinkage_and_a_rotation_never() -> None:
    score = fit_mahalanobis(TRAIN, TARGET, shrinkage=0.0)(ROWS)
    assert_close(fit_mahalanobis(TRAIN @ MIX + 3, TARGET, shrinkage=0.0)(ROWS @ MIX + 3), score)
    rotation, _ = torch.linalg.qr(MIX)
    assert_close(fit_mahalanobis(TRAIN @ rotation, TARGET)(ROWS @ rotation), fit_mahalanobis(TRAIN, TARGET)(ROWS))


def test_all_sphere_is_the_squared_distance_in_units_of_the_mean_variance() -> None:
    residuals = within(TRAIN, TARGET)
    nearest = torch.cdist(ROWS, MEANS_OF_TRAIN).amin(1).square()
    assert_close(fit_mahalanobis(TRAIN, TARGET, shrinkage=1.0)(ROWS), -nearest / residuals.square().mean())


def test_the_shrinkage_vanishes_as_rows_grow() -> None:
    generator = torch.Generator().manual_seed(1)
    found = []
    for rows in (20, 200, 20000):
        features = torch.randn(rows, 5, dtype=torch.float64, generator=generator) @ MIX
        found.append(fit_mahalanobis(features, torch.arange(rows) % 2).shrinkage)
    assert found[0] > found[1] > found[2]
    assert found[2] < 1e-3


def test_fewer_rows_than_features_and_features_that_never_vary() -> None:
    few = torch.cat([TRAIN[:6], torch.full((6, 2), 7.0, dtype=torch.float64)], dim=1)  # 3 directions vary of 7
    rows = torch.cat([ROWS, torch.full((25, 2), 7.0, dtype=torch.float64)], dim=1)
    score = fit_mahalanobis(few, TARGET[:6])
    assert score.whitening.shape == (7, 7)
    off = rows + torch.tensor([0, 0, 0, 0, 0, 0, 50.0])
    assert (score(off) < score(rows)).all()
    left_out = fit_mahalanobis(few, TARGET[:6], shrinkage=0.0)
    assert left_out.whitening.shape == (7, 3)
    assert_close(left_out(off), left_out(rows))


def test_far_from_the_origin_nothing_is_lost() -> None:
    target = torch.arange(40) % 2
    features = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert_close(
        fit_mahalanobis(features + 1e6, target)(ROWS[:, :3] + 1e6), fit_mahalanobis(features, target)(ROWS[:, :3]),
        rtol=1e-6, atol=0,
    )  # fmt: skip


def test_class_numbers_are_names() -> None:
    renamed = torch.tensor([40, 7, 12])[TARGET]
    assert_close(fit_mahalanobis(TRAIN, renamed)(ROWS), fit_mahalanobis(TRAIN, TARGET)(ROWS))


@pytest.mark.parametrize(
    ("features", "target", "shrinkage", "message"),
    [
        (TRAIN, TARGET[:5], None, r"target must hold one class number a row, shape \(90,\); got shape \(5,\)"),
        (TRAIN, TARGET.double(), None, "target must hold class numbers as integers; got torch.float64"),
        (TRAIN, TARGET - 1, None, "target must hold class numbers from 0 on; got -1: leave such rows out"),
        (TRAIN, TARGET, 1.5, r"shrinkage must lie in \[0, 1\], or be None for Ledoit and Wolf's; got 1.5"),
        (TRAIN[:3], TARGET[:3], None, "features do not vary within any class"),
        (torch.full((90, 5), 0.1), TARGET, None, "features do not vary within any class"),
    ],
)
def test_what_cannot_be_fitted_is_refused(features, target, shrinkage, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_mahalanobis(features, target, shrinkage=shrinkage)
