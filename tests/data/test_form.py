from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gence._errors import InputError
from gence.data import InputForm, LabelledData, load
from gence.data.columns import fit_columns

COLUMNS = fit_columns(pd.DataFrame({"age": [1, 2, None], "sex": ["f", "m", "f"]}), "people")
FORMS = [
    InputForm("image", (3, 28, 56), "uint8", resized=True),
    InputForm("image", (4, 2, 2), "float32", target="label"),
    InputForm("table", (30,), "float64"),
    InputForm("table", (4,), "float32", COLUMNS, "ill"),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_comes_back_from_json_as_it_was(form: InputForm) -> None:
    assert InputForm.from_json(json.loads(json.dumps(form.as_json()))) == form


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "text"}, "inputs of the kind 'text'"),
        ({"kind": 1}, "kind 1"),
        ({"shape": [4, 4]}, "table rows of the shape (4, 4); (columns,) is expected"),
        ({"shape": [0]}, "each at least 1"),
        ({"shape": [True]}, "each at least 1"),
        ({"shape": "4"}, "shape '4'"),
        ({"shape": [5]}, "but the columns become 4 numbers"),
        ({"dtype": "uint8"}, "known: float64, float32"),
        ({"columns": {"columns": []}}, "a column encoder without a column"),
        ({"target": 3}, "target 3"),
        ({"resized": 0}, "resized 0"),
        ({"more": 1}, "a dictionary of kind, shape, dtype, columns, target, resized is expected"),
    ],
)
def test_damaged_content_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        InputForm.from_json(FORMS[3].as_json() | changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_without_a_form_tell_it_themselves() -> None:
    data = LabelledData("zoo", "image", np.zeros((2, 3, 4, 5), np.uint8), np.array([0, 1]), ("a", "b"))

    assert data.form is None
    assert data.input_form == InputForm("image", (3, 4, 5), "uint8")


def test_a_form_of_other_rows_is_refused() -> None:
    data = LabelledData("zoo", "image", np.zeros((2, 3, 4, 5), np.uint8), np.array([0, 1]), ("a", "b"))

    assert replace(data, form=InputForm("image", (3, 4, 5), "uint8")).fingerprint == data.fingerprint
    with pytest.raises(InputError, match="give the form of these rows, or none"):
        replace(data, form=InputForm("image", (1, 4, 5), "uint8"))


def test_a_table_keeps_how_it_became_numbers(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("age,sex,ill\n30,f,1\n,m,0\n32,f,0\n")

    data = load(str(tmp_path / "people.csv"), target="ill")

    assert data.input_form.columns is not None
    assert data.input_form.columns.names == ("age", "age is missing", "sex=f", "sex=m")
    assert (data.input_form.target, data.input_form.dtype, data.input_form.resized) == ("ill", "float64", False)


@pytest.mark.parametrize(
    ("sizes", "image_size", "resized"),
    [
        ([(8, 8), (8, 8)], None, False),
        ([(8, 8), (9, 8)], None, True),
        ([(65, 65), (65, 65)], None, True),
        ([(8, 8), (8, 8)], 8, True),
        ([(64, 64), (64, 64)], None, False),
    ],
)
@pytest.mark.parametrize("source", ["folder", "parquet"])
def test_whether_images_are_resized_is_kept(
    tmp_path: Path, png, write_parquet, source: str, sizes: list, image_size: int | None, resized: bool
) -> None:
    contents = [png(np.full(size, 9, np.uint8)) for size in sizes]
    path = tmp_path / "zoo"
    if source == "folder":
        for name, content in zip("ab", contents, strict=True):
            (path / name).mkdir(parents=True)
            (path / name / "1.png").write_bytes(content)
    else:
        path = write_parquet(
            tmp_path / "zoo.parquet",
            {"img": [{"bytes": content, "path": None} for content in contents], "label": ["a", "b"]},
        )

    form = load(str(path), image_size=image_size).input_form

    side = image_size or (8 if sizes[0] == sizes[1] == (8, 8) else 64)
    target = "label" if source == "parquet" else None
    assert form == InputForm("image", (1, side, side), "uint8", None, target, resized)
