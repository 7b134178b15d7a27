"""How often the intervals cover and the tests claim in vain, on simulated studies; see docs/statistics.md.

`python benchmarks/study_statistics.py` writes study_statistics.csv beside itself, with a standard error for every
share; some minutes of one core. `--repeats` makes it shorter, `--only` runs one part.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from gence.bench.records import (
    CONTRASTED,
    METRICS,
    RECORD_VERSION,
    CalibratorResult,
    Cell,
    PerClass,
    Reliability,
    Study,
    Summary,
    TrialRecord,
)
from gence.bench.stats import summarize
from gence.bench.stats.intervals import RESAMPLES, bootstrap_t_interval, mean_interval, student_interval
from gence.bench.stats.paired import ALPHA, corrected_t
from gence.bench.stats.power import detectable_effect

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Interval = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

SHAPES: dict[str, Draw] = {
    "normal": lambda random, size: random.normal(size=size),
    "gamma of shape 4": lambda random, size: random.gamma(4, size=size) - 4,
    "exponential": lambda random, size: random.exponential(size=size) - 1,
    "log-normal": lambda random, size: random.lognormal(size=size) - math.exp(0.5),
    "Laplace": lambda random, size: random.laplace(size=size),
    "t with 3 degrees": lambda random, size: random.standard_t(3, size=size),
}
"""Differences of mean zero: symmetric, skewed more and more, and heavy-tailed."""

SEEDS = (3, 5, 10, 20, 30)


@dataclass(frozen=True)
class Finding:
    """The share of `repeats` simulations in which something happened."""

    part: str
    case: str
    n: int
    what: str
    share: float
    repeats: int

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.share * (1 - self.share) / self.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--repeats", type=int, default=2000, help="simulated samples a case; fewer whole studies (default 2000)"
    )
    parser.add_argument("--only", choices=list(PARTS), help="run this part alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    findings: list[Finding] = []
    for name, part in PARTS.items():
        if args.only in (None, name):
            for finding in part(np.random.default_rng(args.seed), args.repeats):
                findings.append(finding)
                share = f"{100 * finding.share:6.1f} +- {100 * finding.standard_error:.1f} %"
                print(f"{finding.part:10} {finding.case:44} n {finding.n:2}  {finding.what:34} {share}", flush=True)
    with args.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["part", "case", "n", "what", "share", "standard_error", "repeats"])
        for f in findings:
            writer.writerow([f.part, f.case, f.n, f.what, f"{f.share:.4f}", f"{f.standard_error:.4f}", f.repeats])


def intervals(random: np.random.Generator, repeats: int) -> Iterator[Finding]:
    """How often each interval of a mean covers it; "chosen" is the one that the library gives."""
    methods: dict[str, Interval] = {
        "chosen": mean_interval,
        "Student's t": student_interval,
        "bootstrap-t": bootstrap_t_interval,
        "percentile bootstrap": percentile_interval,
        "BCa bootstrap": bca_interval,
    }
    for shape, draw in SHAPES.items():
        for n in SEEDS:
            samples = draw(random, (repeats, n))
            for method, interval in methods.items():
                low, high = in_parts(interval, samples)
                yield Finding("intervals", shape, n, f"{method} covers", float(covers(low, high).mean()), repeats)


def in_parts(interval: Interval, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ends = [interval(samples[start : start + 500]) for start in range(0, len(samples), 500)]
    return np.concatenate([low for low, _ in ends]), np.concatenate([high for _, high in ends])


def covers(low: np.ndarray, high: np.ndarray, truth: float = 0.0) -> np.ndarray:
    return (low <= truth) & (truth <= high)


def percentile_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the library does not use: the quantiles of the resampled means."""
    found = stats.bootstrap((values,), np.mean, axis=1, n_resamples=RESAMPLES, method="percentile", rng=0)
    return found.confidence_interval.low, found.confidence_interval.high


