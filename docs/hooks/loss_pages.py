"""Makes a page for every loss of the catalogue while the site is built, so that a new loss has one by being registered.

The facts are the catalogue's and the ranges those of the tuning; the words are the docstring of the loss.
"""

from __future__ import annotations

import csv
import inspect
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from gence import losses
from gence.bench.knob_ranges import DEFAULT_RANGES
from gence.losses import catalogue

SECTION = "Losses"
TABLE = "losses.md"
COSTS = Path(__file__).parent.parent / "losses/alone.csv"
ELSEWHERE = {"gence": ("generative_cross_entropy", "GenCELoss"), "gence_moving": ("MovingClassMass",)}
"""Where the words on a loss are not those of its builder."""

PROPER = {
    "yes": "yes: the true posterior alone minimises the expected loss",
    "if complete": "if the class posteriors are [linearly independent](../theory.md) as functions of x",
    "large batches": "as batches grow; in small ones the statistic of the batch is moved by chance, and pulls",
    "balanced": "for a prior in which all classes are equally common, at the default knobs",
    "balanced, if complete": "for a prior in which all classes are equally common, if the class posteriors are "
    "[linearly independent](../theory.md)",
    "no": "no: something else than the true posterior minimises the expected loss",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    section = next(part[SECTION] for part in config.nav or [] if SECTION in part)
    section += [{name: f"losses/{name}.md"} for name in catalogue.names()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in catalogue.names():
        files.append(File.generated(config, f"losses/{name}.md", content=page_of(name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    return linked(markdown) if page.file.src_uri == TABLE else markdown


def linked(markdown: str) -> str:
    """The tables of losses with the first cell of every row leading to the page of its loss."""
    names = "|".join(catalogue.names())
    return re.sub(rf"(?m)^\| `({names})` \|", r"| [`\1`](losses/\1.md) |", markdown)


def page_of(name: str) -> str:
    """The page of one loss, in Markdown."""
    entry = catalogue.CATALOGUE[name]
    title = entry.title[0].upper() + entry.title[1:]
    parts = [
        f"# {title}",
        f"`{name}` · {entry.reference}",
        f"**A row's term**: `{entry.equation}`",
        f"The letters are explained below [the table of all losses](../{TABLE}).",
        facts(name),
        "## Knobs",
        knobs(name),
        "## By name",
        by_name(name),
    ]
    if documented(name):
        parts.append("## What it is and takes")
        parts += [docstring(public) for public in documented(name)]
    return "\n\n".join(parts) + "\n"


def facts(name: str) -> str:
    """What the catalogue and the measured costs say of a loss, as a table."""
    entry = catalogue.CATALOGUE[name]
    rows = [("proper", PROPER[entry.proper]), ("needs", entry.needs or "batches of logits and labels, no more")]
    if entry.head != "linear":
        rows.append(("last layer", f"{entry.head}"))
    if entry.own_gradient:
        rows.append(("gradient", "deliberately not the derivative of the value"))
    with COSTS.open() as stream:
        cost = {row["loss"]: row["us_128x10"] for row in csv.DictReader(stream)}
    if name in cost:
        measured = (
            f"{cost[name]} µs with its gradient, 128 x 10 logits on one core (`python docs/losses/cost.py alone`)"
        )
        rows.append(("cost", measured))
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])


def knobs(name: str) -> str:
    """The knobs of a loss with their defaults and the ranges that a tuning searches."""
    if not catalogue.knobs(name):
        return "It has none."
    ranges = DEFAULT_RANGES.get(name, {})
    lines = ["| knob | default | [a tuning](../tuning.md) searches |", "|---|---|---|"]
    for knob, default in catalogue.knobs(name).items():
        searched = "{:g} to {:g}".format(*ranges[knob]) if knob in ranges else "no"
        lines.append(f"| `{knob}` | {default} | {searched} |")
    return "\n".join(lines)


def by_name(name: str) -> str:
    """How to build a loss and how to compare it, as code."""
    wanted = inspect.signature(catalogue.CATALOGUE[name].source).parameters
    given = [f'"{name}"']
    if {"class_counts", "num_rows"} & wanted.keys():
        given.append("class_counts=[900, 90, 10]")
    elif "num_classes" in wanted:
        given.append("num_classes=3")
    written = name
    if known := catalogue.knobs(name):
        knob, default = next(iter(known.items()))
        given.append(f"{knob}={default}")
        written = f"{name}:{knob}={str(default).lower()}"
    return (
        f"```python\nfrom gence.losses import catalogue\n\nloss = catalogue.build({', '.join(given)})\n```\n\n"
        f"```console\ngence compare digits --losses ce,{written}\n```"
    )


def documented(name: str) -> list[str]:
    """Where the docstrings are that say what a loss is; nowhere if its builder is not public."""
    source = catalogue.CATALOGUE[name].source
    public = ELSEWHERE.get(name, [public for public in losses.__all__ if getattr(losses, public) is source])
    # By the module it is written in, as gence.losses.focal may be the module or the function.
    return [f"{getattr(losses, one).__module__}.{one}" for one in public]


def docstring(path: str) -> str:
    """What has mkdocstrings put a docstring here; the reference stays the place that other sites link to."""
    return f"::: {path}\n    options:\n      skip_local_inventory: true"
