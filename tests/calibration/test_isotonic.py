from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.isotonic import IsotonicRegression
from torch import Tensor
from torch.testing import assert_close

from gence.calibration import IsotonicCalibration, fit_isotonic


def rows_of(rows: int, *, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    return logits, torch.multinomial((logits / 2).softmax(1), 1, generator=generator).squeeze(1)


def fitted(**change: Any) -> IsotonicCalibration:
    fields: dict[str, Any] = {
        "thresholds": ((0.2, 0.6), (0.4, 0.8)), "values": ((0.0, 0.5), (0.1, 0.9)), "rows": 8,
        "nll_before": 1.0, "nll_after": 0.9,
    }  # fmt: skip
    return IsotonicCalibration(**(fields | change))


def test_a_row_by_hand() -> None:
    logits = torch.tensor([[0.3, 0.7], [0.1, 0.9], [0.9, 0.1]], dtype=torch.float64).log()
    # 1/8 and 0.7; the floor 1/10 and 0.9; 0.5 and 0.1
    expected = torch.tensor([[0.125, 0.7], [0.1, 0.9], [0.5, 0.1]], dtype=torch.float64)
    assert_close(fitted()(logits).exp(), expected / expected.sum(1, keepdim=True))


@pytest.mark.parametrize("rows", [2, 7, 100, 2000])
def test_it_agrees_with_the_predictions_of_scikit_learn(rows: int) -> None:
    (z, y), (new, _) = rows_of(rows), rows_of(500, seed=1)
    stated = np.stack(
        [
            IsotonicRegression(out_of_bounds="clip")
            .fit(z.softmax(1)[:, k].numpy(), (y == k).double().numpy())
            .predict(new.softmax(1)[:, k].numpy())
            for k in range(4)
        ],
        axis=1,
    )
    stated = stated.clip(min=1 / (rows + 2))
    np.testing.assert_allclose(
        fit_isotonic(z, y)(new).exp().numpy(), stated / stated.sum(1, keepdims=True), rtol=1e-9, atol=1e-12
    )


def test_before_the_division_each_threshold_gives_its_value() -> None:
    z, y = rows_of(300, classes=2)
    calibrator = fit_isotonic(z, y)
    for thresholds, values in zip(calibrator.thresholds, calibrator.values, strict=True):
        p = torch.tensor(thresholds, dtype=torch.float64)
        stated = calibrator(torch.stack([p, 1 - p], 1).clamp(min=1e-300).log()).exp()
        if thresholds == calibrator.thresholds[0]:
            floored = torch.tensor(values, dtype=torch.float64).clamp(1 / 302, 1 - 1 / 302)
            inner = (floored > 0.01) & (floored < 0.99)
            assert_close(stated[inner, 0], floored[inner], rtol=0, atol=1e-6)


def test_it_orders_each_class_as_its_probability_does() -> None:
    z, y = rows_of(300, classes=2)
    p = torch.linspace(0.001, 0.999, 200, dtype=torch.float64)
    stated = fit_isotonic(z, y)(torch.stack([p, 1 - p], 1).log())[:, 0]
    assert (stated.diff() >= -1e-12).all()


def test_it_does_not_care_how_sharp_the_logits_are() -> None:
    z, y = rows_of(200, classes=2)
    assert_close(fit_isotonic(0.5 * z, y)(0.5 * z), fit_isotonic(z, y)(z), rtol=1e-6, atol=1e-6)


def test_zeros_are_floored_and_a_row_of_zeros_becomes_uniform() -> None:
    floor = fitted(values=((0.0, 0.0), (0.0, 0.0)))
    assert_close(floor(torch.tensor([[5.0, 0.0]])).exp(), torch.tensor([[0.5, 0.5]]))
    z, y = rows_of(50)
    without = fit_isotonic(z, torch.where(y == 3, 0, y))
    assert set(without.values[3]) == {0.0}
    assert without(z).exp().min() > 1 / 52 / 3


def test_one_threshold_is_a_constant() -> None:
    constant = fitted(thresholds=((0.5,), (0.5,)), values=((0.3,), (0.6,)))
    z, _ = rows_of(9, classes=2)
    assert_close(constant(z).exp(), torch.tensor([[1 / 3, 2 / 3]], dtype=torch.float64).expand(9, 2))


def test_saturated_rows_are_taken() -> None:
    z, y = rows_of(100)
    assert fit_isotonic(1e4 * z, y)(1e4 * z).isfinite().all()


def test_with_many_rows_it_recovers_the_frequencies() -> None:
    (z, y), (new, new_y) = rows_of(20000), rows_of(5000, seed=1)
    nll = torch.nn.functional.cross_entropy(fit_isotonic(z, y)(new), new_y)
    assert nll < torch.nn.functional.cross_entropy(new / 2, new_y) + 0.03


def test_without_scikit_learn_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs scikit-learn; pip install 'gence\[lab\]'"):
        fit_isotonic(*rows_of(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": ((0.5,), (0.1, 0.9))}, "as many values as thresholds, at least one"),
        ({"thresholds": ((), ()), "values": ((), ())}, "as many values as thresholds, at least one"),
        ({"thresholds": ((0.6, 0.6), (0.4, 0.8))}, "the thresholds of a class must increase"),
        ({"values": ((0.5, 0.4), (0.1, 0.9))}, "the values of a class must not decrease"),
        ({"values": ((0.5, 1.1), (0.1, 0.9))}, "the values of a class must not decrease, and lie between 0 and 1"),
    ],
)
def test_fields_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(fitted(), **change)


def test_logits_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="each of 4 classes, logits has 3 columns"):
        fit_isotonic(*rows_of(50))(torch.zeros(2, 3))
