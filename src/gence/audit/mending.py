"""What mends the probabilities: every calibrator judged, row by row, on rows that it was not fitted on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gence._errors import unknown_name
from gence.audit.intervals import mean_estimate
from gence.audit.records import CalibratorTrial, Estimate, Mending
from gence.calibration import catalogue, cross_fit
from gence.metrics import bootstrap_difference, expected_calibration_error
from gence.metrics.proper import brier_of_rows, nll_of_rows

LEAST_ROWS = 30
MOST_FITTED = 20_000
MOST_JUDGED = 25_000
_MOST_CELLS = 3_000_000  # rows x classes: with 1,000 classes it is this that keeps an audit within minutes
_RESAMPLES = 1000  # the widened levels look far into the tails


def check_names(calibrators: Sequence[str]) -> None:
    """Refuse a name that is neither of the catalogue nor one of another package's, before any time is spent.

    Raises:
        InputError: Naming it, the nearest name and all of them.
    """
    for name in calibrators:
        if name not in catalogue.names() and ":" not in name:
            raise unknown_name("calibrator", name, catalogue.names())


def no_trial(reason: str) -> Mending:
    """The record where nothing was tried."""
    return Mending(reason, 0, 0, 0, {}, (), ())


def try_calibrators(
    logits: np.ndarray,
    labels: np.ndarray,
    calibrators: Sequence[str],
    *,
    bins: int,
    folds: int,
    seed: int,
    level: float = 0.95,
) -> Mending:
    """Cross-fit every calibrator and compare it with none, paired row by row.

    The rows are dealt into folds; each fold is calibrated by a fit on rows of the others, at most `MOST_FITTED` of
    them. Judged are all rows, or `MOST_JUDGED` (fewer with very many classes) drawn at random.

    Differences in NLL, Brier score and accuracy are means over rows of paired differences, so their intervals are
    Student's; the interval of the difference in ECE is a paired bootstrap over rows. All are widened (Bonferroni) for
    the number of calibrators, because the best of them is picked on the same rows.
    """
    rows, classes = logits.shape
    if rows < LEAST_ROWS:
        return no_trial(
            f"at least {LEAST_ROWS} labelled rows are needed to judge a calibrator on rows it was not fitted on; "
            f"there {'is' if rows == 1 else 'are'} {rows}"
        )
    judged = min(rows, MOST_JUDGED, max(_MOST_CELLS // classes, 1000))
    fitted = min(judged - judged // folds, MOST_FITTED)
    kept = np.random.default_rng(seed).permutation(rows)[:judged] if judged < rows else np.arange(rows)
    z = torch.from_numpy(np.asarray(logits[kept], np.float64))
    y = torch.from_numpy(np.asarray(labels[kept], np.int64))
    plain = z.softmax(1)
    before = _Scores(plain, y, bins)
    level = 1.0 - (1.0 - level) / max(len(calibrators), 1)
    ece = partial(expected_calibration_error, bins=bins)
    trials: list[CalibratorTrial] = []
    failures: list[tuple[str, str]] = []
    for name in calibrators:
        title = catalogue.CATALOGUE[name].title if name in catalogue.CATALOGUE else name
        started = time.perf_counter()
        try:
            probs = cross_fit(name, z, y, folds=folds, seed=seed, most_rows=fitted).softmax(1)
        except (ValueError, RuntimeError, ModuleNotFoundError) as error:
            # One that cannot be fitted (RuntimeError: a matrix that cannot be inverted) must not cost the others.
            failures.append((title, " ".join(str(error).split())))
            continue
        after = _Scores(probs, y, bins)
        interval = bootstrap_difference(ece, probs, plain, y, resamples=_RESAMPLES, level=level, seed=seed)
        differences = {
            "nll": mean_estimate((after.nll - before.nll).numpy(), level=level),
            "brier": mean_estimate((after.brier - before.brier).numpy(), level=level),
            "ece": Estimate(interval.value, interval.low, interval.high),
            "accuracy": mean_estimate((after.right - before.right).numpy(), level=level),
        }
        changed = float((after.predicted != before.predicted).to(torch.float64).mean())
        seconds = time.perf_counter() - started
        trials.append(CalibratorTrial(name, title, after.means(), differences, changed, seconds))
    return Mending("", judged, fitted, folds, before.means(), tuple(trials), tuple(failures))


class _Scores:
    """The terms of every row whose means are the metrics, and the ECE, which has no such terms."""

    def __init__(self, probs: Tensor, target: Tensor, bins: int) -> None:
        self.nll = nll_of_rows(probs, target)
        self.brier = brier_of_rows(probs, target)
        self.predicted = probs.argmax(1)
        self.right = (self.predicted == target).to(torch.float64)
        self.ece = expected_calibration_error(probs, target, bins=bins).item()

    def means(self) -> dict[str, float]:
        means = {"nll": self.nll, "brier": self.brier, "accuracy": self.right}
        return {"ece": self.ece} | {name: terms.mean().item() for name, terms in means.items()}
