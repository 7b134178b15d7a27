from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gence._errors import InputError
from gence.data import InputForm, LabelledData, Stream, load, stream
from gence.data.columns import fit_columns

BATCHES = pytest.mark.parametrize("batch_rows", [1, 7, 1000])


def read(source: object, form: InputForm, **options: Any) -> tuple[np.ndarray, Stream]:
    rows = stream(str(source), form, **options)
    pieces = [batch.inputs for batch in rows]
    assert all(piece.dtype == form.dtype and piece.shape[1:] == form.shape for piece in pieces)
    assert all(0 < len(piece) <= options.get("batch_rows", 512) for piece in pieces)
    inputs = np.concatenate(pieces)
    assert rows.rows in (None, len(inputs))
    return inputs, rows


def read_back(source: object, data: LabelledData, batch_rows: int) -> Stream:
    """Stream what was loaded, and demand the very same inputs."""
    inputs, rows = read(source, data.input_form, batch_rows=batch_rows)
    np.testing.assert_array_equal(inputs, data.inputs)
    return rows


def refusal(source: object, form: InputForm, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        list(stream(str(source), form, **options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def messy(rows: int = 40) -> pd.DataFrame:
    """Columns in which a chunk of rows looks like another type than the whole."""
    random = np.random.default_rng(0)
    number = random.integers(0, 9, rows)
    return pd.DataFrame(
        {
            "whole": number,
            "gappy": pd.Series(number % 5).where(number > 2).astype("Int64"),
            "fraction": random.normal(size=rows) * 10.0 ** random.integers(-9, 9, rows),
            "nanoseconds": 1_760_000_000_123_456_789 + number * 1_000_003,
            "zip": [f"{value:04}" if value < 8 else "abroad" for value in number],
            "digits": [f"0{value}" for value in number],
            "flag": number > 4,
            "flag with gaps": pd.Series(number > 3, dtype=object).where(number != 1),
            "yes or 1": ["1" if value < 8 else "True" for value in number],
            "born": pd.Series([f"20{value:02}-01-0{value + 1}" for value in number]).where(number != 2),
            "at": [f"2020-01-01T0{value}:30:00.{value}" if value % 2 else "2020-01-01" for value in number],
            "colour": pd.Series(random.choice(["red", "NA of course", "b,l;ue"], rows)).where(number != 5),
            "word": [f"w{value}" for value in random.integers(0, 25, rows)],
            "row": np.arange(rows),
            "ill": random.choice(["yes", "no"], rows),
        }
    )


@BATCHES
@pytest.mark.parametrize("options", [{}, {"sep": ";", "decimal": ","}, {"sep": ";"}, {"sep": "\t"}, {"na_rep": "?"}])
def test_csv_rows_are_those_that_load_gives(tmp_path: Path, batch_rows: int, options: dict[str, str]) -> None:
    messy().to_csv(tmp_path / "m.csv", index=False, **options)
    data = load(str(tmp_path / "m.csv"), target="ill")

    assert read_back(tmp_path / "m.csv", data, batch_rows).notes == ()
    kinds = {column.name: column.kind for column in data.input_form.columns.columns}  # type: ignore[union-attr]
    assert [kinds[name] for name in ("zip", "digits", "flag with gaps", "yes or 1", "at", "row")] == [
        "category",
        "number",
        "boolean",
        "category",
        "date",
        "left out",
    ]


@BATCHES
def test_a_row_means_the_same_alone_as_among_others(tmp_path: Path, batch_rows: int) -> None:
    frame = messy()
    frame.to_csv(tmp_path / "m.csv", index=False)
    data = load(str(tmp_path / "m.csv"), target="ill")
    # Rows sorted by zip code: whole chunks of digits, and no label.
    order = np.argsort(frame["zip"].to_numpy(), kind="stable")
    frame.iloc[order].drop(columns="ill").to_csv(tmp_path / "new.csv", index=False)

    inputs, _ = read(tmp_path / "new.csv", data.input_form, batch_rows=batch_rows)

    np.testing.assert_array_equal(inputs, data.inputs[order])


def parquet_columns(frame: pd.DataFrame) -> dict[str, Any]:
    rows = len(frame)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    columns = {name: table.column(name) for name in table.column_names}
    columns["zip"] = columns["zip"].combine_chunks().dictionary_encode()
    columns["price"] = pa.array([None if row % 7 == 0 else row % 5 for row in range(rows)], pa.decimal128(9, 2))
    columns["day"] = pa.array([row % 11 for row in range(rows)], pa.int32()).cast(pa.date32())
    columns["when"] = pa.array([None if row == 3 else row * 10**9 for row in range(rows)], pa.timestamp("ns"))
    columns["waited"] = pa.array([row % 4 for row in range(rows)], pa.duration("s"))
    columns["half"] = pa.array([row % 3 + 0.1 for row in range(rows)], pa.float32())
    columns["breed"] = pa.array([None if row % 9 == 4 else row % 3 - 1 for row in range(rows)], pa.int64())
    columns["parts"] = pa.array([[row] for row in range(rows)])
    return columns


FEATURES = {"breed": {"_type": "ClassLabel", "names": ["siam", "manx"]}}


@BATCHES
@pytest.mark.parametrize("row_group_size", [3, 1000])
def test_parquet_rows_are_those_that_load_gives(
    tmp_path: Path, write_parquet, batch_rows: int, row_group_size: int
) -> None:
    path = write_parquet(tmp_path / "m.parquet", parquet_columns(messy()), FEATURES, row_group_size)
    data = load(str(path), target="ill")

    rows = read_back(path, data, batch_rows)

    assert rows.rows == 40
    assert rows.notes == ()
    names = data.input_form.columns.names  # type: ignore[union-attr]
    assert {"breed=manx", "breed=siam", "breed is missing", "price is missing", "zip=abroad"} <= set(names)


def test_rows_without_a_label_come_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n1,a\n2,\n3,b\n")
    data = load(str(tmp_path / "t.csv"), target="y")

    assert len(data.inputs) == 2
    assert read(tmp_path / "t.csv", data.input_form)[0].tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("files", "order", "notes"),
    [
        (["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"], [0, 1, 2], ()),
        (["train", "test", "validation"], [0, 1], ("not used, beside train, test: validation",)),
        (["monday", "tuesday"], [0, 1], ()),
        (["new-2", "new-1"], [1, 0], ()),
    ],
)
def test_of_a_folder_the_splits_that_load_reads_come_or_all_files(
    tmp_path: Path, write_parquet, files: list[str], order: list[int], notes: tuple[str, ...]
) -> None:
    for number, name in enumerate(files):
        write_parquet(tmp_path / f"{name}.parquet", {"x": [10 * number, 10 * number + 1], "y": ["a", "b"]})
    form = InputForm("table", (1,), "float64", fit_columns(pd.DataFrame({"x": [1, 2]}), "t"), "y")

    inputs, rows = read(tmp_path, form)

    assert inputs[:, 0].tolist() == [10 * number + row for number in order for row in (0, 1)]
    assert rows.notes == notes


def test_a_folder_with_splits_is_read_in_the_order_of_load(tmp_path: Path, write_parquet) -> None:
    for name, values in {"train": [1, 2, 3], "test": [4, 5]}.items():
        write_parquet(tmp_path / f"{name}.parquet", {"x": values, "y": ["a", "b", "a"][: len(values)]})

    read_back(tmp_path, load(str(tmp_path), target="y"), 2)


ARRAYS = {
    "table": np.random.default_rng(0).normal(size=(20, 5)),
    "whole numbers": np.arange(60).reshape(20, 3),
    "grey": np.random.default_rng(1).integers(0, 256, (20, 5, 4)),
    "channels last": np.random.default_rng(2).integers(0, 256, (20, 6, 5, 3)).astype(np.uint8),
    "fractions": np.random.default_rng(3).random((20, 3, 6, 5)),
    "fortran": np.asfortranarray(np.random.default_rng(4).normal(size=(20, 5))),
    "big endian": np.random.default_rng(5).normal(size=(20, 5)).astype(">f4"),
}


@BATCHES
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", list(ARRAYS))
def test_arrays_are_those_that_load_gives(tmp_path: Path, batch_rows: int, name: str, save: Callable) -> None:
    values = ARRAYS[name]
    labels = np.arange(20) % 2
    save(tmp_path / "a.npz", X=values, y=labels, X_test=values[:9], y_test=labels[:9])
    data = load(str(tmp_path / "a.npz"))

    assert read_back(tmp_path / "a.npz", data, batch_rows).rows == 29
    np.savez(tmp_path / "b.npz", X=values)
    np.testing.assert_array_equal(read(tmp_path / "b.npz", data.input_form)[0], data.inputs[:20])


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Images of several sizes and modes in class folders below train and test."""
    random = np.random.default_rng(0)
    shapes = [(9, 7, 3), (70, 80, 3), (5, 5), (64, 64, 3), (8, 8, 4), (30, 20)]
    for split, classes in {"train": ["bee", "ant"], "test": ["ant"]}.items():
        for name in classes:
            (tmp_path / "zoo" / split / name).mkdir(parents=True)
            for number, shape in enumerate(shapes):
                pixels = random.integers(0, 256, shape, np.uint8)
                Image.fromarray(pixels).save(tmp_path / "zoo" / split / name / f"{number}.png")
    return tmp_path / "zoo"


@BATCHES
@pytest.mark.parametrize("image_size", [None, 12])
def test_image_files_are_those_that_load_gives(zoo: Path, batch_rows: int, image_size: int | None) -> None:
    data = load(str(zoo), image_size=image_size)

    rows = stream(str(zoo), data.input_form, batch_rows=batch_rows)
    batches = list(rows)

    np.testing.assert_array_equal(np.concatenate([batch.inputs for batch in batches]), data.inputs)
    files = [file for batch in batches for file in batch.files or ()]
    assert files == [f"{folder}/{n}.png" for folder in ("train/ant", "train/bee", "test/ant") for n in range(6)]
    side = image_size or 64
    assert rows.notes == (
        f"resized {18 if image_size else 15} images to {side} x {side}",
        "showed the transparent pixels of 3 images in white",
    )


@BATCHES
def test_images_in_parquet_are_those_that_load_gives(tmp_path: Path, write_parquet, png, batch_rows: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), np.uint8)
    images = [{"bytes": png(image), "path": None} for image in pixels]
    path = write_parquet(tmp_path / "z.parquet", {"img": images, "label": [0, 1] * 10, "more": list(range(20))})

    assert read_back(path, load(str(path)), batch_rows).rows == 20


def test_images_without_classes_are_read_wherever_they_lie(zoo: Path) -> None:
    data = load(str(zoo))
    Image.new("RGB", (4, 4)).save(zoo / "stray.png")
    flat = zoo / "train" / "ant"
    (flat / "notes.txt").write_text("none")

    batches = list(rows := stream(str(flat), data.input_form))

    assert batches[0].files == tuple(f"{number}.png" for number in range(6))
    np.testing.assert_array_equal(batches[0].inputs, data.inputs[:6])
    assert rows.notes[0] == "passed over 1 file that is not an image"
    [alone] = stream(str(flat / "1.png"), data.input_form)
    np.testing.assert_array_equal(alone.inputs, data.inputs[1:2])
    assert alone.files == ("1.png",)
    everything = [file for batch in stream(str(zoo), data.input_form) for file in batch.files or ()]
    assert (everything[0], len(everything)) == ("stray.png", 19)


def test_folders_of_images_without_a_training_split_are_all_read(tmp_path: Path) -> None:
    for split in ("test", "val"):
        (tmp_path / split / "x").mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / split / "x" / "1.png")

    [batch] = stream(str(tmp_path), InputForm("image", (1, 4, 4), "uint8"))

    assert batch.files == ("test/x/1.png", "val/x/1.png")


def test_colour_becomes_grey_for_a_grey_model(zoo: Path) -> None:
    _, rows = read(zoo / "train" / "ant", InputForm("image", (1, 8, 8), "uint8", resized=True))

    assert rows.notes[0] == "turned 4 colour images grey, as every training image was"
    [batch] = stream(str(zoo / "train" / "ant" / "3.png"), InputForm("image", (1, 64, 64), "uint8"))
    grey = Image.open(zoo / "train" / "ant" / "3.png").convert("L")
    np.testing.assert_array_equal(batch.inputs[0, 0], np.asarray(grey))


def test_a_named_data_set_comes_as_load_gives_it() -> None:
    data = load("digits")

    assert read_back("digits", data, 500).rows == 1797
    assert "it is images of 1 x 8 x 8 uint8" in refusal("digits", InputForm("image", (1, 9, 9), "float32"))


def test_a_whole_number_beyond_64_bits_is_a_number_in_new_rows_too(tmp_path: Path) -> None:
    form = InputForm("table", (1,), "float64", fit_columns(pd.DataFrame({"x": [1, 2]}), "t"), "y")
    (tmp_path / "n.csv").write_text(f"x,y\n1,a\n{2**70},b\n-{2**70},b\n,b\n")
    [batch] = stream(str(tmp_path / "n.csv"), form)
    np.testing.assert_array_equal(batch.inputs[:, 0], [1, 2.0**70, -(2.0**70), np.nan])
    (tmp_path / "n.csv").write_text(f"x,y\n1,a\n{2**70},b\nTrue,b\n")
    with pytest.raises(InputError, match="'True' in row 2"):
        next(iter(stream(str(tmp_path / "n.csv"), form)))


def test_the_notes_of_all_batches_are_added(tmp_path: Path) -> None:
    encoder = fit_columns(pd.DataFrame({"x": [1, 2], "colour": ["red", "blue"]}), "t")
    form = InputForm("table", (3,), "float64", encoder, "y")
    (tmp_path / "n.csv").write_text("x,colour,y,z\n1,mauve,a,1\n,teal,b,2\n?,red,,3\n4,mauve,a,4\n")

    rows = stream(str(tmp_path / "n.csv"), form, batch_rows=1)
    values = np.concatenate([batch.inputs for batch in rows])

    np.testing.assert_array_equal(values, [[1, 0, 0], [np.nan, 0, 0], [np.nan, 0, 1], [4, 0, 0]])
    assert rows.notes == (
        "not used, as training had no such column: z",
        "2 rows have no value of 'x', which training always had; they are filled with the median of training",
        "3 rows hold values of 'colour' that training never saw (mauve, teal); they count as none of the known ones",
    )
    assert list(rows) == []


TABLE = InputForm("table", (2,), "float64", fit_columns(pd.DataFrame({"x": [1, 2], "w": [1, 3]}), "t"), "y")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,w\n1,2\n3,4\n5,six\n", "column 'w' holds 'six' in row 2 (the first row is 0); a number is expected"),
        ("x,w\n1,2\n3,True\n", "column 'w' holds 'True' in row 1 "),
        ("x;w\n1,5;2\n3;a\n", "column 'w' holds 'a' in row 1 "),
        ("x;w\n1,5;2\n3;4.5\n", "in row 1 "),
        ("x,w\n1,2\n3,inf\n", "column 'w' holds inf in row 1 (the first row is 0); numbers up to 3.4e38"),
        ("x,ww\n1,2\n", "no column 'w', which the model was trained on; did you mean 'ww'?"),
        ("x,w\n", "there are no rows; at least one is expected"),
        ("x,w\n1,2\n1,2,3\n", "not a table of comma-separated values (Expected 2 fields in line 3, saw 3)"),
        ("x,w\n1,2,3\n4,5,6\n", "the rows have more fields than the header has names"),
        ("x,w\n1,2\n1,\xe9\n", "the text is not UTF-8"),
        ("", "the file is empty; copy or download it again"),
    ],
)
@pytest.mark.parametrize("batch_rows", [1, 2, 512])
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, text: str, words: str, batch_rows: int) -> None:
    (tmp_path / "n.csv").write_bytes(text.encode("latin-1"))

    assert words in refusal(tmp_path / "n.csv", TABLE, batch_rows=batch_rows)


def test_a_decimal_comma_may_turn_up_late(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("x;w\n1;2\n3;4\n5,5;6\n")

    assert read(tmp_path / "n.csv", TABLE, batch_rows=1)[0].tolist() == [[1, 2], [3, 4], [5.5, 6]]


def test_a_damaged_parquet_cell_is_named_by_its_row_in_the_source(tmp_path: Path, write_parquet) -> None:
    write_parquet(tmp_path / "a.parquet", {"x": [1, 2, 3], "w": [1, 2, 3]})
    write_parquet(tmp_path / "b.parquet", {"x": ["1", "2", "3"], "w": [1, 2, 3]})

    assert "column 'x' holds '1' in row 3 (the first row is 0); a number is expected" in refusal(tmp_path, TABLE)


IMAGES = InputForm("image", (3, 6, 5), "uint8")


def test_an_image_of_another_size_is_refused_unless_training_resized(tmp_path: Path) -> None:
    Image.new("RGB", (7, 8)).save(tmp_path / "a.png")

    assert refusal(tmp_path, IMAGES) == (
        f"{tmp_path / 'a.png'}: the image has 7 x 8 pixels (width x height); 5 x 6 are expected, as every training "
        "image had: resize it"
    )
    assert refusal(tmp_path, InputForm("image", (3, 8, 8), "uint8")).endswith("or train with --image-size 8")


@pytest.mark.parametrize(
    ("arrays", "form", "words"),
    [
        ({"X": np.zeros((2, 6, 5, 3), np.float32)}, IMAGES, "which is read as float32; the model was trained on uint8"),
        ({"X": np.zeros((2, 5, 6, 3), np.uint8)}, IMAGES, "X has the shape (2, 5, 6, 3), that is rows of (3, 5, 6)"),
        ({"X": np.zeros((3, 5))}, IMAGES, "X of shape (3, 5) is a table, but the model was trained on images"),
        ({"X": np.zeros((3, 5))}, TABLE, "whose columns have no names, but the model was trained on a table with the"),
        ({"X": np.array([[object()]])}, InputForm("table", (1,), "float64"), "X holds Python objects, which are never"),
        ({"X": np.array([["a"]])}, InputForm("table", (1,), "float64"), "X has the type <U1; numbers are expected"),
        ({"X": np.array([[1.0], [np.nan]])}, InputForm("table", (1,), "float64"), "the first is row 1 (counted from"),
        ({"X": np.zeros((0, 1))}, InputForm("table", (1,), "float64"), "there are no rows; at least one is expected"),
        ({"y": np.zeros(3)}, InputForm("table", (1,), "float64"), "no X among y; X is expected"),
        ({"X": np.full((2, 6, 5, 3), 256)}, IMAGES, "X holds whole numbers from 256 to 256; 0 to 255 are expected"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict, form: InputForm, words: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)

    assert words in refusal(tmp_path / "a.npz", form, batch_rows=1)


def test_an_array_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    import io
    import zipfile

    stored = io.BytesIO()
    np.save(stored, np.zeros((9, 2)))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("X.npy", stored.getvalue()[:-40])

    assert "X is damaged or cut short (it ends in row 6 of 9)" in refusal(
        tmp_path / "a.npz", InputForm("table", (2,), "float64"), batch_rows=2
    )


def test_another_kind_of_source_is_refused(tmp_path: Path, write_parquet, png) -> None:
    (tmp_path / "t.csv").write_text("x,w\n1,2\n")
    write_parquet(tmp_path / "t.parquet", {"x": [1, 2], "w": [1, 3]})
    write_parquet(tmp_path / "i.parquet", {"img": [{"bytes": png(np.zeros((4, 5, 3), np.uint8)), "path": None}]})
    (tmp_path / "zoo").mkdir()
    Image.new("L", (5, 4)).save(tmp_path / "zoo" / "a.png")
    unnamed = InputForm("table", (2,), "float64")

    assert "a table with the columns x, w, but the model was trained on images" in refusal(tmp_path / "t.csv", IMAGES)
    assert "a table with the columns x, w, but" in refusal(tmp_path / "t.parquet", IMAGES)
    assert "without column names; give it such rows" in refusal(tmp_path / "t.csv", unnamed)
    assert "without column names; give it such rows" in refusal(tmp_path / "t.parquet", unnamed)
    assert "images (column 'img'), but the model was trained on a table" in refusal(tmp_path / "i.parquet", TABLE)
    assert "a folder of images, but the model was trained on a table" in refusal(tmp_path / "zoo", TABLE)
    assert "an image file, but" in refusal(tmp_path / "zoo" / "a.png", InputForm("image", (1, 4, 5), "float32"))


def test_sources_that_are_not_there_are_refused_as_by_load(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("x,w\n1,2\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.txt").write_text("x")

    assert "there is no such file or folder; did you mean" in refusal(tmp_path / "peple.csv", TABLE)
    assert "the folder is empty" in refusal(tmp_path / "empty", TABLE)
    assert "this kind of file is not read; known endings: .csv, .parquet, .npz, .png" in refusal(
        tmp_path / "t.txt", TABLE
    )
    assert "a data root was given" in refusal(tmp_path / "people.csv", TABLE, data_root=tmp_path)
    assert refusal(tmp_path / "people.csv", TABLE, batch_rows=0) == "batches of 0 rows; at least 1 is expected"


def large_csv(path: Path) -> None:
    block = "".join(f"{row % 97}.5,{row % 89}\n" for row in range(1000))
    path.write_text("x,w\n" + block * 400)


def large_parquet(path: Path) -> None:
    # One row group that does not compress: its columns are 8 MB each.
    values = np.random.default_rng(0).normal(size=(2, 1_000_000))
    pq.write_table(pa.table({"x": values[0], "w": values[1]}), path, row_group_size=10**7, compression="none")


def large_npz(path: Path) -> None:
    np.savez(path, X=np.ones((500_000, 2)))


@pytest.mark.parametrize(
    ("ending", "write", "columns", "most"),
    [
        ("csv", large_csv, TABLE, 2.4e6),
        ("parquet", large_parquet, TABLE, 2e6),
        ("npz", large_npz, InputForm("table", (2,), "float64"), 2e6),
    ],
)
def test_only_a_few_batches_are_in_memory(
    tmp_path: Path, ending: str, write: Callable, columns: InputForm, most: float
) -> None:
    path = tmp_path / f"large.{ending}"
    write(path)
    next(iter(stream(str(path), columns)))  # modules are imported before the count begins
    arrow, arrow_peak, total = pa.total_allocated_bytes(), 0, 0

    tracemalloc.start()
    try:
        for batch in stream(str(path), columns, batch_rows=4096):
            arrow_peak = max(arrow_peak, pa.total_allocated_bytes() - arrow)
            total += batch.inputs.nbytes
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert total > 2 * most
    assert peak < most
    assert arrow_peak < 4e6
