"""Everything that can be named in a spec, a line each: what `gence list` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gence._errors import unknown_name
from gence.calibration import catalogue as calibrators
from gence.data import recipes
from gence.data.regimes import named as regimes
from gence.losses import catalogue as losses
from gence.models import catalogue as models


@dataclass(frozen=True)
class Line:
    """A name as it is written, what it stands for in a few words, and the paper it is from (empty if there is none)."""

    name: str
    title: str
    reference: str


_CATALOGUES: dict[str, Mapping[str, Any]] = {
    "losses": losses.CATALOGUE,
    "models": models.CATALOGUE,
    "data": recipes.RECIPES,
    "regimes": {entry.written: entry for entry in regimes.CATALOGUE.values()},
    "calibrators": calibrators.CATALOGUE,
}
KINDS = tuple(_CATALOGUES)


def lines(kind: str) -> list[Line]:
    """One line for every name of a kind, in the order of its catalogue.

    Raises:
        InputError: If there is no such kind.
    """
    if kind not in _CATALOGUES:
        raise unknown_name("kind of name", kind, KINDS)
    return [Line(name, entry.title, entry.reference) for name, entry in _CATALOGUES[kind].items()]
