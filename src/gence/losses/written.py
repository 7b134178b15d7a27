"""A loss as specs and flags write it: its name, and after colons the knobs that are not at their default."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gence._errors import InputError, unknown_name
from gence.losses import catalogue as losses

Knobs = dict[str, bool | int | float]


@dataclass(frozen=True)
class WrittenLoss:
    """A loss of the catalogue and the knobs given for it, in the order of the catalogue.

    >>> loss = parse_loss("focal:gamma=1")
    >>> loss.name, loss.knobs(), str(loss)
    ('focal', {'gamma': 1.0}, 'focal:gamma=1.0')
    """

    name: str
    given: tuple[tuple[str, bool | int | float], ...] = ()

    def knobs(self) -> Knobs:
        """All knobs of the loss: those given, and the rest at their defaults."""
        return {**losses.knobs(self.name), **dict(self.given)}

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{knob}={json.dumps(value)}" for knob, value in self.given)])


def parse_loss(text: str) -> WrittenLoss:
    """Read `name` or `name:knob=value:knob=value`; a value is a number, `true` or `false`.

    Raises:
        InputError: If there is no such loss or knob, a knob is named twice, or it does not take the value.
    """
    name, *settings = text.split(":")
    if name not in losses.names():
        raise unknown_name("loss", name, losses.names())
    defaults = losses.knobs(name)
    given: Knobs = {}
    for setting in settings:
        knob, equals, value = setting.partition("=")
        if not defaults:
            raise InputError(f"loss {name!r} has no knobs; got {setting!r}: leave it out")
        if not equals:
            raise InputError(
                f"loss {text!r}: knob=value is expected after the colon, as in focal:gamma=3; got {setting!r}"
            )
        if knob not in defaults:
            raise unknown_name(f"knob of loss {name!r}", knob, defaults)
        if knob in given:
            raise InputError(f"loss {text!r} names the knob {knob!r} twice; name it once")
        given[knob] = _value(name, knob, value, defaults[knob])
    loss = WrittenLoss(name, tuple((knob, given[knob]) for knob in defaults if knob in given))
    if given:
        _check_values(loss)
    return loss


def _check_values(loss: WrittenLoss) -> None:
    """The loss itself knows which values its knobs take."""
    knobs: dict[str, Any] = loss.knobs()
    try:
        # Labels enough of every class for all that count them.
        losses.build(loss.name, class_counts=[10, 10, 10], **knobs)
    except ValueError as error:
        raise InputError(f"loss {str(loss)!r}: {error}") from error


def _value(name: str, knob: str, text: str, default: bool | int | float) -> bool | int | float:
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise InputError(f"knob {knob} of loss {name!r} must be true or false; got {text!r}")
        return text == "true"
    kind, wanted = (int, "a whole number") if isinstance(default, int) else (float, "a number")
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"knob {knob} of loss {name!r} must be {wanted}; got {text!r}") from None
