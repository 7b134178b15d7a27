"""The commands on a file of predictions as a stranger types them, typos included."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gence.audit import calibrate, files

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def predictions(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    logits = generator.normal(size=(300, 3))
    logits[np.arange(300), labels] += 1.5
    logits *= 4
    names = np.array(["cat", "dog", "newt"])
    np.savez(tmp_path / "val.npz", logits=logits, labels=labels)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.savez(tmp_path / "probs.npz", probs=probs, labels=labels)
    np.savez(tmp_path / "row.npz", logits=logits[:1], labels=labels[:1])
    frame = pd.DataFrame(logits, columns=[f"logit_{name}" for name in names])
    frame.to_parquet(tmp_path / "new.parquet")
    frame.assign(label=names[labels]).to_csv(tmp_path / "val.csv", index=False)


def test_calibrate_then_apply(run: Run, tmp_path: Path) -> None:
    status, out, errors = run("calibrate", "val.csv", "--method", "temperature", "--out", "cal.safetensors")
    assert (status, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("temperature scaling: one temperature, ")
    assert lines[0].endswith(", fitted on 300 rows")
    assert lines[1:3] == ["held out (5-fold cross-validation), before and after:", lines[2]]
    before, after = map(float, lines[2].removeprefix("  NLL").split())
    assert after < before
    assert lines[-1] == "calibrator: cal.safetensors"
    status, out, errors = run("apply", "cal.safetensors", "new.parquet", "--out", "honest.csv")
    assert (status, errors) == (0, "")
    assert out.endswith("probabilities: honest.csv\n")
    frame = pd.read_csv(tmp_path / "honest.csv")
    assert list(frame) == ["prob_cat", "prob_dog", "prob_newt"]
    np.testing.assert_allclose(frame.sum(axis=1), 1)


def test_calibrate_chooses_a_method_by_itself(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = partial(calibrate.calibrate_file, candidates=("none", "temperature"))
    monkeypatch.setattr(calibrate, "calibrate_file", few)
    status, out, errors = run("calibrate", "val.npz", "--out", "cal.json")
    assert (status, errors) == (0, "")
    kind = json.loads((tmp_path / "cal.json").read_text())["kind"]
    assert f"chosen: {kind} has the lowest NLL on rows it was not fitted on" in out


def test_audit_writes_a_page_and_prints_the_answer(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "audit_predictions", partial(files.audit_predictions, resamples=100))
    status, out, errors = run("audit", "probs.npz", "--bins", "10")
    assert (status, errors) == (0, "")
    assert out.startswith("probs.npz: 300 rows, 3 classes")
    assert out.endswith("page: gence-audit-probs/audit.html\n")
    assert json.loads((tmp_path / "gence-audit-probs/audit.json").read_text())["settings"]["bins"] == 10


WRONG: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("calibrate", "val.npz"), ("--out",)),
    (("calibrate", "--out", "c.json"), ("PREDICTIONS",)),
    (("calibrate", "vall.npz", "--out", "c.json"), ("there is no such file", "did you mean 'val.npz'?")),
    (("calibrate", "val.npz", "--method", "tempreature", "--out", "c.json"), ("did you mean 'temperature'?",)),
    (("calibrate", "val.npz", "--method", "probmetrics:svs", "--out", "c.json"), ("cannot be saved",)),
    (("calibrate", "val.npz", "--out", "c.pt"), (".safetensors or .json",)),
    (("calibrate", "val.npz", "--label", "labels", "--out", "c.json"), ("--label", "--labels")),
    (("calibrate", "val.csv", "--labels", "lable", "--out", "c.json"), ("did you mean --labels label?",)),
    (("calibrate", "val.csv", "--logits", "z_*", "--out", "c.json"), ("'z_*'", "logit_cat, logit_dog")),
    (("calibrate", "new.parquet", "--out", "c.json"), ("no column 'label'", "--labels NAME")),
    (("calibrate", "probs.npz", "--out", "c.json"), ("only probabilities",)),
    (("calibrate", "row.npz", "--out", "c.json"), ("1 labelled row; at least 5",)),
    (("apply", "c.json", "val.npz", "--out", "q.npz"), ("no such calibrator", "gence calibrate")),
    (("apply", "val.npz", "val.csv", "--out", "q.npz"), ("gence apply CALIBRATOR PREDICTIONS",)),
    (("apply", "c.json", "val.npz", "--out", "val.npz"), ("give another one to write to",)),
    (("apply", "c.json", "val.npz", "--out", "q.txt"), ("end in .npz, .csv, .parquet",)),
    (("audit", "val.csv", "--probs", "logit_*"), ("row 0", "--logits NAME")),
    (("audit", "probs.npz", "--logits", "probs"), ("the logits are probabilities", "gence audit takes probabilities")),
    (("audit", "new.parquet"), ("no column 'label'",)),
    (("audit", "val.npz", "--out", "val.csv"), ("val.csv: this is a file; give a folder",)),
    (("audit", "val.npz", "--out", "val.csv/a/b"), ("val.csv/a/b: 'val.csv' is a file, not a folder",)),
    (("audit", "x\x1b[2J.npz"), ("there is no such file",)),
    (("calibrate", "val.npz", "--out", "val.csv/c.json"), ("val.csv/c.json: 'val.csv' is a file, not a folder",)),
    (("apply", "c.json", "val.npz", "--out", "val.csv/q.npz"), ("val.csv/q.npz: 'val.csv' is a file",)),
    (("audit", "val.npz", "--bins", "0"), ("--bins",)),
    (("aduit", "val.npz"), ("aduit", "audit")),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_bad_input_is_one_line_with_the_cure_status_2_and_nothing_written(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    status, out, errors = run(*arguments)
    assert (status, out) == (2, "")
    assert errors.startswith("gence: ")
    assert len(errors.splitlines()) == 1
    assert errors.removesuffix("\n").isprintable()
    assert arguments[0] == "audit" or "--probs" not in errors
    for word in words:
        assert word in errors
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["audit", "calibrate", "apply"])
def test_help_names_the_options(run: Run, command: str) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0
    for option in ("--labels", "--logits", "--out"):
        assert option in out
