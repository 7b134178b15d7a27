"""What the evidence measures: on which rows, with which intervals, and whether the card says it so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gence.audit.records import Estimate
from gence.calibration import Uncalibrated
from gence.classifier import Fitted, HeldOut, KeptModel, Labelled, Settings, Task, cross_calibrated, fit_network, keep
from gence.classifier.card import card
from gence.classifier.evidence import METRICS, evidence_of_folds, evidence_of_test_split
from gence.classifier.numbers import estimate, skill, verdict
from gence.data import InputForm, LabelledData
from gence.metrics import accuracy, negative_log_likelihood

NAMES = ("a", "b", "c")
QUICK = Settings(calibrate="temperature", hidden=(8,), epochs=3, folds=3)


def blobs(rows: int = 120, seed: int = 0, test: int = 0) -> LabelledData:
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    inputs = 2.0 * np.eye(3, 4)[labels] + generator.normal(size=(rows, 4))
    return LabelledData("blobs", "table", inputs, labels, NAMES, np.arange(rows - test, rows) if test else None)


def fitted_to(data: LabelledData, settings: Settings = QUICK) -> tuple[Fitted, Labelled]:
    count = len(data.labels) - (0 if data.test_rows is None else len(data.test_rows))
    rows = Labelled(data.inputs[:count], data.labels[:count])
    return fit_network(Task(rows, "table", 3), settings), rows


def test_a_test_split_measures_the_very_model() -> None:
    data = blobs(150, test=30)
    fitted, train = fitted_to(data)
    test = Labelled(data.inputs[120:], data.labels[120:])
    found = evidence_of_test_split(fitted, train, test, NAMES, seed=0)
    plain = fitted.network.logits(test.inputs).double()
    target = torch.from_numpy(test.labels)
    assert (found.on, found.rows, found.copies) == ("test split", 30, 0)
    assert tuple(found.before) == tuple(found.after) == METRICS
    for measured, probs in ((found.before, plain.softmax(1)), (found.after, fitted.calibrator(plain).softmax(1))):
        assert measured["nll"].value == pytest.approx(negative_log_likelihood(probs, target).item())
        assert measured["accuracy"].value == pytest.approx(accuracy(probs, target).item())
        for one in measured.values():
            assert one.low is not None
            assert one.high is not None
    right, was_right = found.after["accuracy"].value, found.before["accuracy"].value
    assert found.accuracy_change.value == pytest.approx(right - was_right)
    assert found.nll_change.value == pytest.approx(found.after["nll"].value - found.before["nll"].value)
    assert [row.rows for row in found.classes] == np.bincount(test.labels).tolist()


def test_labels_that_are_pure_chance_show_no_skill() -> None:
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(150, 4)), generator.integers(0, 3, 150)
    data = LabelledData("chance", "table", inputs, labels, NAMES)
    found = keep(fitted_to(data)[0], data, QUICK).evidence
    assert found is not None
    assert found.guess == pytest.approx(np.log(3), abs=0.02)
    assert found.nll_gain.high is not None
    assert found.nll_gain.high > 0
    assert "these rows do not show that the model does better" in skill(found) or "is worse than that" in skill(found)
    assert skill(found) in text(data)
    assert "the model is better than that by" in text(blobs(), dataclasses.replace(QUICK, epochs=30))


def test_the_guess_is_the_shares_of_the_rows_that_were_trained_on() -> None:
    data = blobs(150, test=30)
    fitted, train = fitted_to(data)
    few = Labelled(train.inputs[:50], np.r_[np.zeros(40, np.int64), np.ones(10, np.int64)])
    test = Labelled(data.inputs[120:123], np.array([0, 1, 2]))
    found = evidence_of_test_split(fitted, few, test, NAMES, seed=0)
    nll = -np.log(np.array([41, 11, 1]) / 53)
    assert found.guess == pytest.approx(nll.mean())
    after = fitted.calibrator(fitted.network.logits(test.inputs).double()).softmax(1).numpy()
    expected = -np.log(after[np.arange(3), [0, 1, 2]]) - nll
    assert found.nll_gain.value == pytest.approx(expected.mean())

    labels, fold = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 0, 1, 1])
    held_out = HeldOut(np.arange(6), fold, labels, torch.zeros(6, 3, dtype=torch.float64), np.arange(6))
    folds = evidence_of_folds(held_out, "none", NAMES, seed=0)
    # Beside fold 0 lie one row of each class, beside fold 1 two of class 0 and one of class 1.
    assert folds.guess == pytest.approx(-np.log([2 / 6, 2 / 6, 3 / 6, 2 / 6, 2 / 6, 1 / 6]).mean())
    assert folds.folds == 2


def test_test_rows_that_are_copies_of_training_rows_are_counted() -> None:
    data = blobs()
    fitted, train = fitted_to(data)
    test = Labelled(np.r_[data.inputs[:5], data.inputs[:25] + 1], data.labels[np.r_[:5, :25]])
    assert evidence_of_test_split(fitted, train, test, NAMES, seed=0).copies == 5


def test_folds_are_measured_with_calibrators_that_never_saw_them() -> None:
    data = blobs()
    fitted, _ = fitted_to(data)
    held_out = fitted.held_out
    assert held_out is not None
    found = evidence_of_folds(held_out, "temperature", NAMES, seed=0)
    crossed = cross_calibrated(held_out, "temperature", seed=0).softmax(1)
    target = torch.from_numpy(held_out.labels)
    assert (found.on, found.rows) == ("folds", 120)
    assert found.after["nll"].value == pytest.approx(negative_log_likelihood(crossed, target).item())
    own = fitted.calibrator(held_out.logits.double()).softmax(1)
    assert found.after["nll"].value != pytest.approx(negative_log_likelihood(own, target).item(), abs=1e-9)


def test_a_row_that_counts_twice_is_as_two_rows() -> None:
    generator = np.random.default_rng(0)
    logits, labels = torch.from_numpy(generator.normal(size=(40, 3))), np.arange(40) % 3
    fold, rows = np.arange(40) % 4, np.arange(40)
    twice = np.r_[rows, rows[:10]]
    weighted = HeldOut(rows, fold, labels, logits, twice)
    repeated = HeldOut(twice, fold[twice], labels[twice], logits[twice], np.arange(50))
    found, expected = (evidence_of_folds(one, "temperature", NAMES, seed=0) for one in (weighted, repeated))
    assert found.rows == 50
    for metric in METRICS:
        assert found.after[metric].value == pytest.approx(expected.after[metric].value)


def test_few_rows_get_no_resampled_interval() -> None:
    data = blobs(30)
    fitted, train = fitted_to(data)
    found = evidence_of_test_split(fitted, train, Labelled(data.inputs[:8], data.labels[:8]), NAMES, seed=0)
    assert found.after["nll"].low is None
    assert found.after["accuracy"].low is not None
    assert found.chance is None


def text(data: LabelledData, settings: Settings = QUICK, **changes) -> str:
    model = keep(fitted_to(data, settings)[0], data, settings)
    return card(dataclasses.replace(model, **changes), onnx=True)


def test_the_card_of_a_test_split_says_so() -> None:
    words = text(blobs(150, test=30))
    assert words.startswith("---\nlibrary_name: gence\npipeline_tag: tabular-classification\n")
    assert "On the 30 rows of the data's test split:" in words
    assert "what was measured is the very model in this folder" in words
    assert "dealt into" not in words
    assert "trained on 120 labelled rows with the loss `gence`" in words


def test_the_card_of_folds_says_whose_numbers_they_are() -> None:
    words = text(blobs(), dataclasses.replace(QUICK, epochs=None))
    assert "On 120 rows that were held out, fold by fold:" in words
    assert "The numbers are those of these networks, each trained on fewer rows than the one in this folder" in words
    assert "The number of epochs was chosen on the first of these folds" in words
    assert "- **Epochs**: tried on the first fold" in words
    assert "epochs was chosen" not in text(blobs())
    assert "with the NLL there after temperature scaling: " in words
    assert "with the NLL there: " in text(blobs(), dataclasses.replace(QUICK, epochs=None, calibrate="none"))
    assert "a calibrator chosen and fitted on the held-out rows of the other folds only" in words
    assert "networks behind the other folds' rows had in their turn learnt from the fold" in words
    assert "networks behind" not in text(blobs(), dataclasses.replace(QUICK, calibrate="none"))
    assert "dealt into 60 folds" in text(blobs(60), dataclasses.replace(QUICK, folds=100, epochs=1))


def test_the_card_has_every_number_of_the_evidence(kept: KeptModel) -> None:
    words = card(kept, onnx=True)
    assert kept.evidence is not None
    for metric in METRICS:
        for measured in (kept.evidence.before, kept.evidence.after):
            assert f"| {estimate(metric, measured[metric])} |" in words
    assert verdict(kept.evidence) in words
    assert "| `height\\|cm` | a number |" in words
    assert "| `city` | text: Bonn, Oslo, Rome |" in words
    assert "`constant` (with one value only)" in words
    assert "gence fit people.csv --target plan" in words
    assert "`gold, yearly`" in words
    assert len(words) < 10_000


def test_without_a_calibrator_there_is_nothing_to_compare() -> None:
    words = text(blobs(), dataclasses.replace(QUICK, calibrate="none"))
    assert "| | |\n| --- | --- |\n| NLL | " in words
    assert "without a calibrator | calibrated" not in words
    assert "The calibrator" not in words


def test_without_evidence_the_card_claims_nothing() -> None:
    words = text(blobs(), evidence=None, held_out=None, calibrator=Uncalibrated())
    assert "## What was measured\nNothing could be measured: too few rows to hold some out. So nobody" in words
    assert "## Class by class" not in words
    assert "held_out.npz" not in words
    assert "- **Calibrator**: no calibrator." in words


def test_many_classes_are_told_by_the_worst() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(150) % 25
    data = LabelledData("many", "table", generator.normal(size=(150, 4)), labels, tuple(f"c{k}" for k in range(25)))
    settings = dataclasses.replace(QUICK, epochs=1, folds=2)
    fitted = fit_network(Task(Labelled(data.inputs, labels), "table", 25), settings)
    words = card(keep(fitted, data, settings), onnx=False)
    assert "of 25 classes the 5 that were found least often" in words
    assert sum(line.startswith("| `c") for line in words.splitlines()) == 5


def test_images_are_told_by_size_and_scale() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = generator.integers(0, 17, (40, 3, 6, 5), np.uint8)
    for resized, word in ((True, "of any size are resized"), (False, "of another size are refused")):
        form = InputForm("image", (3, 6, 5), "uint8", resized=resized)
        data = LabelledData("images", "image", images, labels, ("x", "y"), form=form)
        fitted = fit_network(Task(Labelled(images, labels), "image", 2), dataclasses.replace(QUICK, folds=2, epochs=1))
        words = card(keep(fitted, data, QUICK), onnx=True)
        assert "Images in colour, 5 x 6 pixels (width x height)." in words
        assert word in words
        assert "in the training images the numbers went from 0 to 16" in words
        assert "np.zeros((5, 3, 6, 5), np.uint8)" in words


def test_a_class_without_a_training_row_is_named() -> None:
    data = blobs(150, test=30)
    train = np.flatnonzero(data.labels[:120] != 2)
    rows = np.r_[train, np.arange(120, 150)]
    few = LabelledData("few", "table", data.inputs[rows], data.labels[rows], NAMES, np.arange(len(train), len(rows)))
    fitted = fit_network(Task(Labelled(few.inputs[: len(train)], few.labels[: len(train)]), "table", 3), QUICK)
    assert "Classes without a training row, which it cannot know: `c`." in card(keep(fitted, few, QUICK), onnx=True)


def test_a_class_that_was_not_measured_is_named() -> None:
    data = blobs(60)
    alone = dataclasses.replace(data, labels=np.where(np.arange(60) == 2, 2, np.arange(60) % 2))
    words = text(alone)
    assert "- Classes all of whose rows are equal, so that none could be held out: `c`." in words
    assert "- Classes all" not in text(data)
    last = np.flatnonzero(data.labels != 2)[-20:]
    assert "- Classes of which the test split has no row: `c`." in text(dataclasses.replace(data, test_rows=last[-3:]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Estimate(-0.02, -0.03, -0.01), "lowered the NLL by 0.0200 (95 % interval 0.0100 to 0.0300), which is more"),
        (Estimate(0.02, 0.01, 0.03), "it does harm; --calibrate none is better"),
        (Estimate(0.01, -0.01, 0.03), "changed the NLL by +0.0100 (95 % interval -0.0100 to +0.0300): these rows do"),
        (Estimate(0.01, None, None), "So few rows cannot show"),
    ],
)
def test_the_verdict_follows_the_interval(kept: KeptModel, change: Estimate, words: str) -> None:
    assert kept.evidence is not None
    assert words in verdict(dataclasses.replace(kept.evidence, nll_change=change))


def test_the_verdict_tells_what_became_of_the_accuracy(kept: KeptModel) -> None:
    assert kept.evidence is not None
    still, moved = (
        dataclasses.replace(kept.evidence, accuracy_change=change)
        for change in (Estimate(0.0, 0.0, 0.0), Estimate(-0.026, -0.045, -0.007))
    )
    assert "accuracy" not in verdict(still)
    assert verdict(moved).endswith("which changed the accuracy by -2.6 points (95 % interval -4.5 to -0.7).")
