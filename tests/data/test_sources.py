from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gence.data
from gence._errors import InputError
from gence.data import load

NEEDED_LATER = ("pandas", "pyarrow", "PIL", "sklearn", "datasets", "scipy", "torch")


def put_csv(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x,y\n1,a\n2,b\n")
    return path


def put_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 3)).save(path)
    return path


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own lets in its owner alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def step_down() -> Iterator[object]:
    """Root may read everything, so the tests of missing rights go on as somebody else."""
    root = os.geteuid() == 0
    yield lambda: os.seteuid(65534) if root else None
    if root:
        os.seteuid(0)


def test_the_package_shows_its_names() -> None:
    assert {"LabelledData", "load"} <= set(gence.data.__all__)
    assert all(hasattr(gence.data, name) for name in gence.data.__all__)


IMPORT_WITHOUT = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NEEDED_LATER!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run_without_packages(code: str) -> str:
    found = subprocess.run([sys.executable, "-c", IMPORT_WITHOUT + code], capture_output=True, text=True, check=False)
    return found.stdout + found.stderr


def test_the_sources_import_with_numpy_alone() -> None:
    # Not through the package gence, which may ask for torch.
    code = "import types; p = types.ModuleType('gence'); p.__path__ = [{!r}]; sys.modules['gence'] = p\n"
    code = code.format(str(Path(gence.data.__file__).parents[1]))

    assert run_without_packages(code + "from gence.data.sources import load; print('fine')").strip() == "fine"
    assert "No module named 'pandas'" in run_without_packages("import pandas")


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("sklearn", "digits"),
        ("sklearn", "digit_pairs"),
        ("sklearn", "breast_cancer"),
        ("datasets", "cifar10"),
        ("pandas", "a.csv"),
        ("pyarrow", "a.parquet"),
        ("PIL", "pets"),
        ("datasets", "hf:org/zoo"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_has_it(
    package: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal, write_parquet
) -> None:
    put_csv(tmp_path / "a.csv")
    write_parquet(tmp_path / "a.parquet", {"x": [1, 2], "y": [0, 1]})
    put_image(tmp_path / "pets/cat/1.png")
    monkeypatch.chdir(tmp_path)
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)

    options = {"target": "y"} if source.startswith("a.") else {}
    assert refusal(source, **options) == f"{source}: reading it needs {package}; pip install 'gence[lab]'"


def test_a_missing_module_of_our_own_is_not_blamed_on_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ModuleNotFoundError("No module named 'gence.nothing'", name="gence.nothing")

    monkeypatch.setattr("gence.data.named.read_digits", broken)

    with pytest.raises(ModuleNotFoundError):
        load("digits")


def test_the_name_is_that_of_the_file_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_csv(tmp_path / "pets/my.table.CSV")
    put_image(tmp_path / "pets/a/1.png")
    put_image(tmp_path / "pets/b/1.png")
    monkeypatch.chdir(tmp_path / "pets")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert load("my.table.CSV", target="y").name == "my.table"
    assert load(".").name == "pets"
    assert load("~/pets").name == "pets"


def test_digits_means_the_data_set_and_a_folder_of_that_name_takes_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_image(tmp_path / "digits/a/1.png")
    put_image(tmp_path / "digits/b/1.png")
    monkeypatch.chdir(tmp_path)

    assert len(load("digits").labels) == 1797
    assert len(load("./digits").labels) == 2


@pytest.mark.parametrize("source", ["digist", "Digits", "digit"])
def test_a_slip_in_a_known_name_gets_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal, source: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert refusal(source) == f"{source!r}: there is no such file or folder; did you mean 'digits'?"


@pytest.mark.parametrize("source", ["digit-pairs", "digits_pairs", "digit_pair"])
def test_a_slip_in_the_name_of_the_pairs_gets_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal, source: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert refusal(source) == f"{source!r}: there is no such file or folder; did you mean 'digit_pairs'?"


def test_a_slip_in_a_path_gets_its_nearest_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal) -> None:
    put_csv(tmp_path / "tables/titanic.csv")
    put_csv(tmp_path / "tables/iris.csv")
    monkeypatch.chdir(tmp_path)

    assert refusal("tables/titanik.csv").endswith("did you mean 'tables/titanic.csv'?")
    assert refusal("tabels/titanic.csv").endswith("did you mean 'tables'?")
    assert refusal(tmp_path / "tables/iris.CSV2").endswith(f"did you mean '{tmp_path}/tables/iris.csv'?")


