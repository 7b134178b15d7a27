"""From chosen rows and a recipe to a trained model: the part that a trial and a trial of a tuning have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gence.bench.records import Cell
from gence.bench.rows import Rows
from gence.classifier.network import Architecture, Labelled, Network, train_network
from gence.data import LabelledData
from gence.losses.written import Knobs, parse_loss
from gence.training import Recipe

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def train_model(
    data: LabelledData,
    rows: Rows,
    labels: np.ndarray,
    cell: Cell,
    recipe: Recipe,
    knobs: Knobs,
    device: torch.device,
    group: ProcessGroup | None = None,
) -> Network:
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
    given = Labelled(data.inputs, labels)
    return train_network(
        given[rows.train],
        data.kind,
        data.num_classes,
        Architecture(cell.model),
        parse_loss(cell.loss).name,
        knobs,
        recipe,
        seed=cell.seed,
        validation=given[rows.validation] if len(rows.validation) else None,
        device=device,
        group=group,
    )
