"""How the losses stand over all settings: ranks, the matrix of wins, and the pooled difference to cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gence.bench.records import CONTRASTED, HIGH_IS_BETTER, Contrast, Estimate, Pooled, Standing
from gence.bench.stats.contrasts import pairwise
from gence.bench.stats.grid import Scores
from gence.bench.stats.intervals import estimates, within_groups
from gence.bench.stats.paired import ALPHA, holm, signed_rank
from gence.bench.stats.power import detectable_effect
from gence.bench.stats.ranking import cliques, critical_difference, friedman, ranks

FEWEST_DATA_SETS = 5
"""From so many on the data sets are the units that a pooled difference is taken over, below it the settings."""


def standings(scored: Sequence[Scores], contrasts: Sequence[Contrast]) -> tuple[Standing, ...]:
    """One a metric of `CONTRASTED` and calibrator. `contrasts` are those of the same study."""
    by_family: dict[tuple[str, str], list[Contrast]] = {}
    for contrast in contrasts:
        by_family.setdefault((contrast.metric, contrast.calibrator), []).append(contrast)
    standing: dict[tuple[str, str], Standing] = {}
    for calibrator in dict.fromkeys(one.calibrator for one in scored):
        losses, shared = _shared([one for one in scored if one.calibrator == calibrator])
        means = np.stack([one.means(losses) for one in shared])
        matrix = pairwise(shared, losses)
        for metric, name in enumerate(CONTRASTED):
            pooled = pool(by_family.get((name, calibrator), []))
            standing[name, calibrator] = _standing(name, calibrator, losses, means[:, metric], matrix[metric], pooled)
    return tuple(standing[key] for key in sorted(standing, key=lambda key: CONTRASTED.index(key[0])))


def _shared(scored: Sequence[Scores]) -> tuple[tuple[str, ...], list[Scores]]:
    """The losses that can be ranked and the settings that all of them were run at.

    All losses, if there is such a setting; else those left when the loss that was run at the fewest settings is put
    aside until there is one.
    """
    runs: dict[str, int] = {}
    for one in scored:
        for loss in one.losses:
            runs[loss] = runs.get(loss, 0) + 1
    kept = list(runs)
    while not (shared := [one for one in scored if set(kept) <= set(one.losses)]):
        kept.remove(min(reversed(kept), key=lambda loss: runs[loss]))
    return tuple(kept), shared


def _standing(
    metric: str,
    calibrator: str,
    losses: tuple[str, ...],
    means: np.ndarray,
    matrix: np.ndarray,
    pooled: tuple[Pooled, ...],
) -> Standing:
    """Put the losses in the order of their ranks; `means` is settings by losses, `matrix` losses by losses by 3."""
    mean_ranks = ranks(means, high_is_better=metric in HIGH_IS_BETTER).mean(axis=0)
    order = np.argsort(mean_ranks, kind="stable")
    ordered = tuple(losses[place] for place in order)
    critical = critical_difference(len(losses), len(means))
    groups = () if critical is None else cliques(mean_ranks[order].tolist(), critical)
    return Standing(
        metric=metric,
        calibrator=calibrator,
        losses=ordered,
        ranks=tuple(mean_ranks[order].tolist()),
        settings=len(means),
        friedman_p=friedman(means),
        critical_difference=critical,
        cliques=tuple(tuple(ordered[place] for place in group) for group in groups),
        matrix=tuple(tuple((int(won), int(tied), int(lost)) for won, tied, lost in matrix[i, order]) for i in order),
        pooled=pooled,
    )


def pool(contrasts: Sequence[Contrast]) -> tuple[Pooled, ...]:
    """The contrasts of one metric and calibrator, pooled over settings for every loss.

    The units are the data sets, each with the mean over its settings, if a loss has `FEWEST_DATA_SETS` of them: what
    the settings of one data set share is then a part of the spread between units. Only units are resampled, never what
    is in them, as Davison and Hinkley advise. Otherwise the units are the settings, the interval is Student's t from
    their spread inside the data sets, and it speaks of these data sets only.

    Reference:
        Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    """
    by_loss: dict[str, list[Contrast]] = {}
    for contrast in contrasts:
        by_loss.setdefault(contrast.loss, []).append(contrast)
    by_data = {loss: _by_data(own) for loss, own in by_loss.items()}
    units = {loss: _units(means) for loss, means in by_data.items()}
    p = {loss: _p(values) for loss, values in units.items()}
    tested = [loss for loss, one in p.items() if one is not None]
    adjusted = dict(zip(tested, holm(np.array([p[loss] for loss in tested], dtype=float)).tolist(), strict=True))
    return tuple(
        Pooled(
            loss=loss,
            estimate=_estimate(by_data[loss]),
            p_wilcoxon=p[loss],
            p_holm=adjusted.get(loss),
            wins=sum(contrast.outcome == "win" for contrast in own),
            ties=sum(contrast.outcome == "tie" for contrast in own),
            losses=sum(contrast.outcome == "loss" for contrast in own),
            detectable=_detectable(units[loss], len(tested)),
        )
        for loss, own in by_loss.items()
    )


def _by_data(contrasts: Sequence[Contrast]) -> list[list[float]]:
    """The mean differences at the settings of each data set."""
    found: dict[str, list[float]] = {}
    for one in contrasts:
        found.setdefault(one.setting.data, []).append(one.estimate.mean)
    return list(found.values())


def _units(by_data: list[list[float]]) -> np.ndarray:
    if len(by_data) < FEWEST_DATA_SETS:
        return np.array([mean for means in by_data for mean in means])
    return np.array([float(np.mean(means)) for means in by_data])


def _estimate(by_data: list[list[float]]) -> Estimate:
    if len(by_data) < FEWEST_DATA_SETS and sum(map(len, by_data)) > len(by_data):
        return within_groups(by_data)
    return estimates(_units(by_data)[None])[0]


def _p(units: np.ndarray) -> float | None:
    """None where not even units that all agree could come to 5 %."""
    return None if _least_p(len(units)) > ALPHA else float(signed_rank(units[None])[0])


def _least_p(units: int) -> float:
    """The least p that the signed-rank test of so many units can give: all of one sign."""
    return 2.0 ** (1 - units)


def _detectable(units: np.ndarray, comparisons: int) -> float | None:
    """None where units that all agree could not withstand Holm's correction, so that no difference is large enough."""
    n = len(units)
    if not comparisons or _least_p(n) * comparisons > ALPHA:
        return None
    return detectable_effect(n, comparisons=comparisons) * float(units.std(ddof=1)) / n**0.5
