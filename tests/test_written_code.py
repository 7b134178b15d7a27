"""The Python of the README and the docs runs without a warning, and the examples run and say when they are worth it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from warm_python import WarmPython

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDS = {
    "huggingface_trainer": "transformers",
    "lightning_callback": "lightning",
    "xgboost_table": "xgboost",
    "sklearn_embeddings": "sklearn",
}
PAGES = {
    page.name: "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
RUN = [name for name, code in PAGES.items() if code and name != "theory.md"]  # tests/losses/test_theory runs it
IMPORTED = {
    "transformers": ("transformers.trainer", "transformers.models.bert.modeling_bert"),
    "lightning": ("lightning.pytorch",),
}
"""What is imported before the scripts that import a package: a page and an example for each."""


@pytest.fixture(scope="module")
def warm_python() -> Iterator[Callable[[str], WarmPython]]:
    """The Python for a script: one process for all that import none of `IMPORTED`, and one for each of these."""
    with ExitStack() as stack:

        @cache
        def with_modules(*modules: str) -> WarmPython:
            return stack.enter_context(WarmPython(("torch", *modules)))

        def for_script(code: str) -> WarmPython:
            imported = [name for name in IMPORTED if re.search(rf"^(from|import) {name}\b", code, re.MULTILINE)]
            return with_modules(*(module for name in imported for module in IMPORTED[name]))

        yield for_script


@pytest.mark.parametrize("name", RUN)
def test_the_python_of_a_page_runs(name: str, tmp_path: Path, warm_python: Callable[[str], WarmPython]) -> None:
    (tmp_path / "page.py").write_text(PAGES[name])
    python = warm_python(PAGES[name])
    ended = python.run(tmp_path / "page.py", tmp_path, warnings_are_errors=True)
    assert ended.status == 0, ended.err


def test_a_page_that_warns_fails(tmp_path: Path, warm_python: Callable[[str], WarmPython]) -> None:
    """And so do one that raises and one that ends with a status; what each prints is told."""
    script = tmp_path / "page.py"
    for code, strict, expected in (
        ("import warnings\nprint('so far')\nwarnings.warn('old')", True, (1, "so far\n", "UserWarning: old")),
        ("import warnings\nprint('so far')\nwarnings.warn('old')", False, (0, "so far\n", "UserWarning: old")),
        ("1 / 0", False, (1, "", "ZeroDivisionError")),
        ("raise SystemExit(3)", False, (3, "", "")),
        ("import os\nos.kill(os.getpid(), 9)", False, (-9, "", "")),
    ):
        script.write_text(code)
        ended = warm_python(code).run(script, tmp_path, warnings_are_errors=strict)
        assert (ended.status, ended.out) == expected[:2]
        assert expected[2] in ended.err


def test_all_that_was_promised_is_there() -> None:
    assert {path.stem for path in EXAMPLES} == {
        "ddp_torchrun",
        "exact_accumulation",
        "language_model_head",
        "plain_loop",
        "segmentation",
        *NEEDS,
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_prints(path: Path, tmp_path: Path, warm_python: Callable[[str], WarmPython]) -> None:
    if path.stem in NEEDS and find_spec(NEEDS[path.stem]) is None:
        pytest.skip(f"needs {NEEDS[path.stem]}")
    if path.stem.startswith("ddp"):
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        launched = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        status, out, err = launched.returncode, launched.stdout, launched.stderr
    else:
        ended = warm_python(path.read_text()).run(path, tmp_path)
        status, out, err = ended.status, ended.out, ended.err
    assert status == 0, err
    assert len(out.splitlines()) >= 2
    assert "GenCE was given" not in err


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_when_it_is_worth_it(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "worth it" in " ".join(said.split()).lower()
