"""What the README and the docs show is so: their commands exist, tables are measured, the reference is complete."""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import gence
from gence import classifier, cli
from gence.bench.spec import Spec, read_spec

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_every_command_that_is_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = ("compare", "run", "report", "fit", "predict", "spec", "list", "audit", "calibrate", "apply")
    help_texts = {name: CliRunner().invoke(cli.app, [name, "--help"]).stdout for name in commands}
    seen = 0
    for page in PAGES:
        for line in "".join(blocks(page, "console")).splitlines():
            command = line.partition("#")[0].split()
            if command[:1] == ["make"]:
                assert re.search(rf"^{command[1]}:", makefile, re.MULTILINE), line
                seen += 1
            if command[:1] == ["gence"]:
                assert all(word in help_texts[command[1]] for word in command if word.startswith("--")), line
                seen += 1
    assert seen > 10


def test_the_quickstart_spec_is_the_default_study() -> None:
    spec = read_spec(ROOT / "specs/quickstart.toml")
    assert spec == Spec(data="digits", labels_per_class=(10, 50))


def test_the_reference_names_every_public_thing() -> None:
    reference = "".join(page.read_text() for page in sorted((ROOT / "docs/reference").glob("*.md")))
    reference += (ROOT / "docs/reference.md").read_text()
    for module in (gence.losses, gence.calibration, gence.metrics, gence.ood, classifier):
        for name in module.__all__:
            assert re.search(rf"::: gence(\.\w+)*\.{name}\b", reference), f"{module.__name__}.{name}"


def table(script: str, *arguments: object) -> str:
    """What the `table` of a script under docs/ gives; the script prints just that."""
    return runpy.run_path(str(ROOT / "docs" / script))["table"](*arguments)


@pytest.mark.parametrize("name", ["digits", "fashion_mnist", "cifar10"])
def test_the_tables_of_first_results_are_what_their_script_gives(name: str) -> None:
    given = table("first-results/table.py", ROOT / f"docs/first-results/{name}.csv")
    assert len(given.splitlines()) == 2 + 2 * 4 * 3
    assert given in (ROOT / "docs/first-results.md").read_text()


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("calibrator", ["none", "temperature"])
def test_the_tables_of_the_batch_size_study_are_what_their_script_gives(classes: int, calibrator: str) -> None:
    given = table("batch-size/results.py", ROOT / f"docs/batch-size/{classes}-classes.csv", calibrator)
    spec = read_spec(ROOT / f"specs/batch-size-{classes}-classes.toml")
    assert len(given.split("\n\n")) == 3
    assert all(len(one.splitlines()) == 2 + len(spec.training.batch_size) for one in given.split("\n\n"))
    assert given in (ROOT / "docs/batch-size.md").read_text()


@pytest.mark.parametrize("problem", ["real", "confidence-dependent"])
def test_the_tables_of_the_ats_study_are_what_their_script_gives(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/ats"))
    given = table("ats/splits.py", ROOT / "docs/ats/splits.csv", problem)
    assert len(given.splitlines()) == 2 + (6 + 1) * 3
    assert given in (ROOT / "docs/ats.md").read_text()


def test_the_table_of_the_shift_study_is_what_its_script_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/ats"))
    given = table("ats/shift.py", ROOT / "docs/ats/shift.csv")
    assert len(given.splitlines()) == 2 + 4 * 9
    assert given in (ROOT / "docs/ats.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/losses.md"])
def test_the_table_of_losses_is_what_its_script_gives(page: str) -> None:
    given = table("losses/table.py")
    assert len(given.splitlines()) == 2 + len(gence.losses.catalogue.names())
    assert given in (ROOT / page).read_text()


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_the_results_of_all_losses_are_what_their_script_gives(name: str) -> None:
    given = table("losses/results.py", ROOT / f"docs/losses/{name}.csv")
    assert len(given.splitlines()) == 2 + len(gence.losses.catalogue.names())
    assert given in (ROOT / "docs/losses.md").read_text()
    assert (ROOT / f"docs/losses/{name}.html").is_file()


def test_what_tuning_gains_is_what_its_records_give() -> None:
    page = (ROOT / "docs/tuning.md").read_text()
    assert table("tuning/table.py") in page
    low, high = runpy.run_path(str(ROOT / "docs/tuning/table.py"))["spread"]()
    assert f"standard deviation over seeds is {low:.2f} to {high:.2f}" in page
    shown = tomllib.loads(blocks(ROOT / "docs/tuning.md", "toml")[0])
    for name, trials in (("tuned", 10), ("as-given", 1)):
        spec = tomllib.loads((ROOT / f"docs/tuning/{name}.toml").read_text())
        assert spec == {"version": 1} | shown | {"tune": shown["tune"] | {"trials": trials}}


def test_the_recipe_for_long_tails_can_be_copied() -> None:
    (recipe,) = blocks(ROOT / "docs/which-loss.md", "python")
    names: dict[str, Any] = {}
    exec(recipe, names)
    assert names["probs"].shape == (60, 3)
    assert names["probs"].sum(1).tolist() == pytest.approx([1.0] * 60)


def test_the_coverages_of_intervals_are_what_their_script_gives() -> None:
    text = inspect.getdoc(gence.metrics.bootstrap_interval) or ""
    given = table("metrics/coverage.py")
    assert len(given.splitlines()) == 2 + 4 * 2
    assert given in re.sub(r"^ {4}(?=\|)", "", text, flags=re.MULTILINE)


def test_a_table_is_printed_as_it_is_given() -> None:
    script, results = ROOT / "docs/first-results/table.py", ROOT / "docs/first-results/digits.csv"
    printed = subprocess.run([sys.executable, script, results], capture_output=True, text=True, check=True).stdout
    assert printed == table("first-results/table.py", results) + "\n"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
