"""The model card: what a kept model is, what was measured of it and what was not, for one who has never seen it."""

from __future__ import annotations

from collections.abc import Iterator

import gence
from gence.calibration import Calibrator
from gence.calibration import catalogue as calibrators
from gence.classifier.evidence import BINS, METRICS, Evidence
from gence.classifier.inputs_card import input_lines, use_lines
from gence.classifier.kept import KeptModel
from gence.classifier.numbers import NAMES, estimate, measured_on, number, skill, verdict
from gence.data.wording import counted, listing
from gence.losses import catalogue as losses
from gence.losses.written import parse_loss

_MOST_CLASSES = 20
_WORST = 5


def card(kept: KeptModel, *, onnx: bool) -> str:
    """The README.md of a kept model: front matter as on the Hugging Face hub, then Markdown.

    Args:
        kept: The model.
        onnx: Whether `model.onnx` lies beside it.
    """
    parts = (_head(kept), _measured(kept), _classes(kept), _rows(kept), _making(kept), _limits(kept), _use(kept, onnx))
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def calibrator_title(calibrator: Calibrator) -> str:
    """A calibrator by name and numbers: "temperature scaling (one temperature, 1.53)"."""
    title = next((one.title for one in calibrators.CATALOGUE.values() if type(calibrator) is one.fitted_type), None)
    return str(title) if title == "no calibrator" else f"{title or type(calibrator).__name__} ({calibrator.summary})"


def nothing_measured(kept: KeptModel) -> str:
    """Why there is no evidence, without a full stop."""
    few = "to hold some out" if kept.held_out is None else "held out to calibrate on some and measure on others"
    return f"nothing could be measured: too few rows {few}"


def _head(kept: KeptModel) -> list[str]:
    origin, image = kept.origin, kept.form.kind == "image"
    things = "images" if image else "rows of a table"
    return [
        "---",
        "library_name: gence",
        f"pipeline_tag: {'image' if image else 'tabular'}-classification",
        "tags:",
        "- calibration",
        "- probabilities",
        "---",
        f"# A classifier of {_inline(origin.data)}",
        "",
        f"It gives {things} a probability for each of {len(kept.class_names)} classes: "
        f"{listing(map(_inline, kept.class_names))}.",
        "",
        f"- **Network**: `{kept.architecture.name}`, trained on {counted(origin.rows, 'labelled row')} with the loss "
        f"`{origin.settings['loss']}` ({_loss_title(kept)}).",
        f"- **Calibrator**: {calibrator_title(kept.calibrator)}.",
        f"- **Made by**: gence {origin.environment.get('gence', gence.__version__)}, {origin.finished_at[:10]}.",
    ]


def _loss_title(kept: KeptModel) -> str:
    return losses.CATALOGUE[parse_loss(kept.origin.settings["loss"]).name].title


def _measured(kept: KeptModel) -> list[str]:
    evidence, named = kept.evidence, kept.origin.settings["calibrate"] == "none"
    if evidence is None:
        return [
            "## What was measured",
            f"{nothing_measured(kept).capitalize()}. So nobody knows how good these probabilities are.",
        ]
    return [
        "## What was measured",
        f"On {measured_on(evidence)}:",
        "",
        *(_alone(evidence) if named else _before_and_after(evidence)),
        "",
        "Behind each number is its 95 % interval: how far it may move with other rows of the same kind. "
        "*Accuracy* is the share of rows whose most probable class is the true one. *NLL* (in nats) and the *Brier "
        f"score* judge the probabilities as a whole. *ECE* ({BINS} bins) is how far the stated confidence is from the "
        "accuracy, on average; on few rows it comes out too high, which its interval makes up for, so that it may lie "
        "below the number. All but the accuracy are better the lower they are.",
        *_verdicts(evidence, named),
        *_basis(kept, evidence),
    ]


def _before_and_after(evidence: Evidence) -> Iterator[str]:
    yield "| | without a calibrator | calibrated |"
    yield "| --- | --- | --- |"
    for metric in METRICS:
        before, after = (estimate(metric, found[metric]) for found in (evidence.before, evidence.after))
        yield f"| {NAMES[metric]} | {before} | {after} |"


def _alone(evidence: Evidence) -> Iterator[str]:
    yield "| | |"
    yield "| --- | --- |"
    for metric in METRICS:
        yield f"| {NAMES[metric]} | {estimate(metric, evidence.after[metric])} |"


def _verdicts(evidence: Evidence, named: bool) -> Iterator[str]:
    if not named:
        yield ""
        yield verdict(evidence)
    yield ""
    yield skill(evidence)
    chance = evidence.chance
    if chance is None:
        return
    yield ""
    start = (
        f"Even perfectly honest probabilities would show an ECE of about {number('ece', chance.ece)} on so many rows, "
        f"by chance alone, and 95 times of 100 at most {number('ece', chance.ece_high)}"
    )
    if chance.ece_share > 0.05:
        yield f"{start}: the ECE above gives no sign that these are not honest."
    else:
        yield f"{start}: the ECE above is more than that, so these are not quite honest."


