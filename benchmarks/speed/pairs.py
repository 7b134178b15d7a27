"""Compare several ways of doing one thing: in turns, in one process, as ratios within a round.

A machine is never equally fast for long. Two ways that are timed one after the other in each round meet the same
machine, and their ratio is free of what it does from round to round.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Parts = dict[str, float]
"""Seconds by part of a step: forward, backward, both."""


def order(names: Sequence[str], turn: int) -> list[str]:
    """The order of round `turn`: everyone is first in some round, and runs after each of its neighbours."""
    start = turn // 2 % len(names) if names else 0
    turned = [*names[start:], *names[:start]]
    return turned if turn % 2 == 0 else turned[::-1]


def in_turns(
    steps: Mapping[str, Callable[[], Parts]], *, seconds: float, least: int, most: int
) -> tuple[dict[str, list[Parts]], dict[str, str]]:
    """Every step once a round until `seconds` are over, after `least` rounds and up to `most`.

    Returns:
        The parts of each step by round; and why a step failed, by name, for those that did. A step that fails takes
        no further part and has no rounds.
    """
    rounds: dict[str, list[Parts]] = {name: [] for name in steps}
    failed: dict[str, str] = {}
    started = time.perf_counter()
    for turn in range(most):
        if turn >= least and time.perf_counter() - started > seconds:
            break
        for name in order(list(rounds), turn):
            try:
                rounds[name].append(steps[name]())
            except Exception as error:
                failed[name] = reason(error)
                del rounds[name]
    return rounds, failed


def reason(error: BaseException) -> str:
    """An exception in a line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def summary(rounds: Mapping[str, Sequence[Parts]], bases: Sequence[str]) -> dict[str, dict[str, object]]:
    """Per step and part: the median in milliseconds, and the median ratio to each of `bases` with its interval."""
    return {
        name: {
            "rounds": len(own),
            **{
                part: {
                    "ms": 1e3 * statistics.median(one[part] for one in own),
                    "ratio": {
                        base: ratio([one[part] for one in own], [one[part] for one in rounds[base]])
                        for base in bases
                        if rounds.get(base)
                    },
                }
                for part in own[0]
            },
        }
        for name, own in rounds.items()
        if own
    }


def ratio(own: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """The median of the ratios within rounds, with an interval for it."""
    ratios = [a / b for a, b in zip(own, base, strict=True)]
    low, high = median_interval(ratios)
    return {"median": statistics.median(ratios), "low": low, "high": high}


def median_interval(values: Sequence[float], coverage: float = 0.95) -> tuple[float, float]:
    """Two order statistics between which the median lies in at least that share of samples, whatever the distribution.

    Of fewer than six values not even the least and the greatest are that far apart; they are what is returned then.
    """
    ordered = sorted(values)
    n, skipped, below = len(ordered), 0, 0.5 ** len(ordered)
    while 2 * (below + math.comb(n, skipped + 1) * 0.5**n) <= 1 - coverage:
        skipped += 1
        below += math.comb(n, skipped) * 0.5**n
    return ordered[skipped], ordered[n - 1 - skipped]
