"""From a file of predictions to a file with a calibrator, and from both to a file of calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gence._errors import InputError, nearest, unknown_name
from gence._files import check_place
from gence.calibration import Calibrator, catalogue, cross_fit, fit_best, load, save
from gence.calibration.selection import CANDIDATES, affordable
from gence.calibration.storage import class_names_of
from gence.data.predictions import Predictions, read_predictions, write_probabilities
from gence.data.predictions.write import check_out
from gence.data.wording import counted, listing
from gence.metrics import accuracy, expected_calibration_error, negative_log_likelihood

AUTO = "auto"
"""The method that tries several calibrators and takes the one with the lowest held-out NLL."""

MOST_ROWS = 20_000
"""A calibrator has few numbers; with more rows than this, so many of them are drawn at random."""

_ENDINGS = (".safetensors", ".json")
_FEW_ROWS = 200
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Scores:
    """What probabilities are worth on the rows they were judged on."""

    nll: float
    ece: float
    accuracy: float


@dataclass(frozen=True)
class CalibrateResult:
    """A calibrator that was fitted on all rows of a file and saved, and what it is worth on rows it has not seen.

    Attributes:
        out: The file it was saved to.
        method: Its name in the catalogue.
        why: Why this one, if it was chosen and not asked for.
        summary: What was fitted, in a few words.
        rows: How many rows it was fitted on.
        folds: Parts for the cross-validation behind `after`.
        before: Scores of the probabilities as they were.
        after: Scores with every row calibrated by a fit on other folds.
        remarks: What a reader should know.
    """

    out: Path
    method: str
    why: str | None
    summary: str
    rows: int
    folds: int
    before: Scores
    after: Scores
    remarks: tuple[str, ...]

    def lines(self) -> list[str]:
        """What the command line prints."""
        rows = [("NLL", "nll"), ("ECE", "ece"), ("accuracy", "accuracy")]
        return [
            f"{catalogue.CATALOGUE[self.method].title}: {self.summary}, fitted on {counted(self.rows, 'row')}",
            *([f"chosen: {self.why}"] if self.why else []),
            f"held out ({self.folds}-fold cross-validation), before and after:",
            *(f"  {title:<9}{getattr(self.before, key):8.4f}  {getattr(self.after, key):8.4f}" for title, key in rows),
            *(f"note: {remark}" for remark in self.remarks),
            f"calibrator: {self.out}",
        ]


@dataclass(frozen=True)
class ApplyResult:
    """Calibrated probabilities that were written to `out`; `remarks` says what a reader should know."""

    out: Path
    summary: str
    rows: int
    classes: int
    remarks: tuple[str, ...]

    def lines(self) -> list[str]:
        """What the command line prints."""
        return [
            f"{counted(self.rows, 'row')} of {self.classes} classes, calibrated by {self.summary}",
            *(f"note: {remark}" for remark in self.remarks),
            f"probabilities: {self.out}",
        ]


def calibrate_file(
    path: str | Path,
    out: str | Path,
    *,
    method: str = AUTO,
    labels: str | None = None,
    logits: str | None = None,
    candidates: Sequence[str] = CANDIDATES,
    folds: int = 5,
    seed: int = 0,
) -> CalibrateResult:
    """Fit a calibrator on the logits and labels of a file and save it.

    Args:
        path: Predictions as `read_predictions` reads them, of rows the model was not trained on.
        out: The file to write; its ending, .safetensors or .json, is the format.
        method: A name of the calibration catalogue, or `"auto"`.
        labels: As in `read_predictions`.
        logits: As in `read_predictions`.
        candidates: What `"auto"` chooses from; with more than 50 classes without those that hold a number for every
            pair of classes.
        folds: Parts of the cross-validation.
        seed: Of the dealing into folds.

    Raises:
        InputError: If the method is unknown or cannot be saved, a file cannot be read or written, or there are no
            logits or too few rows.
    """
    check_method(method)
    target = _check_calibrator_file(out)
    predictions = read_predictions(path, labels=labels, logits=logits, logits_only=True)
    z, y, remarks = _fit_rows(predictions, folds, seed)
    try:
        if method == AUTO:
            tried = affordable(candidates, z.shape[1])
            left_out = [name for name in candidates if name not in tried]
            remarks += [f"{name} was not tried: with {z.shape[1]} classes it takes long" for name in left_out]
            selection = fit_best(z, y, candidates=tried, folds=folds, seed=seed)
            method, why, calibrator = selection.name, selection.why, selection.calibrator
            held_out = selection.held_out
            remarks += [f"{name} could not be tried: {reason}" for name, reason in selection.failures]
        else:
            why, calibrator = None, catalogue.fit(method, z, y)
            held_out = cross_fit(method, z, y, folds=folds, seed=seed)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    except ModuleNotFoundError as error:
        raise InputError(str(error)) from error
    if not held_out.softmax(1).isfinite().all():
        raise InputError(
            f"{path}: the logits are too large to calibrate, up to {z.abs().max().item():.3g}; take such rows out"
        )
    before, after = _scores(z, y), _scores(held_out, y)
    remarks += calibrator.remarks
    if after.nll > before.nll:
        remarks.append("on rows it was not fitted on, this calibrator does harm: the NLL rises; try --method auto")
    save(calibrator, target, class_names=predictions.class_names)
    return CalibrateResult(
        target, method, why, calibrator.summary, len(z), folds, before, after, (*predictions.notes, *remarks)
    )


def apply_file(
    calibrator: str | Path,
    path: str | Path,
    out: str | Path,
    *,
    labels: str | None = None,
    logits: str | None = None,
) -> ApplyResult:
    """Write the probabilities that a saved calibrator makes of the logits of a file; labels are kept if there are any.

    Args:
        calibrator: A file that `calibrate_file` or `gence.calibration.save` wrote.
        path: Predictions as `read_predictions` reads them.
        out: The file to write, as `write_probabilities` writes it.
        labels: As in `read_predictions`.
        logits: As in `read_predictions`.

    Raises:
        InputError: If a file cannot be read or written, or the calibrator was fitted on other classes or gives no
            finite numbers.
    """
    check_out(out, path)
    fitted = _load(Path(calibrator).expanduser())
    predictions = read_predictions(path, labels=labels, logits=logits, labels_required=False, logits_only=True)
    z = _logits(predictions)
    order, notes = _column_order(class_names_of(Path(calibrator).expanduser()), predictions, calibrator)
    probs = np.empty(z.shape, np.float64)
    try:
        for start in range(0, len(z), _BATCH_ROWS):
            rows = slice(start, start + _BATCH_ROWS)
            # Indexing by the order on the left as well gives every column back its own place.
            batch = torch.from_numpy(np.asarray(z[rows][:, order], np.float64))
            probs[rows, order] = fitted(batch).softmax(1).numpy()
    except ValueError as error:
        raise InputError(f"{calibrator} does not suit {path}: {error}") from error
    broken = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if len(broken):
        raise InputError(
            f"{calibrator} makes no probabilities of row {broken[0]} (counted from 0) of {path} ({len(broken)} of "
            f"{len(z)} rows): the logits there are too large, or the calibrator is damaged; take those rows out, or "
            "fit the calibrator again"
        )
    written = write_probabilities(out, probs, predictions.class_names, predictions.labels, source=path)
    return ApplyResult(written, fitted.summary, len(z), z.shape[1], (*predictions.notes, *notes))


def check_method(method: str) -> None:
    """Refuse a method that there is not, or whose calibrator cannot be saved.

    Raises:
        InputError: Naming it, and the nearest name or all of them.
    """
    if ":" in method:
        raise InputError(
            f"method {method!r}: a calibrator of another package cannot be saved; use one of gence's own, "
            f"{listing((AUTO, *catalogue.names()), most=40)}, or gence.calibration.catalogue.fit in Python"
        )
    if method != AUTO and method not in catalogue.names():
        raise unknown_name("method", method, (AUTO, *catalogue.names()))


def _check_calibrator_file(out: str | Path) -> Path:
    target = Path(out).expanduser()
    if target.suffix.lower() not in _ENDINGS:
        raise InputError(f"{out}: a calibrator is saved to a file that ends in {' or '.join(_ENDINGS)}; give one such")
    check_place(out)
    return target


def _fit_rows(predictions: Predictions, folds: int, seed: int) -> tuple[Tensor, Tensor, list[str]]:
    z, y = _logits(predictions), predictions.labels
    assert y is not None
    if len(z) < folds:
        raise InputError(
            f"{predictions.source}: {counted(len(z), 'labelled row')}; at least {folds} are needed to judge a "
            f"calibrator on rows it was not fitted on, and {_FEW_ROWS} or more to trust it"
        )
    remarks: list[str] = []
    if len(z) < _FEW_ROWS:
        remarks.append(f"{len(z)} rows are few: another sample of rows may give quite other numbers")
    if len(z) > MOST_ROWS:
        remarks.append(f"fitted and judged on {MOST_ROWS} of {len(z)} rows, drawn at random")
        drawn = np.sort(np.random.default_rng(seed).choice(len(z), MOST_ROWS, replace=False))
        z, y = z[drawn], y[drawn]
    counts = np.bincount(y, minlength=z.shape[1])
    empty = [predictions.class_names[k] for k in np.flatnonzero(counts == 0)]
    if empty:
        remarks.append(f"{counted(len(empty), 'class')} without a row: {listing(empty)}")
    return torch.from_numpy(np.asarray(z, np.float64)), torch.from_numpy(y), remarks


def _logits(predictions: Predictions) -> np.ndarray:
    if predictions.logits is None:
        raise InputError(
            f"{predictions.source}: only probabilities are there, but a calibrator works on logits, the scores before "
            "the softmax: save those (--logits NAME), or where a model has none (a forest), the logarithm of its "
            "float64 probabilities"
        )
    return predictions.logits


def _load(path: Path) -> Calibrator:
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        guess = nearest(path.name, [name for name in siblings if Path(name).suffix.lower() in _ENDINGS])
        hint = f"did you mean '{path.with_name(guess)}'?" if guess else "make it with gence calibrate"
        raise InputError(f"'{path}': there is no such calibrator; {hint}")
    if not path.is_file() or path.suffix.lower() not in _ENDINGS:
        raise InputError(
            f"{path}: a calibrator ends in {' or '.join(_ENDINGS)}; the order is gence apply CALIBRATOR PREDICTIONS"
        )
    try:
        return load(path)
    except ModuleNotFoundError as error:
        raise InputError(f"{path}: {error}") from error


def _column_order(
    fitted_on: tuple[str, ...] | None, predictions: Predictions, calibrator: str | Path
) -> tuple[list[int] | slice, tuple[str, ...]]:
    """The columns of the predictions in the order the calibrator was fitted in, and notes."""
    names, as_they_stand = predictions.class_names, slice(None)
    if fitted_on is None or fitted_on == names:
        return as_they_stand, ()
    if set(fitted_on) == set(names):
        note = f"the classes stand in another order than the calibrator's ({listing(fitted_on)}); that was allowed for"
        return [names.index(name) for name in fitted_on], (note,)
    unsuited = f"{calibrator} does not suit {predictions.source}: "
    if len(fitted_on) != len(names):
        raise InputError(
            f"{unsuited}it was fitted on {len(fitted_on)} classes ({listing(fitted_on)}), the file has {len(names)} "
            f"({listing(names)}); calibrate on the classes of this file"
        )
    numbered = tuple(str(number) for number in range(len(names)))
    if numbered not in (fitted_on, names):
        lacking, foreign = [[x for x in a if x not in b] for a, b in ((fitted_on, names), (names, fitted_on))]
        raise InputError(
            f"{unsuited}it was fitted on the classes {listing(map(repr, lacking))}, for which the file has "
            f"{listing(map(repr, foreign))}; rename the columns, or calibrate on the classes of this file"
        )
    note = (
        f"the calibrator's classes ({listing(fitted_on)}) were taken for those of the file ({listing(names)}) column "
        "by column, because one side has no names to compare; name the classes on both sides"
    )
    return as_they_stand, (note,)


def _scores(logits: Tensor, target: Tensor) -> Scores:
    probs = logits.softmax(1)
    return Scores(
        nll=negative_log_likelihood(probs, target).item(),
        ece=expected_calibration_error(probs, target).item(),
        accuracy=accuracy(probs, target).item(),
    )
