"""The examples run as a reader would run them, without a warning of ours, and say when the loss is worth it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDS = {
    "huggingface_trainer": "transformers",
    "lightning_callback": "lightning",
    "xgboost_table": "xgboost",
    "sklearn_embeddings": "sklearn",
}


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
def test_an_example_runs_and_prints(path: Path, tmp_path: Path) -> None:
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2"] if path.stem.startswith("ddp") else []
    result = subprocess.run(
        [sys.executable, *launcher, str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) >= 2
    assert "GenCE was given" not in result.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_when_it_is_worth_it(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "worth it" in " ".join(said.split()).lower()
