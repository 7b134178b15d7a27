"""gence: losses, calibration and evidence for classifiers trained with few or lopsided labels.

    >>> import gence, torch
    >>> logits, target = torch.randn(8, 3), torch.randint(3, (8,))
    >>> loss = gence.generative_cross_entropy(logits, target)  # in the place of F.cross_entropy

`gence.losses`, `gence.calibration`, `gence.metrics` and `gence.ood` need torch and numpy only. The command line
(`gence compare`) needs the extra: `pip install 'gence[lab]'`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from gence._errors import InputError

if TYPE_CHECKING:
    from gence import calibration, losses, metrics, ood
    from gence.losses import (
        GenCELoss,
        MovingClassMass,
        class_mass,
        generative_binary_cross_entropy_with_logits,
        generative_cross_entropy,
        linear_generative_cross_entropy,
    )

__version__ = "0.1.0"

__all__ = [
    "GenCELoss",
    "InputError",
    "MovingClassMass",
    "calibration",
    "class_mass",
    "generative_binary_cross_entropy_with_logits",
    "generative_cross_entropy",
    "linear_generative_cross_entropy",
    "losses",
    "metrics",
    "ood",
]

_PARTS = ("calibration", "losses", "metrics", "ood")


def __getattr__(name: str) -> object:
    # Read when first asked for, so that a program which wants one loss does not wait for the calibrators.
    if name in _PARTS:
        return import_module(f"gence.{name}")
    if name in __all__:
        return getattr(import_module("gence.losses"), name)
    raise AttributeError(f"module 'gence' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
