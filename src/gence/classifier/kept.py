"""A fitted classifier to keep: all that turns rows into calibrated probabilities, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gence._errors import InputError
from gence.calibration import Calibrator
from gence.classifier.evidence import Evidence
from gence.classifier.fit import HeldOut
from gence.classifier.network import Architecture, Network
from gence.data.form import InputForm


@dataclass(frozen=True)
class Origin:
    """How a model came about; it computes nothing with this.

    Attributes:
        data: What the data are called.
        fingerprint: Of the data, `LabelledData.fingerprint`.
        notes: What was done to the data on the way in.
        rows: How many rows it was trained on.
        class_rows: The same by class.
        settings: The fields of `Settings`.
        recipe: The fields of the recipe that it was trained with.
        epochs_tried: (epochs, NLL in nats on the first fold) where the epochs were chosen.
        epochs: How many the last training ran.
        why: A sentence on the choice of the calibrator, empty where it was named.
        pixels: The lowest and the highest number in the training images; None for tables.
        command: What was typed, if it was.
        environment: Versions of what computed.
        finished_at: Date and time, UTC.
    """

    data: str
    fingerprint: str
    notes: tuple[str, ...]
    rows: int
    class_rows: tuple[int, ...]
    settings: dict[str, Any]
    recipe: dict[str, Any]
    epochs_tried: tuple[tuple[int, float], ...]
    epochs: int
    why: str
    pixels: tuple[float, float] | None
    command: str | None
    environment: dict[str, str]
    finished_at: str


@dataclass(frozen=True)
class KeptModel:
    """A classifier with its preprocessing and its calibrator; `gence.classifier.save` and `load` keep it in a folder.

    Attributes:
        network: Trained on all training rows, with the preprocessing that they gave.
        architecture: Which network it is.
        calibrator: From its logits to calibrated ones.
        class_names: One name a column of what it gives.
        form: What a row of inputs looks like.
        origin: How it came about.
        evidence: What was measured of its probabilities; None if nothing could be.
        held_out: The logits that the calibrator was fitted on; None if nothing was held out.
    """

    network: Network
    architecture: Architecture
    calibrator: Calibrator
    class_names: tuple[str, ...]
    form: InputForm
    origin: Origin
    evidence: Evidence | None = None
    held_out: HeldOut | None = None

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Calibrated logits `(rows, classes)` of inputs `(rows, ...)` as the data hold them, see `form`.

        Raises:
            InputError: If the inputs are not of that form.
        """
        return self._logits(inputs).numpy()

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Calibrated probabilities `(rows, classes)` of inputs `(rows, ...)` as the data hold them, see `form`.

        Raises:
            InputError: If the inputs are not of that form.
        """
        return self._logits(inputs).softmax(1).numpy()

    def _logits(self, inputs: np.ndarray) -> Tensor:
        # In float64, so that the last digits are those of the network and not of the calibrator.
        return self.calibrator(self.network.logits(self._checked(inputs)).to(torch.float64))

    def _checked(self, inputs: np.ndarray) -> np.ndarray:
        same = inputs.dtype == self.form.dtype
        floats = inputs.dtype in (np.float32, np.float64) and self.form.dtype != "uint8"
        if inputs.shape[1:] != self.form.shape or not (same or floats):
            raise InputError(
                f"inputs of the shape {inputs.shape} and the type {inputs.dtype}; (rows, "
                f"{', '.join(map(str, self.form.shape))}) {self.form.dtype} is expected: this model was trained on "
                f"{self.form.described}"
            )
        if np.isinf(inputs).any() or (self.form.kind == "image" and np.isnan(inputs).any()):
            raise InputError("inputs with infinity or, in images, NaN; finite numbers are expected: mend those rows")
        return inputs if same else inputs.astype(self.form.dtype)
