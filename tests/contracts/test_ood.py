"""What every out-of-distribution score of the catalogue owes; a new one is tested by being registered."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from gence import InputError
from gence.metrics import ood_auroc
from gence.ood import catalogue

every_score = pytest.mark.parametrize("name", catalogue.names())
MEANS = 4 * torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def features(rows: int, seed: int) -> torch.Tensor:
    noise = torch.randn(rows, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return MEANS[torch.arange(rows) % 5] + noise


def model(rows: torch.Tensor) -> torch.Tensor:
    """The logits of equal Gaussians around the means."""
    return rows @ MEANS.T - MEANS.square().sum(1) / 2


def fitted(name: str) -> tuple[catalogue.Score, torch.Tensor, torch.Tensor]:
    """The score, and what it takes of in-distribution rows and of rows between the classes."""
    score = catalogue.fit(name, features(200, 1), torch.arange(200) % 5)
    inside, between = features(100, 2), features(100, 3) - MEANS[torch.arange(100) % 5]
    return (score, model(inside), model(between)) if catalogue.needs(name) == "logits" else (score, inside, between)


@every_score
def test_rows_between_the_classes_score_lower(name: str) -> None:
    score, inside, between = fitted(name)
    assert ood_auroc(score(inside), score(between)) > 0.75


@every_score
def test_it_gives_float64_a_row_for_torch_and_numpy_of_any_precision_and_layout(name: str) -> None:
    score, rows, _ = fitted(name)
    scores = score(rows)
    assert (scores.shape, scores.dtype) == ((100,), torch.float64)
    assert_close(score(rows.numpy()), scores, rtol=0, atol=0)
    assert score(rows.half()).dtype == torch.float64
    assert_close(score(rows.float()), scores, rtol=1e-4, atol=1e-4)
    read_only = rows.numpy().copy()
    read_only.setflags(write=False)
    for given in (read_only, rows.numpy()[::-1].copy()[::-1], rows.numpy().astype(">f8")):
        assert_close(score(given), scores, rtol=0, atol=0)
    refitted = catalogue.fit(name, features(200, 1).numpy(), np.arange(200) % 5)
    assert_close(refitted(rows), scores, rtol=0, atol=0)


@every_score
def test_a_row_scores_the_same_in_any_company_and_no_rows_give_no_scores(name: str) -> None:
    score, rows, _ = fitted(name)
    scores = score(rows)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    assert_close(score(rows[order]), scores[order], rtol=1e-9, atol=1e-9)
    assert_close(score(rows[3:4]), scores[3:4], rtol=1e-9, atol=1e-9)
    assert score(rows[:0]).shape == (0,)


@every_score
def test_the_order_of_columns_and_of_training_rows_does_not_matter(name: str) -> None:
    score, rows, _ = fitted(name)
    columns = torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(0))
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    train, target = features(200, 1)[order], (torch.arange(200) % 5)[order]
    again = catalogue.fit(name, train[:, columns] if catalogue.needs(name) == "features" else train, target)
    assert_close(again(rows[:, columns]), score(rows), rtol=1e-9, atol=1e-9)


@every_score
def test_its_arguments_and_the_random_state_are_left_alone_and_no_gradient_comes_out(name: str) -> None:
    score, rows, _ = fitted(name)
    train, state = features(200, 1), torch.get_rng_state()
    catalogue.fit(name, train, torch.arange(200) % 5)
    assert_close(train, features(200, 1), rtol=0, atol=0)
    copy = rows.clone()
    assert not score(rows.requires_grad_()).requires_grad
    assert_close(rows.detach(), copy, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


@every_score
def test_what_cannot_be_scored_is_refused_with_the_reason(name: str) -> None:
    score, rows, _ = fitted(name)
    needs = catalogue.needs(name)
    bad = rows.clone()
    bad[7, 1] = math.nan
    for given, message in (
        (rows[0], rf"{needs} must have shape \(rows, "),
        (rows[:, :0], rf"{needs} must have "),
        (rows.long(), f"{needs} must be floating-point; got torch.int64"),
        (bad, f"{needs} must be finite; row 7 holds NaN or infinity: leave such rows out"),
    ):
        with pytest.raises(ValueError, match=message):
            score(given)
    if needs == "logits":
        with pytest.raises(ValueError, match=r"these rows are probabilities .*give the scores before the softmax"):
            score(rows.softmax(1))
        for fine in (
            rows.log_softmax(1),
            rows - rows.mean(1, keepdim=True) + 0.2,
        ):  # the latter sum to 1, as it happens
            assert score(fine).isfinite().all()
    else:
        with pytest.raises(ValueError, match="features must have the 8 columns that the score was fitted on; got 7"):
            score(rows[:, :7])
        with pytest.raises(ValueError, match="features has no rows; the score is fitted on the features of the train"):
            catalogue.fit(name, rows[:0], torch.arange(0))


def test_few_training_rows_are_enough_for_every_score() -> None:
    for name in catalogue.names():
        score = catalogue.fit(name, features(10, 1), torch.arange(10) % 5)
        assert score(features(4, 2)).isfinite().all()


def test_a_misspelt_score_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown score 'enrgy': did you mean 'energy'"):
        catalogue.fit("enrgy", features(10, 1), torch.arange(10) % 5)
    with pytest.raises(InputError, match="unknown score 'max_logits': did you mean 'max_logit'"):
        catalogue.needs("max_logits")
