"""From chosen rows and a recipe to a trained model: the part that a trial and a trial of a tuning have in common."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gence.bench.records import Cell
from gence.bench.rows import Rows
from gence.bench.written import Knobs, parse_loss
from gence.data import LabelledData, Standardize, fit_standardize
from gence.losses import catalogue as losses
from gence.models import build
from gence.training import Recipe, predict, train

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with the preprocessing that its training rows gave.

    Attributes:
        model: In evaluation mode, on the device it was trained on.
        standardize: Learnt on the training rows.
        updates: Optimiser steps.
        cautions: What the loss warned of, each once.
        seconds: Wall-clock seconds of the training.
    """

    model: nn.Module
    standardize: Standardize
    updates: int
    cautions: tuple[str, ...]
    seconds: float

    def logits(self, inputs: np.ndarray) -> Tensor:
        """Logits `(rows, classes)` of inputs `(rows, ...)` as the data hold them, on the CPU."""
        return predict(self.model, torch.from_numpy(self.standardize(inputs)))


def train_model(
    data: LabelledData,
    rows: Rows,
    labels: np.ndarray,
    cell: Cell,
    recipe: Recipe,
    knobs: Knobs,
    device: torch.device,
    group: ProcessGroup | None = None,
) -> TrainedModel:
    """Train the model of a cell with its loss, from the weights and in the batches of its seed.

    Args:
        data: The data.
        rows: Of which `train` is trained on, and `validation` shown to a loss that looks at such rows.
        labels: Of all rows, as the trial is given them.
        cell: Model, loss and seed.
        recipe: How it is trained.
        knobs: All knobs of the loss.
        device: Where it is trained.
        group: The ranks that train it together.

    Raises:
        FloatingPointError: If the training diverges.
    """
    name = parse_loss(cell.loss).name
    standardize = fit_standardize(data.kind, data.inputs[rows.train])

    def part(chosen: np.ndarray) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(standardize(data.inputs[chosen])), torch.from_numpy(labels[chosen])

    inputs, target = part(rows.train)
    validation = part(rows.validation) if len(rows.validation) else None
    model = build(cell.model, data.inputs.shape[1:], data.num_classes, seed=cell.seed, head=losses.head(name))
    settings: dict[str, Any] = {"class_counts": torch.bincount(target, minlength=data.num_classes), **knobs}
    loss = losses.build(name, **settings)
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        updates = train(
            model, inputs, target, loss, recipe, seed=cell.seed, validation=validation, device=device, group=group
        )
    seconds = time.perf_counter() - started
    cautions = tuple(dict.fromkeys(str(caution.message) for caution in caught))
    return TrainedModel(model, standardize, updates, cautions, seconds)
