"""A row for every promise and concession of the paper: what was measured, and whether it held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from measures import (
    Cells,
    Of,
    Place,
    at,
    auroc,
    beyond,
    error_of_pooled,
    interval,
    metric,
    over_settings,
    paired,
    places,
    planned,
    pooled,
    shifted,
)

from gence.bench.records import Estimate
from gence.bench.stats.power import detectable_effect

Verdict = Literal["held", "held here", "not held", "not measured"]
POINT = 0.01


@dataclass(frozen=True)
class Promise:
    """A claim about a difference, first minus second, at the settings where it is made.

    Attributes:
        text: What the paper says.
        measure: What was measured of it, in words.
        first: (loss, what of it).
        second: (loss, what of it).
        sign: +1 if the first is promised to be higher, -1 if lower.
        where: The settings that it is about.
        margin: What the first may be worse by where no more than parity is promised; None where it is to be better.
        suite: "ood" or "shift" if it is measured there, else empty.
        unit: What the numbers are multiplied by, and called.
    """

    text: str
    measure: str
    first: tuple[str, Of]
    second: tuple[str, Of]
    sign: int
    where: Callable[[Place], bool] = lambda place: True
    margin: float | None = None
    suite: str = ""
    unit: tuple[float, str] = (100.0, "points")


@dataclass(frozen=True)
class Row:
    """What became of a promise; `wins` and `losses` are settings whose own interval excludes 0, of `settings`.

    `planned` is how many settings it is to be measured at: with fewer the verdict is one so far. The interval of
    `effect` comes from the spread over seeds inside the settings, that of `beyond_these` from the spread over settings,
    each of which has a tuning of its own: it holds the luck of the tunings too.
    """

    promise: Promise
    verdict: Verdict
    effect: Estimate | None
    beyond_these: Estimate | None
    settings: int
    planned: int
    wins: int
    losses: int
    detectable: float | None
    studies: tuple[str, ...]


def _few(place: Place) -> bool:
    return not place.tail and place.data != "mnist_pairs"


def _tail(place: Place) -> bool:
    return place.tail


def _many(place: Place) -> bool:
    return place.data == "mnist_pairs"


_ACCURACY, _BALANCED, _ECE, _NLL = metric("accuracy"), metric("balanced_accuracy"), metric("ece"), metric("nll")
_AUROC = auroc()

PROMISES = (
    Promise("better accuracy than cross-entropy", "accuracy, all settings", ("gence", _ACCURACY), ("ce", _ACCURACY), 1),
    Promise("better calibrated", "ECE, uncalibrated, all settings", ("gence", _ECE), ("ce", _ECE), -1),
    Promise(
        "more from few labels", "accuracy, 10 to 250 labels a class", ("gence", _ACCURACY), ("ce", _ACCURACY), 1, _few
    ),
    Promise("better under long tails", "balanced accuracy, tails", ("gence", _BALANCED), ("ce", _BALANCED), 1, _tail),
    Promise("better under long tails", "NLL, tails", ("gence", _NLL), ("ce", _NLL), -1, _tail, unit=(1.0, "nats")),
    Promise(
        "detects rows from elsewhere better",
        "AUROC of the maximum softmax",
        ("gence", _AUROC),
        ("ce", _AUROC),
        1,
        suite="ood",
    ),
    Promise(
        "with ATS calibrated on a par with focal variants",
        "ECE, both with ATS, against focal loss; on a par: no more than a point higher",
        ("gence", metric("ece", "ats")),
        ("focal", metric("ece", "ats")),
        -1,
        margin=POINT,
    ),
    Promise(
        "with ATS calibrated on a par with focal variants",
        "ECE, both with ATS, against AdaFocal; on a par: no more than a point higher",
        ("gence", metric("ece", "ats")),
        ("adafocal", metric("ece", "ats")),
        -1,
        margin=POINT,
    ),
    Promise(
        "concedes: behind focal variants where classes are many and hard",
        "NLL, 100 classes, against focal loss",
        ("gence", _NLL),
        ("focal", _NLL),
        1,
        _many,
        unit=(1.0, "nats"),
    ),
    Promise(
        "concedes: ATS may fail under shift",
        "ECE of GenCE at severity 5, ATS against one temperature",
        ("gence", shifted("ece", "ats", 5)),
        ("gence", shifted("ece", "temperature", 5)),
        1,
        suite="shift",
    ),
)


def judge(cells: Cells, promise: Promise) -> Row:
    """Measure a promise at every setting that it is about and that both sides were run at."""
    groups, studies = [], []
    for place in places(cells):
        first, second = at(cells, place, promise.first[0]), at(cells, place, promise.second[0])
        if not promise.where(place) or not _measured(first, promise) or not _measured(second, promise):
            continue
        groups.append(paired(first, second, promise.first[1], promise.second[1]))
        studies.append(place.study)
    effect = pooled(groups)
    over = over_settings(groups)
    alone = [one for group in groups if (one := interval(group)) is not None]
    better, worse = (sum(beyond(one, way * promise.sign) for one in alone) for way in (1, -1))
    return Row(
        promise,
        _verdict(promise, effect, over),
        effect,
        over,
        len(alone),
        _planned(promise),
        better,
        worse,
        None if effect is None else _detectable(groups),
        tuple(dict.fromkeys(studies)),
    )


def _planned(promise: Promise) -> int:
    sides = {promise.first[0], promise.second[0]}
    fitting = [one for one in planned() if promise.where(one.place) and sides <= one.losses]
    return len([one for one in fitting if not promise.suite or promise.suite in one.suites])


def _measured(records: dict, promise: Promise) -> bool:
    """Whether the suites that a promise is about were run at a setting."""
    try:
        return len(records) > 1 and all(promise.first[1](record) is not None for record in records.values())
    except (KeyError, ZeroDivisionError):
        return False


def _verdict(promise: Promise, effect: Estimate | None, over: Estimate | None) -> Verdict:
    if effect is None or effect.low is None:
        return "not measured"
    if not _is_shown(promise, effect):
        return "not held"
    return "held" if over is not None and _is_shown(promise, over) else "held here"


def _is_shown(promise: Promise, one: Estimate) -> bool:
    """Whether an interval lies where the promise says: beyond 0, or within the margin where parity is promised."""
    if promise.margin is None:
        return beyond(one, promise.sign)
    worst = one.low if promise.sign > 0 else -(one.high or 0.0)
    return (worst or 0.0) > -promise.margin


def _detectable(groups: list[list[float]]) -> float:
    """The true mean over these settings that would have been found in 80 of 100 studies like these."""
    error, freedom = error_of_pooled([group for group in groups if len(group) > 1])
    return detectable_effect(int(freedom) + 1) * error