def test_a_path_that_resembles_nothing_gets_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal
) -> None:
    monkeypatch.chdir(tmp_path)

    expected = (
        "expected a named data set such as digits or cifar10, a folder of images or parquet files, a .csv, .parquet or "
        ".npz file, or hf:ORG/NAME"
    )
    assert refusal("qqq.csv") == f"'qqq.csv': there is no such file or folder; {expected}"
    assert refusal("") == f"'': there is no such file or folder; {expected}"
    assert refusal("qqq/www/eee") == f"'qqq/www/eee': there is no such file or folder; {expected}"


def test_a_hub_name_without_its_prefix_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal) -> None:
    monkeypatch.chdir(tmp_path)

    assert refusal("uoft-cs/cifar10").endswith("did you mean 'hf:uoft-cs/cifar10'?")


def test_a_path_below_a_file_is_refused(tmp_path: Path, refusal) -> None:
    put_csv(tmp_path / "a.csv")

    assert "there is no such file or folder" in refusal(tmp_path / "a.csv" / "b")


def test_another_ending_is_refused_with_the_known_ones(tmp_path: Path, refusal) -> None:
    (tmp_path / "book.xlsx").write_text("PK")

    assert "book.xlsx: this kind of file is not read; known endings: .csv, .parquet, .npz" in refusal(
        tmp_path / "book.xlsx"
    )


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path, refusal) -> None:
    os.mkfifo(tmp_path / "pipe.csv")

    assert "this kind of file is not read" in refusal(tmp_path / "pipe.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.npz", "a.parquet"])
def test_an_empty_file_is_refused(tmp_path: Path, refusal, name: str) -> None:
    (tmp_path / name).touch()

    assert f"{name}: the file is empty; copy or download it again" in refusal(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path: Path, refusal) -> None:
    (tmp_path / ".git").mkdir()

    assert "the folder is empty; class folders with images or parquet files are expected" in refusal(tmp_path)


def test_images_without_class_folders_are_refused(tmp_path: Path, refusal) -> None:
    put_image(tmp_path / "1.png")
    assert "1 image lies directly in it: images belong into one subfolder a class" in refusal(tmp_path)

    put_image(tmp_path / "2.JPG")
    assert "2 images lie directly in it: images belong into one subfolder a class" in refusal(tmp_path)


def test_a_folder_of_tables_points_to_the_table(tmp_path: Path, refusal) -> None:
    put_csv(tmp_path / "iris.csv")
    (tmp_path / "notes.txt").write_text("text")

    assert f"a folder with iris.csv; give the file, such as {tmp_path}/iris.csv" in refusal(tmp_path)


def test_a_folder_of_anything_else_is_refused(tmp_path: Path, refusal) -> None:
    put_image(tmp_path / "Training/cat/1.png")

    message = refusal(tmp_path)

    assert "neither class folders with images nor parquet files are in it" in message
    assert f"{tmp_path}/CLASS/IMAGE or {tmp_path}/train-00000-of-00001.parquet is expected" in message


def test_a_folder_with_images_and_parquet_is_refused(tmp_path: Path, refusal, write_parquet) -> None:
    put_image(tmp_path / "cat/1.png")
    write_parquet(tmp_path / "train.parquet", {"x": [1]})

    assert "holds both parquet files and class folders with images; move one of the two elsewhere" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.npz", "a.parquet", "pets", "pets/b/1.png", "zoo/train.parquet"])
def test_what_may_not_be_read_is_refused(open_folder: Path, step_down, refusal, write_parquet, name: str) -> None:
    put_csv(open_folder / "a.csv")
    np.savez(open_folder / "a.npz", X=np.eye(2), y=np.arange(2))
    write_parquet(open_folder / "a.parquet", {"x": [1, 2], "y": [0, 1]})
    write_parquet(open_folder / "zoo/train.parquet", {"x": [1, 2], "y": [0, 1]})
    put_image(open_folder / "pets/a/1.png")
    put_image(open_folder / "pets/b/1.png")
    source = open_folder / name.partition("/")[0]
    options = {} if source.suffix == ".npz" or source.name == "pets" else {"target": "y"}
    assert load(str(source), **options).num_classes == 2

    (open_folder / name).chmod(0)
    step_down()

    assert f"{open_folder / name}: no permission to read it; change that, or give a copy" in refusal(source, **options)


def test_a_name_too_long_for_the_file_system_is_refused(refusal) -> None:
    assert "cannot be read ([Errno 36] File name too long" in refusal("x" * 300)


@pytest.mark.parametrize("image_size", [0, -3])
def test_an_image_has_at_least_one_pixel(image_size: int) -> None:
    with pytest.raises(InputError, match=rf"image size {image_size}: at least 1 pixel is expected"):
        load("digits", image_size=image_size)
