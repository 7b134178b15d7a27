"""What to type after a comparison to keep a model of what won."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

from gence.bench.records import Answer, Study, Summary, TrialRecord
from gence.cli.names import model_name

_UNTUNED = {"learning_rate": 0.05, "weight_decay": 5e-4}


def fit_line(study: Study, summary: Summary) -> str | None:
    """The `gence fit` command for the winner at the largest budget of labels; None with more than one data set."""
    if len(study.spec["data"]) != 1 or not summary.answers:
        return None
    answer = max(summary.answers, key=lambda one: one.setting.rank)
    return f"To keep a model of it{_unlike(study, answer)}: {shlex.join(_command(study, answer))}"


def _unlike(study: Study, answer: Answer) -> str:
    """What the comparison did to the training that `gence fit` does not."""
    without = ["mixup"] if study.spec["training"].get("mixup") else []
    if answer.setting.regime != "none":
        without.append(f"the regime {answer.setting.regime}")
    return f", trained without {' and '.join(without)}" if without else ""


def _command(study: Study, answer: Answer) -> Iterator[str]:
    spec, training, best = study.spec, study.spec["training"], answer.best
    (source,) = spec["data"]
    record = _record(study, answer)
    yield from ("gence", "fit", source, "--loss", _loss(best.loss, record))
    # One of another package holds code, and cannot be kept.
    yield from ("--calibrate", "auto" if ":" in best.calibrator else best.calibrator)
    for flag, value in (
        ("--target", spec["target"]),
        ("--image-size", spec["image_size"]),
        ("--data-root", spec["data_root"]),
        ("--model", None if spec["model"] == ["auto"] else answer.setting.model or spec["model"][0]),
        ("--batch-size", None if answer.setting.batch_size == 32 else answer.setting.batch_size),
    ):
        if value is not None:
            yield from (flag, str(value))
    if training["augment"] != "auto":
        yield from ("--augment", ",".join(training["augment"]) or "none")
    yield from _recipe(training["epochs"], record)
    yield from ("--out", str(model_name(source)))


def _record(study: Study, answer: Answer) -> TrialRecord | None:
    """The winner's first trial."""
    one = answer.setting
    mine = (answer.best.loss, one.labels_per_class, one.batch_size, one.regime)
    for record in study.records:
        cell = record.cell
        if (cell.loss, cell.labels_per_class, cell.batch_size, cell.regime) == mine and one.model in ("", cell.model):
            return record
    return None


def _loss(written: str, record: TrialRecord | None) -> str:
    """The loss with the knobs that it was tuned to, or as the comparison has it."""
    if record is None or record.tuning is None:
        return written
    knobs = record.tuning.tried[record.tuning.chosen].knobs
    return ":".join([written.partition(":")[0], *(f"{knob}={json.dumps(value)}" for knob, value in knobs.items())])


def _recipe(epochs: int | None, record: TrialRecord | None) -> Iterator[str]:
    if record is not None and record.tuning is not None:
        chosen = record.tuning.tried[record.tuning.chosen]
        for name, usual in _UNTUNED.items():
            if getattr(chosen, name) != usual:
                yield from (f"--{name.replace('_', '-')}", f"{getattr(chosen, name):.3g}")
        epochs = chosen.epochs
    if epochs is not None:
        yield from ("--epochs", str(epochs))
