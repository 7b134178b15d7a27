"""The specs that are shipped: each is valid, says what it is for, and what it was said to cost is what it costs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gence.bench.cost import at_rate, estimate_cost, published_data
from gence.bench.plan import plan
from gence.bench.spec import parse_spec, read_spec
from gence.bench.spec_toml import spec_toml

_FOLDER = Path(__file__).parent.parent / "specs"
SPECS = sorted(_FOLDER.rglob("*.toml"))
EMBEDDED = {"digits", "digit_pairs", "breast_cancer"}
IDS = [path.relative_to(_FOLDER).with_suffix("").as_posix() for path in SPECS]


@pytest.mark.parametrize("path", SPECS, ids=IDS)
def test_a_shipped_spec_is_valid_and_shown_as_itself(path: Path) -> None:
    import tomllib

    spec = read_spec(path)
    assert parse_spec(tomllib.loads(spec_toml(spec)), "here") == spec


@pytest.mark.parametrize("path", SPECS, ids=IDS)
def test_a_shipped_spec_says_what_it_asks_what_would_count_and_what_it_costs(path: Path) -> None:
    head = path.read_text().partition("\nversion")[0]
    assert "?" in head.split("\n#\n")[0]
    name = path.relative_to(_FOLDER).as_posix()
    for part in ("\n# What would count: ", "\n# Cost: ", f"\n#     gence run specs/{name} --dry-run"):
        assert part in head, part


@pytest.mark.parametrize("path", [p for p in SPECS if set(read_spec(p).data) <= EMBEDDED], ids=lambda p: p.stem)
def test_a_spec_on_data_that_need_no_download_can_be_planned_and_costs_what_it_says(path: Path) -> None:
    spec = read_spec(path)
    cost = estimate_cost(spec, published_data(spec), at_rate(1e12))
    trials, flops = said(path)
    assert (cost.trials, cost.flops) == (trials, pytest.approx(flops, rel=0.05))
    assert len(plan(spec, published_data(spec)).trials) == trials


def test_a_spec_on_data_to_be_downloaded_costs_what_it_says() -> None:
    # The others take a while, as their networks are large to build.
    path = next(path for path in SPECS if path.stem == "long-tail")
    spec = read_spec(path)
    cost = estimate_cost(spec, published_data(spec), at_rate(5e12))
    trials, flops = said(path)
    assert (cost.trials, cost.flops) == (trials, pytest.approx(flops, rel=0.05))
    assert f"about {cost.seconds / 3600:.0f} GPU hours at an assumed 5 TFLOP/s" in path.read_text()


def said(path: Path) -> tuple[int, float]:
    """Trials of the grid and operations, as the head of a spec has them."""
    found = re.search(r"# Cost: ([\d,]+) trials(?: after [\d,]+ of tunings)?, ([\d.e]+) FLOPs", path.read_text())
    assert found
    return int(found[1].replace(",", "")), float(found[2])
