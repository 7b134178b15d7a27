"""What mkdocs is given and runs: the nav, docstrings as Markdown, TeX as MathML, and a page for each loss."""

from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from gence.bench.knob_ranges import DEFAULT_RANGES
from gence.losses import catalogue
from gence.losses.written import parse_loss

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SOURCES = sorted((ROOT / "src/gence").rglob("*.py"))
PAGES = sorted(DOCS.rglob("*.md"))


def hook(name: str) -> dict[str, Any]:
    return runpy.run_path(str(DOCS / f"hooks/{name}.py"))


def formulas(text: str) -> list[str]:
    return [inline or block for inline, block in re.findall(r"\\\((.+?)\\\)|\\\[(.+?)\\\]", text, re.DOTALL)]


def test_the_roles_and_doctests_of_a_docstring_become_markdown() -> None:
    written = "The mean of :math:`-\\log\np_y`.\n\n.. math::\n    a = b,\n      c\n\nThen\n\n>>> 1 + 1\n2\n\nmore"
    read = hook("docstrings")["as_markdown"](written)
    assert "The mean of \\(-\\log\np_y\\).\n" in read
    assert "\n\\[a = b, c\\]\n" in read
    assert "\n```pycon\n>>> 1 + 1\n2\n```\n\nmore" in read


def test_what_is_fenced_in_a_page_stays() -> None:
    fenced = "```text\n.. math:: a\n>>> 1\n:math:`x`\n```"
    assert hook("docstrings")["as_markdown"](fenced) == fenced


def test_a_formula_is_mathml_that_says_its_tex() -> None:
    formula = hook("mathml")["mathml"](r"-\log p_y < \frac{1}{2}", block=True)
    assert formula.startswith('<math alttext="-\\log p_y &lt; \\frac{1}{2}"')
    assert 'display="block"' in formula
    assert '<mi>log</mi><mspace width="0.167em" /><msub><mi>p</mi><mi>y</mi></msub>' in formula
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>" in formula


@pytest.mark.parametrize(
    ("tex", "message"),
    [(r"\unheardof x", "unheardof"), (r"\frac{a", "braces"), (r"a & b", "&"), (r"a \\ b", "newline")],
)
def test_tex_that_browsers_could_not_draw_is_refused(tex: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hook("mathml")["mathml"](tex, block=False)


def test_every_formula_of_the_docstrings_and_the_pages_converts() -> None:
    mathml, as_markdown = hook("mathml")["mathml"], hook("docstrings")["as_markdown"]
    in_docstrings = [tex for source in SOURCES for tex in formulas(as_markdown(source.read_text()))]
    blocks = [tex for page in PAGES for tex in re.findall(r"\$\$(.+?)\$\$", page.read_text(), re.DOTALL)]
    assert len(in_docstrings) > 100
    assert len(blocks) > 5
    for tex in in_docstrings + blocks:
        assert mathml(tex.strip(), block=True).startswith("<math ")


@pytest.mark.parametrize("name", catalogue.names())
def test_the_page_of_a_loss_has_its_facts_and_its_code_runs(name: str) -> None:
    page, entry = hook("loss_pages")["page_of"](name), catalogue.CATALOGUE[name]
    assert f"`{name}`" in page
    assert f"`{entry.equation}`" in page
    assert entry.reference in page
    for knob, default in catalogue.knobs(name).items():
        low_high = DEFAULT_RANGES.get(name, {}).get(knob)
        searched = "no" if low_high is None else "{:g} to {:g}".format(*low_high)
        assert f"| `{knob}` | {default} | {searched} |" in page
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    given: dict[str, Any] = {}
    exec(code, given)
    assert given["loss"] is not None
    (written,) = re.findall(r"--losses ce,(\S+)", page)
    assert parse_loss(written).name == name


def test_a_loss_that_is_registered_has_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = hook("loss_pages")
    monkeypatch.setitem(catalogue.CATALOGUE, "newcomer", replace(catalogue.CATALOGUE["focal"], title="newcomer"))
    config = SimpleNamespace(nav=[{"Start": "index.md"}, {"Losses": [{"All of them": "losses.md"}]}])
    assert pages["on_config"](config).nav[1]["Losses"][-1] == {"newcomer": "losses/newcomer.md"}
    assert pages["page_of"]("newcomer").startswith("# Newcomer\n\n`newcomer` · ")


def test_the_table_of_losses_leads_to_their_pages() -> None:
    linked = hook("loss_pages")["linked"]("| `ce` | 1 |\n| `unknown` | 2 |\n`ce` is plain")
    assert linked == "| [`ce`](losses/ce.md) | 1 |\n| `unknown` | 2 |\n`ce` is plain"


def test_every_page_can_be_found() -> None:
    def paths(part: Any) -> list[str]:
        if isinstance(part, str):
            return [part]
        return [path for below in (part.values() if isinstance(part, dict) else part) for path in paths(below)]

    listed = paths(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_the_reference_means_what_it_names() -> None:
    modules = {".".join(source.relative_to(ROOT / "src").with_suffix("").parts): source for source in SOURCES}
    named_alike = {
        f"{module}.{name}": name
        for module, source in modules.items()
        for name in [module.rpartition(".")[2]]
        if re.search(rf"^(def|class) {name}\b", source.read_text(), re.MULTILINE)
    }
    assert named_alike["gence.losses.focal.focal"] == "focal"
    for page in sorted((DOCS / "reference").glob("*.md")):
        for path in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
            parent, _, last = path.rpartition(".")
            hidden = [full for full, name in named_alike.items() if name == last and full.startswith(f"{parent}.")]
            # Read without running anything, a shorter path is the module and not the function in it.
            assert not hidden or path in hidden, f"{page.name}: {path} is a module, write {hidden[0]}"


def test_what_reproduces_the_numbers_is_there() -> None:
    text = (DOCS / "reproduce.md").read_text()
    named = re.findall(r"\b(?:docs|benchmarks|specs|tests)/[\w/.-]+", text)
    assert len(named) > 20
    missing = {path for path in named if not (ROOT / path.rstrip(".")).exists()}
    assert missing == {"benchmarks/gpu.json"}  # until a GPU has been measured
