"""What a trained and calibrated model is worth on shifted test rows, and how well its scores tell foreign rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gence import metrics, ood
from gence.bench.measures import measure
from gence.bench.plan import Trial
from gence.bench.records import SHIFT_METRICS, Shifted
from gence.bench.rows import Rows
from gence.bench.suites import draw_rows, wanted_shifts
from gence.classifier.network import Network
from gence.data import LabelledData, Shift
from gence.training import predict

Calibrators = Mapping[str, Callable[[Tensor], Tensor]]
"""Name -> (logits) -> logits, fitted."""

OOD = dict[str, dict[str, dict[str, float]]]
"""Set -> score -> measure -> value."""

CALIBRATED_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "max_softmax": ood.max_softmax,
    "negative_entropy": ood.negative_entropy,
}
"""The scores that are taken of what every calibrator makes of the logits."""

RAW_SCORES: dict[str, Callable[[Tensor], Tensor]] = {"max_logit": ood.max_logit, "energy": ood.energy}
"""The scores that are taken of the raw logits alone."""


@dataclass(frozen=True)
class SuiteResults:
    """What came of the suites of a trial.

    Attributes:
        rows: How many test rows, and rows of each foreign set, were looked at; empty in a study without suites.
        shifted: By calibrator.
        ood: By calibrator.
    """

    rows: dict[str, int]
    shifted: dict[str, tuple[Shifted, ...]]
    ood: dict[str, OOD]


def run_suites(
    trial: Trial,
    data: LabelledData,
    foreign: Mapping[str, np.ndarray],
    rows: Rows,
    labels: np.ndarray,
    trained: Network,
    test_logits: Tensor,
    calibrators: Calibrators,
) -> SuiteResults:
    """Test under every shift and on every foreign set of a trial.

    Rows and shifts are drawn by the seed, so that every loss meets the same.

    Args:
        trial: Its suites and its seed.
        data: Its data.
        foreign: Images of other sets in the shape of the data, by the name of their set.
        rows: Those that it was trained and tested on.
        labels: Of all rows, as it was given them.
        trained: The model.
        test_logits: Of all test rows, `(test rows, classes)`.
        calibrators: Fitted.
    """
    seed, most = trial.cell.seed, trial.suites.rows
    # With those that the loss was shown, so that the shifts of a table are the same for every loss.
    shifts = wanted_shifts(trial.suites, data, np.sort(np.concatenate([rows.train, rows.validation])))
    if not shifts and not foreign:
        return SuiteResults({}, dict.fromkeys(calibrators, ()), {name: {} for name in calibrators})
    drawn = draw_rows(len(rows.test), most, seed=seed)
    inputs, target = data.inputs[rows.test[drawn]], torch.from_numpy(data.labels[rows.test[drawn]])
    others = {name: images[draw_rows(len(images), most, seed=seed)] for name, images in foreign.items()}
    found: dict[str, OOD] = {name: {} for name in calibrators}
    if others:
        knn = ood.catalogue.fit("knn", _features(trained, data.inputs[rows.train]), labels[rows.train])
        own = _scores(test_logits[drawn], knn(_features(trained, inputs)), calibrators)
        for set_name, images in others.items():
            scores = _scores(trained.logits(images), knn(_features(trained, images)), calibrators)
            for name, by_score in own.items():
                found[name][set_name] = {score: tell_apart(by_score[score], scores[name][score]) for score in by_score}
    return SuiteResults(
        rows={"test": len(drawn), **{name: len(images) for name, images in others.items()}},
        shifted=under_shift(shifts, inputs, target, trained, calibrators, seed=seed),
        ood=found,
    )


def under_shift(
    shifts: Sequence[Shift],
    inputs: np.ndarray,
    target: Tensor,
    trained: Network,
    calibrators: Calibrators,
    *,
    seed: int,
) -> dict[str, tuple[Shifted, ...]]:
    """`SHIFT_METRICS` under every shift, by calibrator.

    Args:
        shifts: In the order of the result.
        inputs: Rows as the data hold them, `(rows, ...)`.
        target: Their classes, `(rows,)`.
        trained: The model.
        calibrators: Fitted.
        seed: Of what the shifts draw.
    """
    found: dict[str, list[Shifted]] = {name: [] for name in calibrators}
    for shift in shifts:
        logits = trained.logits(shift.apply(inputs, seed)).to(torch.float64)
        for name, calibrator in calibrators.items():
            values = measure(calibrator(logits), target, SHIFT_METRICS)
            found[name].append(Shifted(shift=shift.name, severity=shift.severity, metrics=values))
    return {name: tuple(shifted) for name, shifted in found.items()}


def tell_apart(id_scores: Tensor, ood_scores: Tensor) -> dict[str, float]:
    """`OOD_MEASURES` of scores `(rows,)` that are high in-distribution; the other rows are the positive ones."""
    return {
        "auroc": metrics.ood_auroc(id_scores, ood_scores).item(),
        "fpr95": metrics.ood_fpr95(id_scores, ood_scores).item(),
        "aupr_in": metrics.ood_aupr(id_scores, ood_scores, positive="id").item(),
        "aupr_out": metrics.ood_aupr(id_scores, ood_scores).item(),
    }


def _scores(logits: Tensor, knn: Tensor, calibrators: Calibrators) -> dict[str, dict[str, Tensor]]:
    """Calibrator -> score -> `(rows,)`."""
    logits = logits.to(torch.float64)
    found: dict[str, dict[str, Tensor]] = {}
    for name, calibrator in calibrators.items():
        calibrated = calibrator(logits)
        found[name] = {score: of(calibrated) for score, of in CALIBRATED_SCORES.items()}
        if name == "none":
            # No calibrator changes the features, and the size of raw logits is what these two scores are about.
            found[name] |= {score: of(logits) for score, of in RAW_SCORES.items()} | {"knn": knn}
    return found


class _Features(nn.Module):
    """A model without its head."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, rows: Tensor) -> Tensor:
        return self.model.features(rows)


def _features(trained: Network, inputs: np.ndarray) -> Tensor:
    """Features `(rows, features)` of rows as the data hold them, on the CPU."""
    return predict(_Features(trained.model), torch.from_numpy(trained.standardize(inputs)))
