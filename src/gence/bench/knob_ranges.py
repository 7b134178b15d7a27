"""Which knobs of a loss a tuning searches, and between which values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any, Literal

from gence._errors import InputError, unknown_name
from gence.losses import catalogue as losses
from gence.losses.written import WrittenLoss

Ranges = dict[str, tuple[float, float]]

_SMOOTHING = (0.01, 0.2)  # Szegedy et al. 2016: 0.1; Mukhoti et al. 2020: 0.05
_GAMMA = (0.5, 5.0)  # Lin et al. 2017, table 1b: up to 5; Mukhoti et al. 2020: 1, 2, 3
_MARGIN: Ranges = {"margin": (2.0, 20.0), "alpha": (0.02, 0.5)}  # Liu et al. 2022 and Park et al. 2023: 10, 0.1
_TAU = (0.25, 2.0)  # Menon et al. 2021: 1

DEFAULT_RANGES: dict[str, Ranges] = {
    "label_smoothing": {"smoothing": _SMOOTHING},
    "focal": {"gamma": _GAMMA},
    "dual_focal": {"gamma": (1.0, 7.0)},  # Tao et al. 2023: 2.3 to 6.1, by network and data set
    "mmce": {"lambd": (0.5, 10.0)},  # Kumar et al. 2018: 8 to 9 in their code; Mukhoti et al. 2020: 2
    "mdca": {"beta": (0.5, 20.0)},  # Hebbalaguppe et al. 2022: 1 in their code
    "dca": {"beta": (0.5, 20.0)},  # Liang et al. 2020: 10 in their code; Hebbalaguppe et al. 2022: 1
    "mbls": _MARGIN,
    "acls": _MARGIN,
    "cpc": {"lambda1": (0.02, 0.5), "lambda2": (0.2, 5.0)},  # Cheng and Vasconcelos 2022: 0.1, 1
    "crl": {"rank_weight": (0.2, 5.0)},  # Moon et al. 2020: 1
    "cals": {"margin": (2.0, 20.0)},  # Liu et al. 2023: 10
    "confidence_penalty": {"beta": (0.02, 0.5)},  # Pereyra et al. 2017; Liu et al. 2022: 0.1
    "poly1": {"epsilon": (-0.9, 6.0)},  # Leng et al. 2022: at least -1; 1 in their code
    "label_relaxation": {"alpha": (0.02, 0.3)},  # Lienen and Hüllermeier 2021: 0.1
    "class_balanced": {"beta": (0.9, 0.9999)},  # Cui et al. 2019: 0.9, 0.99, 0.999, 0.9999
    "logit_adjusted": {"tau": _TAU},
    "logit_adjusted_smoothing": {"smoothing": _SMOOTHING},
    "ldam": {"max_margin": (0.1, 1.0)},  # Cao et al. 2019: 0.5
    "gence": {"strength": (0.2, 1.0)},  # at 0 it is cross-entropy; above 1 it has no minimum
    "gence_moving": {"rate": (0.002, 0.5)},
    "gence_focal": {"gamma": _GAMMA},
    "gence_smoothing": {"smoothing": _SMOOTHING},
    "gence_margin": _MARGIN,
    "gence_prior": {"tau": _TAU},
    "gence_balanced": {"smoothing": _SMOOTHING},
}
"""[low, high] by loss and knob: around the values that papers, named beside them, or the code of their authors use. A
hybrid of ours has the ranges of the loss it is made with. Losses that are not here have no knobs, or, as FLSD-53 and
AdaFocal, are rules that stand in place of a search."""


def knob_ranges(
    loss: WrittenLoss, knobs: Mapping[str, Mapping[str, tuple[float, float]]] | Literal["default", "none"]
) -> Ranges:
    """The ranges of the knobs that are tuned for a loss: none of those that it is written with.

    Args:
        loss: As written.
        knobs: `"default"` for `DEFAULT_RANGES`, `"none"`, or [low, high] by loss and knob.

    Raises:
        InputError: If the loss has no such knob or one that is true or false, a range does not rise or is not of whole
            numbers for a knob that is one, or the loss does not take its ends.
    """
    ranges = {} if knobs == "none" else DEFAULT_RANGES if knobs == "default" else knobs
    given, known = dict(loss.given), losses.knobs(loss.name)
    for knob, (low, high) in ranges.get(loss.name, {}).items():
        if knob not in known:
            raise unknown_name(f"knob of loss {loss.name!r} in [tune.knobs]", knob, known)
        _check(loss.name, knob, low, high, known[knob])
    chosen = {knob: (low, high) for knob, (low, high) in ranges.get(loss.name, {}).items() if knob not in given}
    _try_ends(loss, chosen)
    return chosen


def _check(name: str, knob: str, low: float, high: float, default: float) -> None:
    place, got = f"tune.knobs.{name}.{knob}", f"got [{low:g}, {high:g}]"
    if isinstance(default, bool):
        raise InputError(f"{place}: a knob that is true or false has no range; {got}: write {name}:{knob}=true instead")
    if low >= high:
        raise InputError(f"{place}: [low, high] is expected, rising; {got}")
    if isinstance(default, int) and not (float(low).is_integer() and float(high).is_integer()):
        raise InputError(f"{place}: the knob is a whole number, and so must be the ends of its range; {got}")


def _try_ends(loss: WrittenLoss, ranges: Ranges) -> None:
    """Build the loss in every corner, as the loss itself knows which values its knobs take."""
    for corner in product(*ranges.values()):
        values = {knob: type(loss.knobs()[knob])(value) for knob, value in zip(ranges, corner, strict=True)}
        settings: dict[str, Any] = {"class_counts": [10, 10, 10], **loss.knobs(), **values}
        try:
            losses.build(loss.name, **settings)
        except ValueError as error:
            tried = ", ".join(f"{knob}={value:g}" for knob, value in values.items())
            raise InputError(f"tune.knobs.{loss.name}: the ranges reach {tried}, but {error}") from error
