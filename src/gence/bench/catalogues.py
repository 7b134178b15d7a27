"""Everything that can be named in a spec, a line each: what `gence list` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


def _losses() -> list[Line]:
    return [Line(name, entry.title, entry.reference) for name, entry in losses.CATALOGUE.items()]


def _models() -> list[Line]:
    return [Line(name, entry.title, entry.reference) for name, entry in models.CATALOGUE.items()]


def _data() -> list[Line]:
    return [Line(name, entry.title, entry.reference) for name, entry in recipes.RECIPES.items()]


def _regimes() -> list[Line]:
    return [Line(entry.written, entry.title, entry.reference) for entry in regimes.CATALOGUE.values()]


def _calibrators() -> list[Line]:
    return [Line(name, entry.title, entry.reference) for name, entry in calibrators.CATALOGUE.items()]


_LISTS: dict[str, Callable[[], list[Line]]] = {
    "losses": _losses,
    "models": _models,
    "data": _data,
    "regimes": _regimes,
    "calibrators": _calibrators,
}
KINDS = tuple(_LISTS)


def lines(kind: str) -> list[Line]:
    """One line for every name of a kind, in the order of its catalogue.

    Raises:
        InputError: If there is no such kind.
    """
    if kind not in _LISTS:
        raise unknown_name("kind of name", kind, KINDS)
    return _LISTS[kind]()
