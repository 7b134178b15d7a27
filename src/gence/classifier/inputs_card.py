"""The part of the model card on its inputs: what rows must look like, and what to type to have them classified."""

from __future__ import annotations

from collections.abc import Iterator

from gence.data.encoder import ColumnEncoder, SourceColumn
from gence.data.form import InputForm
from gence.data.wording import counted, listing

_MOST_COLUMNS = 60
_MOST_CATEGORIES = 8

_KINDS = {
    "number": "a number",
    "boolean": "true or false",
    "duration": "a duration",
    "date": "a date, such as 2024-05-31",
    "category": "text",
}


def input_lines(form: InputForm, pixels: tuple[float, float] | None) -> list[str]:
    """What rows must look like, in Markdown; `pixels` is the range of the training images."""
    if form.kind == "image":
        return list(_images(form, pixels))
    if form.columns is not None:
        return list(_columns(form, form.columns))
    return [
        f"Each row is {counted(form.shape[0], 'number')}, in the order of the training data, as an array "
        f"`(rows, {form.shape[0]})` of {form.dtype}. A number that is not known is NaN, and is filled with the median "
        "of the training rows; `gence predict` takes finite numbers only."
    ]


def _images(form: InputForm, pixels: tuple[float, float] | None) -> Iterator[str]:
    channels, height, width = form.shape
    colour = "grey" if channels == 1 else "in colour" if channels == 3 else f"of {channels} channels"
    yield f"Images {colour}, {width} x {height} pixels (width x height)."
    if form.dtype == "uint8":
        yield (
            "Image files of any size are resized to that, as the training images were, which bends them out of shape "
            "if their sides have another ratio."
            if form.resized
            else "Image files of another size are refused, because all training images had this one."
        )
    array = f"As an array they are `(rows, {channels}, {height}, {width})` {form.dtype}"
    scale = "" if pixels is None else f"; in the training images the numbers went from {pixels[0]:g} to {pixels[1]:g}"
    yield f"{array}{scale}."


def _columns(form: InputForm, encoder: ColumnEncoder) -> Iterator[str]:
    label = f" The label column, `{form.target}`, is not needed, and not looked at." if form.target else ""
    yield (
        f"A table with these columns, in any order; others are passed over.{label} Text that training never saw counts "
        "as none of the known values (or as 'other', where there is such a value), and `gence predict` says how often "
        "that was so. A missing number is filled with the median of the training rows."
    )
    yield ""
    yield "| column | what it holds | if it is missing |"
    yield "| --- | --- | --- |"
    for column in encoder.used[:_MOST_COLUMNS]:
        yield f"| {_cell(column.name)} | {_holds(column)} | {_gap(column)} |"
    if len(encoder.used) > _MOST_COLUMNS:
        yield ""
        yield f"And {counted(len(encoder.used) - _MOST_COLUMNS, 'column')} more; `model.json` has them all."
    left_out = [column for column in encoder.columns if column.kind == "left out"]
    if left_out:
        yield ""
        yield f"Not used, and not needed: {listing(f'{_cell(column.name)} ({column.why})' for column in left_out)}."


def _holds(column: SourceColumn) -> str:
    if column.kind != "category":
        return _KINDS[column.kind]
    rest = ", or any other text" if column.other else ""
    return f"text: {_plain(listing(column.categories, most=_MOST_CATEGORIES))}{rest}"


def _gap(column: SourceColumn) -> str:
    if column.kind == "category":
        return "marked as missing, as in training" if column.marked else "counts as none of the values"
    return "filled, and marked as missing, as in training" if column.marked else "filled; training had no gaps here"


def use_lines(form: InputForm, *, onnx: bool, held_out: bool) -> list[str]:
    """What to type, in Markdown."""
    rows = "NEW-IMAGES" if form.kind == "image" else "new.csv" if form.columns is not None else "new.npz"
    lines = [
        "`FOLDER` is this folder. From the command line, for files larger than memory too:",
        "```console",
        f"gence predict FOLDER {rows} --out predictions.parquet",
        *(["gence audit FOLDER/held_out.npz"] if held_out else []),
        "```",
        *_python(form, rows),
    ]
    return [*lines, *_onnx(form)] if onnx else lines


def _python(form: InputForm, rows: str) -> list[str]:
    return [
        "In Python:",
        "```python",
        "from gence.classifier import load",
        "from gence.data import stream",
        "",
        'model = load("FOLDER")',
        f'for batch in stream("{rows}", model.form):',
        "    probabilities = model.probabilities(batch.inputs)  # (rows, classes), in the order of model.class_names",
        "```",
    ]


def _onnx(form: InputForm) -> list[str]:
    shape = ", ".join(map(str, form.shape))
    made = "the columns as numbers, named in the file's metadata `columns`" if form.columns is not None else "the rows"
    return [
        f"With ONNX Runtime and nothing of gence; the input is {made}, the preprocessing of the numbers and the "
        "calibrator are inside:",
        "```python",
        "import json",
        "import numpy as np",
        "import onnxruntime",
        "",
        'session = onnxruntime.InferenceSession("FOLDER/model.onnx")',
        'class_names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])',
        f"rows = np.zeros((5, {shape}), np.{form.dtype})",
        '(probabilities,) = session.run(["probabilities"], {"rows": rows})',
        "```",
    ]


def _cell(text: str) -> str:
    return "`" + _plain(text).replace("`", "'") + "`"


def _plain(text: str) -> str:
    return listing([text]).replace("|", "\\|").replace("<", "&lt;")
