"""What every calibrator of the catalogue owes; a new one is tested by being registered."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from gence import InputError
from gence.calibration import Calibrator, catalogue, load, save

every_calibrator = pytest.mark.parametrize("name", catalogue.names())
every_fit = pytest.mark.parametrize("name", [n for n in catalogue.names() if n != "none"])
every_faithful = pytest.mark.parametrize(
    "name", [name for name, entry in catalogue.CATALOGUE.items() if entry.keeps_predictions]
)
every_other = pytest.mark.parametrize(
    "name", [name for name, entry in catalogue.CATALOGUE.items() if not entry.keeps_predictions]
)


def data(rows: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(rows, 5, dtype=torch.float64, generator=generator)
    target = torch.multinomial(
        (logits / (1 + logits.softmax(1).amax(1, keepdim=True))).softmax(1), 1, generator=generator
    )
    return logits, target.squeeze(1)


@functools.cache
def fitted(name: str) -> Calibrator:
    """The calibrator of that name, fitted to `data()`; it is frozen, so that tests may share it."""
    return catalogue.fit(name, *data())


@every_calibrator
def test_torch_in_torch_out_numpy_in_numpy_out_dtype_kept(name: str) -> None:
    logits, target = data()
    calibrator = fitted(name)
    assert catalogue.fit(name, logits.numpy(), target.numpy()) == calibrator
    for dtype in (torch.float64, torch.float32, torch.float16):
        result = calibrator(logits.to(dtype))
        assert result.dtype == (torch.float32 if dtype == torch.float16 else dtype)
        from_numpy = calibrator(logits.to(dtype).numpy())
        assert isinstance(from_numpy, np.ndarray)
        assert_close(torch.from_numpy(from_numpy), result)


@every_faithful
def test_a_prediction_never_changes(name: str) -> None:
    logits, _ = data()
    calibrator = fitted(name)
    for dtype in (torch.float64, torch.float32, torch.float16):
        before = logits.to(dtype)
        after = calibrator(before)
        # Rounding may make the runner-up equal, never higher.
        assert (after.gather(1, before.argmax(1, keepdim=True)).squeeze(1) == after.amax(1)).all()


@every_other
def test_one_that_may_change_predictions_does_so_when_the_labels_ask_for_it(name: str) -> None:
    logits, _ = data()
    target = logits[:, :4].argmax(1)  # the last class never comes true
    assert (logits.argmax(1) == 4).any()
    assert (catalogue.fit(name, logits, target)(logits).argmax(1) != 4).all()


@every_calibrator
def test_the_result_is_finite_on_rows_that_it_has_not_seen_the_like_of(name: str) -> None:
    logits, _ = data()
    calibrator = fitted(name)
    for dtype in (torch.float64, torch.float32, torch.float16):
        for given in (logits.to(dtype), 100 * logits.to(dtype), torch.zeros(1, 5, dtype=dtype)):
            assert calibrator(given).isfinite().all()


@every_fit
def test_a_class_without_rows_keeps_its_column(name: str) -> None:
    logits, target = data()
    without = catalogue.fit(name, logits[target != 2], target[target != 2])
    probs = without(logits).softmax(1)
    assert probs.shape == logits.shape
    assert (probs[:, 2] > 0.0).all()


@every_fit
def test_one_row_is_enough_to_be_fitted(name: str) -> None:
    logits, target = data(rows=1)
    assert catalogue.fit(name, logits, target)(logits).isfinite().all()


@every_fit
def test_it_says_what_it_is_and_its_fields_are_plain_numbers(name: str) -> None:
    calibrator = fitted(name)
    assert calibrator.summary
    assert calibrator.rows == 400  # type: ignore[attr-defined]
    assert json.loads(json.dumps(dataclasses.asdict(calibrator), allow_nan=False))  # type: ignore[call-overload]


@every_calibrator
def test_numpy_arrays_that_torch_cannot_wrap_are_taken_too(name: str) -> None:
    logits, target = (values.numpy() for values in data())
    calibrator = fitted(name)
    read_only = logits.copy()
    read_only.setflags(write=False)
    for given in (read_only, logits[::-1].copy()[::-1], logits.astype(">f8")):
        assert catalogue.fit(name, given, target) == calibrator
        np.testing.assert_array_equal(calibrator(given), calibrator(logits))


@every_calibrator
def test_it_is_frozen_and_the_same_after_a_round_trip_through_a_file(name: str, tmp_path: Path) -> None:
    logits, _ = data()
    calibrator = fitted(name)
    assert dataclasses.is_dataclass(calibrator)
    with pytest.raises(dataclasses.FrozenInstanceError):
        calibrator.anything = 1  # type: ignore[attr-defined]
    again = load(save(calibrator, tmp_path / "calibrator.json"))
    assert again == calibrator
    assert_close(again(logits), calibrator(logits), rtol=0, atol=0)


@every_calibrator
def test_fitting_leaves_its_arguments_and_the_random_state_alone(name: str) -> None:
    logits, target = data()
    copy, state = logits.clone(), torch.get_rng_state()
    catalogue.fit(name, logits, target)
    assert_close(logits, copy, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


@every_fit
def test_it_lowers_the_nll_of_miscalibrated_logits_and_reports_both(name: str) -> None:
    logits, target = data()
    calibrator = fitted(name)

    def nll(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        each = torch.nn.functional.cross_entropy(logits, target, reduction="none")
        if name != "temperature_balanced":
            return each.mean()
        return torch.stack([each[target == k].mean() for k in target.unique()]).mean()

    assert calibrator.nll_before == pytest.approx(nll(logits, target).item())  # type: ignore[attr-defined]
    assert calibrator.nll_after == pytest.approx(nll(calibrator(logits), target).item())  # type: ignore[attr-defined]
    assert calibrator.nll_after < calibrator.nll_before - 0.05  # type: ignore[attr-defined]


@every_fit
def test_relabelling_the_classes_and_reordering_their_rows_does_not_matter(name: str) -> None:
    logits, target = data()
    order = torch.tensor([3, 0, 4, 1, 2])
    relabelled = catalogue.fit(name, logits[:, order], order.argsort()[target])
    expected = fitted(name)(logits)[:, order]
    assert_close(relabelled(logits[:, order]), expected, rtol=1e-9, atol=1e-9)


@every_fit
@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.long), r"logits must have shape \(rows, classes\)"),
        (torch.zeros(3, 1), torch.zeros(3, dtype=torch.long), "at least 2 classes; got"),
        (torch.zeros(3, 2, dtype=torch.long), torch.zeros(3, dtype=torch.long), "floating-point; got torch.int64"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), "logits has no rows"),
        (torch.zeros(3, 2), torch.zeros(4, dtype=torch.long), r"shape \(3,\); got shape \(4,\)"),
        (torch.zeros(3, 2), torch.zeros(3), "class numbers as integers; got torch.float32"),
        (torch.zeros(3, 2), torch.full((3,), 2), r"target must lie in 0..1 for 2 columns of logits; got 2..2"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, dtype=torch.long), "row 0 holds NaN or infinity"),
        (torch.tensor([[0.9, 0.1]]), torch.tensor([0]), "these rows are probabilities .*give the scores before"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_reason(name: str, logits, target, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        catalogue.fit(name, logits, target)


def test_a_misspelt_calibrator_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown calibrator 'temperatur': did you mean 'temperature'"):
        catalogue.fit("temperatur", *data())
