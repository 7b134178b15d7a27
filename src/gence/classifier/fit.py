"""From labelled rows to a calibrated network: folds choose epochs and calibrator, all rows train the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gence._errors import InputError
from gence.calibration import Calibrator, fit_best, fit_temperature
from gence.calibration import catalogue as calibrators
from gence.calibration.selection import CANDIDATES, affordable
from gence.classifier.early import BestSoFar, EarlyStopping
from gence.classifier.folds import ALWAYS_TRAINED, deal
from gence.classifier.network import Architecture, Labelled, Network, train_network
from gence.classifier.settings import AUTO, Settings
from gence.losses import catalogue as losses
from gence.losses.written import parse_loss
from gence.metrics import negative_log_likelihood
from gence.training import Recipe, deterministic

_FOLDS_OF_AUTO = 5
_MOST_TO_CHOOSE_ON = 20_000
_OWN_VALIDATION = 5  # a loss that looks at validation rows gets a fifth of its training rows, as in a study


@dataclass(frozen=True)
class Task:
    """What is to be learnt, whatever the settings.

    Attributes:
        rows: The labelled rows, of at least two classes.
        kind: Images or a table.
        num_classes: C.
        class_weight: `(C)`, the weights of the loss.
        dtype: What the network computes in.
        device: Where it is trained.
    """

    rows: Labelled
    kind: Literal["image", "table"]
    num_classes: int
    class_weight: np.ndarray | None = None
    dtype: Literal["float32", "float64"] = "float32"
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class HeldOut:
    """Logits of rows from networks that were not trained on them, nor on a copy of them.

    Attributes:
        rows: Row numbers, rising, `(n)`.
        fold: Which network each comes from, `(n)`.
        labels: Class numbers, `(n)`.
        logits: `(n, classes)`, before any calibrator.
        repeats: Positions in these arrays, each as often as its row counts.
    """

    rows: np.ndarray
    fold: np.ndarray
    labels: np.ndarray
    logits: Tensor
    repeats: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """A network trained on all rows, with its calibrator and what spoke for them.

    Attributes:
        network: Trained on all rows.
        architecture: Which network it is.
        recipe: How it was trained.
        calibrator: Fitted on `held_out`.
        why: A sentence on the choice of the calibrator, empty where it was named.
        held_out: None where nothing could be, or was to be, held out.
        epochs_tried: (epochs, NLL in nats on the first fold) where the epochs were chosen.
        epochs: How many the final training ran; fewer than the recipe's where it was stopped early.
    """

    network: Network
    architecture: Architecture
    recipe: Recipe
    calibrator: Calibrator
    why: str
    held_out: HeldOut | None
    epochs_tried: tuple[tuple[int, float], ...]
    epochs: int

    def logits(self, inputs: np.ndarray) -> Tensor:
        """Calibrated logits `(rows, classes)`, on the CPU."""
        return self.calibrator(self.network.logits(inputs))


def fit_network(
    task: Task,
    settings: Settings,
    *,
    choose_epochs: bool = True,
    hold_out: bool = True,
    early_stopping: EarlyStopping | None = None,
    jobs: int | None = None,
    fold: np.ndarray | None = None,
    on_training: Callable[[int, int], None] = lambda done, total: None,
) -> Fitted:
    """Fit a calibrated network on all labelled rows.

    The rows are dealt into folds, each held out once from a network of its own. On these logits, of rows their network
    never saw, the calibrator is fitted (Platt's cross-fitting, as scikit-learn's CalibratedClassifierCV has it without
    an ensemble); then the network is trained on all rows, and given that calibrator.

    Args:
        task: What is to be learnt.
        settings: How.
        choose_epochs: Whether to try several numbers of epochs on the first fold where the settings name none.
        hold_out: Whether to hold folds out where no calibrator needs them.
        early_stopping: When to end a training before its time.
        jobs: Folds at a time, in processes, as joblib counts them; one after another if None.
        fold: The fold of every row from 0, `(rows,)`, -1 for one that none holds out; dealt by `deal` if None.
        on_training: Told how many trainings of how many are done.

    Raises:
        InputError: If there are fewer than two classes or rows, or the model cannot take the rows.
        FloatingPointError: If a training diverges.
    """
    with deterministic():
        return _Fit(task, settings, early_stopping, jobs, on_training).run(choose_epochs, hold_out, fold)


def calibrate(name: str, logits: Tensor, labels: np.ndarray, *, seed: int) -> tuple[Calibrator, str]:
    """The calibrator of that name, or for `"auto"` the best in cross-validation with a sentence on why.

    More than 20,000 rows are not needed to choose: then the choice is made on so many, drawn with the seed.
    """
    target = torch.from_numpy(labels)
    if name == AUTO:
        some = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:_MOST_TO_CHOOSE_ON]
        some = some.sort().values
        candidates = affordable(CANDIDATES, logits.shape[1])
        folds = min(_FOLDS_OF_AUTO, len(some))
        chosen = fit_best(logits[some], target[some], candidates=candidates, folds=folds, seed=seed)
        enough = len(some) == len(labels)
        return chosen.calibrator if enough else calibrators.fit(chosen.name, logits, target), chosen.why
    return calibrators.fit(name, logits, target), ""


def cross_calibrated(held_out: HeldOut, name: str, *, seed: int) -> Tensor:
    """Calibrated logits of the rows held out, each by a calibrator chosen and fitted without the row's own fold.

    So they show what the calibrator does for new rows, the choice of `"auto"` included.
    """
    result = torch.empty(held_out.logits.shape, dtype=torch.float64)
    for fold in np.unique(held_out.fold):
        mine = held_out.fold == fold
        others = held_out.repeats[~mine[held_out.repeats]]
        calibrator, _ = calibrate(name, held_out.logits[others], held_out.labels[others], seed=seed)
        result[mine] = calibrator(held_out.logits[mine].to(torch.float64))
    return result


@dataclass(frozen=True)
class _Trained:
    """A network, its recipe, and how many of the recipe's epochs it has behind it."""

    network: Network
    recipe: Recipe
    epochs: int