def bca_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the library does not use: the same, corrected for bias and acceleration."""
    found = stats.bootstrap((values,), np.mean, axis=1, n_resamples=RESAMPLES, method="BCa", rng=0)
    return found.confidence_interval.low, found.confidence_interval.high


def studies(random: np.random.Generator, repeats: int) -> Iterator[Finding]:
    """Whole studies, in which the losses truly differ: the intervals of the contrasts and of the pooled differences.

    The difference of a loss to cross-entropy is an effect of the data set, one of the setting, and the seed's noise,
    all of standard deviation 1. With few data sets the truth is the mean over these very data sets.
    """
    repeats = max(1, repeats // 8)
    n, settings, losses = 3, 3, 2
    for data_sets, shape in ((1, "normal"), (3, "normal"), (5, "normal"), (11, "normal"), (11, "exponential")):
        at_settings, pooled = [], []
        for _ in range(repeats):
            by_data = SHAPES[shape](random, (data_sets, 1, losses))
            truth = by_data + SHAPES[shape](random, (data_sets, settings, losses))
            values = random.normal(size=(data_sets, settings, losses + 1, n)) / math.sqrt(2)
            values[:, :, 1:] += truth[..., None]
            summary = summarize(study_of(values))
            for one in summary.contrasts:
                if one.metric == "nll":
                    place = int(one.setting.data), int(one.setting.batch_size) - 1, int(one.loss) - 1
                    at_settings.append(inside(one.estimate, float(truth[place])))
            for standing in summary.standings:
                if standing.metric == "nll":
                    for one in standing.pooled:
                        mean = 0.0 if data_sets >= 5 else float(by_data[:, 0, int(one.loss) - 1].mean())
                        pooled.append(inside(one.estimate, mean))
        case = f"{data_sets} data sets of {settings} settings, {shape} effects"
        yield Finding("studies", case, n, "a contrast covers", float(np.mean(at_settings)), len(at_settings))
        yield Finding("studies", case, n, "a pooled difference covers", float(np.mean(pooled)), len(pooled))


def inside(estimate: Any, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def null(random: np.random.Generator, repeats: int) -> Iterator[Finding]:
    """Whole studies of losses that do not differ: how often something is claimed.

    There are data sets enough for the pooled test of four losses to claim anything at all.
    """
    repeats = max(1, repeats // 2)
    data_sets, losses = 9, 5
    cases = (("normal", 3), ("normal", 5), ("normal", 10), ("exponential", 5), ("t with 3 degrees", 5))
    for shape, n in cases:
        claims: dict[str, list[float]] = {}
        for _ in range(repeats):
            values = SHAPES[shape](random, (data_sets, 1, losses, n))
            values += random.normal(size=(data_sets, 1, 1, n))  # what the losses share of a seed
            for what, share in _claims(summarize(study_of(values))).items():
                claims.setdefault(what, []).append(share)
        case = f"{losses} losses, {data_sets} data sets, {shape}"
        for what, shares in claims.items():
            # The settings of these studies have nothing in common, so that each is a family by itself.
            families = repeats * data_sets if what == "any claim at a setting" else repeats
            yield Finding("null", case, n, what, float(np.mean(shares)), families)


def _claims(summary: Summary) -> dict[str, float]:
    """Of metric NLL: by what claims, whether it does, or the share of settings at which it does."""
    contrasts = [one for one in summary.contrasts if one.metric == "nll"]
    settings = {one.setting for one in contrasts}
    claimed = {one.setting for one in contrasts if one.outcome != "tie"}
    (standing,) = [one for one in summary.standings if one.metric == "nll"]
    assert standing.critical_difference is not None
    return {
        "any claim at a setting": len(claimed) / len(settings),
        "any claim at any of the settings": float(bool(claimed)),
        "any claim after Holm over all settings": float(any((one.p_study or 1.0) <= ALPHA for one in contrasts)),
        "any pooled claim": float(any(p.p_holm is not None and p.p_holm <= ALPHA for p in standing.pooled)),
        "any pair told apart by Nemenyi": float(standing.ranks[-1] - standing.ranks[0] >= standing.critical_difference),
        "Friedman's test claims": float(standing.friedman_p is not None and standing.friedman_p <= ALPHA),
    }


def rows(random: np.random.Generator, repeats: int) -> Iterator[Finding]:
    """Two learners that are equals in the population, trained and tested on rows of one pool: the two t-tests.

    Nearest class means, each learner with its own half of exchangeable features, so that neither is better. Seeds draw
    training and test rows from a pool of 600, or training rows only where 180 test rows are the source's own.
    """
    repeats = max(1, repeats // 2)
    pool, test = 600, 180
    cases = ((420, "all 420 labels", False), (20, "20 labels of 420", False), (20, "20 labels of 420", True))
    for labels, name, own in cases:
        for n in (5, 10, 30):
            found = np.array([_differences(random, pool, test, labels, n, own) for _ in range(repeats)])
            case = f"{name}, {'its own' if own else 'drawn'} test rows"
            tests = {
                "plain t": corrected_t(found),
                "corrected, test over pool": corrected_t(found, overlap=test / pool),
                "corrected, test over training": corrected_t(found, overlap=test / (test + labels)),
            }
            for what, p in tests.items():
                yield Finding("rows", case, n, f"{what} claims", float((p <= ALPHA).mean()), repeats)


def _differences(
    random: np.random.Generator, pool: int, test: int, labels: int, n: int, own: bool, *, features: int = 5
) -> np.ndarray:
    """Accuracy of one learner minus that of the other, seed by seed, on one pool drawn from the population."""
    target = np.where(random.random(pool) < 0.5, 1.0, -1.0)
    inputs = 0.3 * target[:, None] + random.normal(size=(pool, 2 * features))
    found = []
    for _ in range(n):
        order = np.concatenate([np.arange(test), test + random.permutation(pool - test)]) if own else None
        order = random.permutation(pool) if order is None else order
        tested, trained = order[:test], order[test : test + labels]
        weights = (target[trained, None] * inputs[trained]).mean(axis=0)
        margins = target[tested, None] * inputs[tested] * weights
        right = margins.reshape(test, 2, features).sum(axis=2) > 0
        found.append(right[:, 0].mean() - right[:, 1].mean())
    return np.array(found)


def power(random: np.random.Generator, repeats: int) -> Iterator[Finding]:
    """How often the difference that is said to be detectable is found, in a family of four with three null losses."""
    repeats = max(1, repeats // 4)
    for n in (3, 5, 10, 20):
        shift = detectable_effect(n, comparisons=4) / math.sqrt(n)
        won = 0
        for _ in range(repeats):
            values = random.normal(size=(1, 1, 5, n)) / math.sqrt(2)
            values[:, :, 1] -= shift
            won += any(
                one.outcome == "win" and one.loss == "1" and one.metric == "nll"
                for one in summarize(study_of(values)).contrasts
            )
        yield Finding("power", "5 losses, one of them better", n, "it is found", won / repeats, repeats)


PARTS: dict[str, Callable[[np.random.Generator, int], Iterator[Finding]]] = {
    "intervals": intervals,
    "studies": studies,
    "null": null,
    "rows": rows,
    "power": power,
}


def study_of(values: np.ndarray) -> Study:
    """A study whose metrics are all `values` (data sets, settings, losses, seeds); the first loss is cross-entropy."""
    places = np.ndindex(*values.shape)
    records = tuple(_record(place, float(values[place])) for place in places)
    return Study(Path(), {}, len(records), records)


def _record(place: Sequence[int], value: float) -> TrialRecord:
    data, setting, loss, seed = place
    result = CalibratorResult.model_construct(
        metrics=dict.fromkeys((*METRICS, *CONTRASTED), value),
        reliability=Reliability.model_construct(counts=(1,), confidence_sums=(1.0,), correct_counts=(1,)),
        per_class=PerClass.model_construct(rows=(), correct=(), nll=(), confidence=(), predicted=()),
        shifted=(),
        ood={},
        fitted={},
        remarks=(),
        seconds=0.0,
    )
    cell = Cell(
        data=str(data),
        regime="none",
        model="net",
        loss="ce" if loss == 0 else str(loss),
        labels_per_class="all",
        batch_size=setting + 1,
        seed=seed,
    )
    return TrialRecord.model_construct(
        version=RECORD_VERSION,
        key="",
        spec_hash="",
        cell=cell,
        training={},
        tuning=None,
        data={"test_split": "own"},
        results={"none": result},
        seconds={"train": 1.0},
        environment={},
        finished_at="",
        logits_file="",
    )


if __name__ == "__main__":
    main()
