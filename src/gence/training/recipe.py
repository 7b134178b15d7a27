"""How a model is trained, in numbers; what is wrong with them is said before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Literal, get_args

from gence._errors import unknown_name
from gence.training.augment import AUGMENTATIONS, LARGEST_ALPHA

Schedule = Literal["cosine", "steps", "constant"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: SGD with momentum, by default Nesterov's, under a cosine that ends at 0, step by step.

    Losses are means over rows. A published recipe that sums over batches of B rows is, to the last digits, that with
    B times the learning rate, and with the weight decay and the clipped norm divided by B.

    Attributes:
        epochs: Passes over the training rows.
        batch_size: Rows a step, at least: an epoch is dealt into batches of equal size, so that no last batch is short.
        learning_rate: At the start, after warm-up.
        weight_decay: L2 penalty, as SGD has it.
        momentum: Of SGD.
        augment: What is done to the images of a batch, in this order: names of `AUGMENTATIONS`.
        mixup: The alpha of mixup, at most 1e6; 0 is none.
        nesterov: Whether the momentum is Nesterov's.
        schedule: How the learning rate falls: along a cosine, in steps, or not at all; see `learning_rate`.
        milestones: For `"steps"`: after which shares of all epochs the learning rate falls, such as (150/350, 250/350).
        decay: For `"steps"`: what the learning rate is multiplied by at each milestone.
        warmup: Epochs in which the learning rate rises to its start, in a line; 0 is none.
        clip_norm: The largest norm of the gradient of all weights together; a longer one is cut to it. 0 is none.
        precision: In what the model computes while it is trained. With `"bfloat16"` its weights, and the loss, stay in
            float32.
        channels_last: Whether images, and the model while it is trained, have their channels last in memory.
        compile: Whether the model is compiled for training.

    Raises:
        InputError: If there is no such augmentation, schedule or precision.
        ValueError: If another of these numbers is out of its range, or milestones and schedule do not go together.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 0.05
    weight_decay: float = 5e-4
    momentum: float = 0.9
    augment: tuple[str, ...] = ()
    mixup: float = 0.0
    nesterov: bool = True
    schedule: Schedule = "cosine"
    milestones: tuple[float, ...] = ()
    decay: float = 0.1
    warmup: float = 0.0
    clip_norm: float = 0.0
    precision: Precision = "float32"
    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        for name in self.augment:
            if name not in AUGMENTATIONS:
                raise unknown_name("augmentation", name, AUGMENTATIONS)
        if not 0.0 <= self.mixup <= LARGEST_ALPHA:
            raise ValueError(
                f"mixup must be 0 for none, or a positive alpha of at most {LARGEST_ALPHA:g}; got {self.mixup}"
            )
        if self.schedule not in get_args(Schedule):
            raise unknown_name("schedule", self.schedule, get_args(Schedule))
        if self.precision not in get_args(Precision):
            raise unknown_name("precision", self.precision, get_args(Precision))
        self._check_milestones()
        if not 0.0 < self.decay <= 1.0:
            raise ValueError(f"decay must lie in (0, 1], the factor at each milestone; got {self.decay}")
        if not (self.warmup == 0.0 or 0.0 < self.warmup < self.epochs):
            raise ValueError(
                f"warmup must be 0 for none, or a number of epochs below all {self.epochs}; got {self.warmup}"
            )
        if not (self.clip_norm >= 0.0 and isfinite(self.clip_norm)):
            raise ValueError(f"clip_norm must be 0 for none, or a positive number; got {self.clip_norm}")

    def _check_milestones(self) -> None:
        if (self.schedule == "steps") != bool(self.milestones):
            raise ValueError(
                f"milestones belong to the schedule 'steps', which needs some; got schedule {self.schedule!r} and "
                f"milestones {self.milestones}: give both or neither"
            )
        rising = all(before < after for before, after in pairwise((0.0, *self.milestones, 1.0)))
        if not rising:
            raise ValueError(
                "milestones must be shares of all epochs, rising, each above 0 and below 1; got "
                f"{self.milestones}: epoch 150 of 350 is 150 / 350"
            )

    def updates(self, rows: int) -> int:
        """Optimiser steps over the whole training of `rows` rows."""
        return self.epochs * batches_an_epoch(rows, self.batch_size)


_UPDATES = 300
_FEWEST_EPOCHS = 20


def usual_epochs(rows: int, batch_size: int) -> int:
    """Epochs where nobody says how many: about 300 updates, and 20 epochs at least."""
    return max(round(_UPDATES / batches_an_epoch(rows, batch_size)), _FEWEST_EPOCHS)


def batches_an_epoch(rows: int, batch_size: int) -> int:
    """How many equal batches of at least `batch_size` rows there are; one where there are fewer rows."""
    return max(rows // batch_size, 1)
