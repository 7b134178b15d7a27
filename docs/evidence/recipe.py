"""The recipe: what the specs of CIFAR-10 choose by the rule in their heads, and the test of it on the other sets."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from measures import CHOSEN_ON, Cells, Place, at, beyond, interval, mean_of, metric, paired, places, pooled

from gence.bench.records import Estimate, TrialRecord

CANDIDATES = (
    "ce",
    "label_smoothing",
    "focal",
    "mbls",
    "mdca",
    "adafocal",
    "logit_adjusted",
    "gence_balanced:strength=0.0",
    "gence",
    "gence_moving",
    "gence_focal",
    "gence_smoothing",
    "gence_margin",
    "gence_prior",
    "gence_balanced",
)
"""Those without GenCE's term first: of two that do not differ the first is taken."""

HAS_THE_TERM = frozenset(CANDIDATES[CANDIDATES.index("gence") :])
CALIBRATORS = ("none", "temperature", "ats", "temperature_balanced")
CHOOSING = 5
"""Settings that a loss must have been run at to be chosen."""


@dataclass(frozen=True)
class Candidate:
    """A loss at the settings that the recipe is chosen on.

    Attributes:
        loss: Its name.
        nll: Mean over the settings, without calibrator.
        worse_at: Settings at which it is less accurate than cross-entropy, in the sense of the rule.
    """

    loss: str
    nll: float
    worse_at: tuple[Place, ...]


@dataclass(frozen=True)
class Choice:
    """The loss and the calibrator by the rule; `lowest` had the lowest NLL of all that may be chosen.

    `apart` is its paired NLL minus that of `loss`, where the two are not the same.
    """

    loss: str
    calibrator: str
    lowest: str
    apart: Estimate | None
    candidates: tuple[Candidate, ...]


def chosen_on(cells: Cells) -> list[Place]:
    """The settings that every candidate was run at, on the data set that is chosen on, with the small network."""
    mine = [place for place in places(cells) if place.data == CHOSEN_ON and place.model == "small_resnet"]
    return [place for place in mine if all(len(at(cells, place, loss)) > 1 for loss in CANDIDATES)]


MARGIN = 0.01
"""What the test, and the second rule, let a recipe be less accurate by."""


def choose(cells: Cells, margin: float | None = None) -> Choice | None:
    """Apply the rule; None until all its settings are there.

    Without a margin it is the rule of the specs of CIFAR-10: a loss falls out that is less accurate than cross-entropy
    somewhere by an interval that excludes 0. With one, that of the second recipe: it falls out where it is not shown to
    be no worse by that margin.
    """
    settings = chosen_on(cells)
    if len(settings) < CHOOSING:
        return None
    candidates = tuple(_candidate(cells, settings, loss, margin) for loss in CANDIDATES)
    allowed = [one for one in candidates if not one.worse_at]  # cross-entropy always is
    lowest = min(allowed, key=lambda one: one.nll).loss
    loss, apart = lowest, None
    if lowest in HAS_THE_TERM:
        for other in sorted((one for one in allowed if one.loss not in HAS_THE_TERM), key=lambda one: one.nll):
            difference = pooled([_nll(cells, place, lowest, other.loss) for place in settings])
            if difference is not None and not beyond(difference, -1):
                loss, apart = other.loss, difference
                break
    by_calibrator = {name: mean_nll(cells, settings, loss, name) for name in CALIBRATORS}
    return Choice(loss, min(by_calibrator, key=lambda name: by_calibrator[name]), lowest, apart, candidates)


def _candidate(cells: Cells, settings: list[Place], loss: str, margin: float | None) -> Candidate:
    worse = []
    for place in settings:
        one = interval(paired(at(cells, place, loss), at(cells, place, "ce"), metric("accuracy")))
        assert one is not None, "chosen_on asks for two seeds"
        if beyond(one, -1) if margin is None else (one.low or 0.0) <= -margin:
            worse.append(place)
    return Candidate(loss, mean_nll(cells, settings, loss, "none"), tuple(worse))


