"""`gence fit` and `gence predict` as a stranger types them, typos included, and what `gence compare` ends with."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gence.bench import study
from gence.classifier import load, storage
from gence.cli.names import model_name
from gence.cli.next_step import fit_line

Run = Callable[..., tuple[int, str, str]]
FIT = ("fit", "people.csv", "--target", "plan")
QUICK = ("--calibrate", "temperature", "--epochs", "2", "--folds", "2", "--hidden", "8")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    plan = generator.integers(0, 3, 80)
    frame = pd.DataFrame({"age": 30 + 9 * plan + generator.normal(size=80), "city": generator.choice(["A", "B"], 80)})
    frame.assign(plan=np.array(["x", "y", "z"])[plan]).to_csv(tmp_path / "people.csv", index=False)
    frame.assign(city="C").head(5).to_csv(tmp_path / "new.csv", index=False)
    frame[["age"]].to_csv(tmp_path / "ages.csv", index=False)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"no image")
    # The second that exporting takes is spent by other tests.
    monkeypatch.setattr(storage, "to_onnx", lambda kept: b"")


@pytest.fixture
def model(run: Run) -> str:
    assert run(*FIT, *QUICK, "--out", "model")[0] == 0
    return "model"


def test_fit_then_predict(run: Run, tmp_path: Path) -> None:
    status, out, errors = run(*FIT, *QUICK)
    assert (status, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "people: mlp trained with gence on 80 rows of 3 classes, 2 epochs"
    assert lines[1].startswith("calibrator: temperature scaling (one temperature, ")
    assert lines[2] == "on 80 rows that were held out, fold by fold, with 95 % intervals, before and after calibrating:"
    assert [line.split()[0] for line in lines[3:7]] == ["NLL", "accuracy", "ECE", "Brier"]
    assert lines[-1] == "model: people-model"
    card = (tmp_path / "people-model/README.md").read_text()
    assert f"gence fit people.csv --target plan {' '.join(QUICK)}\n" in card
    status, out, errors = run("predict", "people-model", "new.csv", "--out", "p.csv", "--batch-rows", "2")
    assert (status, errors) == (0, "")
    assert out.startswith("5 rows, with a mean confidence of ")
    assert "note: 5 rows hold values of 'city' that training never saw (C)" in out
    assert out.endswith("predictions: p.csv\n")
    assert list(pd.read_csv("p.csv")) == ["prediction", "probability_x", "probability_y", "probability_z"]


def test_the_flags_reach_the_fit(run: Run) -> None:
    flags = ("--loss", "focal:gamma=1", "--batch-size", "16", "--learning-rate", "0.02", "--weight-decay", "0.001")
    assert run(*FIT, *QUICK, *flags, "--seed", "3", "--augment", "none", "--out", "m")[0] == 0
    settings = load("m").origin.settings
    expected = {"loss": "focal:gamma=1", "batch_size": 16, "learning_rate": 0.02, "weight_decay": 0.001, "seed": 3}
    assert {name: settings[name] for name in expected} == expected
    assert (settings["hidden"], settings["folds"], settings["epochs"]) == ([8], 2, 2)
    assert run(*FIT, *QUICK, "--hidden", "none", "--out", "linear")[0] == 0
    assert load("linear").architecture.hidden == ()


def test_a_terminal_sees_how_far_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from gence.cli import classifier

    told: list[tuple[int, int | None]] = []

    @contextmanager
    def bar(unit: str, start: str) -> Iterator[Callable[[int, int | None], None]]:
        yield lambda done, total: told.append((done, total))

    monkeypatch.setattr(classifier, "_bar", bar)
    run(*FIT, *QUICK, "--out", "model")
    assert told == [(1, 3), (2, 3), (3, 3)]
    told.clear()
    run("predict", "model", "people.csv", "--out", "p.csv", "--batch-rows", "50")
    assert [done for done, _ in told] == [50, 80]


WRONG: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("fit",), ("DATA",)),
    ((*FIT, "--loss", "gense"), ("unknown loss 'gense'", "did you mean 'gence'?")),
    ((*FIT, "--losses", "gence"), ("--losses", "--loss")),
    ((*FIT, "--calibrate", "temprature"), ("unknown calibrator", "did you mean 'temperature'?")),
    ((*FIT, "--calibrate", "probmetrics:svs"), ("holds code and cannot be kept",)),
    ((*FIT, "--model", "resnet"), ("unknown model 'resnet'", "did you mean")),
    ((*FIT, "--model", "resnet18", "--hidden", "8"), ("hidden widths are for the model 'mlp'",)),
    ((*FIT, "--hidden", "8;8"), ("--hidden: whole numbers, separated by commas", "'8;8'")),
    ((*FIT, "--augment", "flop"), ("unknown augmentation 'flop'", "did you mean 'flip'?")),
    ((*FIT, "--augment", "flip"), ("is for images", "--augment none")),
    ((*FIT, "--learning-rate", "0"), ("learning_rate must be a positive number",)),
    ((*FIT, "--folds", "1"), ("folds must be at least 2",)),
    ((*FIT, "--epochs", "0"), ("epochs must be at least 1",)),
    ((*FIT, "--device", "gpu"), ("unknown device 'gpu'; cpu, cuda or cuda:N is expected",)),
    ((*FIT, "--device", "cuda:7"), ("torch sees", "use --device cpu")),
    ((*FIT, "--out", "photos"), ("photos: this folder holds something else than a model",)),
    ((*FIT, "--out", "new.csv"), ("new.csv: this is a file; give a folder",)),
    ((*FIT, "--image-size", "8"), ("an image size was given",)),
    (("fit", "people.csv", "--target", "plans"), ("unknown column 'plans'", "did you mean 'plan'?")),
    (("fit", "peopel.csv"), ("there is no such file or folder", "people.csv")),
    (("predict", "model", "new.csv"), ("--out",)),
    (("predict", "model", "new.csv", "--out", "p.xls"), ("end in .parquet or .csv",)),
    (("predict", "model", "new.csv", "--out", "new.csv"), ("the rows are read from this file",)),
    (("predict", "modle", "new.csv", "--out", "p.csv"), ("there is no such model", "did you mean 'model'?")),
    (("predict", "photos", "new.csv", "--out", "p.csv"), ("a folder, but no model",)),
    (("predict", "new.csv", "model", "--out", "p.csv"), ("new.csv: a file, but no model",)),
    (("predict", "model", "ages.csv", "--out", "p.csv"), ("no column 'city', which the model was trained on",)),
    (("predict", "model", "photos", "--out", "p.csv"), ("but the model was trained on a table",)),
    (("predict", "model", "news.csv", "--out", "p.csv"), ("there is no such file or folder", "new.csv")),
    (("predict", "model", "new.csv", "--out", "p.csv", "--batch-rows", "0"), ("--batch-rows",)),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_bad_input_is_one_line_with_the_cure_status_2_and_nothing_written(
    run: Run, tmp_path: Path, model: str, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    status, out, errors = run(*arguments)
    assert (status, out) == (2, "")
    assert errors.startswith("gence: ")
    assert len(errors.splitlines()) == 1
    for word in words:
        assert word in errors
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_help_names_the_options(run: Run, command: str) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0
    for option in ("--data-root", "--device", "--out"):
        assert option in out


def test_compare_ends_with_the_command_that_keeps_the_winner(run: Run) -> None:
    compare = ("compare", "people.csv", "--target", "plan", "--losses", "ce", "--labels-per-class", "10")
    status, out, _ = run(*compare, "--seeds", "1", "--epochs", "2", "--workers", "1", "--batch-size", "8")
    assert status == 0
    last = out.splitlines()[-1]
    assert last.startswith("To keep a model of it: gence fit people.csv --loss ce --calibrate ")
    assert last.endswith(" --target plan --batch-size 8 --epochs 2 --out people-model")
    command = shlex.split(last.removeprefix("To keep a model of it: "))[1:]
    assert run(*command, "--folds", "2")[0] == 0
    assert load("people-model").origin.settings["epochs"] == 2


def finished(loss: str, calibrator: str, records: list[Any] | None = None, **changes: Any) -> tuple[Any, Any]:
    """A study of one data set, and its summary with two budgets, as far as the line looks at them."""
    spec = {"data": ["my data/digits 2"], "target": None, "image_size": None, "data_root": None, "model": ["auto"]}
    spec |= {"training": {"epochs": None, "augment": "auto"}, **changes}

    def answer(labels: int, winner: str) -> SimpleNamespace:
        setting = study_setting(labels)
        return SimpleNamespace(setting=setting, best=SimpleNamespace(loss=winner, calibrator=calibrator))

    return (
        SimpleNamespace(spec=spec, records=records or []),
        SimpleNamespace(answers=(answer(50, loss), answer(10, "mmce"))),
    )


def study_setting(labels: int) -> Any:
    from gence.bench.records import Setting

    return Setting(labels, 32)


def test_the_line_is_of_the_largest_budget_and_quoted() -> None:
    line = fit_line(*finished("gence", "temperature", data_root="D", image_size=32, model=["mlp"]))
    assert line == (
        "To keep a model of it: gence fit 'my data/digits 2' --loss gence --calibrate temperature --image-size 32 "
        "--data-root D --model mlp --out digits-2-model"
    )


def test_a_tuned_winner_brings_its_recipe() -> None:
    cell = SimpleNamespace(loss="focal", labels_per_class=50, batch_size=32, regime="none", model="mlp")
    tried = SimpleNamespace(learning_rate=0.0123456, weight_decay=5e-4, epochs=37, knobs={"gamma": 2.5})
    record = SimpleNamespace(cell=cell, tuning=SimpleNamespace(chosen=0, tried=[tried]))
    line = fit_line(*finished("focal", "none", [record]))
    assert line is not None
    assert "--loss focal:gamma=2.5 --calibrate none --learning-rate 0.0123 --epochs 37 --out" in line


def test_what_fit_does_not_do_as_the_comparison_did_is_said() -> None:
    training = {"epochs": 9, "augment": "auto", "mixup": 0.2}
    study, summary = finished("ce", "none", training=training)
    line = fit_line(study, summary)
    assert line is not None
    assert line.startswith("To keep a model of it, trained without mixup: gence fit ")
    for answer in summary.answers:
        answer.setting = dataclasses.replace(answer.setting, regime="long-tail:100")
    line = fit_line(study, summary)
    assert line is not None
    assert line.startswith("To keep a model of it, trained without mixup and the regime long-tail:100: gence fit ")


def test_what_cannot_be_kept_or_is_not_one_data_set() -> None:
    line = fit_line(*finished("ce", "probmetrics:svs", training={"epochs": 9, "augment": []}))
    assert line is not None
    assert "--calibrate auto --augment none --epochs 9 --out" in line
    assert fit_line(*finished("ce", "none", data=["digits", "mnist"])) is None


def test_a_model_is_called_after_its_data() -> None:
    assert [str(model_name(name)) for name in ("digits", "hf:org/x:y", "a/b.csv", "/")] == [
        "digits-model",
        "x-y-model",
        "b-model",
        "my-model",
    ]


def test_a_device_is_looked_for_before_anything_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(study, "find_device", lambda name: asked.append(name) or sys.exit(7))
    assert run("fit", "nowhere.csv", "--device", "cuda")[0] == 7
    assert asked == ["cuda"]
