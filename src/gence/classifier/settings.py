"""How a classifier is fitted, in numbers and names; what is wrong with them is said before anything runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gence._errors import InputError, unknown_name
from gence.calibration import catalogue as calibrators
from gence.calibration.external import PREFIX
from gence.losses.written import parse_loss
from gence.models import choose
from gence.training import Recipe, usual_epochs

AUTO = "auto"
"""The calibrator that does best on held-out rows, or the network that suits the shape of a row."""

_SEEDS = 1 << 32  # what numpy's and torch's generators both take


@dataclass(frozen=True)
class Settings:
    """How a classifier is fitted.

    Attributes:
        loss: As written for `gence compare`: a name of the catalogue of losses, with knobs if need be, "focal:gamma=1".
        calibrate: A name of the catalogue of calibrators, or `"auto"`.
        model: A name of the catalogue of models, or `"auto"`.
        hidden: Widths of the hidden layers, where the model is an `mlp`.
        epochs: Passes over the rows. Without it those of about 300 updates, and of half and twice as many, are tried on
            the first fold, and the best in NLL is taken.
        batch_size: Rows a batch, at least.
        learning_rate: At the start of a cosine.
        weight_decay: L2 penalty.
        augment: Of images.
        folds: Parts the rows are dealt into; each is held out once, from a network of its own, for the calibrator.
        seed: Of folds, weights and batches.

    Raises:
        InputError: If there is no loss or calibrator of a name, or a number is out of its range.
    """

    loss: str = "gence"
    calibrate: str = AUTO
    model: str = AUTO
    hidden: tuple[int, ...] | None = None
    epochs: int | None = None
    batch_size: int = 32
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    augment: tuple[str, ...] = ()
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        parse_loss(self.loss)
        if self.calibrate != AUTO and not self.calibrate.startswith(PREFIX):
            known = (AUTO, *calibrators.names())
            if self.calibrate not in known:
                raise unknown_name("calibrator", self.calibrate, known)
        for name, value, least in (
            ("epochs", self.epochs, 1),
            ("batch_size", self.batch_size, 2),
            ("folds", self.folds, 2),
        ):
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least}; got {value}")
        if not 0 <= self.seed < _SEEDS:
            raise InputError(f"seed must lie between 0 and {_SEEDS - 1}; got {self.seed}")
        for width in self.hidden or ():
            if width < 1:
                raise InputError(f"hidden widths must be at least 1; got {self.hidden}")
        if not 0.0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be a positive number; got {self.learning_rate:g}")
        if not 0.0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay must be 0 or more; got {self.weight_decay:g}")
        self.recipe(1, 1)

    def architecture(self, shape: tuple[int, ...]) -> str:
        """The model for rows of this shape.

        Raises:
            InputError: If there is no such model, or it cannot take such rows.
        """
        return "mlp" if self.hidden is not None and self.model == AUTO else choose(self.model, shape)

    def recipe(self, rows: int, epochs: int | None = None) -> Recipe:
        """The recipe for so many training rows."""
        return Recipe(
            epochs=epochs or self.epochs or usual_epochs(rows, self.batch_size),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            augment=self.augment,
        )