def _nll(cells: Cells, place: Place, first: str, second: str) -> list[float]:
    return paired(at(cells, place, first), at(cells, place, second), metric("nll"))


def mean_nll(cells: Cells, settings: list[Place], loss: str, calibrator: str) -> float:
    """The mean over settings of the mean over seeds; balanced temperature is one temperature on balanced rows."""

    def at_one(place: Place) -> float:
        name = calibrator if calibrator != "temperature_balanced" or place.tail else "temperature"
        return mean_of(at(cells, place, loss), metric("nll", name))

    return statistics.fmean(at_one(place) for place in settings)


@dataclass(frozen=True)
class Check:
    """One line of the test of a recipe at a setting: what is measured, its interval, whether it is as it must be."""

    place: Place
    what: str
    estimate: Estimate
    passed: bool
    percent: bool = True


def registered(cells: Cells) -> list[Place]:
    """The settings that the specs chose the recipe at or test it at: not those of other networks or of 100 classes."""
    return [place for place in places(cells) if place.model == "small_resnet" and place.data != "mnist_pairs"]


def check(cells: Cells, place: Place, loss: str, calibrator: str) -> list[Check]:
    """The test in the heads of the specs, at one setting; empty where the recipe was not run."""
    mine, plain = at(cells, place, loss), at(cells, place, "ce")
    if len(mine.keys() & plain.keys()) < 2:
        return []
    return _check_tail(place, mine, plain, calibrator) if place.tail else _check_few(place, mine, plain, calibrator)


def passed_uncalibrated(cells: Cells, loss: str, tail: bool) -> tuple[int, int]:
    """At how many settings of long tails, or of balanced classes, a loss does what the test asks without a calibrator.

    And at how many it was run. Both tests begin with accuracy and ECE uncalibrated.
    """
    mine = [place for place in registered(cells) if place.tail == tail and (place, loss) in cells]
    tests = [lines for place in mine if (lines := check(cells, place, loss, "none")[:2])]
    return sum(all(line.passed for line in lines) for lines in tests), len(tests)


_By = dict[int, TrialRecord]


def _check_tail(place: Place, mine: _By, plain: _By, calibrator: str) -> list[Check]:
    lines = []
    for own, theirs, when in (("none", "none", "uncalibrated"), (calibrator, _better_of(plain), "calibrated")):
        for name, sign in (("balanced_accuracy", 1), ("ece", -1)):
            one = interval(paired(mine, plain, metric(name, own), metric(name, theirs)))
            assert one is not None
            lines.append(Check(place, f"{_WORDS[name]}, {when}", one, beyond(one, sign)))
    return lines


def _check_few(place: Place, mine: _By, plain: _By, calibrator: str) -> list[Check]:
    own = "temperature" if calibrator == "temperature_balanced" else calibrator
    accuracy = interval(paired(mine, plain, metric("accuracy")))
    half = interval(paired(mine, plain, metric("ece"), lambda record: metric("ece")(record) / 2))
    nll = interval(paired(mine, plain, metric("nll", own), metric("nll", "temperature")))
    ece = interval(paired(mine, plain, metric("ece", own), metric("ece", "temperature")))
    if accuracy is None or half is None or nll is None or ece is None:
        return []
    return [
        Check(place, "accuracy, no worse by a point", accuracy, (accuracy.low or 0.0) > -MARGIN),
        Check(place, "ECE minus half of cross-entropy's", half, beyond(half, -1)),
        Check(place, "NLL, both calibrated, no worse", nll, not beyond(nll, 1), percent=False),
        Check(place, "ECE, both calibrated, no worse", ece, not beyond(ece, 1)),
    ]


_FOR_TAILS = ("temperature", "temperature_balanced")
_WORDS = {"balanced_accuracy": "balanced accuracy", "ece": "ECE"}


def _better_of(plain: _By) -> str:
    """Of one temperature and balanced temperature the one with which cross-entropy has the lower NLL there."""
    by_name = {name: sum(metric("nll", name)(one) for one in plain.values()) for name in _FOR_TAILS}
    return min(by_name, key=lambda name: by_name[name])
