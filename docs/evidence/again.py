"""What was asked again, of seeds that no other study has seen, each tuned by itself: specs/evidence/again."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from formats import COLUMNS, change, code, table
from measures import HERE, SPECS, Cells, Place, beyond, interval, metric, paired, place_of

from gence.bench.records import Estimate, Study, TrialRecord
from gence.bench.records.archive import read_study
from gence.bench.spec import read_spec

ASKED = {
    "tail-fashion_mnist": {"logit_adjusted": ("balanced_accuracy", "ece")},
    "10-fashion_mnist": {"gence": ("balanced_accuracy",)},
    "narrow-cifar10": {"gence": ("balanced_accuracy",)},
    "tail-mnist": {"gence": ("balanced_accuracy",), "logit_adjusted": ("balanced_accuracy",)},
}
"""Spec -> loss -> where its difference to cross-entropy must exclude 0 on the better side, as the heads say; where test
rows are balanced, `balanced_accuracy` is the accuracy."""

BETTER = {"balanced_accuracy": 1, "ece": -1, "nll": -1}


def again(_: Cells) -> str:
    """Every question: the seeds that raised it are not among those that answer it."""
    heads = ("setting", "loss", "seeds", *(words for words, _ in _SHOWN.values()), "confirmed")
    rows = [row for name in ASKED for row in _rows(name)]
    return table(heads, rows)


_SHOWN = {
    "balanced_accuracy": ("accuracy, points", COLUMNS["balanced_accuracy"]),
    "ece": ("ECE, points", COLUMNS["ece"]),
    "nll": ("NLL", COLUMNS["nll"]),
}


def answers(loss: str) -> dict[Place, dict[str, Estimate]]:
    """By setting and metric what a loss changes of cross-entropy over the fresh seeds, where that was asked."""
    found = {}
    for name, asked in ASKED.items():
        study = _study(name)
        if loss in asked and study is not None:
            changes = differences(study.records, loss, fresh(name, study))
            where = place_of(study.folder.name, study.records[0].cell)
            found[where] = {of: one for of, one in changes.items() if one is not None}
    return found


@cache
def _study(name: str) -> Study | None:
    """The records of a question, None until all are there."""
    path = HERE / f"again/{name}.study.gz"
    study = read_study(path) if path.exists() else None
    return study if study is not None and len(study.records) == study.expected else None


def _rows(name: str) -> list[list[str]]:
    study = _study(name)
    if study is None:
        return [[f"`{name}`", "it is being run", *[""] * 5]]
    where = place_of(study.folder.name, study.records[0].cell).name
    rows = []
    for loss, asked in ASKED[name].items():
        for seeds in (fresh(name, study), range(study.spec["seeds"])):
            found = differences(study.records, loss, seeds)
            shown = [change(found[metric], *how) for metric, (_, how) in _SHOWN.items()]
            words = f"all {len(seeds)}" if seeds.start == 0 else f"{seeds.start} to {seeds.stop - 1}"
            verdict = "" if seeds.start == 0 else "yes" if confirmed(found, asked) else "**no**"
            rows.append([where, code(loss), words, *shown, verdict])
    return rows


def fresh(name: str, study: Study) -> range:
    """The seeds that the study which raised the question does not have."""
    return range(read_spec(SPECS / f"{name}.toml").seeds, study.spec["seeds"])


def confirmed(found: dict[str, Estimate | None], asked: Iterable[str]) -> bool:
    """Whether every difference that was asked for excludes 0 on the better side."""
    return all((one := found[name]) is not None and beyond(one, BETTER[name]) for name in asked)


def differences(records: Iterable[TrialRecord], loss: str, seeds: range) -> dict[str, Estimate | None]:
    """A loss minus cross-entropy over these seeds, uncalibrated, in every metric that is shown."""
    mine: dict[str, dict[int, TrialRecord]] = {loss: {}, "ce": {}}
    for record in records:
        if record.cell.seed in seeds and record.cell.loss in mine:
            mine[record.cell.loss][record.cell.seed] = record
    return {name: interval(paired(mine[loss], mine["ce"], metric(name))) for name in _SHOWN}
