"""From a spec and its data to the list of trials: every name resolved, every impossible wish refused at the start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from gence._errors import InputError
from gence.bench.budgets import budgets, count_train_rows, refuse_same_batches
from gence.bench.inputs import StudyData
from gence.bench.knob_ranges import knob_ranges
from gence.bench.records import RECORD_VERSION, Cell, Tuned
from gence.bench.spec import Spec
from gence.bench.spec_parts import SuitesSpec, TrainingSpec, TuneSpec
from gence.data import LabelledData
from gence.data.recipes import augmentation
from gence.losses.written import Knobs, parse_loss
from gence.models import choose
from gence.training import Recipe, usual_epochs


@dataclass(frozen=True)
class Trial:
    """One cell of the grid with all that decides its outcome; `key` is the sha256 of that.

    Attributes:
        cell: Its place.
        recipe: How the model is trained; where a tuning decides it, the part that is not tuned.
        knobs: All knobs of the loss.
        calibrators: Names, in order.
        suites: What the model is tested on besides.
        test_fraction: Share of the rows held out, where the source has no test split.
        calibration_fraction: Share of the labelled rows for the calibrators.
        test_seed: The seed that holds out the test split.
        spec_hash: Of the spec.
        key: sha256 of all of this but `recipe` and `knobs` where a tuning decides them, which is in it in their place.
        tuning: The key of the tuning that its recipe comes from, if any.
        tuned: What came of that tuning, once it is known.
    """

    cell: Cell
    recipe: Recipe
    knobs: Knobs
    calibrators: tuple[str, ...]
    suites: SuitesSpec
    test_fraction: float
    calibration_fraction: float
    test_seed: int
    spec_hash: str
    key: str
    tuning: str | None = None
    tuned: Tuned | None = None


@dataclass(frozen=True)
class TuningPlan:
    """The tuning of one loss at one setting: what is searched, and from where it starts.

    Attributes:
        cell: Loss and setting, with the seed whose labels it is tuned on.
        recipe: The part of the recipe that is not tuned.
        knobs: All knobs of the loss, those that are tuned at their defaults.
        ranges: [low, high] of each knob that is tuned.
        tune: Trials, metric and the other ranges.
        test_fraction: As for a `Trial`.
        calibration_fraction: As for a `Trial`.
        test_seed: As for a `Trial`.
        spec_hash: Of the spec.
        key: sha256 of all of this.
    """

    cell: Cell
    recipe: Recipe
    knobs: Knobs
    ranges: dict[str, tuple[float, float]]
    tune: TuneSpec
    test_fraction: float
    calibration_fraction: float
    test_seed: int
    spec_hash: str
    key: str


@dataclass(frozen=True)
class Plan:
    """The whole grid, and the tunings that its trials wait for, by key."""

    trials: tuple[Trial, ...]
    tunings: dict[str, TuningPlan]


def plan(spec: Spec, data: StudyData) -> Plan:
    """Every trial of the grid, by data set, regime, model, budget, batch size, loss and seed.

    Raises:
        InputError: If a model cannot take the data, a class has too few rows for a budget, a regime, a tuning or the
            losses that look at validation rows, label noise would make no label wrong, two batch sizes give the same
            batches, or the warm-up is longer than the training or the shortest training of a tuning.
    """
    trials: list[Trial] = []
    tunings: dict[str, TuningPlan] = {}
    study = _Study(spec, spec.sha256(), {text: _loss(text, spec.tune) for text in spec.losses})
    for source, (name, labelled) in zip(spec.data, data.labelled.items(), strict=True):
        chosen = [choose(model, labelled.inputs.shape[1:]) for model in spec.model]
        if len(set(chosen)) < len(chosen):
            raise InputError(
                f"model names {', '.join(spec.model)}, which for {name} are one and the same: name it once"
            )
        augment = _augment(spec, source, labelled)
        content = data.fingerprint(name)
        for regime, model in product(spec.regime, chosen):
            for budget in budgets(spec, labelled, regime):
                place = {"data": name, "regime": regime, "model": model, "labels_per_class": budget}
                train_rows = count_train_rows(spec, labelled, place)
                refuse_same_batches(spec.training.batch_size, max(train_rows.values()), budget)
                for size, loss in product(sorted(spec.training.batch_size), spec.losses):
                    recipe = _recipe(spec.training, spec.tune, augment, size, train_rows[loss])
                    cells = [Cell(loss=loss, batch_size=size, seed=seed, **place) for seed in range(spec.seeds)]
                    tuned = _tunings(study, cells, recipe, labelled.fingerprint)
                    tunings.update({tuning.key: tuning for tuning in tuned if tuning is not None})
                    trials += [
                        _trial(study, cell, recipe, content, tuning) for cell, tuning in zip(cells, tuned, strict=True)
                    ]
    return Plan(tuple(trials), tunings)


@dataclass(frozen=True)
class _Loss:
    """All knobs of a loss, and the ranges of those that are tuned."""

    knobs: Knobs
    ranges: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class _Study:
    """What all trials have in common, worked out once: a grid may have thousands."""

    spec: Spec
    spec_hash: str
    losses: dict[str, _Loss]


def _loss(text: str, tune: TuneSpec | None) -> _Loss:
    loss = parse_loss(text)
    return _Loss(loss.knobs(), {} if tune is None else knob_ranges(loss, tune.knobs))


def _trial(study: _Study, cell: Cell, recipe: Recipe, content: str, tuning: TuningPlan | None) -> Trial:
    spec, knobs = study.spec, study.losses[cell.loss].knobs
    test_seed = _test_seed(spec, cell.seed)
    decides = {
        "cell": cell.model_dump(),
        "data": content,
        "calibrators": spec.calibrators,
        "suites": spec.suites.model_dump(mode="json"),
        "fractions": (spec.test_fraction, spec.calibration_fraction),
        "test_seed": test_seed,
        "trained": {"recipe": vars(recipe), "knobs": knobs} if tuning is None else {"tuning": tuning.key},
    }
    fractions = (spec.test_fraction, spec.calibration_fraction)
    key, tuned_by = _key(decides), None if tuning is None else tuning.key
    return Trial(
        cell, recipe, knobs, spec.calibrators, spec.suites, *fractions, test_seed, study.spec_hash, key, tuning=tuned_by
    )


def _tunings(study: _Study, cells: Sequence[Cell], recipe: Recipe, content: str) -> list[TuningPlan | None]:
    """The tuning of each of these cells, which differ in their seeds: one for all, or one each."""
    tune = study.spec.tune
    if tune is None:
        return [None] * len(cells)
    if tune.each_seed:
        return [_tuning(study, tune, cell, recipe, content) for cell in cells]
    return [_tuning(study, tune, cells[0], recipe, content)] * len(cells)


def _tuning(study: _Study, tune: TuneSpec, cell: Cell, recipe: Recipe, content: str) -> TuningPlan:
    spec, loss = study.spec, study.losses[cell.loss]
    test_seed = _test_seed(spec, cell.seed)
    decides = {
        "cell": cell.model_dump(),
        "data": content,
        "recipe": vars(recipe),
        "knobs": loss.knobs,
        "ranges": loss.ranges,
        "tune": tune.model_dump(mode="json", exclude={"knobs"}),
        "fractions": (spec.test_fraction, spec.calibration_fraction),
        "test_seed": test_seed,
    }
    fractions = (spec.test_fraction, spec.calibration_fraction)
    return TuningPlan(
        cell, recipe, loss.knobs, loss.ranges, tune, *fractions, test_seed, study.spec_hash, _key(decides)
    )


def _test_seed(spec: Spec, seed: int) -> int:
    """One held-out split for all seeds where one tuning serves them all: what it learnt from is tested on by none."""
    return 0 if spec.tune is not None and not spec.tune.each_seed else seed


def _augment(spec: Spec, source: str, data: LabelledData) -> tuple[str, ...]:
    chosen = augmentation(source) if spec.training.augment == "auto" else spec.training.augment
    if chosen and data.kind != "image":
        raise InputError(
            f"augmentation ({', '.join(chosen)}) is for images; {data.name} is a table: give --augment none"
        )
    return chosen


def _recipe(
    training: TrainingSpec, tune: TuneSpec | None, augment: tuple[str, ...], batch_size: int, train_rows: int
) -> Recipe:
    epochs = training.epochs or usual_epochs(train_rows, batch_size)
    if training.warmup >= epochs:
        raise InputError(
            f"training.warmup must be below the number of epochs, which is {epochs} with {train_rows} training rows in "
            f"batches of {batch_size}; got {training.warmup:g}"
        )
    fewest = epochs if tune is None or tune.epochs == "fixed" else tune.epochs[0]
    if training.warmup >= fewest:
        raise InputError(
            f"tune.epochs must lie above the {training.warmup:g} epochs of training.warmup; got {fewest}: raise the "
            "low end"
        )
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        momentum=training.momentum,
        nesterov=training.nesterov,
        augment=augment,
        mixup=training.mixup,
        schedule=training.schedule,
        milestones=training.milestones,
        decay=training.decay,
        warmup=training.warmup,
        clip_norm=training.clip_norm,
        precision=training.precision,
        channels_last=training.channels_last,
        compile=training.compile,
    )


def _key(decides: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps({"record": RECORD_VERSION, **decides}, sort_keys=True).encode()).hexdigest()
