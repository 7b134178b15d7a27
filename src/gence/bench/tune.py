"""Looking for a loss's own recipe: equally many trials for every loss, over the same ranges."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from gence._errors import InputError
from gence.bench.environment import environment
from gence.bench.inputs import StudyData
from gence.bench.plan import TuningPlan
from gence.bench.records import RECORD_VERSION, Cell, Tried, Tuned, TuningRecord
from gence.bench.rows import choose_rows, labels_given, rows_for_tuning
from gence.bench.training import train_model
from gence.calibration.temperature import balancing_weights, mean_nll
from gence.losses.written import Knobs
from gence.training import Recipe, deterministic

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from torch.distributed import ProcessGroup

_DRAWN = 10
"""So many trials are the recipe as given and random draws; after them the sampler looks at what came of them. Optuna's
own number: with fewer, a budget of 10 trials did worse than random search on made-up valleys."""

_RECIPE = ("learning_rate", "weight_decay", "epochs")
_TWO_DECADES = 100.0


@dataclass(frozen=True)
class TuningTrial:
    """One trial of a tuning: a recipe and knobs to be judged on validation rows.

    Attributes:
        plan: The tuning.
        number: From 0.
        recipe: To be tried.
        knobs: To be tried.
        key: sha256 of the tuning and of all that was tried in it so far, this included.
    """

    plan: TuningPlan
    number: int
    recipe: Recipe
    knobs: Knobs
    key: str

    @property
    def cell(self) -> Cell:
        return self.plan.cell


class Tuning:
    """The search of one tuning as it goes on; it is the same for the same results, so a broken one is taken up again.

    Raises:
        InputError: If optuna is missing.
    """

    def __init__(self, plan: TuningPlan) -> None:
        _need_optuna()
        self.plan = plan
        self._tried: list[Tried] = []

    def next(self) -> TuningTrial | None:
        """The trial to do now, None when all are done; it is asked for again after each `tell`."""
        plan, number = self.plan, len(self._tried)
        if number == plan.tune.trials:
            return None
        values = propose(plan, self._tried)
        recipe = dataclasses.replace(plan.recipe, **{name: values.pop(name) for name in _RECIPE if name in values})
        knobs = {**plan.knobs, **{name.removeprefix("knob "): value for name, value in values.items()}}
        before = [tried.model_dump(exclude={"failure", "balanced_nll"}) for tried in self._tried]
        now = [number, *(getattr(recipe, name) for name in _RECIPE), knobs]
        return TuningTrial(plan, number, recipe, knobs, _sha256([plan.key, before, now]).hexdigest())

    def tell(self, tried: Tried) -> None:
        """Learn what came of the trial that `next` gave."""
        self._tried.append(tried)

    def result(self) -> Tuned | None:
        """What was tried and which is the best of it, of equally good ones the first; None if every trial failed."""
        metric = self.plan.tune.metric
        done = [tried for tried in self._tried if tried.failure is None]
        if not done:
            return None
        best = min(done, key=lambda tried: _badness(tried, metric))
        return Tuned(key=self.plan.key, metric=metric, chosen=best.number, tried=tuple(self._tried))


def propose(plan: TuningPlan, tried: Sequence[Tried]) -> dict[str, Any]:
    """The values to try next, by name: a function of the plan and of what was tried, and of nothing else.

    First comes the recipe as the spec has it. The draws after it are the same for every loss: each number has a stream
    of its own, which the loss has no part in. Then the sampler takes over, to which a failed trial is the worst of all.

    Args:
        plan: The tuning.
        tried: All that was tried before.
    """
    from optuna import create_study
    from optuna.samplers import RandomSampler, TPESampler
    from optuna.trial import create_trial

    number, space = len(tried), _search_space(plan)
    if number == 0:
        return _start(plan)
    with _quiet():
        if plan.tune.sampler == "random" or number < _DRAWN:
            drawn = {}
            for name, values in space.items():
                study = create_study(sampler=RandomSampler(seed=_seed(plan, name, number)))
                drawn |= study.ask({name: values}).params
            return drawn
        sampler = TPESampler(seed=_seed(plan, "tpe", number), n_startup_trials=1, multivariate=True)
        study = create_study(sampler=sampler)
        study.add_trials(
            [
                create_trial(value=_badness(one, plan.tune.metric), params=_values(one, space), distributions=space)
                for one in tried
            ]
        )
        return study.ask(space).params


def tried_of(
    trial: TuningTrial,
    *,
    nll: float | None = None,
    balanced_nll: float | None = None,
    accuracy: float | None = None,
    failure: str | None = None,
) -> Tried:
    """A trial of a tuning with what came of it."""
    recipe = trial.recipe
    return Tried(
        number=trial.number,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        epochs=recipe.epochs,
        knobs=trial.knobs,
        nll=nll,
        accuracy=accuracy,
        balanced_nll=balanced_nll,
        failure=failure,
    )


def run_tuning_trial(
    trial: TuningTrial, study: StudyData, device: torch.device, group: ProcessGroup | None = None
) -> TuningRecord:
    """Train on the training rows less those that judge, and measure on these, by the labels that are given of them.

    Raises:
        FloatingPointError: If the training diverges, or the logits of a row that judges are not finite.
    """
    plan, cell = trial.plan, trial.cell
    data = study.labelled[cell.data]
    # Chosen as for a plain loss, so that every loss is judged on the same rows and meets the same wrong labels.
    plain = cell.model_copy(update={"loss": "ce"})
    given = choose_rows(data, plain, plan.test_fraction, plan.calibration_fraction, test_seed=plan.test_seed)
    labels = labels_given(data, plain, given)
    rows = rows_for_tuning(data, cell.loss, given, plan.tune.validation_fraction, plan.calibration_fraction)
    with deterministic():
        trained = train_model(data, rows, labels, cell, trial.recipe, trial.knobs, device, group)
        started = time.perf_counter()
        logits, target = trained.logits(data.inputs[rows.test]).to(torch.float64), torch.from_numpy(labels[rows.test])
        predicted = time.perf_counter()
    nll = F.cross_entropy(logits, target).item()
    if not math.isfinite(nll):
        raise FloatingPointError(f"the validation NLL is {nll} after training; lower the learning rate")
    accuracy = (logits.argmax(1) == target).double().mean().item()
    balanced_nll = mean_nll(logits, target, balancing_weights(target)).item()
    return TuningRecord(
        version=RECORD_VERSION,
        key=trial.key,
        tuning=plan.key,
        spec_hash=plan.spec_hash,
        cell=cell,
        tried=tried_of(trial, nll=nll, balanced_nll=balanced_nll, accuracy=accuracy),
        rows={"train": len(rows.train), "seen_by_loss": len(rows.validation), "validation": len(rows.test)},
        seconds={"train": trained.seconds, "predict": predicted - started},
        environment=environment(device),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _badness(tried: Tried, metric: str) -> float:
    value = getattr(tried, metric)
    if value is None:
        return math.inf
    return -value if metric == "accuracy" else value


def _ranges(plan: TuningPlan) -> dict[str, tuple[float, float]]:
    """[low, high] of all that is searched; a knob may have the name of a part of the recipe, so it is called a knob."""
    return plan.tune.recipe_ranges() | {f"knob {name}": span for name, span in plan.ranges.items()}


def _start(plan: TuningPlan) -> dict[str, Any]:
    """The recipe and the knobs as the spec has them, moved into the ranges where they lie outside."""
    given = {**vars(plan.recipe), **{f"knob {name}": value for name, value in plan.knobs.items()}}
    return {name: type(given[name])(min(max(given[name], low), high)) for name, (low, high) in _ranges(plan).items()}


def _search_space(plan: TuningPlan) -> dict[str, BaseDistribution]:
    from optuna.distributions import FloatDistribution, IntDistribution

    start = _start(plan)

    def values(name: str, low: float, high: float) -> BaseDistribution:
        log = name in _RECIPE or (low > 0 and high / low > _TWO_DECADES)
        if isinstance(start[name], int):
            return IntDistribution(int(low), int(high), log=log)
        return FloatDistribution(low, high, log=log)

    return {name: values(name, low, high) for name, (low, high) in _ranges(plan).items()}


def _values(tried: Tried, space: dict[str, BaseDistribution]) -> dict[str, Any]:
    named = {**tried.model_dump(include=set(_RECIPE)), **{f"knob {name}": value for name, value in tried.knobs.items()}}
    return {name: named[name] for name in space}


def _seed(plan: TuningPlan, *of: str | int) -> int:
    """32 bits of the setting and the seed of a tuning, whatever its loss."""
    return int.from_bytes(_sha256([plan.cell.model_dump(exclude={"loss"}), *of]).digest()[:4])


def _sha256(content: Any) -> Any:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode())


def _need_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise InputError("tuning needs optuna, which is not installed; pip install 'gence[lab]'") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without optuna's log, and without its word that a sampler is experimental; its settings are restored."""
    from optuna import logging
    from optuna.exceptions import ExperimentalWarning

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        logging.set_verbosity(before)