class _Fit:
    """One fit: what all its trainings have in common, and how many of them are done."""

    def __init__(
        self,
        task: Task,
        settings: Settings,
        early_stopping: EarlyStopping | None,
        jobs: int | None,
        on_training: Callable[[int, int], None],
    ) -> None:
        weight = task.rows.weight
        # What counts for nothing is not even dealt into folds, so that it is as if it were not there.
        self.kept = np.arange(len(task.rows)) if weight is None else np.flatnonzero(weight > 0)
        self.rows = task.rows[self.kept]
        if len(np.unique(self.rows.labels)) < 2:
            raise InputError(
                f"at least two classes are needed to learn from; got {len(self.rows)} rows that count, all of one "
                "class: add rows of another one"
            )
        self.task, self.settings, self.early_stopping, self.jobs = task, settings, early_stopping, jobs
        self.loss = parse_loss(settings.loss)
        self.architecture = Architecture(settings.architecture(task.rows.inputs.shape[1:]), settings.hidden)
        self._on_training, self._done, self._total = on_training, 0, 1

    def run(self, choose_epochs: bool, hold_out: bool, given: np.ndarray | None) -> Fitted:
        rows, settings = self.rows, self.settings
        tries = choose_epochs and settings.epochs is None
        needed = hold_out or tries or settings.calibrate != "none"
        fold = None
        if needed:
            fold = deal(rows.inputs, rows.labels, settings.folds, seed=settings.seed) if given is None else given
        folds = [] if fold is None else [int(one) for one in np.unique(fold) if one != ALWAYS_TRAINED]
        if fold is None or len(folds) < 2:
            epochs, tried, held_out = settings.epochs, (), None
            calibrator, why = calibrators.Uncalibrated(), ""
            if settings.calibrate != "none":
                why = "too few rows to hold some out: there is no calibrator"
        else:
            self._total = len(folds) + 1
            epochs, tried, first = self._choose_epochs(fold, folds[0]) if tries else (settings.epochs, (), None)
            held_out = self._hold_out(fold, folds, epochs, first)
            repeats = held_out.repeats
            calibrator, why = calibrate(
                settings.calibrate, held_out.logits[repeats], held_out.labels[repeats], seed=settings.seed
            )
        trained = self._train(rows, epochs)
        self._told()
        return Fitted(
            trained.network, self.architecture, trained.recipe, calibrator, why, held_out, tried, trained.epochs
        )

    def _choose_epochs(self, fold: np.ndarray, first: int) -> tuple[int, tuple[tuple[int, float], ...], Network]:
        """The best number of epochs on the first fold, what was tried, and the network that was trained so."""
        train, apart = self.rows[np.flatnonzero(fold != first)], np.flatnonzero(fold == first)
        usual = self.settings.recipe(len(train.repeats())).epochs
        candidates = [max(usual // 2, 1), usual, 2 * usual]
        self._total += len(candidates) - 1
        target = torch.from_numpy(self.rows.labels[apart])
        tried: list[tuple[int, float]] = []
        networks: dict[int, Network] = {}
        for epochs in dict.fromkeys(candidates):
            networks[epochs] = self._train(train, epochs).network
            self._told()
            logits = networks[epochs].logits(self.rows.inputs[apart]).to(torch.float64)
            # A calibrator follows, so that confidence as such is no fault here.
            if self.settings.calibrate != "none":
                logits = fit_temperature(logits, target)(logits)
            tried.append((epochs, negative_log_likelihood(logits.softmax(1), target).item()))
        best = min(tried, key=lambda one: one[1])[0]
        return best, tuple(tried), networks[best]

    def _hold_out(self, fold: np.ndarray, folds: Sequence[int], epochs: int | None, first: Network | None) -> HeldOut:
        rows, left = self.rows, folds if first is None else folds[1:]
        parts = [] if first is None else [first.logits(rows.inputs[fold == folds[0]])]
        parts += self._logits_of(fold, left, epochs)
        held = np.flatnonzero(fold != ALWAYS_TRAINED)
        logits = torch.empty((len(held), self.task.num_classes), dtype=parts[0].dtype)
        for one, part in zip(folds, parts, strict=True):
            logits[torch.from_numpy(fold[held] == one)] = part
        return HeldOut(self.kept[held], fold[held], rows.labels[held], logits, rows[held].repeats())

    def _logits_of(self, fold: np.ndarray, folds: Sequence[int], epochs: int | None) -> list[Tensor]:
        """Logits of the rows of each fold from a network trained on the others."""
        if self.jobs in (None, 1):
            found = []
            for one in folds:
                found.append(self._logits_of_fold(fold, one, epochs))
                self._told()
            return found
        from joblib import Parallel, delayed

        quiet = _Fit(self.task, self.settings, self.early_stopping, None, _nobody)
        calls = (delayed(quiet._logits_of_fold)(fold, one, epochs) for one in folds)
        parts: list[Tensor] = []
        for part in Parallel(n_jobs=self.jobs, return_as="generator")(calls):
            parts.append(part)  # type: ignore[arg-type]
            self._told()
        return parts

    def _logits_of_fold(self, fold: np.ndarray, one: int, epochs: int | None) -> Tensor:
        network = self._train(self.rows[np.flatnonzero(fold != one)], epochs).network
        return network.logits(self.rows.inputs[fold == one])

    def _train(self, rows: Labelled, epochs: int | None) -> _Trained:
        task, validation, best = self.task, None, None
        if losses.uses_validation(self.loss.name):
            rows, validation = self._set_apart(rows, _OWN_VALIDATION)
        if self.early_stopping is not None:
            rows, apart = self._set_apart(rows, round(1.0 / self.early_stopping.fraction))
            best = BestSoFar(apart, self.early_stopping.patience)
        recipe = self.settings.recipe(len(rows.repeats()), epochs)
        network = train_network(
            rows,
            task.kind,
            task.num_classes,
            self.architecture,
            self.loss.name,
            self.loss.knobs(),
            recipe,
            seed=self.settings.seed,
            validation=validation,
            class_weight=task.class_weight,
            dtype=task.dtype,
            watch=None if best is None else best.watch,
            device=task.device,
        )
        if best is None:
            return _Trained(network, recipe, recipe.epochs)
        best.restore(network.model)
        return _Trained(network, recipe, best.epochs)

    def _set_apart(self, rows: Labelled, parts: int) -> tuple[Labelled, Labelled]:
        """The rows without one part in so many, and that part; every class keeps a row."""
        fold = deal(rows.inputs, rows.labels, parts, seed=self.settings.seed + 1)
        present = np.unique(fold[fold != ALWAYS_TRAINED])
        if len(present) < 2:
            raise InputError(
                f"{self.settings.loss} with these settings needs validation rows, and {len(rows)} training rows are "
                "too few to set some apart: give more labels, another loss, or do not stop early"
            )
        apart = fold == present[0]
        return rows[np.flatnonzero(~apart)], rows[np.flatnonzero(apart)]

    def _told(self) -> None:
        self._done += 1
        self._on_training(self._done, self._total)


def _nobody(done: int, total: int) -> None:
    """Told, and tells nobody."""
