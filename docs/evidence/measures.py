"""What the evidence is made of: one loss with one calibrator at one setting, seed by seed, and paired differences.

The studies lie beside this file, as `gence report RUN --archive` wrote them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scipy.special import stdtrit

from gence.bench.records import Cell, Estimate, Study, TrialRecord
from gence.bench.records.archive import read_study
from gence.bench.spec import read_spec
from gence.bench.stats.intervals import estimates

HERE = Path(__file__).parent
SPECS = HERE.parent.parent / "specs/evidence"
DATA = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST", "mnist": "MNIST", "mnist_pairs": "MNIST pairs"}
NETWORKS = {"small_resnet": "small ResNet", "resnet18_thin": "narrow ResNet-18"}
CHOSEN_ON = "cifar10"
"""The data set that the recipe was chosen on; it is tested on the others."""

TWINS = {"gence_prior": "gence", "logit_adjusted": "ce", "gence_balanced:strength=0.0": "label_smoothing"}
"""Losses that are others where all classes have equally many rows; the grid has only one of the two there."""

Of = Callable[[TrialRecord], float]
"""A number of a record."""


@dataclass(frozen=True)
class Place:
    """A setting of the evidence: rows and network; `study` is the archive that its records are in."""

    study: str
    data: str
    regime: str
    labels: str
    batch_size: int
    model: str

    @property
    def tail(self) -> bool:
        return self.regime.startswith("long-tail")

    @property
    def name(self) -> str:
        what = f"long tail {self.regime.split(':')[1]}" if self.tail else f"{self.labels} a class"
        batch = f", batches of {self.batch_size}" if self.data == "mnist_pairs" else ""
        return f"{DATA[self.data]}, {what}{self.network}{batch}"

    @property
    def network(self) -> str:
        """What a name ends with where the network is not the usual one."""
        return "" if self.model == "small_resnet" else f", {NETWORKS[self.model]}"


Cells = dict[tuple[Place, str], dict[int, TrialRecord]]
"""(setting, loss) -> seed -> record."""


@cache
def studies() -> tuple[Study, ...]:
    """The archives beside this file, read once."""
    return tuple(read_study(path) for path in sorted(HERE.glob("*.study.gz")))


def read() -> Cells:
    """The records of all archives at settings that are complete, in order: data set, few labels first, then tails."""
    cells: Cells = {}
    for study in studies():
        mine: Cells = {}
        for record in study.records:
            place = place_of(study.folder.name, record.cell)
            mine.setdefault((place, record.cell.loss), {})[record.cell.seed] = record
        wanted = [(loss, study.spec["seeds"]) for loss in study.spec["losses"]]
        whole = {one for one, _ in mine if all(len(mine.get((one, loss), {})) == seeds for loss, seeds in wanted)}
        cells |= {key: records for key, records in mine.items() if key[0] in whole}
    return dict(sorted(cells.items(), key=lambda item: _order(item[0][0])))


def place_of(study: str, cell: Cell) -> Place:
    """The setting of a trial of an archive."""
    return Place(study, cell.data, cell.regime, str(cell.labels_per_class), cell.batch_size, cell.model)


@dataclass(frozen=True)
class Planned:
    """A setting of a spec: the losses that are to be run there, and the suites that they are to be tested on."""

    place: Place
    losses: frozenset[str]
    suites: frozenset[str]


def planned() -> list[Planned]:
    """Every setting of every spec of the evidence, run or not."""
    found = []
    for path in sorted(SPECS.glob("*.toml")):
        spec = read_spec(path)
        suites = frozenset(name for name in ("ood", "shift") if getattr(spec.suites, name))
        for data in spec.data:
            for regime in spec.regime:
                for labels in ("all",) if regime.startswith("long-tail") else spec.labels_per_class or ():
                    for size in spec.training.batch_size:
                        for model in spec.model:
                            place = Place(f"{path.stem}.study.gz", data, regime, str(labels), size, model)
                            found.append(Planned(place, frozenset(spec.losses), suites))
    return found


def _order(place: Place) -> tuple[int, bool, int, str, int]:
    rows = int(place.regime.split(":")[1]) if place.tail else int(place.labels)
    return list(DATA).index(place.data), place.tail, rows, place.model, place.batch_size


def places(cells: Cells) -> list[Place]:
    """Every setting once, in order."""
    return list(dict.fromkeys(place for place, _ in cells))


def losses_at(cells: Cells, place: Place) -> list[str]:
    """The losses that were run at a setting, in the order of the spec."""
    return [loss for one, loss in cells if one == place]


def at(cells: Cells, place: Place, loss: str) -> dict[int, TrialRecord]:
    """The records of a loss at a setting, or of its twin where they are one and the same; empty if there are none."""
    own = cells.get((place, loss), {})
    return cells.get((place, TWINS[loss]), {}) if not own and loss in TWINS and not place.tail else own


def metric(name: str, calibrator: str = "none") -> Of:
    """A metric of the test rows under a calibrator."""
    return lambda record: record.results[calibrator].metrics[name]


def auroc(score: str = "max_softmax", calibrator: str = "none") -> Of:
    """How well a score tells the test rows from those of other sets: the mean AUROC over the sets."""

    def of(record: TrialRecord) -> float:
        sets = record.results[calibrator].ood
        return sum(scores[score]["auroc"] for scores in sets.values()) / len(sets)

    return of


def shifted(name: str, calibrator: str, severity: int) -> Of:
    """A metric of the test rows under shifts of a severity, averaged over the shifts."""

    def of(record: TrialRecord) -> float:
        found = [one for one in record.results[calibrator].shifted if one.severity == severity]
        return sum(one.metrics[name] for one in found) / len(found)

    return of


def paired(
    first: dict[int, TrialRecord], second: dict[int, TrialRecord], of: Of, other: Of | None = None
) -> list[float]:
    """`of` of the first minus `other` (or the same) of the second, over the seeds that both have."""
    other = of if other is None else other
    return [of(first[seed]) - other(second[seed]) for seed in sorted(first.keys() & second.keys())]


def mean_of(records: dict[int, TrialRecord], of: Of) -> float:
    """The mean over seeds."""
    return statistics.fmean(of(record) for record in records.values())


def interval(values: Iterable[float]) -> Estimate | None:
    """Mean and 95 % interval as in every report of gence; None for fewer than two values."""
    import numpy as np

    values = list(values)
    return estimates(np.array([values]))[0] if len(values) > 1 else None


def pooled(groups: list[list[float]]) -> Estimate | None:
    """The mean over settings of their means, its interval from the spread inside the settings: of these settings.

    Every setting has its own spread: mean -+ t(97.5 %, f) e with e, f of `error_of_pooled`.
    """
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return None
    mean = statistics.fmean(map(statistics.fmean, groups))
    error, freedom = error_of_pooled(groups)
    half = float(stdtrit(freedom, 0.975)) * error
    return Estimate(mean, mean - half, mean + half, sum(map(len, groups)))


def error_of_pooled(groups: list[list[float]]) -> tuple[float, float]:
    """The standard error e of the mean of D group means, and its degrees of freedom f after Welch and Satterthwaite.

    With v_d = s_d^2 / n_d of every group, e^2 = sum v_d / D^2 and f = (sum v_d)^2 / sum(v_d^2 / (n_d - 1)).

    Reference:
        Satterthwaite 1946, An approximate distribution of estimates of variance components.
    """
    parts = [(statistics.variance(group) / len(group), len(group) - 1) for group in groups]
    total = sum(part for part, _ in parts)
    squares = sum(part**2 / freedom for part, freedom in parts)
    # Where no value differs from its group's mean the error is 0, whatever the quantile.
    return total**0.5 / len(groups), total**2 / squares if squares > 0.0 else 1.0


def over_settings(groups: Iterable[Sequence[float]]) -> Estimate | None:
    """The mean over settings of their means, every setting one observation: it holds the luck of their tunings too."""
    return interval(statistics.fmean(group) for group in groups)


def beyond(one: Estimate, sign: int) -> bool:
    """Whether the interval lies above 0, or for a sign of -1 below."""
    return (one.low or 0.0) > 0.0 if sign > 0 else (one.high or 0.0) < 0.0
