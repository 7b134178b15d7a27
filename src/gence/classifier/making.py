"""From a source of labelled data to a folder with a model: read, fit, measure and write in one call."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

import gence
from gence._errors import InputError, unknown_name
from gence.calibration.external import PREFIX
from gence.classifier.card import calibrator_title, nothing_measured
from gence.classifier.evidence import METRICS, Evidence, evidence_of_folds, evidence_of_test_split
from gence.classifier.fit import Fitted, Task, fit_network
from gence.classifier.folder import check_apart, check_model_place
from gence.classifier.kept import KeptModel, Origin
from gence.classifier.network import Labelled
from gence.classifier.numbers import NAMES, estimate, measured_on, skill, verdict
from gence.classifier.settings import AUTO, Settings
from gence.classifier.storage import save
from gence.data import LabelledData
from gence.data import load as load_data
from gence.data.recipes import augmentation
from gence.data.wording import counted
from gence.models import catalogue as models


@dataclass(frozen=True)
class FitResult:
    """A model that was fitted and written to `out`; `notes` says what a reader should know."""

    out: Path
    kept: KeptModel
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """What the command line prints."""
        kept, origin = self.kept, self.kept.origin
        return [
            f"{origin.data}: {kept.architecture.name} trained with {origin.settings['loss']} on "
            f"{counted(origin.rows, 'row')} of {counted(len(kept.class_names), 'class')}, "
            f"{counted(origin.epochs, 'epoch')}",
            f"calibrator: {calibrator_title(kept.calibrator)}",
            *([f"chosen: {origin.why}"] if origin.why else []),
            *self._measured(),
            *(f"note: {note}" for note in self.notes),
            f"model: {self.out}",
        ]

    def _measured(self) -> Iterator[str]:
        evidence = self.kept.evidence
        if evidence is None:
            yield nothing_measured(self.kept)
            return
        named = self.kept.origin.settings["calibrate"] == "none"
        yield f"on {measured_on(evidence)}, with 95 % intervals" + (":" if named else ", before and after calibrating:")
        for metric in METRICS:
            before, after = (estimate(metric, found[metric]) for found in (evidence.before, evidence.after))
            yield f"  {NAMES[metric]:<12}" + (after if named else f"{before:<26}  {after}")
        if not named:
            yield verdict(evidence)
        yield skill(evidence)


def fit_source(
    source: str,
    out: str | Path,
    settings: Settings,
    *,
    augment: bool = False,
    target: str | None = None,
    image_size: int | None = None,
    data_root: str | Path | None = None,
    device: torch.device | str = "cpu",
    command: str | None = None,
    on_training: Callable[[int, int], None] = lambda done, total: None,
) -> FitResult:
    """Fit a calibrated classifier to labelled data and write it to a folder.

    Rows of the source's own test split are not trained on: they measure the model. Without such a split the rows that
    folds held out do.

    Args:
        source: As for `gence.data.load`.
        out: The folder; a model that is there is replaced at the end.
        settings: How it is fitted.
        augment: Whether images are augmented as is usual for a data set known by name; the settings then name nothing.
        target: As for `gence.data.load`.
        image_size: As for `gence.data.load`.
        data_root: As for `gence.data.load`.
        device: Where the networks are trained.
        command: What was typed, for the model card.
        on_training: Told how many trainings of how many are done.

    Raises:
        InputError: If a setting, the data or the folder cannot be used, or a training diverges.
    """
    _check(settings)
    check_model_place(out)
    check_apart(out, source)
    data = load_data(source, target=target, image_size=image_size, data_root=data_root)
    if augment:
        settings = replace(settings, augment=augmentation(source))
    if settings.augment and data.kind == "table":
        raise InputError(
            f"augmentation ({', '.join(settings.augment)}) is for images; {data.name} is a table: give --augment none"
        )
    settings.architecture(data.inputs.shape[1:])
    train, _ = _parts(data)
    try:
        fitted = fit_network(Task(train, data.kind, data.num_classes, device=device), settings, on_training=on_training)
    except FloatingPointError as error:
        raise InputError(f"{source}: the training diverged: {error}") from error
    kept = keep(fitted, data, settings, command=command)
    left_out = save(kept, out)
    return FitResult(Path(out), kept, (*data.notes, *kept.network.cautions, *kept.calibrator.remarks, *left_out))


def keep(fitted: Fitted, data: LabelledData, settings: Settings, *, command: str | None = None) -> KeptModel:
    """What was fitted to the training rows of `data`, measured and with all that it takes to use and explain it.

    Args:
        fitted: By `fit_network`, on all rows that are not in the data's test split.
        data: The data.
        settings: Those it was fitted with.
        command: What was typed, for the model card.
    """
    fitted.network.model.cpu()
    train, test = _parts(data)
    origin = Origin(
        data=data.name,
        fingerprint=data.fingerprint,
        notes=data.notes,
        rows=len(train),
        class_rows=tuple(np.bincount(train.labels, minlength=data.num_classes).tolist()),
        settings=_plain(asdict(settings)),
        recipe=_plain(asdict(fitted.recipe)),
        epochs_tried=fitted.epochs_tried,
        epochs=fitted.epochs,
        why=fitted.why,
        pixels=(float(train.inputs.min()), float(train.inputs.max())) if data.kind == "image" else None,
        command=command,
        environment={
            "gence": gence.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return KeptModel(
        fitted.network,
        fitted.architecture,
        fitted.calibrator,
        data.class_names,
        data.input_form,
        origin,
        _evidence(fitted, train, test, data, settings),
        fitted.held_out,
    )


def _evidence(
    fitted: Fitted, train: Labelled, test: Labelled | None, data: LabelledData, settings: Settings
) -> Evidence | None:
    if test is not None:
        return evidence_of_test_split(fitted, train, test, data.class_names, seed=settings.seed)
    if fitted.held_out is None:
        return None
    fold = fitted.held_out.fold[fitted.held_out.repeats]
    if len(fold) - np.bincount(fold).max() < 2:
        return None  # a handful of rows leaves too few beside a fold to choose a calibrator on
    return evidence_of_folds(fitted.held_out, settings.calibrate, data.class_names, seed=settings.seed)


def _parts(data: LabelledData) -> tuple[Labelled, Labelled | None]:
    """The rows to train on, and those of the data's own test split if it has one."""
    if data.test_rows is None:
        return Labelled(data.inputs, data.labels), None
    trains = np.ones(len(data.labels), bool)
    trains[data.test_rows] = False
    return (
        Labelled(data.inputs[trains], data.labels[trains]),
        Labelled(data.inputs[data.test_rows], data.labels[data.test_rows]),
    )


def _check(settings: Settings) -> None:
    """What the settings alone tell before any data are read."""
    if settings.model not in (AUTO, *models.names()):
        raise unknown_name("model", settings.model, (AUTO, *models.names()))
    if settings.hidden is not None and settings.model not in (AUTO, "mlp"):
        raise InputError(f"hidden widths are for the model 'mlp'; got {settings.hidden} for {settings.model!r}")
    if settings.calibrate.startswith(PREFIX):
        raise InputError(
            f"calibrator {settings.calibrate!r}: one of another package holds code and cannot be kept; use one of "
            "gence's (gence list calibrators)"
        )


def _plain(record: dict[str, object]) -> dict[str, object]:
    """Lists for tuples, as JSON gives them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}
