"""The datasets library is driven on small folders in its own layout, without a network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import huggingface_hub.utils
import numpy as np
import pytest

from gence.data import load

FEATURES = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ant", "bee", "cat"]}}


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def shard(png, write_parquet):
    def write(path: str, greys: list[int], labels: list[int]) -> None:
        images = [{"bytes": png(np.full((2, 2), grey, np.uint8)), "path": None} for grey in greys]
        write_parquet(Path(path), {"img": images, "label": labels}, FEATURES)

    return write


def test_a_folder_below_the_working_directory_is_read_like_the_hub(shard) -> None:
    shard("org/zoo/train-00000-of-00001.parquet", [1, 2, 3], [0, 2, 0])
    shard("org/zoo/test-00000-of-00001.parquet", [4], [2])

    data = load("hf:org/zoo")

    assert (data.name, data.kind, data.class_names) == ("org/zoo", "image", ("ant", "cat"))
    np.testing.assert_array_equal(data.inputs, np.array([1, 2, 3, 4], np.uint8).repeat(4).reshape(4, 1, 2, 2))
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert data.test_rows is not None
    assert data.test_rows.tolist() == [3]
    assert data.notes == ("left out classes without a row: bee",)


def test_a_configuration_is_chosen_after_a_colon(shard) -> None:
    shard("org/zoo/small/train-00000-of-00001.parquet", [1, 2], [0, 1])
    shard("org/zoo/large/train-00000-of-00001.parquet", [3, 4, 5], [0, 1, 2])
    Path("org/zoo/README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: small\n  data_files: [{split: train, path: small/*}]\n"
        "- config_name: large\n  data_files: [{split: train, path: large/*}]\n---\n"
    )

    assert len(load("hf:org/zoo:small").labels) == 2
    large = load("hf:org/zoo:large")
    assert (large.name, len(large.labels), large.test_rows) == ("org/zoo:large", 3, None)


def test_a_table_is_read_as_a_table(write_parquet) -> None:
    write_parquet(Path("org/people/train-00000-of-00001.parquet"), {"x": [1.5, None, 3.0], "ill": ["no", "yes", None]})

    data = load("hf:org/people", target="ill")

    assert (data.kind, data.class_names) == ("table", ("no", "yes"))
    np.testing.assert_array_equal(data.inputs, np.array([[1.5, 0], [np.nan, 1]], np.float32))
    assert data.notes[0] == "dropped 1 row without a value in ill"


def test_images_in_files_are_read_from_their_paths(png) -> None:
    for name in ("train/ant/1", "train/bee/1"):
        Path(f"org/photos/{name}.png").parent.mkdir(parents=True)
        Path(f"org/photos/{name}.png").write_bytes(png(np.full((2, 2), len(name), np.uint8)))

    data = load("hf:org/photos")

    assert (data.kind, data.class_names, data.inputs.shape) == ("image", ("ant", "bee"), (2, 1, 2, 2))


def test_a_name_that_cannot_be_reached_is_refused_with_a_cure(refusal) -> None:
    message = refusal("hf:nobody/nothing")

    assert message.startswith("hf:nobody/nothing: cannot be loaded (Couldn't reach 'nobody/nothing' on the Hub")
    assert message.endswith("check the name and the network, or download the parquet files and give their folder")


def test_a_missing_configuration_is_refused_with_those_there_are(shard, refusal) -> None:
    shard("org/zoo/train-00000-of-00001.parquet", [1, 2], [0, 1])

    assert "BuilderConfig 'tiny' not found. Available: ['default']" in refusal("hf:org/zoo:tiny")


def test_a_folder_without_data_is_refused(refusal) -> None:
    Path("org/zoo").mkdir(parents=True)

    assert "hf:org/zoo: cannot be loaded (" in refusal("hf:org/zoo")


@pytest.mark.parametrize("source", ["hf:", "hf::small"])
def test_a_missing_name_is_refused(refusal, source: str) -> None:
    assert f"{source}: the name is missing; hf:ORG/NAME or hf:ORG/NAME:CONFIG is expected" in refusal(source)


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("source", ["hf:org/zoo", "hf:nobody/nothing"])
def test_loading_is_silent_and_leaves_the_settings_alone(
    shard, capfd: pytest.CaptureFixture[str], shown: bool, source: str
) -> None:
    shard("org/zoo/train-00000-of-00001.parquet", [1, 2], [0, 1])
    libraries: list[Any] = [datasets, huggingface_hub.utils]
    for library in libraries:
        (library.enable_progress_bars if shown else library.disable_progress_bars)()
    levels = [logging.getLogger(name).level for name in ("datasets", "huggingface_hub")]

    try:
        load(source)
    except ValueError:
        assert source == "hf:nobody/nothing"

    try:
        assert capfd.readouterr() == ("", "")
        assert [library.are_progress_bars_disabled() for library in libraries] == [not shown] * 2
        assert [logging.getLogger(name).level for name in ("datasets", "huggingface_hub")] == levels
    finally:
        for library in libraries:
            library.enable_progress_bars()
