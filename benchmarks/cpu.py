"""How fast GenCE is on a processor beside `F.cross_entropy`, and what memory it needs; see docs/speed.md.

    make bench                            # or python benchmarks/cpu.py: some minutes of an idle machine
    python benchmarks/cpu.py --table      # the tables of docs/speed.md from what was measured
    python benchmarks/cpu.py --page docs/speed.md    # and into the page

All candidates run in turns in one process; a ratio is the median of the ratios within rounds. Writes
benchmarks/cpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from speed.cases import Case, Effort, measure
from speed.machines import Processor
from speed.record import (
    Target,
    environment,
    fill,
    milliseconds,
    ratio,
    shown,
    shown_ratio,
    table,
    verdicts,
    where,
    write,
)

OUT = Path(__file__).with_suffix(".json")

CE, DEFINITION, GENCE = "F.cross_entropy", "GenCE, definition", "GenCE"
CE_COMPILED, GENCE_COMPILED = "F.cross_entropy, compiled", "GenCE, compiled"
CE_LOGITS, GENCE_LOGITS, LINEAR = "F.cross_entropy of the logits", "GenCE of the logits", "linear GenCE"
CE_CHUNKED = "F.linear_cross_entropy, chunked"

EAGER = ((CE, DEFINITION, GENCE), (CE,))
COMPILED = ((CE, CE_COMPILED, GENCE_COMPILED), (CE, CE_COMPILED))

CASES = [
    Case(128, 10, *EAGER),
    Case(128, 100, *EAGER),
    Case(10_000, 100, *EAGER),
    Case(100_000, 10, *EAGER),
    Case(1000, 1000, *EAGER),
    Case(4096, 1000, *EAGER),
    Case(1024, 32_000, *EAGER),
    Case(4096, 1000, *EAGER, dtype="bfloat16"),
    Case(4096, 1000, *EAGER, scale=20.0),
    Case(1000, 1000, *COMPILED),
    Case(4096, 1000, *COMPILED),
    Case(100_000, 10, *COMPILED),
    Case(4096, 50_000, (CE_LOGITS, CE_CHUNKED, GENCE_LOGITS, LINEAR), (CE_LOGITS, CE_CHUNKED), features=512),
]
TINY = [
    Case(8, 5, *EAGER),
    Case(8, 5, *COMPILED),
    Case(8, 5, (CE_LOGITS, CE_CHUNKED, GENCE_LOGITS, LINEAR), (CE_LOGITS,), features=3),
]


def effort(case: Case) -> Effort:
    if case.features:
        return Effort(seconds=0.0, least=3, most=3)
    return Effort(seconds=5.0, least=11, most=300)


def targets(cases: list[dict[str, Any]]) -> list[Target]:
    """The bounds of the project, with what was found."""
    bounds: list[Target] = []
    for case in cases:
        of, names, size = case["case"], case["candidates"], case["rows"] * case["classes"]
        if LINEAR in names:
            peaks = [names[name].get("peak_bytes") for name in (LINEAR, GENCE_LOGITS)]
            found = peaks[0] / peaks[1] if all(peaks) else None
            bounds.append(Target(f"{of}: peak memory, linear over that of the logits", 0.25, found))
        elif GENCE_COMPILED in names:
            found = _median(ratio(case, GENCE_COMPILED, CE_COMPILED, "plain"))
            bounds.append(Target(f"{of}: forward and backward, both compiled", 1.1, found))
        else:
            found = _median(ratio(case, GENCE, CE, "plain"))
            if size >= 10**6 or size == 1280:
                bound = 1.8 if size >= 10**6 else 3.0
                bounds.append(Target(f"{of}: forward and backward", bound, found))
            if size >= 10**6:
                own, other = names[GENCE].get("peak"), names[CE].get("peak")
                above = own - other if own is not None and other is not None else None
                bounds.append(Target(f"{of}: peak memory above {CE}'s, in logits", 1.0, above))
    return bounds


def _median(found: dict[str, float] | None) -> float | None:
    return None if found is None else found["median"]


def tables(content: dict[str, Any]) -> dict[str, str]:
    """What docs/speed.md shows, by the name of its place."""
    eager, compiled, linear = [], [], []
    for case in content["cases"]:
        entries = case["candidates"]
        if GENCE_COMPILED in entries:
            of_others = [milliseconds(case, name, "plain") for name in (CE, CE_COMPILED)]
            against = [shown_ratio(ratio(case, GENCE_COMPILED, base, "plain")) for base in (CE_COMPILED, CE)]
            compiled.append([case["case"], *map(shown, of_others), *against])
        elif case["features"]:
            linear += [
                [
                    f"{name}, {case['case']}",
                    shown(milliseconds(case, name, "plain")),
                    shown_ratio(ratio(case, name, CE_LOGITS, "plain")),
                    shown(entry.get("peak")),
                ]
                for name, entry in entries.items()
            ]
        else:
            parts = [shown_ratio(ratio(case, GENCE, CE, "plain", part)) for part in ("both", "forward", "backward")]
            definition = shown_ratio(ratio(case, DEFINITION, CE, "plain"))
            peaks = [shown(entries[name].get("peak")) for name in (CE, DEFINITION, GENCE)]
            eager.append([case["case"], shown(milliseconds(case, CE, "plain")), *parts, definition, " / ".join(peaks)])
    ours = ["GenCE", "its forward", "its backward", "its definition"]
    heads = {
        "cpu-eager": ["rows x classes", f"`{CE}`, ms", *ours, "peak memory: cross-entropy / definition / GenCE"],
        "cpu-compiled": ["rows x classes", f"`{CE}`, ms", "compiled, ms", "compiled GenCE to compiled", "to eager"],
        "cpu-linear": ["rows x features x classes", "ms", f"to {CE_LOGITS}", "peak memory"],
    }
    found = {name: table(heads[name], rows) for name, rows in zip(heads, (eager, compiled, linear), strict=True)}
    return {"cpu-where": where(content), **found, "cpu-bounds": verdicts(targets(content["cases"]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument(
        "--table", action="store_true", help="print the tables of what was measured, and measure nothing"
    )
    parser.add_argument("--page", type=Path, help="put these tables in their places on this page, and measure nothing")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="to compute with")
    parser.add_argument("--tiny", action="store_true", help="rehearse: small shapes, few rounds, nothing compiled")
    options = parser.parse_args()
    if options.table:
        print(*tables(json.loads(options.out.read_text())).values(), sep="\n\n")
        return
    if options.page:
        for name, text in tables(json.loads(options.out.read_text())).items():
            fill(options.page, name, text)
        return
    # Some shapes have fewer rows than classes, which is unwise in training and no matter here.
    warnings.filterwarnings("ignore", message="GenCE was given a batch of")
    torch.set_num_threads(options.threads)
    machine, started = Processor(), time.perf_counter()
    if os.getloadavg()[0] > 0.5:
        print(f"other programs are at work (load {os.getloadavg()[0]:.1f}): the times will not mean much", flush=True)
    content: dict[str, Any] = {"what": __doc__, "environment": environment(machine.device), "cases": []}
    for number, case in enumerate(TINY if options.tiny else CASES):

        def changed(found: dict[str, Any], number: int = number) -> None:
            content["cases"][number:] = [found]
            content["seconds"] = time.perf_counter() - started
            content["targets"] = [one.as_dict() for one in targets(content["cases"])]
            write(options.out, content)

        tiny = Effort(seconds=0.0, least=2, most=2, backend="eager")
        measure(case, machine, tiny if options.tiny else effort(case), changed)
        print(f"{time.perf_counter() - started:5.0f} s  {case}", flush=True)
        for name, entry in content["cases"][number]["candidates"].items():
            if "error" in entry:
                print(f"         {name}: {entry['error']}", flush=True)
    print(*tables(content).values(), sep="\n\n")


if __name__ == "__main__":
    main()
