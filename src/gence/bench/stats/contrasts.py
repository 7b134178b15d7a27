"""Every loss against cross-entropy at every setting, and every loss against every other: paired, tested, corrected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from gence.bench.records import CONTRASTED, HIGH_IS_BETTER, Contrast, Estimate, Outcome
from gence.bench.stats.grid import BASELINE, Scores
from gence.bench.stats.intervals import estimates
from gence.bench.stats.paired import ALPHA, corrected_t, holm, signed_rank
from gence.bench.stats.power import detectable_effect


def contrasts(scored: Sequence[Scores]) -> tuple[Contrast, ...]:
    """Every loss but cross-entropy against it, in the order of the settings, calibrators, metrics and losses.

    Holm's correction is over the losses of one metric, calibrator and setting, and once more over all settings
    together: only that one keeps the claims of a whole study at 5 %. A loss that shares no seed with cross-entropy has
    no contrast.
    """
    held = [
        (one, loss, differences)
        for one in scored
        if BASELINE in one.losses
        for loss in one.losses
        if loss != BASELINE and (differences := one.differences(loss, BASELINE)).size
    ]
    blocks = [differences for _, _, differences in held]
    overlaps = [one.overlap for one, _, _ in held]
    found_estimates = _estimates(blocks)
    p_t, p_wilcoxon = _p_t(blocks, overlaps), _p_wilcoxon(blocks)
    families: dict[tuple[int, int], list[int]] = {}
    for place, (one, _, _) in enumerate(held):
        for metric in range(len(CONTRASTED)):
            families.setdefault((id(one), metric), []).append(place)
    of_study = _over_all_settings([one.calibrator for one, _, _ in held], p_t)
    found = []
    for (_, metric), places in families.items():
        tested = [place for place in places if not np.isnan(p_t[place, metric])]
        adjusted = dict(zip(tested, holm(p_t[tested, metric]).tolist(), strict=True))
        for place in places:
            one, loss, differences = held[place]
            found.append(
                Contrast(
                    metric=CONTRASTED[metric],
                    loss=loss,
                    calibrator=one.calibrator,
                    setting=one.setting,
                    estimate=found_estimates[place][metric],
                    p_t=_or_none(p_t[place, metric]),
                    p_wilcoxon=_or_none(p_wilcoxon[place, metric]),
                    p_holm=adjusted.get(place),
                    p_study=_or_none(of_study[place, metric]),
                    outcome=outcome(CONTRASTED[metric], found_estimates[place][metric].mean, adjusted.get(place)),
                    detectable=_detectable(differences[metric], one.overlap, len(tested)),
                )
            )
    return tuple(found)


def _over_all_settings(calibrators: Sequence[str], p: np.ndarray) -> np.ndarray:
    """Holm's correction over all blocks of a calibrator, metric by metric; NaN stays."""
    adjusted = np.full_like(p, np.nan)
    for calibrator in dict.fromkeys(calibrators):
        own = np.array([one == calibrator for one in calibrators])
        for metric in range(p.shape[1]):
            tested = own & ~np.isnan(p[:, metric])
            adjusted[tested, metric] = holm(p[tested, metric])
    return adjusted


def outcome(metric: str, difference: float, p: float | None) -> Outcome:
    """What a mean difference in `metric` with a corrected p comes to for its first side."""
    if p is None or p > ALPHA or difference == 0.0:
        return "tie"
    return "win" if (difference > 0) == (metric in HIGH_IS_BETTER) else "loss"


def pairwise(scored: Sequence[Scores], losses: Sequence[str]) -> np.ndarray:
    """How often each of `losses` beats, ties with and loses to each other over `scored`, which all have them.

    Holm's correction is over all pairs of them at one setting, in one metric.

    Returns:
        `(CONTRASTED, losses, losses, 3)`: wins, ties and losses of the row's against the column's; zeros on the
        diagonal.
    """
    pairs = list(combinations(range(len(losses)), 2))
    counts = np.zeros((len(CONTRASTED), len(losses), len(losses), 3), dtype=int)
    blocks = [one.differences(losses[i], losses[j]) for one in scored for i, j in pairs]
    p = _p_t(blocks, [one.overlap for one in scored for _ in pairs])
    for start in range(0, len(blocks), len(pairs) or 1):
        for metric, name in enumerate(CONTRASTED):
            family = p[start : start + len(pairs), metric]
            tested = ~np.isnan(family)
            family[tested] = holm(family[tested])
            for (i, j), block, adjusted in zip(pairs, blocks[start:], family, strict=False):
                mean = float(block[metric].mean()) if block.size else 0.0
                place = ("win", "tie", "loss").index(outcome(name, mean, _or_none(adjusted)))
                counts[metric, i, j, place] += 1
                counts[metric, j, i, 2 - place] += 1
    return counts


def _by_length(blocks: Sequence[np.ndarray]) -> Iterable[tuple[list[int], np.ndarray]]:
    """The blocks (metrics by seeds) that have the same number of seeds, at least one: places, and rows end to end."""
    groups: dict[int, list[int]] = {}
    for place, block in enumerate(blocks):
        groups.setdefault(block.shape[1], []).append(place)
    for n, places in groups.items():
        if n:
            yield places, np.concatenate([blocks[place] for place in places])


def _estimates(blocks: Sequence[np.ndarray]) -> list[list[Estimate]]:
    found: list[list[Estimate]] = [[] for _ in blocks]
    for places, rows in _by_length(blocks):
        made = iter(estimates(rows))
        for place in places:
            found[place] = [next(made) for _ in CONTRASTED]
    return found


def _p_t(blocks: Sequence[np.ndarray], overlaps: Sequence[float]) -> np.ndarray:
    """Blocks by metrics; NaN with fewer than two seeds."""
    p = np.full((len(blocks), len(CONTRASTED)), np.nan)
    for places, rows in _by_length(blocks):
        if rows.shape[1] > 1:
            overlap = np.repeat([overlaps[place] for place in places], len(CONTRASTED))
            p[places] = corrected_t(rows, overlap=overlap).reshape(len(places), -1)
    return p


def _p_wilcoxon(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Blocks by metrics; NaN with fewer than two seeds."""
    p = np.full((len(blocks), len(CONTRASTED)), np.nan)
    for places, rows in _by_length(blocks):
        if rows.shape[1] > 1:
            p[places] = signed_rank(rows).reshape(len(places), -1)
    return p


def _detectable(differences: np.ndarray, overlap: float, comparisons: int) -> float | None:
    n = len(differences)
    if n < 2:
        return None
    error = float(differences.std(ddof=1)) * math.sqrt(1 / n + overlap / (1 - overlap))
    return detectable_effect(n, comparisons=comparisons) * error


def _or_none(p: float) -> float | None:
    return None if np.isnan(p) else float(p)
