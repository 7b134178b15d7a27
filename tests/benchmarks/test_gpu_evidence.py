"""What is packed for a GPU machine comes out as it went in, and a study goes on there from one call to the next."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from gence import InputError
from gence.bench.inputs import StudyData
from gence.bench.plan import plan
from gence.bench.records import read_study
from gence.bench.rows import choose_rows
from gence.bench.spec import Spec, parse_spec, read_spec
from gence.data import LabelledData, hold_out

ROOT = Path(__file__).parents[2]
TAG = f"{sys.version_info.major}{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks/gpu_evidence"))


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def photographs(rows: int, size: tuple[int, int] = (32, 32), seed: int = 0) -> np.ndarray:
    """Images that are smooth, bright in places, and alike in their colours, as photographs are."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(scale=6.0, size=(rows, 3, *size))
    steps[:, 1:] = steps[:, :1] + 0.2 * steps[:, 1:]
    values = 128 + 0.6 * (steps.cumsum(axis=2) + steps.cumsum(axis=3))
    return np.clip(values, 0, 255).astype(np.uint8)


EDGES = np.stack([np.zeros((3, 5, 6)), np.full((3, 5, 6), 255), np.indices((3, 5, 6)).sum(0) % 2 * 255])


@pytest.mark.parametrize(
    "images",
    [
        np.random.default_rng(0).integers(0, 256, (7, 3, 9, 5), dtype=np.uint8),
        photographs(5),
        EDGES.astype(np.uint8),
        np.repeat(photographs(4)[:, :1], 3, axis=1),
        photographs(3, (1, 6)),
        photographs(3, (6, 1)),
        photographs(0),
    ],
    ids=["noise", "photographs", "black, white and squares", "grey", "a row", "a column", "none"],
)
def test_images_come_out_as_they_went_in(images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = module("evidence.codec")
    monkeypatch.setattr(codec, "BLOCK", 2)
    blocks = codec.encode(images)
    assert len(blocks) == -(-len(images) // 2)
    found = codec.decode(blocks, images.shape[2:])
    assert found.dtype == np.uint8
    assert np.array_equal(found, images)


def test_the_predictor_is_the_median_one_place_by_place() -> None:
    image = photographs(1, (4, 5))
    green, red = image[0, 1].astype(int), image[0, 0].astype(int)
    for plane, found in ((green, 0), ((red - green + 128) % 256, 1)):
        folded = module("evidence.codec")._errors(image)[found, 0].astype(int)
        for y, x in np.ndindex(4, 5):
            west, north = plane[y, x - 1], plane[y - 1, x]
            corner = plane[y - 1, x - 1]
            edge = north if y else west if x else 128
            middle = sorted([west, north, west + north - corner])[1] if y and x else edge
            error = (plane[y, x] - middle + 128) % 256 - 128
            assert folded[y, x] == (2 * error if error >= 0 else -2 * error - 1)


def test_photographs_take_fewer_bytes_than_with_numpy(tmp_path: Path) -> None:
    images = photographs(40)
    np.savez_compressed(tmp_path / "images.npz", images)
    assert sum(map(len, module("evidence.codec").encode(images))) < 0.7 * (tmp_path / "images.npz").stat().st_size


def test_other_arrays_and_damaged_blocks_are_refused() -> None:
    codec = module("evidence.codec")
    with pytest.raises(InputError, match=r"uint8 of shape \(rows, 3, height, width\) are expected; got float64"):
        codec.encode(np.zeros((1, 3, 2, 2)))
    [block] = codec.encode(photographs(2))
    for broken in (block[:-30], block[:40] + bytes([block[40] ^ 1]) + block[41:], b"", b"no block"):
        with pytest.raises(InputError, match="a block of images is damaged"):
            codec.decode([broken], (32, 32))
    with pytest.raises(InputError, match="a block of images is damaged"):
        codec.decode([block], (31, 31))


# A name that has a recipe, so that what hangs on names is found, as in the shipped specs.
CONTENT: dict[str, Any] = {
    "data": "cifar10",
    "losses": ["ce", "gence"],
    "labels_per_class": [5, 10],
    "seeds": 2,
    "model": "small_resnet",
    "calibrators": ["none", "temperature"],
    "training": {"epochs": 1, "batch_size": 20, "augment": "auto"},
    "suites": {"ood": ["mnist"]},
}
SPEC = parse_spec(CONTENT, "here")


def pictures(rows: int = 400, test: int = 100) -> LabelledData:
    labels = np.arange(rows + test, dtype=np.int64) % 4
    images = photographs(rows + test, (8, 8)) // 2 + (labels * 30)[:, None, None, None].astype(np.uint8)
    return LabelledData("cifar10", "image", images, labels, tuple("abcd"), np.arange(rows, rows + test))


FOREIGN = photographs(30, (8, 8), seed=1)


@pytest.fixture
def make_pack(tmp_path: Path) -> Callable[..., Any]:
    def make(spec: Spec = SPEC, folder: str = "pack", test_rows: int = 40) -> Any:
        rows, whole = module("evidence.rows"), pictures()
        thinned = rows.fewer_test_rows(whole, test_rows)
        needed = rows.rows_needed([spec], StudyData({"cifar10": thinned}))
        foreign = {"cifar10": {"mnist": rows.some_of(FOREIGN, 20)}}
        data = {"cifar10": (thinned, needed["cifar10"])}
        return module("evidence.pack_file").write_pack(tmp_path / folder, ["small"], data, foreign)

    return make


def kept_test_rows() -> np.ndarray:
    return hold_out(pictures().labels[400:], 0.4, seed=0)[1]


def data_of(pack: Any, spec: Spec = SPEC) -> StudyData:
    return module("evidence.packed_data").study_data(pack, spec)


def test_a_pack_holds_the_rows_of_every_trial_and_few_others(make_pack: Callable[..., Any]) -> None:
    pack, whole = make_pack(), pictures()
    study = data_of(pack)
    data: Any = study.labelled["cifar10"]
    for trial in plan(SPEC, study).trials:
        fractions = trial.test_fraction, trial.calibration_fraction
        parts = choose_rows(data, trial.cell, *fractions).parts()
        from_all = choose_rows(whole, trial.cell, *fractions).parts()
        for name in ("train", "validation", "calibration"):
            assert np.array_equal(parts[name], from_all[name]), "as with all data"
            assert np.array_equal(data.inputs[parts[name]], whole.inputs[parts[name]])
        assert np.bincount(data.labels[parts["test"]]).tolist() == [10] * 4
    packed = data.packed
    assert packed is not None
    assert not data.inputs[~packed].any()
    # Two seeds of ten labels of four classes, and the test rows.
    assert 40 < packed.sum() - 40 <= 80
    assert np.array_equal(data.inputs[data.test_rows], pictures().inputs[400:][kept_test_rows()])
    assert len(study.foreign["cifar10"]["mnist"]) == 20
    assert {image.tobytes() for image in study.foreign["cifar10"]["mnist"]} <= {image.tobytes() for image in FOREIGN}

    assert data.notes == ("tested on 40 of its 100 test rows, as many of every class",)


def test_a_trial_has_one_key_in_every_pack_of_the_same_test_rows(make_pack: Callable[..., Any]) -> None:
    smaller = SPEC.model_copy(update={"seeds": 1, "labels_per_class": (5,)})
    one, other = make_pack(folder="one"), make_pack(smaller, folder="other")
    data, fewer = data_of(one), data_of(other)
    keys = [[trial.key for trial in plan(SPEC, found).trials] for found in (data, fewer)]
    assert keys[0] == keys[1]
    assert data.labelled["cifar10"].fingerprint == fewer.labelled["cifar10"].fingerprint
    assert not np.array_equal(data.labelled["cifar10"].inputs, fewer.labelled["cifar10"].inputs)
    otherwise = data_of(make_pack(folder="otherwise", test_rows=44))
    assert not set(keys[0]) & {trial.key for trial in plan(SPEC, otherwise).trials}


def test_a_damaged_pack_is_refused(make_pack: Callable[..., Any], tmp_path: Path) -> None:
    open_pack = module("evidence.pack_file").open_pack
    with pytest.raises(InputError, match="no pack is here"):
        open_pack(tmp_path / "nowhere")
    folder = make_pack().folder
    images = folder / "cifar10.npz"
    content = images.read_bytes()
    images.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="the file is damaged, its sha256 is not that of the manifest"):
        data_of(open_pack(folder))
    images.unlink()
    with pytest.raises(InputError, match="this file of the pack is missing"):
        data_of(open_pack(folder))
    images.write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    wrong = manifest | {"data": {"cifar10": manifest["data"]["cifar10"] | {"pixels_sha256": "0"}}}
    (folder / "manifest.json").write_text(json.dumps(wrong))
    with pytest.raises(InputError, match="other images came out than went in"):
        data_of(open_pack(folder))
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": 2}))
    with pytest.raises(InputError, match="a pack of version 2, this is for version 1"):
        open_pack(folder)


def test_what_a_pack_lacks_is_said(make_pack: Callable[..., Any]) -> None:
    pack = make_pack()
    with pytest.raises(InputError, match="cifar100 is not in this pack"):
        data_of(pack, parse_spec(CONTENT | {"data": "cifar100"}, "here"))
    with pytest.raises(InputError, match="the images of svhn beside cifar10 are not in this pack"):
        data_of(pack, parse_spec(CONTENT | {"suites": {"ood": ["svhn"]}}, "here"))


def test_data_that_cannot_be_thinned_and_tuned_specs_are_refused() -> None:
    rows, data = module("evidence.rows"), pictures()
    with pytest.raises(InputError, match="a test split whose rows come last"):
        rows.fewer_test_rows(replace(data, test_rows=np.arange(100)), 40)
    with pytest.raises(InputError, match="4 to 99 test rows can be packed; got 100"):
        rows.fewer_test_rows(data, 100)
    with pytest.raises(InputError, match="needs Optuna"):
        rows.rows_needed([parse_spec(CONTENT | {"tune": {"trials": 2}}, "here")], StudyData({"cifar10": data}))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pieces(make_pack: Callable[..., Any], spec: Spec = SPEC) -> list[Any]:
    data = data_of(make_pack(spec), spec)
    trials = list(plan(spec, data).trials)
    return module("evidence.schedule").pieces_in_order(trials[::-1], data, spec)


def test_trials_are_in_the_order_of_their_weight(make_pack: Callable[..., Any]) -> None:
    spec = SPEC.model_copy(update={"model": ("small_resnet", "resnet32")})
    found = pieces(make_pack, spec)
    places = [(p.trial.cell.model, p.trial.cell.seed, p.trial.cell.labels_per_class, p.trial.cell.loss) for p in found]
    assert places == [
        (model, seed, budget, loss)
        for model in ("small_resnet", "resnet32")
        for seed in (0, 1)
        for budget in (5, 10)
        for loss in ("ce", "gence")
    ]
    # 16 and 36 training rows in batches of at least 20.
    assert [piece.updates for piece in found[:4]] == [1] * 4
    assert found[2].flops > 1.2 * found[0].flops > 0
    assert found[8].flops > 1.2 * found[0].flops


def test_nothing_is_started_that_will_not_be_done(make_pack: Callable[..., Any]) -> None:
    schedule, clock = module("evidence.schedule"), Clock()
    assumed = schedule.Assumed(tflops=1.0, step=30.0, workers=2)
    short, long = (replace(piece, updates=n) for piece, n in zip(pieces(make_pack)[:2], (1, 100), strict=True))
    assert assumed.seconds(short) == pytest.approx(40.0)
    assert assumed.seconds(replace(short, flops=1e14)) == pytest.approx(10.0 + 200.0)
    assert assumed.minutes([short, short, short]) == pytest.approx(1.0)

    def at(now: float, *waiting: Any) -> Any:
        clock.now = now
        return schedule.Schedule(list(waiting), assumed, started=0.0, end=100.0, clock=clock)

    assert at(0.0, long, short).next() is long.trial, "what nothing is known of is tried while there is time"
    late = at(50.0, long, short)
    assert late.next() is short.trial, "the first that fits"
    assert late.next() is None
    assert at(70.0, short).next() is None

    seen = at(0.0, short, long, short)
    seen.learn(seen.next(), 4.0)
    assert seen.expected(long) == pytest.approx(10.0 + 1.15 * 400.0)
    assert seen.next() is short.trial, "however early it is"


def test_there_are_fewer_workers_where_many_would_end_nothing(make_pack: Callable[..., Any]) -> None:
    assumed = module("evidence.schedule").Assumed(tflops=1.0, step=0.0, workers=8)
    heavy = replace(pieces(make_pack)[0], flops=6e13)
    # 10 s and 60 s a worker: six of them take 370 s, of which 500 s leave room for.
    assert assumed.with_fitting_workers([heavy] * 30, 500.0).workers == 6
    assert assumed.with_fitting_workers([heavy] * 30, 5000.0).workers == 8
    assert assumed.with_fitting_workers([heavy], 1.0).workers == 1
    later = [replace(heavy, flops=0.0)] * 24 + [heavy] * 24
    assert assumed.with_fitting_workers(later, 500.0).workers == 8, "only those that come next count"


class Session:
    """Calls one after another, each on one process, as they would be on a machine lent for a while."""

    def __init__(self, make_pack: Callable[..., Any], tmp_path: Path) -> None:
        self.data, self.place, self.lines = data_of(make_pack()), tmp_path, list[str]()

    def run(self, out: str, resume: str, end: float = 3600.0, spec: Spec = SPEC, data: StudyData | None = None) -> Any:
        assumed = module("evidence.schedule").Assumed(40.0, 0.01, 1)
        place = {"out": self.place / out, "resume": self.place / resume}
        clock = module("evidence.session").time.monotonic()
        timed = {"started": clock, "end": clock + end, "assumed": assumed, "device": torch.device("cpu")}
        session = module("evidence.session").Session(**place, **timed, say=self.lines.append)
        return read_study(session.run("small", spec, self.data if data is None else data))


def test_a_study_goes_on_from_call_to_call_and_loses_nothing(make_pack: Callable[..., Any], tmp_path: Path) -> None:
    session = Session(make_pack, tmp_path)
    nothing = session.run("zero", "zero", end=-1.0)
    assert (len(nothing.records), nothing.expected) == (0, 8)
    few = SPEC.model_copy(update={"losses": ("ce",)})
    one = session.run("one", "zero", spec=few)
    assert len(one.records) == one.expected == 4
    assert all("min" in line and "ce, small_resnet" in line for line in session.lines)
    session.lines.clear()
    two = session.run("two", "one")
    assert len(session.lines) == 4, "what was done is not done again"
    assert len(two.records) == two.expected == 8
    ours = {record.key: record for record in two.records}
    assert all(ours[record.key] == record for record in one.records)
    assert two.records[0].results["none"].ood["mnist"]
    assert sorted(path.name for path in tmp_path.glob("t*/*")) == ["small.study.gz"]


def test_trials_whose_rows_are_not_packed_are_left_for_another_pack(
    make_pack: Callable[..., Any], tmp_path: Path
) -> None:
    session = Session(make_pack, tmp_path)
    fewer = data_of(make_pack(SPEC.model_copy(update={"seeds": 1}), folder="first"))
    one = session.run("one", "none", data=fewer)
    assert {record.cell.seed for record in one.records} == {0}
    assert (len(one.records), one.expected) == (4, 8)
    assert len(session.run("two", "one").records) == 8


def test_an_archive_of_another_study_is_refused(make_pack: Callable[..., Any], tmp_path: Path) -> None:
    session = Session(make_pack, tmp_path)
    session.run("one", "none", spec=SPEC.model_copy(update={"losses": ("ce",), "seeds": 1}))
    with pytest.raises(InputError, match="2 of its trials are none of this study"):
        session.run("two", "one", spec=SPEC.model_copy(update={"calibrators": ("none",)}))


def test_wheels_of_other_pythons_are_left_in_the_pack(tmp_path: Path) -> None:
    wheels = module("evidence.wheels")
    here, there = (f"wheels/core-1.0-cp{tag}-cp{tag}-manylinux_2_17_x86_64.whl" for tag in (TAG, "310"))
    pure = "wheels/plain-1.0-py3-none-any.whl"
    assert wheels.fitting([there, pure, here]) == [pure, here]
    with zipfile.ZipFile(tmp_path / "plain.whl", "w") as archive:
        archive.writestr("plain/__init__.py", "")
    wheels.unpack([tmp_path / "plain.whl"], tmp_path / "site")
    assert (tmp_path / "site/plain/__init__.py").is_file()


def test_all_of_it_runs_where_nothing_but_torch_numpy_and_pydantic_is(tmp_path: Path) -> None:
    labels = np.arange(600, dtype=np.int64) % 10
    whole = LabelledData("cifar10", "image", photographs(600), labels, tuple("abcdefghij"), np.arange(500, 600))
    thinned = module("evidence.rows").fewer_test_rows(whole, 50)
    foreign = {"cifar10": dict.fromkeys(("mnist", "fashion_mnist"), photographs(25, seed=2))}
    data = {"cifar10": (thinned, np.arange(550))}
    module("evidence.pack_file").write_pack(tmp_path / "pack", ["gpu-few-labels"], data, foreign)
    hidden = ["PIL", "pyarrow", "pandas", "scipy", "sklearn", "optuna", "typer", "rich", "jinja2", "datasets"]
    script = ROOT / "benchmarks/gpu_evidence/run.py"
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({hidden!r})); "
        f"sys.path.insert(0, {str(script.parent)!r}); runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    arguments = ["--pack", str(tmp_path / "pack"), "--out", str(tmp_path / "out"), "--smoke", "--workers", "1"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    study = read_study(tmp_path / "out/gpu-few-labels.study.gz")
    spec = read_spec(ROOT / "specs/gpu-few-labels.toml")
    assert {record.cell.loss for record in study.records} == set(spec.losses)
    assert not study.failures
    assert f"{len(spec.losses)} of {len(spec.losses)} trials are done" in done.stdout
