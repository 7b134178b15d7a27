"""Predictions for files: those of the model, in the order of the rows, whole or not at all, and in bounded memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gence import InputError
from gence.classifier import KeptModel, Settings, Task, fit_network, keep, predict_source, predictions, save
from gence.classifier.network import Labelled
from gence.data import LabelledData, load

pytestmark = pytest.mark.usefixtures("no_onnx")


@pytest.fixture
def model(kept: KeptModel, tmp_path: Path) -> Path:
    save(kept, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_the_columns_are_the_probabilities_of_the_model_in_the_order_of_the_rows(
    kept: KeptModel, data: LabelledData, model: Path, table: Path, ending: str, batch_rows: int
) -> None:
    out = model.with_name(f"p{ending}")
    result = predict_source(model, str(table), out, batch_rows=batch_rows)
    frame = pd.read_parquet(out) if ending == ".parquet" else pd.read_csv(out, keep_default_na=False)
    assert list(frame) == ["prediction", "probability_basic", "probability_gold, yearly", "probability_none"]
    expected = kept.probabilities(data.inputs)
    # A batch of other size may be summed in another order.
    np.testing.assert_allclose(frame.iloc[:, 1:].to_numpy(), expected, rtol=0, atol=1e-6)
    assert frame["prediction"].tolist() == [kept.class_names[k] for k in expected.argmax(1)]
    assert (result.rows, result.counts) == (90, tuple(np.bincount(expected.argmax(1), minlength=3)))
    assert result.confidence == pytest.approx(expected.max(1).mean())
    assert result.lines()[0].startswith("90 rows, with a mean confidence of ")
    assert result.lines()[-1] == f"predictions: {out}"


def test_with_all_rows_in_one_batch_they_are_the_same_to_the_last_bit(
    kept: KeptModel, data: LabelledData, model: Path, table: Path
) -> None:
    predict_source(model, str(table), model.with_name("p.parquet"))
    found = pd.read_parquet(model.with_name("p.parquet")).iloc[:, 1:].to_numpy()
    np.testing.assert_array_equal(found, kept.probabilities(data.inputs))


def test_new_rows_may_lack_the_label_and_bring_what_training_never_saw(model: Path, table: Path) -> None:
    frame = pd.read_csv(table).drop(columns=["plan", "constant"]).head(9)
    frame.loc[2:4, "city"] = "Lima"
    frame.loc[5, "height|cm"] = np.nan
    frame.assign(extra=1).to_csv(table.with_name("new.csv"), index=False)
    notes = predict_source(model, str(table.with_name("new.csv")), table.with_name("p.csv")).notes
    assert any("3 rows hold values of 'city' that training never saw (Lima)" in note for note in notes)
    assert any("1 row has no value of 'height|cm'" in note for note in notes)
    assert any("extra" in note for note in notes)


def test_images_come_with_their_files(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(20) % 2
    for row, label in enumerate(labels):
        file = tmp_path / "photos" / ("dark", "light")[label] / f"{row}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 100, (8, 8), np.uint8) + np.uint8(100 * label)).save(file)
    data = load(str(tmp_path / "photos"))
    how = Settings(calibrate="temperature", hidden=(8,), epochs=2, folds=2, batch_size=8)
    kept = keep(fit_network(Task(Labelled(data.inputs, data.labels), "image", 2), how), data, how)
    save(kept, tmp_path / "model")
    out = tmp_path / "p.parquet"
    predict_source(tmp_path / "model", str(tmp_path / "photos"), out, batch_rows=6)
    frame = pd.read_parquet(out)
    assert list(frame) == ["file", "prediction", "probability_dark", "probability_light"]
    assert [Path(file).parent.name for file in frame["file"]] == ["dark"] * 10 + ["light"] * 10
    np.testing.assert_allclose(frame.iloc[:, 2:].to_numpy(), kept.probabilities(data.inputs), rtol=0, atol=1e-6)
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match="8 x 9 pixels"):
        predict_source(tmp_path / "model", str(tmp_path / "wide.png"), tmp_path / "q.csv")
    assert not (tmp_path / "q.csv").exists()


def test_rows_are_written_in_groups_and_memory_is_bounded(
    model: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.concat([pd.read_csv(table)] * 100, ignore_index=True)
    frame.to_parquet(table.with_name("long.parquet"))
    monkeypatch.setattr(predictions, "_GROUP_CELLS", 4 * 500)
    out = table.with_name("p.parquet")

    def peak(source: Path) -> int:
        predict_source(model, str(source), out, batch_rows=100)
        tracemalloc.start()
        try:
            predict_source(model, str(source), out, batch_rows=100)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short = table.with_name("short.parquet")
    frame.head(1000).to_parquet(short)
    least = peak(short)
    # Nine times the rows; the probabilities alone would be 200 kB more.
    assert peak(table.with_name("long.parquet")) < least + 150_000
    assert pq.ParquetFile(out).num_row_groups == 18
    assert pq.ParquetFile(out).metadata.num_rows == 9000


def test_a_source_that_breaks_off_leaves_the_old_file(model: Path, table: Path) -> None:
    out = table.with_name("p.csv")
    out.write_text("old")
    frame = pd.read_csv(table)
    frame["age"] = frame["age"].astype(object)
    frame.loc[80, "age"] = "young"
    frame.to_csv(table.with_name("bad.csv"), index=False)
    with pytest.raises(InputError, match="'young' in row 80"):
        predict_source(model, str(table.with_name("bad.csv")), out, batch_rows=10)
    assert out.read_text() == "old"
    assert not list(table.parent.glob(".*"))


def test_a_row_out_of_all_bounds_is_named(model: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(kept: KeptModel, inputs: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(inputs))[:, None] == 3, np.nan, np.full((len(inputs), 3), 1 / 3))

    monkeypatch.setattr(KeptModel, "probabilities", broken)
    with pytest.raises(InputError, match=r"no probabilities come out for row 3 \(the first row is 0\)"):
        predict_source(model, str(table), table.with_name("p.csv"))


def test_the_count_of_a_class_is_told_whatever_its_name() -> None:
    result = predictions.PredictResult(Path("p.csv"), 5, (3, 2), ("two\nlines", "one"), 0.9, ())
    assert result.lines()[0] == "5 rows, with a mean confidence of 90.0 %: two 3, one 2"


def test_bad_places_are_refused_before_anything_is_read(model: Path, table: Path) -> None:
    for out, message in (
        ("p.txt", "end in .parquet or .csv"),
        ("people.csv", "the rows are read from this file"),
        ("people.csv/p.csv", "is a file, not a folder"),
    ):
        with pytest.raises(InputError, match=message):
            predict_source(model, str(table), table.parent / out)
    for inside in (table.with_name("p.csv"), table.parent / "data/deeper/p.parquet"):
        with pytest.raises(InputError, match="read from the folder"):
            predict_source(model, str(table.parent), inside)
    with pytest.raises(InputError, match="batches of 0 rows"):
        predict_source(model, str(table), table.with_name("p.csv"), batch_rows=0)
