"""The regimes by name: what a study does to the training rows, their labels and the test rows, in one short text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gence._errors import InputError, unknown_name
from gence.data.regimes.long_tail import Profile, check_imbalance, check_profile
from gence.data.regimes.noise import NoiseKind, check_kind, check_rate

_JOINT = "+"


@dataclass(frozen=True)
class Entry:
    """One regime of the catalogue.

    Attributes:
        title: A few words.
        reference: Its source.
        written: How a study asks for it.
        number: What its number is called; empty if it takes none.
        second: What a second number is called, which may be left out; empty if it takes none.
    """

    title: str
    reference: str
    written: str
    number: str = ""
    second: str = ""


CATALOGUE: dict[str, Entry] = {
    "none": Entry("the rows and labels as they are", "the default", "none"),
    "few-labels": Entry(
        "so many labels of every class, nested", "ours; labels_per_class in a spec", "--labels-per-class 10,50"
    ),
    "long-tail": Entry(
        "training classes that shrink exponentially",
        "Cao et al. 2019, arXiv 1906.07413",
        "long-tail:100",
        "imbalance factor",
        "rows of the largest class",
    ),
    "long-tail-step": Entry(
        "training classes of two sizes",
        "Cao et al. 2019, arXiv 1906.07413",
        "long-tail-step:100",
        "imbalance factor",
        "rows of the largest class",
    ),
    "label-noise": Entry(
        "labels wrong, those for calibration too: any other class",
        "Natarajan et al. 2013; Patrini et al. 2017, arXiv 1609.03683",
        "label-noise:0.4",
        "rate",
    ),
    "label-noise-pair": Entry(
        "labels wrong, those for calibration too: the next class",
        "Han et al. 2018, arXiv 1804.06872",
        "label-noise-pair:0.2",
        "rate",
    ),
    "prior-shift": Entry(
        "test classes that shrink exponentially",
        "Saerens et al. 2002; Hong et al. 2021, arXiv 2012.00321",
        "prior-shift:10",
        "imbalance factor",
    ),
    "prior-shift-reversed": Entry(
        "test classes that grow exponentially",
        "Saerens et al. 2002; Hong et al. 2021, arXiv 2012.00321",
        "prior-shift-reversed:10",
        "imbalance factor",
    ),
}

_FIELDS: dict[str, tuple[str, str | bool]] = {
    "long-tail": ("long_tail", "exp"),
    "long-tail-step": ("long_tail", "step"),
    "label-noise": ("noise", "symmetric"),
    "label-noise-pair": ("noise", "pair"),
    "prior-shift": ("test_prior", False),
    "prior-shift-reversed": ("test_prior", True),
}
"""Name -> the field of `Regime` that it sets, and what it puts there beside its number."""


@dataclass(frozen=True)
class Regime:
    """What a study does to its rows and labels; `Regime()` does nothing. `str` of it is what `parse_regime` takes.

    Attributes:
        long_tail: (profile, imbalance) of the training rows, for `long_tail`, or None.
        noise: (kind, rate) of the training labels, for `label_noise`, or None. The rate is above 0.
        test_prior: (imbalance, reverse) of the test rows, for `long_tail_prior` and `prior_shift`, or None.
        largest: Rows of the largest class of the long tail; without it as many as the scarcest class has.

    Raises:
        InputError: If a number is out of range, or there is a largest class and no long tail.
        ValueError: If a profile or a kind is another.
    """

    long_tail: tuple[Profile, float] | None = None
    noise: tuple[NoiseKind, float] | None = None
    test_prior: tuple[float, bool] | None = None
    largest: int | None = None

    def __post_init__(self) -> None:
        if self.long_tail is not None:
            check_profile(self.long_tail[0])
            check_imbalance(self.long_tail[1])
        if self.largest is not None and (self.long_tail is None or self.largest < 1):
            raise InputError(f"the largest class of a long tail has a whole number of rows; got {self.largest}")
        if self.noise is not None:
            check_kind(self.noise[0])
            check_rate(self.noise[1])
            if self.noise[1] == 0:
                raise InputError("a noise rate of 0 leaves every label as it is; leave the noise out, or give 0.2")
        if self.test_prior is not None:
            check_imbalance(self.test_prior[0])

    def __str__(self) -> str:
        name_of = {key: name for name, key in _FIELDS.items()}
        parts = []
        for field in ("long_tail", "noise", "test_prior"):
            if (value := getattr(self, field)) is not None:
                number, kind = value if field == "test_prior" else value[::-1]
                largest = f":{self.largest}" if field == "long_tail" and self.largest is not None else ""
                parts.append(f"{name_of[field, kind]}:{_shortest(number)}{largest}")
        return _JOINT.join(parts) or "none"


def names() -> tuple[str, ...]:
    """Every regime; all but few-labels, which is a setting of its own, can stand in the text for `parse_regime`."""
    return tuple(CATALOGUE)


def parse_regime(text: str) -> Regime:
    """The regime that a text names: `none`, or up to one long tail, one label noise and one prior shift joined by +.

    Args:
        text: Such as `long-tail:100` or `long-tail:100+label-noise:0.2`, with the names of the catalogue. A long tail
            may say how many rows its largest class has: `long-tail:100:500`.

    Returns:
        A frozen regime, whose `str` is the text in its shortest form and in a fixed order.

    Raises:
        InputError: If a name is unknown (with the nearest one), a number is missing or out of range, two of a kind are
            given, or nothing is on one side of a +.

    Example:
        >>> regime = parse_regime("label-noise:0.20+long-tail:100.0")
        >>> regime.long_tail, regime.noise
        (('exp', 100.0), ('symmetric', 0.2))
        >>> print(regime)
        long-tail:100+label-noise:0.2
    """
    if text.strip() == "none":
        return Regime()
    settings: dict[str, Any] = {}
    for part in map(str.strip, text.split(_JOINT)):
        if not part and _JOINT in text:
            raise InputError(f"regime {text!r}: a {_JOINT} stands between two regimes; nothing is on one side of it")
        name, number, largest = _name_and_numbers(part, text)
        field, kind = _FIELDS[name]
        if field in settings:
            rivals = " and ".join(one for one, key in _FIELDS.items() if key[0] == field)
            raise InputError(f"regime {text!r}: of {rivals} only one can be given, once")
        new: dict[str, Any] = {field: (number, kind) if field == "test_prior" else (kind, number)}
        if largest is not None:
            new["largest"] = largest
        settings |= new
        try:
            Regime(**new)
        except InputError as error:
            raise InputError(f"regime {part!r}: {error}") from error
    return Regime(**settings)


def _name_and_numbers(part: str, text: str) -> tuple[str, float, int | None]:
    name, _, number = (piece.strip() for piece in part.partition(":"))
    if name == "none":
        raise InputError(f"regime {text!r}: none stands alone and takes no number; leave it or the others out")
    if name == "few-labels":
        raise InputError(
            f"regime {text!r}: few labels are the study's labels per class; leave few-labels out and set those"
        )
    if name not in _FIELDS:
        raise unknown_name("regime", name, ["none", *_FIELDS])
    entry = CATALOGUE[name]
    if not number:
        raise InputError(f"{name} needs its {entry.number}: {entry.written}")
    number, colon, second = (piece.strip() for piece in number.partition(":"))
    if colon and not (entry.second and second.isdecimal()):
        takes = f"{entry.number} and, after a colon, {entry.second}" if entry.second else f"{entry.number} and no more"
        example = f"{entry.written}:500" if entry.second else entry.written
        raise InputError(f"regime {part!r}: {name} takes its {takes}: {example}")
    try:
        return name, float(number), int(second) if colon else None
    except ValueError as error:
        raise InputError(
            f"regime {part!r}: {number!r} is no number; {name} needs its {entry.number}: {entry.written}"
        ) from error


def _shortest(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else repr(float(number))
