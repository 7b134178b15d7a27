"""Early stopping: a training ends when rows set apart no longer gain, and goes back to where they were best."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from gence._errors import InputError
from gence.classifier.network import Labelled
from gence.data import Standardize
from gence.training import predict


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop.

    Attributes:
        fraction: Share of the training rows that is set apart, above 0 and at most 1/2.
        patience: Epochs without a lower NLL after which the training ends.

    Raises:
        InputError: If one of them is out of its range.
    """

    fraction: float = 0.1
    patience: int = 10

    def __post_init__(self) -> None:
        if not 0.0 < self.fraction <= 0.5:
            raise InputError(f"the share of rows to stop by must lie in (0, 0.5]; got {self.fraction}")
        if self.patience < 1:
            raise InputError(f"the patience must be at least 1 epoch; got {self.patience}")


class BestSoFar:
    """The weights with the lowest NLL on the rows set apart; `watch` is for `train_network`."""

    def __init__(self, apart: Labelled, patience: int) -> None:
        self._apart = apart[apart.repeats()]
        self._patience = patience
        self._nll, self.epochs = math.inf, 0
        self._weights: dict[str, torch.Tensor] = {}

    def watch(self, network: nn.Module, standardize: Standardize):
        inputs = torch.from_numpy(standardize(self._apart.inputs))
        target = torch.from_numpy(self._apart.labels)

        def after(epoch: int) -> bool:
            nll = F.cross_entropy(predict(network, inputs), target).item()
            if nll < self._nll:
                self._nll, self.epochs = nll, epoch + 1
                self._weights = copy.deepcopy(network.state_dict())
            return epoch + 1 - self.epochs >= self._patience

        return after

    def restore(self, network: nn.Module) -> None:
        """Give the network its best weights back."""
        network.load_state_dict(self._weights)
