"""From labelled arrays to a trained network with its preprocessing: what a study's trial and a kept model share."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gence.data import Standardize, fit_standardize
from gence.losses import catalogue as losses
from gence.losses.written import Knobs
from gence.models import build
from gence.training import Recipe, copies, predict, train

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class Architecture:
    """Which network is built: a name of the catalogue of models, and for an `mlp` the widths of its hidden layers."""

    name: str
    hidden: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Labelled:
    """Rows with labels, as a network is trained on them.

    Attributes:
        inputs: `(rows, ...)`, as the data hold them.
        labels: Class numbers, `(rows,)`.
        weight: How often each row counts, `(rows,)`; once each if None.
    """

    inputs: np.ndarray
    labels: np.ndarray
    weight: np.ndarray | None = None

    def __getitem__(self, rows: np.ndarray) -> Labelled:
        weight = None if self.weight is None else self.weight[rows]
        return Labelled(self.inputs[rows], self.labels[rows], weight)

    def __len__(self) -> int:
        return len(self.labels)

    def repeats(self) -> np.ndarray:
        """Row numbers, each as often as it counts, for what takes no weights."""
        if self.weight is None:
            return np.arange(len(self.labels))
        return np.repeat(np.arange(len(self.labels)), copies(torch.from_numpy(self.weight), 0.5).numpy())


@dataclass(frozen=True)
class Network:
    """A trained network with the preprocessing that its training rows gave.

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


Watch = Callable[[nn.Module, Standardize], Callable[[int], bool]]
"""Given the network and its preprocessing before the training, what `train` is to call after every epoch."""


def train_network(
    rows: Labelled,
    kind: Literal["image", "table"],
    num_classes: int,
    architecture: Architecture,
    loss: str,
    knobs: Knobs,
    recipe: Recipe,
    *,
    seed: int,
    validation: Labelled | None = None,
    class_weight: np.ndarray | None = None,
    dtype: Literal["float32", "float64"] = "float32",
    watch: Watch | None = None,
    device: torch.device | str = "cpu",
    group: ProcessGroup | None = None,
) -> Network:
    """Build the network that the seed gives and train it with a loss of the catalogue.

    Args:
        rows: What is trained on; the preprocessing is learnt on them alone.
        kind: Images or a table.
        num_classes: C.
        architecture: The network.
        loss: A name of the catalogue of losses.
        knobs: All its knobs.
        recipe: How it is trained.
        seed: Of weights, batches and augmentation.
        validation: Shown to a loss that looks at such rows.
        class_weight: `(C)`, the weights of the loss.
        dtype: What the network computes in.
        watch: What looks at the network after every epoch, and may end the training.
        device: Where it is trained.
        group: The ranks that train it together.

    Raises:
        FloatingPointError: If the training diverges.
    """
    repeats = rows.repeats()
    standardize = fit_standardize(kind, rows.inputs if rows.weight is None else rows.inputs[repeats], dtype)

    def ready(part: Labelled) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(standardize(part.inputs)), torch.from_numpy(part.labels)

    inputs, target = ready(rows)
    network = build(
        architecture.name,
        rows.inputs.shape[1:],
        num_classes,
        seed=seed,
        head=losses.head(loss),
        hidden=architecture.hidden,
    ).to(inputs.dtype)
    settings: dict[str, Any] = {"class_counts": torch.bincount(target[repeats], minlength=num_classes), **knobs}
    if class_weight is not None:
        settings["weight"] = torch.from_numpy(class_weight).to(inputs.dtype)
    criterion = losses.build(loss, **settings)
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        updates = train(
            network,
            inputs,
            target,
            criterion,
            recipe,
            seed=seed,
            weight=None if rows.weight is None else torch.from_numpy(rows.weight),
            validation=None if validation is None else ready(validation),
            on_epoch=None if watch is None else watch(network, standardize),
            device=device,
            group=group,
        )
    seconds = time.perf_counter() - started
    cautions = tuple(dict.fromkeys(str(caution.message) for caution in caught))
    return Network(network, standardize, updates, cautions, seconds)
