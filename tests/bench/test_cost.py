from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gence import InputError
from gence.bench.cost import Work, at_rate, estimate_cost, published_data
from gence.bench.inputs import StudyData
from gence.bench.plan import plan
from gence.bench.rows import choose_rows
from gence.bench.spec import Spec
from gence.bench.spec_parts import SuitesSpec, TrainingSpec, TuneSpec
from gence.data import LabelledData
from gence.models import build


def study(table: LabelledData) -> StudyData:
    return StudyData({table.name: table})


def seconds_by_count(works) -> list[float]:
    return [1.0 for _ in works]


def test_updates_are_those_of_every_trial_by_a_naive_loop(table: LabelledData) -> None:
    spec = Spec(
        data="x",
        losses=("ce", "adafocal"),
        labels_per_class=(10, 40),
        seeds=3,
        training=TrainingSpec(batch_size=(8, 16), epochs=7),
    )
    expected = 0
    for trial in plan(spec, study(table)).trials:
        rows = choose_rows(table, trial.cell, trial.test_fraction, trial.calibration_fraction)
        expected += trial.recipe.updates(len(rows.train))
    cost = estimate_cost(spec, study(table), seconds_by_count)
    assert cost.updates == expected
    assert (cost.trials, cost.tuning_trials) == (2 * 2 * 2 * 3, 0)
    assert cost.seconds == cost.trials
    assert cost.axes["labels_per_class"] == ("10", "40")
    assert cost.axes["loss"] == ("ce", "adafocal")


def test_tuning_counts_the_mean_of_a_range_of_epochs(table: LabelledData) -> None:
    tune = TuneSpec(trials=6, epochs=(10, 40), validation_fraction=0.25)
    spec = Spec(
        data="x", losses=("ce",), labels_per_class=(40,), seeds=3, training=TrainingSpec(batch_size=8), tune=tune
    )
    seen: list[Work] = []
    cost = estimate_cost(spec, study(table), lambda works: [seen.append(work) or 1.0 for work in works])
    mean = np.exp(np.linspace(math.log(10), math.log(40), 100_001)).mean()
    assert [work.epochs for work in seen] == pytest.approx([mean, mean], rel=1e-4)
    # 96 of 120 labels train: 12 batches. In the tuning a quarter judges: 72 rows, 9 batches.
    assert cost.updates == pytest.approx(mean * (3 * 12 + 6 * 9), rel=1e-4)
    assert (cost.trials, cost.tuning_trials, cost.seconds) == (3, 6, 9)


def test_operations_of_an_mlp_are_those_of_its_matrices(table: LabelledData) -> None:
    spec = Spec(data="x", losses=("ce",), labels_per_class=(10,), seeds=2, training=TrainingSpec(epochs=5))
    cost = estimate_cost(spec, study(table), at_rate(2.0))
    model = build("mlp", (4,), 3, seed=0)
    row = sum(2 * m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    # A step is a forward pass and twice as much backward; 24 rows train, 6 calibrate, 60 test.
    assert cost.flops == 2 * row * (5 * 3 * 24 + 6 + 60)
    assert cost.seconds == cost.flops / 2.0


def test_suites_add_the_rows_that_they_predict() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 1, 8, 8)).astype(np.uint8)
    data = LabelledData("pictures", "image", images, np.arange(60) % 2, ("a", "b"), np.arange(40, 60))
    foreign = {"others": images[:30], "more": images[:5]}

    def tested(suites: SuitesSpec) -> int:
        seen: list[Work] = []
        spec = Spec(data="x", losses=("ce",), labels_per_class=(10,), seeds=1, model="mlp", suites=suites)
        found = StudyData({"pictures": data}, {"pictures": foreign if suites.ood else {}})
        estimate_cost(spec, found, lambda works: [seen.append(work) or 0.0 for work in works])
        return seen[0].tested_rows

    plain = tested(SuitesSpec())
    assert plain == 2 * 2 + 20  # two of ten labels a class calibrate
    assert tested(SuitesSpec(shift=("contrast",), severities=(1, 5))) == plain + 2 * 20
    assert tested(SuitesSpec(shift=("contrast",), severities=(1,), rows=10)) == plain + 10
    # Features of the training and the test rows; features and logits of the others.
    assert tested(SuitesSpec(ood=("others",))) == plain + 16 + 20 + 2 * (30 + 5)


def test_several_workers_share_the_time_as_far_as_there_are_trials(table: LabelledData) -> None:
    cost = estimate_cost(
        Spec(data="x", losses=("ce",), labels_per_class=(10,), seeds=4), study(table), seconds_by_count
    )
    assert [cost.wall_seconds(n) for n in (1, 2, 4, 8)] == [4, 2, 1, 1]


def test_published_data_have_the_rows_and_shapes_of_the_data_themselves() -> None:
    spec = Spec(data=("cifar100", "medmnist/bloodmnist", "digits"), suites=SuitesSpec(ood=("svhn", "mnist")))
    data = published_data(spec)
    cifar, blood, digits = data.labelled.values()
    assert (cifar.inputs.shape, cifar.num_classes, np.size(cifar.test_rows)) == ((60_000, 3, 32, 32), 100, 10_000)
    assert (blood.inputs.shape[1:], blood.num_classes) == ((3, 28, 28), 8)
    assert digits.inputs.any()  # comes with a package, so it is read
    assert {name: images.shape for name, images in data.foreign["digits"].items()} == {
        "svhn": (26_032, 1, 8, 8),
        "mnist": (10_000, 1, 8, 8),
    }
    assert sum(images.strides[0] for images in data.foreign["cifar100"].values()) == 0  # no memory
    resized = published_data(Spec(data="cifar10", image_size=16))
    assert resized.labelled["cifar10"].inputs.shape[1:] == (3, 16, 16)


def test_data_that_are_not_named_must_be_there() -> None:
    with pytest.raises(InputError, match="nowhere"):
        published_data(Spec(data="nowhere.csv", target="y"))
