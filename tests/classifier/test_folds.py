"""Dealing by content: copies together, classes spread, the order of rows of no account."""

from __future__ import annotations

import numpy as np
import pytest

from gence.classifier.folds import ALWAYS_TRAINED, deal


def rows(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, 4)), generator.permutation(np.arange(count) % classes)


def test_every_class_is_spread_as_evenly_as_may_be() -> None:
    inputs, labels = rows(97, 5)
    fold = deal(inputs, labels, 4, seed=0)
    counts = np.array([np.bincount(fold[labels == k], minlength=4) for k in range(5)])
    assert np.ptp(counts, axis=1).max() <= 1
    assert np.ptp(counts.sum(0)) <= 1


def test_neither_the_order_nor_copies_matter() -> None:
    inputs, labels = rows(40, 3)
    fold = deal(inputs, labels, 5, seed=3)
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(40), np.arange(40) % 3 + 1))
    np.testing.assert_array_equal(deal(inputs[order], labels[order], 5, seed=3), fold[order])


def test_equal_rows_of_two_classes_share_a_fold() -> None:
    inputs, labels = np.array([[0.0], [-0.0], [1.0], [2.0], [1.0], [3.0]]), np.array([0, 1, 0, 1, 1, 0])
    fold = deal(inputs, labels, 3, seed=0)
    assert fold[0] == fold[1]
    assert fold[2] == fold[4]


def test_the_seed_deals_anew_and_a_seed_deals_alike() -> None:
    inputs, labels = rows(60, 2)
    first = deal(inputs, labels, 3, seed=0)
    np.testing.assert_array_equal(first, deal(inputs, labels, 3, seed=0))
    assert (first != deal(inputs, labels, 3, seed=1)).any()


def test_the_only_row_of_a_class_is_never_held_out() -> None:
    inputs, labels = rows(11, 2)
    labels[4] = 2
    fold = deal(inputs, labels, 2, seed=0)
    assert fold[4] == ALWAYS_TRAINED
    assert (np.delete(fold, 4) >= 0).all()


def test_gaps_and_images_are_dealt_too() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 4), dtype=np.uint8)
    assert set(deal(images, np.arange(20) % 2, 2, seed=0)) == {0, 1}
    table = np.array([[np.nan], [np.nan], [1.0], [2.0]])
    fold = deal(table, np.array([0, 0, 0, 0]), 2, seed=0)
    assert fold[0] == fold[1]


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2; got 1"):
        deal(*rows(4, 2), 1, seed=0)
