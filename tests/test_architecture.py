"""Imports point one way. The rules are in architecture.py; the second half proves that breaking one is seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from architecture import ALLOWED, cycles, imports, modules, violations

ROOT = Path(__file__).parent.parent / "src"
STANDARD_LIBRARY = frozenset(sys.stdlib_module_names)


def test_every_module_imports_only_what_its_part_may() -> None:
    found = modules(ROOT)
    assert {"gence.cli", "gence.losses", "gence.bench.records.trial"} <= set(found)
    assert [line for name, file in found.items() for line in violations(file.read_text(), name, STANDARD_LIBRARY)] == []


def test_no_module_imports_itself_over_others() -> None:
    files = modules(ROOT)
    graph = {
        name: {target for target in imports(file.read_text(), name) if target in files and target != name}
        for name, file in files.items()
    }
    assert cycles(graph) == []


def test_every_part_is_known_and_none_is_called_utils() -> None:
    parts = {name.split(".")[1] for name in modules(ROOT)}
    assert parts <= set(ALLOWED)
    assert not [name for name in modules(ROOT) if {"utils", "util", "helpers", "common", "misc"} & set(name.split("."))]


def test_the_library_imports_torch_and_numpy_only() -> None:
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'sklearn', 'pandas', 'pyarrow', 'pydantic', 'typer', 'rich', 'matplotlib', 'jinja2',
                                  'datasets', 'PIL', 'relplot', 'torchmetrics', 'scipy'}:
            raise ModuleNotFoundError(f'{name} was imported')
sys.meta_path.insert(0, Refuse())
import gence, gence.models, gence.training, gence.data
import torch
gence.generative_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]))
gence.calibration.fit_temperature(torch.randn(9, 3), torch.arange(9) % 3)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gence.metrics.proper", "from gence.losses import focal"),
        ("gence.metrics.proper", "def f():\n    import scipy"),
        ("gence.losses.focal", "import gence.metrics.proper"),
        ("gence.calibration.adaptive", "from gence.bench.records import METRICS"),
        ("gence.data.sources", "from ..models import MLP"),
        ("gence.models.mlp", "from gence import losses"),
        ("gence.training.loop", "if TYPE_CHECKING:\n    from gence.losses import focal"),
        ("gence.report.page", "from gence.bench.stats import summarize"),
        ("gence.report.page", "from gence.bench import stats"),
        ("gence.bench.trial", "from gence.report import write_report"),
        ("gence.bench.trial", "import gence.cli"),
        ("gence.losses.focal", "import numpy"),
        ("gence.helpers", "import torch"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(violations(source, module, STANDARD_LIBRARY)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gence.losses.generative", "def f():\n    from gence.kernels import triton"),
        ("gence.losses.focal", "from gence.losses._checks import check\nfrom gence._errors import InputError"),
        ("gence.report.page", "from gence.bench.records import Study\nimport jinja2"),
        ("gence.cli", "from gence import __version__\nfrom gence.bench.stats import summarize"),
        ("gence.bench.trial", "from gence import metrics\nimport math"),
    ],
)
def test_an_allowed_import_is_not(module: str, source: str) -> None:
    assert violations(source, module, STANDARD_LIBRARY) == []


def test_a_cycle_is_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]
    assert cycles({"a": {"b"}, "b": {"c"}}) == []
