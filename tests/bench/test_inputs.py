"""What a study reads: several data sets, what is foreign to each, and fingerprints of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gence import InputError
from gence.bench import inputs
from gence.bench.inputs import StudyData, read_inputs
from gence.bench.spec import Spec, parse_spec
from gence.bench.spec_parts import SuitesSpec
from gence.data import LabelledData, load, load_ood


def spec(*data: str, **others) -> Spec:
    return Spec(data=data, **others)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    """Two tables with their label in the column `kind`, and images that share the name of one of them."""
    rows = "".join(f"{i / 7},{i % 3},{'ab'[i % 2]}\n" for i in range(40))
    for place in ("flowers.csv", "stones.csv"):
        (tmp_path / place).write_text("x,y,kind\n" + rows)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 1, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "flowers.npz", X=images, y=np.arange(40) % 2)
    return {place: str(tmp_path / place) for place in ("flowers.csv", "stones.csv", "flowers.npz")}


def test_data_sets_are_read_in_order_and_go_by_their_own_names(paths: dict[str, str]) -> None:
    study = read_inputs(spec(paths["stones.csv"], "digits", paths["flowers.csv"], target="kind"))
    assert list(study.labelled) == ["stones", "digits", "flowers"]
    assert study.labelled["stones"].class_names == ("a", "b")
    assert study.fingerprint("digits") == load("digits").fingerprint
    assert study.foreign == {"stones": {}, "digits": {}, "flowers": {}}


def test_two_data_sets_with_one_name_are_refused(paths: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "others" / "flowers.npz"
    other.parent.mkdir()
    other.write_bytes(Path(paths["flowers.npz"]).read_bytes())
    with pytest.raises(InputError) as error:
        read_inputs(spec(paths["flowers.npz"], str(other)))
    assert str(error.value) == (
        f"{paths['flowers.npz']} and {other} are both called 'flowers', and the records could not tell them apart; "
        "rename one of them"
    )


def test_foreign_images_come_in_the_shape_of_each_data_set_and_none_is_foreign_to_itself(paths: dict[str, str]) -> None:
    study = read_inputs(spec("digit_pairs", paths["flowers.npz"], suites=SuitesSpec(ood=("digits", "digit_pairs"))))
    assert list(study.foreign["digit_pairs"]) == ["digits"]
    assert list(study.foreign["flowers"]) == ["digits", "digit_pairs"]
    pairs, flowers = study.labelled.values()
    assert study.foreign["digit_pairs"]["digits"].shape[1:] == pairs.inputs.shape[1:]
    assert study.foreign["flowers"]["digit_pairs"].shape[1:] == flowers.inputs.shape[1:]
    assert np.array_equal(study.foreign["digit_pairs"]["digits"], load_ood("digits", pairs))


def test_auto_reads_the_near_sets_and_then_the_far_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str, Path | None]] = []

    def fake(name: str, like: LabelledData, *, data_root: Path | None) -> np.ndarray:
        asked.append((name, like.name, data_root))
        return like.inputs[:3]

    monkeypatch.setattr(inputs, "load_ood", fake)
    study = read_inputs(spec("digits", data_root=str(tmp_path), suites=SuitesSpec(ood="auto")))
    assert asked == [("fashion_mnist", "digits", tmp_path), ("cifar10", "digits", tmp_path)]
    assert list(study.foreign["digits"]) == ["fashion_mnist", "cifar10"]


def test_the_data_root_serves_what_has_a_name_and_is_refused_where_nothing_has(
    paths: dict[str, str], tmp_path: Path
) -> None:
    root = str(tmp_path)
    assert list(read_inputs(spec("digits", paths["flowers.npz"], data_root=root)).labelled) == ["digits", "flowers"]
    suites = SuitesSpec(ood=("digits",))
    assert "digits" in read_inputs(spec(paths["flowers.npz"], data_root=root, suites=suites)).foreign["flowers"]
    with pytest.raises(InputError, match="a data root was given, but this is no named data set"):
        read_inputs(spec(paths["flowers.npz"], data_root=root))
    with pytest.raises(InputError, match="the target 'kind' was given, but a named source has no columns"):
        read_inputs(spec("digits", target="kind"))


def test_the_fingerprint_is_that_of_the_data_and_of_all_that_is_foreign_to_them(table: LabelledData) -> None:
    images = np.arange(24, dtype=np.uint8).reshape(6, 1, 2, 2)
    other = images.copy()
    other[3, 0, 1, 1] += 1
    variants = [
        {},
        {"a": images},
        {"a": other},
        {"b": images},
        {"a": images, "b": images},
        {"a": images[:5]},
        {"a": images.reshape(6, 2, 1, 2)},
    ]
    found = [StudyData({"blobs": table}, {"blobs": foreign}).fingerprint("blobs") for foreign in variants]
    assert len(set(found)) == len(variants)
    assert found[0] == table.fingerprint == StudyData({"blobs": table}).fingerprint("blobs")
    assert found[1] == StudyData({"blobs": table}, {"blobs": {"a": images.copy()}}).fingerprint("blobs")


def test_suites_that_do_not_fit_are_refused_before_foreign_images_are_read(
    paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "load_ood", None)
    given = {"data": ["digits", paths["stones.csv"]], "target": "kind", "suites": {"ood": ["cifar10"]}}
    with pytest.raises(InputError, match=r"suites\.ood: sets of other images are for images; stones is a table"):
        read_inputs(parse_spec(given, "spec"))
