"""A fitted classifier: who saw what, what chose epochs and calibrator, and weights that count as copies do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gence import InputError
from gence.classifier import (
    EarlyStopping,
    Fitted,
    Labelled,
    Settings,
    Task,
    cross_calibrated,
    fit,
    fit_network,
)
from gence.classifier.folds import deal
from gence.losses import catalogue as losses
from gence.metrics import expected_calibration_error, negative_log_likelihood

QUICK = Settings(calibrate="temperature", hidden=(16,), epochs=3, folds=3)


def blobs(rows: int = 90, classes: int = 3, spread: float = 1.0, seed: int = 0) -> Labelled:
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = 2.0 * np.eye(classes, 4)
    return Labelled(centres[labels] + spread * generator.normal(size=(rows, 4)), labels)


def task(rows: Labelled, **given) -> Task:
    return Task(rows, "table", int(rows.labels.max()) + 1, **given)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Labelled]]:
    """The rows of every network that is trained."""
    seen: list[Labelled] = []
    train = fit.train_network

    def recorded(rows, *arguments, **named):
        seen.append(rows)
        return train(rows, *arguments, **named)

    monkeypatch.setattr(fit, "train_network", recorded)
    return seen


def test_no_network_saw_a_row_it_is_asked_about(trainings: list[Labelled]) -> None:
    rows = blobs()
    rows = rows[np.r_[np.arange(90), np.arange(30)]]  # copies, too
    fitted = fit_network(task(rows), QUICK)
    assert fitted.held_out is not None
    assert len(trainings) == 4
    for fold in range(3):
        held = rows.inputs[fitted.held_out.rows[fitted.held_out.fold == fold]]
        assert not (trainings[fold].inputs[:, None] == held[None]).all(-1).any()
        assert len(held) + len(trainings[fold]) == 120
    assert len(trainings[3]) == 120
    np.testing.assert_array_equal(fitted.held_out.rows, np.arange(120))


def test_the_calibrator_is_fitted_on_what_was_held_out_and_nothing_else() -> None:
    from gence.calibration import fit_temperature

    fitted = fit_network(task(blobs()), QUICK)
    assert fitted.held_out is not None
    assert fitted.calibrator == fit_temperature(fitted.held_out.logits, torch.from_numpy(fitted.held_out.labels))
    inputs = blobs(seed=1).inputs
    torch.testing.assert_close(fitted.logits(inputs), fitted.calibrator(fitted.network.logits(inputs)))


def test_the_held_out_logits_stand_at_their_rows() -> None:
    rows = blobs()
    fitted = fit_network(task(rows), QUICK)
    assert fitted.held_out is not None
    fold = deal(rows.inputs, rows.labels, 3, seed=0)
    np.testing.assert_array_equal(fitted.held_out.fold, fold)
    one = np.flatnonzero(fold == 1)
    alone = fit_network(task(rows[np.flatnonzero(fold != 1)]), Settings(calibrate="none", hidden=(16,), epochs=3))
    torch.testing.assert_close(fitted.held_out.logits[one], alone.network.logits(rows.inputs[one]))


def test_cross_calibrated_logits_never_met_their_own_fold() -> None:
    fitted = fit_network(task(blobs()), QUICK)
    held_out = fitted.held_out
    assert held_out is not None
    before = cross_calibrated(held_out, "temperature", seed=0)
    spoilt = held_out.labels.copy()
    mine = held_out.fold == 1
    spoilt[mine] = (spoilt[mine] + 1) % 3
    changed = fit.HeldOut(held_out.rows, held_out.fold, spoilt, held_out.logits, held_out.repeats)
    after = cross_calibrated(changed, "temperature", seed=0)
    torch.testing.assert_close(after[mine], before[mine], rtol=0, atol=0)
    assert (after[~mine] - before[~mine]).abs().max() > 1e-3


def test_the_epochs_are_the_best_of_those_tried_on_the_first_fold(trainings: list[Labelled]) -> None:
    told: list[tuple[int, int]] = []
    fitted = fit_network(
        task(blobs()),
        Settings(calibrate="temperature", hidden=(16,), folds=3),
        on_training=lambda done, total: told.append((done, total)),
    )
    tried = dict(fitted.epochs_tried)
    assert [epochs for epochs, _ in fitted.epochs_tried] == [150, 300, 600]  # one batch of 60 rows: 300 updates
    assert tried[fitted.recipe.epochs] == min(tried.values())
    assert len(trainings) == 3 + 2 + 1
    assert told == [(done, 6) for done in range(1, 7)]


def test_whole_weights_count_as_copies_do() -> None:
    rows, generator = blobs(60), np.random.default_rng(2)
    weight = generator.integers(0, 3, 60).astype(float)
    order = generator.permutation(np.repeat(np.arange(60), weight.astype(int)))
    settings = Settings(calibrate="temperature", hidden=(16,), epochs=40, batch_size=512, folds=3)
    weighted = fit_network(task(Labelled(rows.inputs, rows.labels, weight), dtype="float64"), settings)
    copied = fit_network(task(rows[order], dtype="float64"), settings)
    torch.testing.assert_close(weighted.logits(rows.inputs), copied.logits(rows.inputs), rtol=0, atol=1e-9)
    plain = fit_network(task(rows, dtype="float64"), settings)
    assert (plain.logits(rows.inputs) - weighted.logits(rows.inputs)).abs().max() > 1e-2


def test_stopping_early_goes_back_to_the_best_weights(trainings: list[Labelled]) -> None:
    rows = blobs(120, spread=4.0)
    settings = Settings(calibrate="none", hidden=(64,), epochs=200, learning_rate=0.2, weight_decay=0.0)
    stopped = fit_network(task(rows), settings, hold_out=False, early_stopping=EarlyStopping(0.2, 5))
    assert stopped.epochs < 100
    assert stopped.recipe.epochs == 200
    seen = trainings[0]
    apart = rows[np.flatnonzero(~(rows.inputs[:, None] == seen.inputs[None]).all(-1).any(1))]
    assert len(apart) == 24
    on = fit_network(task(seen), settings, hold_out=False)

    def nll(fitted: Fitted) -> float:
        logits = fitted.logits(apart.inputs).double()
        return negative_log_likelihood(logits.softmax(1), torch.from_numpy(apart.labels)).item()

    assert nll(stopped) < nll(on) - 0.1


@pytest.mark.usefixtures("processes_end")
def test_processes_give_what_one_process_gives() -> None:
    alone, together = (fit_network(task(blobs()), QUICK, jobs=jobs) for jobs in (None, 2))
    assert alone.held_out is not None
    assert together.held_out is not None
    torch.testing.assert_close(alone.held_out.logits, together.held_out.logits, rtol=1e-4, atol=1e-5)


def test_held_out_rows_calibrate_an_overconfident_network() -> None:
    rows, new = blobs(200, spread=2.0), blobs(3000, spread=2.0, seed=9)
    settings = Settings(calibrate="temperature", hidden=(64,), epochs=150, weight_decay=0.0)
    fitted = fit_network(task(rows), settings)
    target = torch.from_numpy(new.labels)
    before = fitted.network.logits(new.inputs).double().softmax(1)
    after = fitted.logits(new.inputs).double().softmax(1)
    assert expected_calibration_error(after, target) < 0.5 * expected_calibration_error(before, target)


@pytest.mark.parametrize("loss", losses.names())
def test_every_loss_fits(loss: str) -> None:
    fitted = fit_network(task(blobs(40)), Settings(loss=loss, calibrate="temperature", hidden=(8,), epochs=2, folds=2))
    assert torch.isfinite(fitted.logits(blobs().inputs)).all()


def test_too_few_rows_to_hold_out_mean_no_calibrator() -> None:
    fitted = fit_network(task(blobs(3)), QUICK)
    assert fitted.held_out is None
    assert fitted.calibrator.summary == "nothing"
    assert "too few rows" in fitted.why


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            Labelled(np.zeros((3, 2)), np.zeros(3, int)),
            "at least two classes .* got 3 rows that count, all of one class",
        ),
        (blobs(30)[np.zeros(0, int)], "at least two classes"),
        (Labelled(np.eye(3), np.arange(3), np.array([1.0, 0.0, 0.0])), "got 1 rows? that count"),
    ],
)
def test_what_cannot_be_learnt_is_refused(rows: Labelled, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_network(Task(rows, "table", 3), QUICK)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "genc"}, "unknown loss 'genc': did you mean 'gence'"),
        ({"calibrate": "temprature"}, "unknown calibrator 'temprature': did you mean 'temperature'"),
        ({"folds": 1}, "folds must be at least 2; got 1"),
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2; got 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive number; got 0"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more; got -1"),
        ({"hidden": (8, 0)}, "hidden widths must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**given)


def test_a_model_that_does_not_suit_the_rows_is_refused() -> None:
    with pytest.raises(InputError, match="takes images"):
        fit_network(task(blobs()), Settings(model="resnet18"))
