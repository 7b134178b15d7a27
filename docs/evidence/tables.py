"""The tables of the evidence as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ablation import WITHOUT, added
from formats import COLUMNS, MINUS, SHOWN, change, code, difference, ends, number, stacked, table
from measures import (
    DATA,
    Cells,
    Place,
    at,
    losses_at,
    mean_of,
    metric,
    paired,
    places,
    planned,
    pooled,
    studies,
)
from promises import PROMISES, Row, judge
from recipe import CANDIDATES
from running_time import cost
from same_recipe import against_ce

from gence.bench.records import TrialRecord
from gence.report.names import listed


def promises(cells: Cells) -> str:
    """A row for every promise and concession."""
    heads = (
        "the paper says; measured",
        "verdict",
        "effect (95 %)",
        "settings: as it says, undecided, the opposite",
        "n; specs",
    )
    return table(heads, [*(_promise(judge(cells, promise)) for promise in PROMISES), cost()])


def _promise(row: Row) -> list[str]:
    promise, (factor, unit) = row.promise, row.promise.unit
    decimals = 3 if unit == "nats" else 1
    says = f"{promise.text};<br>{promise.measure}"
    if row.effect is None or row.detectable is None:
        return [says, "not measured", *[""] * 3]
    ties = row.settings - row.wins - row.losses
    effect = f"{change(row.effect, factor, decimals)} {unit}"
    if row.beyond_these is not None:
        effect += f"<br>over settings {ends(row.beyond_these, factor, decimals)}"
    return [
        says,
        f"**{row.verdict}**" + (" so far" if row.settings < row.planned else ""),
        f"{effect}<br>detectable {number(row.detectable * factor, decimals)}",
        f"{row.wins}, {ties}, {row.losses}",
        f"{row.effect.seeds} in {row.settings} of {row.planned} settings;<br>{specs(row.studies)}",
    ]


def specs(studies: Sequence[str]) -> str:
    """The specs of archives, those of one data set as a shell would write them: `{10,tail}-cifar10`."""
    by_data: dict[str, list[str]] = {}
    for name in studies:
        first, dash, data = name.removesuffix(".study.gz").partition("-")
        by_data.setdefault(dash + data, []).append(first)
    words = (f"{{{','.join(parts)}}}" if len(parts) > 1 else parts[0] for parts in by_data.values())
    return ", ".join(f"`{word}{data}`" for word, data in zip(words, by_data, strict=True))


SHORT = {
    "gence": "GenCE",
    "logit_adjusted": "logit adjustment",
    "gence_balanced:strength=0.0": "smoothed logit adjustment",
}


def short(cells: Cells) -> str:
    """Settings of a kind in a line: tuned cross-entropy, and what three losses change of it, without calibrator."""
    heads = [
        "",
        "cross-entropy, %",
        *(f"{words}, points" for words in SHORT.values()),
    ]
    kinds: dict[tuple[str, bool, str], list[Place]] = {}
    for place in places(cells):
        kinds.setdefault((place.data, place.tail, place.model), []).append(place)
    rows = []
    for mine in kinds.values():
        means = [[mean_of(at(cells, place, "ce"), metric(name)) for place in mine] for name in SHOWN]
        plain = [statistics.fmean(one) for one in means]
        both = [[_pooled_to_ce(cells, mine, loss, name) for name in SHOWN] for loss in SHORT]
        rows.append([_kind(mine), stacked([number(100 * value, 1) for value in plain]), *map(stacked, both)])
    done, all_of_them = len(places(cells)), len(planned())
    words = f"All {done} settings of the study." if done == all_of_them else f"{done} of {all_of_them} settings so far."
    return f"{words}\n\n{table(heads, rows)}"


def _kind(mine: Sequence[Place]) -> str:
    """Settings of one data set and network in words."""
    first = mine[0]
    if first.tail:
        words = f"long tail{'s' if len(mine) > 1 else ''} of {listed([one.regime.split(':')[1] for one in mine])}"
    elif first.data == "mnist_pairs":
        words = f"batches of {listed([one.batch_size for one in mine])}"
    else:
        words = f"{listed([one.labels for one in mine])} labels a class"
    return f"{DATA[first.data]}, {words}{first.network}"


def _pooled_to_ce(cells: Cells, mine: Sequence[Place], loss: str, name: str) -> str:
    if all(at(cells, place, loss) is at(cells, place, "ce") for place in mine):
        return "the same loss" if name == "balanced_accuracy" else ""
    groups = [paired(at(cells, place, loss), at(cells, place, "ce"), metric(name)) for place in mine]
    if not all(groups):
        return "not run" if name == "balanced_accuracy" else ""
    return change(pooled(groups), *COLUMNS[name])


def setting(cells: Cells, place: Place) -> str:
    """Every loss at a setting: means, and differences to cross-entropy without calibrator."""
    second = "balanced_accuracy" if place.tail else "accuracy"
    names = ["none", "temperature", "ats", *(["temperature_balanced"] if place.tail else [])]
    heads = [
        "loss",
        "balanced accuracy %" if place.tail else "accuracy %",
        f"{MINUS} ce",
        "ECE %",
        f"{MINUS} ce",
        "NLL",
        *(f"ECE %, {CALIBRATOR[name]}" for name in names[1:]),
        *(f"NLL, {CALIBRATOR[name]}" for name in names[1:]),
    ]
    plain = at(cells, place, "ce")
    rows = []
    for loss in losses_at(cells, place):
        records = at(cells, place, loss)
        differences = {} if loss == "ce" else {name: difference(records, plain, name) for name in (second, "ece")}
        rows.append(
            [
                code(loss),
                _mean(records, second),
                differences.get(second, ""),
                _mean(records, "ece"),
                differences.get("ece", ""),
                _mean(records, "nll"),
                *(_mean(records, "ece", name) for name in names[1:]),
                *(_mean(records, "nll", name) for name in names[1:]),
            ]
        )
    seeds = {len(at(cells, place, loss)) for loss in losses_at(cells, place)}
    n = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(seeds.pop())
    stem = place.study.removesuffix(".study.gz")
    note = f"{n} seeds; `specs/evidence/{stem}.toml`, [records](evidence/{place.study}).\n"
    return f"### {place.name}\n{note}\n{table(heads, rows)}"


def _mean(records: dict[int, TrialRecord], name: str, calibrator: str = "none") -> str:
    factor, decimals = COLUMNS[name]
    return number(mean_of(records, metric(name, calibrator)) * factor, decimals)


def same_recipe(cells: Cells) -> str:
    """Every loss against cross-entropy in the trials of the tunings, which have the same recipes for all losses."""
    heads = (
        "loss",
        "accuracy where classes are balanced, points",
        "NLL (balanced NLL on tails)",
        "trials and settings",
    )
    rows = []
    for loss in CANDIDATES[1:]:
        accuracy, nll = (against_ce(cells, loss, name) for name in ("accuracy", "nll"))
        changes = (change(accuracy.over, *COLUMNS["accuracy"]), change(nll.over, *COLUMNS["nll"]))
        rows.append([code(loss), *changes, f"{nll.trials} in {nll.settings}"])
    return table(heads, rows)


CALIBRATOR = {"temperature": "one temperature", "ats": "ATS", "temperature_balanced": "balanced temperature"}


def all_settings(cells: Cells) -> str:
    """The table of every setting."""
    return "\n\n".join(setting(cells, place) for place in places(cells))


def term(cells: Cells) -> str:
    """What GenCE's own term adds to every loss that has it."""
    heads = ("loss", "without the term", "accuracy, points", "ECE, points", "NLL", "settings")
    rows = []
    for loss, plain in WITHOUT.items():
        one = added(cells, loss)
        changes = [change(value, *COLUMNS[name]) for name, value in one.changes.items()]
        rows.append([code(loss), code(plain), *changes, str(one.settings)])
    return table(heads, rows)


def progress(cells: Cells) -> str:
    """How many trials of each spec are there."""
    rows = []
    for study in studies():
        name = study.folder.name.removesuffix(".study.gz")
        rows.append([f"`{name}`", f"{len(study.records)} of {study.expected}"])
    there = {study.folder.name for study in studies()}
    waiting = dict.fromkeys(one.place.study for one in planned() if one.place.study not in there)
    rows += [[f"`{name.removesuffix('.study.gz')}`", "none"] for name in waiting]
    return table(("study", "trials done"), rows)
