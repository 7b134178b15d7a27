"""The question that was asked again, of seeds that no other study has seen; see the head of its spec."""

from __future__ import annotations

from collections.abc import Iterable

from formats import COLUMNS, change, table
from measures import HERE, Cells, beyond, interval, metric, paired

from gence.bench.records import Estimate, TrialRecord
from gence.bench.records.archive import read_study

ARCHIVE = HERE / "again/tail-fashion_mnist.study.gz"
FRESH = range(5, 15)
"""Seeds 0 to 4 raised the question."""

SHOWN = ("balanced_accuracy", "ece", "nll")


def again(_: Cells) -> str:
    """Logit adjustment minus cross-entropy, both tuned for every seed: the fresh seeds, which test, and all of them."""
    if not ARCHIVE.exists():
        return "It has not been run yet."
    study = read_study(ARCHIVE)
    if len(study.records) < study.expected:
        return "It is being run."
    fresh, whole = (differences(study.records, seeds) for seeds in (FRESH, range(FRESH.stop)))
    rows = [
        [words, *(change(found[name], *COLUMNS[name]) for name in SHOWN)]
        for words, found in ((f"{FRESH[0]} to {FRESH[-1]}, the test", fresh), ("all", whole))
    ]
    text = table(("seeds", "balanced accuracy, points", "ECE, points", "NLL"), rows)
    return f"{text}\n\nIt is {'passed' if passed(fresh) else '**not** passed'}."


def passed(found: dict[str, Estimate | None]) -> bool:
    """What the head of the spec asks: more balanced accuracy and less ECE, by intervals that exclude 0."""
    gained, ece = found["balanced_accuracy"], found["ece"]
    return gained is not None and ece is not None and beyond(gained, 1) and beyond(ece, -1)


def differences(records: Iterable[TrialRecord], seeds: range) -> dict[str, Estimate | None]:
    """Of every metric, uncalibrated, over these seeds."""
    mine: dict[str, dict[int, TrialRecord]] = {"logit_adjusted": {}, "ce": {}}
    for record in records:
        if record.cell.seed in seeds:
            mine[record.cell.loss][record.cell.seed] = record
    return {name: interval(paired(mine["logit_adjusted"], mine["ce"], metric(name))) for name in SHOWN}
