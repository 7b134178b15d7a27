"""Without Triton, without a GPU: gence can be imported, and says what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from gence.kernels import triton_support


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_gence_imports_no_triton():
    assert python("import sys, gence, gence.kernels.triton_support; print('triton' in sys.modules)") == "False\n"


def test_without_triton():
    """The package is hidden: `find_spec` does not see it and its import fails."""
    said = python(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'triton': raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "try:\n"
        "    import gence.kernels.triton_ops\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    assert said == "the GPU kernels of gence need triton, which is not installed: pip install 'gence[kernels]'\n"


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("_INSTALLED", False, "pip install 'gence[kernels]'"), ("_INTERPRETED", False, "on the CPU: use impl='eager'")],
)
def test_says_what_is_missing(monkeypatch, setting, value, words):
    monkeypatch.setattr(triton_support, "_INSTALLED", True)
    monkeypatch.setattr(triton_support, setting, value)
    assert words in (triton_support.why_not(torch.zeros(2, 3)) or "")


class _Gpu:
    """What `why_not` looks at of a tensor on a GPU."""

    dtype, shape, device = torch.float32, torch.Size([2, 3]), torch.device("cuda", 0)

    def dim(self) -> int:
        return 2


@pytest.mark.parametrize(("major", "fits"), [(7, False), (8, True), (9, True)])
def test_old_gpus(monkeypatch, major, fits):
    properties = type("Properties", (), {"major": major})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(triton_support, "_INSTALLED", True)
    monkeypatch.setattr(triton_support, "_INTERPRETED", False)
    said = triton_support.why_not(_Gpu())  # type: ignore[arg-type]
    assert said is None if fits else "compute capability 7" in (said or "")