def _basis(kept: KeptModel, evidence: Evidence) -> Iterator[str]:
    yield ""
    if evidence.on == "test split":
        yield (
            "These rows are the data's own test split: neither the network nor the calibrator was trained, fitted or "
            "chosen on any of them, and what was measured is the very model in this folder."
        )
        if evidence.copies:
            yield (
                f"But {counted(evidence.copies, 'test row')} {'is a copy' if evidence.copies == 1 else 'are copies'} "
                "of training rows, which makes the numbers look better than new rows will show."
            )
        return
    yield (
        "The data have no test split of their own. So the rows were dealt into "
        f"{evidence.folds} folds, copies of a row into the same, and each fold was held out once: its probabilities "
        "come from a network trained on the other folds only, and from a calibrator chosen and fitted on the held-out "
        "rows of the other folds only. The numbers are those of these networks, each trained on fewer rows than the "
        "one in this folder, which was trained on all rows and was not measured itself."
    )
    if kept.origin.settings["calibrate"] != "none":
        yield (
            "The networks behind the other folds' rows had in their turn learnt from the fold. This can flatter the "
            "calibrated numbers, most where there are few rows, the network does hardly better than guessing and the "
            "calibrator has many numbers to fit; those without a calibrator are free of it."
        )
    if kept.origin.epochs_tried:
        yield (
            "The number of epochs was chosen on the first of these folds, which flatters the numbers of that fold a "
            "little."
        )


def _classes(kept: KeptModel) -> list[str]:
    evidence = kept.evidence
    if evidence is None:
        return []
    many = len(evidence.classes) > _MOST_CLASSES
    known = [row for row in evidence.classes if row.recall is not None]
    shown = sorted(known, key=lambda row: row.recall or 0.0)[:_WORST] if many else evidence.classes
    trained = dict(zip(kept.class_names, kept.origin.class_rows, strict=True))
    which = f"of {len(evidence.classes)} classes the {_WORST} that were found least often" if many else "every class"
    lines = [
        "## Class by class",
        f"On the same rows, calibrated: {which}. *Found* (recall) is the share of the rows of a class that were given "
        "that class; *right* (precision) is the share of the rows given a class that are of it.",
    ]
    lines += ["", "| class | training rows | rows measured | found | right |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in shown:
        shares = [" " if share is None else f"{100 * share:.1f} %" for share in (row.recall, row.precision)]
        lines.append(f"| {_cell(row.name)} | {trained[row.name]} | {row.rows} | {shares[0]} | {shares[1]} |")
    return lines


def _rows(kept: KeptModel) -> list[str]:
    return ["## Rows to give it", *input_lines(kept.form, kept.origin.pixels)]


def _making(kept: KeptModel) -> list[str]:
    origin, recipe = kept.origin, kept.origin.recipe
    lines = ["## How it was made"]
    if origin.command:
        lines += ["```console", origin.command, "```", ""]
    lines.append(
        f"- **Training**: {counted(origin.epochs, 'epoch')} of batches of {recipe['batch_size']} rows, SGD with "
        f"momentum and a learning rate of {recipe['learning_rate']:g}, weight decay {recipe['weight_decay']:g}"
        + (f", augmented by {listing(recipe['augment'])}" if recipe["augment"] else "")
        + f"; seed {origin.settings['seed']}."
    )
    if origin.epochs_tried:
        after = "" if origin.settings["calibrate"] == "none" else " after temperature scaling"
        tried = ", ".join(f"{epochs} ({nll:.4f})" for epochs, nll in origin.epochs_tried)
        lines.append(f"- **Epochs**: tried on the first fold, with the NLL there{after}: {tried}.")
    if origin.why:
        lines.append(f"- **Calibrator**: {origin.why}.")
    lines += [f"- **Calibrator**: {remark}" for remark in kept.calibrator.remarks]
    lines += [f"- **Data**: {note}." for note in origin.notes]
    lines += [f"- **Loss**: {caution}" for caution in kept.network.cautions]
    lines.append(f"- **Data fingerprint**: `{origin.fingerprint}`")
    lines.append(f"- **Versions**: {', '.join(f'{name} {version}' for name, version in origin.environment.items())}.")
    return lines


def _limits(kept: KeptModel) -> list[str]:
    absent = [name for name, rows in zip(kept.class_names, kept.origin.class_rows, strict=True) if rows == 0]
    lines = [
        "## What was not measured",
        "- Rows from elsewhere: another source, camera, place or time. Probabilities that are honest on rows like the "
        "training rows need not be so on others; measure there before you rely on them (`gence audit`).",
        "- Rows of none of these classes: the probabilities always sum to 1 over the classes above.",
        "- Other shares of the classes than in the training rows, which the probabilities reckon with.",
    ]
    if absent:
        lines.append(f"- Classes without a training row, which it cannot know: {listing(map(_inline, absent))}.")
    measured = {row.name for row in kept.evidence.classes if row.rows} if kept.evidence else set()
    unmeasured = [name for name in kept.class_names if name not in {*absent, *measured}]
    if kept.evidence and unmeasured:
        reason = (
            "all of whose rows are equal, so that none could be held out"
            if kept.evidence.on == "folds"
            else "of which the test split has no row"
        )
        lines.append(f"- Classes {reason}: {listing(map(_inline, unmeasured))}.")
    return lines


def _use(kept: KeptModel, onnx: bool) -> list[str]:
    return ["## Using it", *use_lines(kept.form, onnx=onnx, held_out=kept.held_out is not None)]


def _inline(text: str) -> str:
    """A name in a sentence of Markdown."""
    plain = listing([text])
    return f"`{plain}`" if "`" not in plain else plain.replace("`", "'")


def _cell(text: str) -> str:
    return _inline(text).replace("|", "\\|")
