"""Several processes that torchrun started train one model together: the records are those of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from gence.bench.records import load_study
from gence.bench.spec import read_spec
from gence.bench.study import run_study

# Layer norm only: batch norm over several processes runs on GPUs alone.
SPEC = """
version = 1
data = "digits"
losses = ["mdca"]
seeds = 2
labels_per_class = [3]
model = "vit_small"
calibrators = ["none"]
[training]
epochs = 1
"""


def run(tmp_path: Path, out: str, *launcher: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "-m", "gence.cli", "run", "spec.toml", "--out", out]
    return subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def test_two_processes_leave_the_records_of_one_and_one_of_them_speaks(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC)
    together = run(tmp_path, "two", "-m", "torch.distributed.run", "--nproc-per-node", "2")
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("report: ") == 1
    one, two = run_study(read_spec(tmp_path / "spec.toml"), tmp_path / "one"), load_study(tmp_path / "two")
    assert [record.key for record in one.records] == [record.key for record in two.records]
    assert len(two.records) == two.expected == 2
    for record in one.records:
        with (
            np.load(tmp_path / "one/trials" / record.logits_file) as alone,
            np.load(tmp_path / "two/trials" / record.logits_file) as shared,
        ):
            assert np.array_equal(alone["test_rows"], shared["test_rows"])
            np.testing.assert_allclose(shared["test_logits"], alone["test_logits"], atol=1e-5)
