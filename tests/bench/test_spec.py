from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gence import InputError
from gence.bench.spec import Spec, TrainingSpec, parse_spec, read_spec
from gence.losses import catalogue


def test_a_spec_needs_its_data_only() -> None:
    spec = parse_spec({"data": "digits"}, "here")
    assert spec == Spec(data="digits")
    assert spec.losses == ("ce", "label_smoothing", "focal", "gence")
    assert spec.calibrators == ("none", "temperature", "ats")


def test_a_toml_file_with_every_key_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        """
        version = 1
        data = "flowers.csv"
        target = "species"
        image_size = 32
        losses = ["gence", "ce"]
        labels_per_class = [10, "all"]
        seeds = 2
        model = "mlp"
        calibrators = ["none"]
        test_fraction = 0.5
        calibration_fraction = 0.4
        [training]
        epochs = 3
        batch_size = 16
        learning_rate = 0.1
        weight_decay = 0.0
        momentum = 0.0
        """
    )
    assert read_spec(path) == Spec(
        data="flowers.csv",
        target="species",
        image_size=32,
        losses=("gence", "ce"),
        labels_per_class=(10, "all"),
        seeds=2,
        model="mlp",
        calibrators=("none",),
        test_fraction=0.5,
        calibration_fraction=0.4,
        training=TrainingSpec(epochs=3, batch_size=16, learning_rate=0.1, weight_decay=0.0, momentum=0.0),
    )


def test_a_batch_size_is_one_number_or_a_list() -> None:
    def parse(batch_size: Any) -> Spec:
        return parse_spec({"data": "digits", "training": {"batch_size": batch_size}}, "here")

    assert parse(16) == parse([16])
    assert parse(16).sha256() == parse([16]).sha256()
    assert parse([8, 128, 32]).training.batch_size == (8, 128, 32)
    assert Spec(data="digits").training.batch_size == (32,)


def tuned(**keys: Any) -> dict[str, Any]:
    return {"trials": 1, **keys}


def gamma_from(low: float, high: float) -> dict[str, Any]:
    return tuned(knobs={"focal": {"gamma": [low, high]}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": "digits", "lossess": ["ce"]}, "here: unknown key 'lossess'; did you mean 'losses'?"),
        (
            {"data": "digits", "training": {"epoch": 1}},
            "unknown key 'training.epoch'; did you mean 'epochs'? known: epochs,",
        ),
        ({"losses": ["ce"]}, "here: the key 'data' is missing"),
        ({"data": ""}, "data: string should have at least 1 character; got ''"),
        (
            {"data": "digits", "losses": ["gense"]},
            "unknown loss 'gense': did you mean 'gence'? known: ce, label_smoothing",
        ),
        (
            {"data": "digits", "calibrators": ["tmperature"]},
            "unknown calibrator 'tmperature': did you mean 'temperature'?",
        ),
        ({"data": "digits", "model": "resnet"}, "unknown model 'resnet': did you mean 'resnet50'?"),
        ({"data": "digits", "losses": []}, "losses is empty; name at least one, or leave the key out"),
        ({"data": "digits", "losses": ["ce", "ce"]}, "losses names 'ce' twice; name everything once"),
        ({"data": "digits", "seeds": 0}, "seeds: input should be greater than or equal to 1; got 0"),
        ({"data": "digits", "seeds": "3"}, "seeds: a whole number is expected; got '3'"),
        ({"data": "digits", "seeds": True}, "seeds: a whole number is expected; got True"),
        (
            {"data": "digits", "labels_per_class": [1]},
            "at least 2 labels per class are needed, one of them to calibrate",
        ),
        (
            {"data": "digits", "labels_per_class": ["al"]},
            "labels_per_class.0: a whole number or 'all' is expected; got 'al'",
        ),
        ({"data": "digits", "test_fraction": 1.0}, "test_fraction: input should be less than 1; got 1.0"),
        (
            {"data": "digits", "training": {"learning_rate": -1.0}},
            "training.learning_rate: input should be greater than 0",
        ),
        ({"data": "digits", "losses": 3}, "losses: a text is expected; got 3"),
        ({"data": "digits", "losses": "gense"}, "unknown loss 'gense': did you mean 'gence'?"),
        ({"data": ".", "losses": ["all", "-focl"]}, "here: unknown loss 'focl': did you mean 'focal'? known: ce,"),
        ({"data": ".", "losses": ["ce", "all"]}, "here: losses: all comes first and only names with a minus"),
        ({"data": ".", "losses": ["all", "ce"]}, "may follow it, as in all,-cals; got all,ce"),
        ({"data": ".", "losses": ["-ce", "all"]}, "as in all,-cals; got -ce,all"),
        ({"data": ".", "losses": ["-ce"]}, "as in all,-cals; got -ce"),
        (
            {"data": ".", "losses": ["all", *(f"-{name}" for name in catalogue.names())]},
            "here: losses leaves every loss out; keep at least one",
        ),
        ({"data": ".", "training": {"mixup": 1e7}}, "training.mixup: input should be less than or equal to 1000000"),
        ({"data": ".", "training": {"augment": ["flip", "flip"]}}, "training.augment names 'flip' twice; name every"),
        ({"data": ".", "data_root": ""}, "data_root: string should have at least 1 character; got ''"),
        (
            {"data": "digits", "training": {"learning_rate": float("inf")}},
            "learning_rate: input should be a finite",
        ),
        (
            {"data": "digits", "training": {"batch_size": 1}},
            "training.batch_size: input should be greater than or equal to 2; got 1",
        ),
        (
            {"data": "digits", "training": {"batch_size": [8, 1]}},
            "training.batch_size.1: input should be greater than or equal to 2; got 1",
        ),
        ({"data": "digits", "training": {"batch_size": "8"}}, "batch_size: a whole number is expected; got '8'"),
        (
            {"data": "digits", "training": {"batch_size": True}},
            "batch_size: a whole number is expected; got True",
        ),
        (
            {"data": "digits", "training": {"batch_size": []}},
            "training.batch_size is empty; name at least one, or leave",
        ),
        (
            {"data": "digits", "training": {"batch_size": [8, 32, 8]}},
            "training.batch_size names 8 twice; name everything",
        ),
        ({"data": "digits", "version": 2}, "version: input should be 1; got 2"),
        ({"data": ["a", 3]}, "data.1: a text is expected; got 3"),
        ({"data": ["a", "a"]}, "data names 'a' twice; name everything once"),
        ({"data": "d", "regime": "long-tial:10"}, "unknown regime 'long-tial': did you mean 'long-tail'?"),
        ({"data": "d", "regime": ["label-noise:0.2", "label-noise:.2"]}, "regime names 'label-noise:0.2' twice"),
        ({"data": "d", "losses": ["focal:gama=1"]}, "unknown knob of loss 'focal' 'gama': did you mean 'gamma'?"),
        ({"data": "d", "losses": ["focal", "focal:gamma=2"]}, "losses 'focal' and 'focal:gamma=2.0' are one and the"),
        (
            {"data": "d", "losses": ["focal", "focal:gamma=2"], "tune": tuned(knobs="none")},
            "losses 'focal' and 'focal:gamma=2.0' are one and the same loss; name it once",
        ),
        ({"data": "d", "training": [1]}, "training: a table is expected; got [1]"),
        ({"data": "d", "training": {"compile": 1}}, "training.compile: true or false is expected; got 1"),
        (
            {"data": "d", "training": {"schedule": "step"}},
            "input should be 'cosine', 'steps' or 'constant'; got 'step'",
        ),
        ({"data": "d", "training": {"schedule": "steps"}}, '"steps" and milestones belong together, as in [0.5, 0.75]'),
        ({"data": "d", "training": {"augment": "crop"}}, "training.augment: a list or 'auto' is expected; got 'crop'"),
        ({"data": "d", "tune": 3}, "tune: a table is expected; got 3"),
        ({"data": "d", "tune": {}}, "the key 'tune.trials' is missing"),
        ({"data": "d", "tune": {"trial": 3}}, "unknown key 'tune.trial'; did you mean 'trials'? known: trials, metric"),
        ({"data": "d", "tune": {"trials": 0}}, "tune.trials: input should be greater than or equal to 1; got 0"),
        (
            {"data": "d", "tune": tuned(learning_rate=0.1)},
            "tune.learning_rate: [low, high] or 'fixed' is expected; got 0.1",
        ),
        ({"data": "d", "tune": tuned(epochs=[5])}, "tune.epochs: [low, high] is expected; got [5]"),
        ({"data": "d", "tune": tuned(epochs=[5, 2])}, "epochs: [low, high] is expected, at least 1 and rising; got [5"),
        (
            {"data": "d", "tune": tuned(knobs="some")},
            "tune.knobs: a table, 'default' or 'none' is expected; got 'some'",
        ),
        (
            {"data": "d", "tune": tuned(knobs={"focl": {}})},
            "unknown loss of [tune.knobs] 'focl': did you mean 'focal'?",
        ),
        (
            {"data": "d", "tune": gamma_from(2.0, 1.0)},
            "tune.knobs.focal.gamma: [low, high] is expected, rising; got [2,",
        ),
        (
            {"data": "d", "tune": gamma_from(-1.0, 1.0)},
            "tune.knobs.focal: the ranges reach gamma=-1, but gamma must be",
        ),
        (
            {"data": "d", "tune": tuned(knobs={"mmce": {"weighted": [0.0, 1.0]}})},
            "tune.knobs.mmce.weighted: a knob that is true or false has no range",
        ),
        ({"data": "d", "suites": {"ood": "svhn"}}, "suites.ood: a list or 'auto' is expected; got 'svhn'"),
        ({"data": "d", "suites": {"ood": ["svnh"]}}, "unknown out-of-distribution set 'svnh': did you mean 'svhn'?"),
        ({"data": "d", "suites": {"shift": ["fogg"]}}, "unknown shift 'fogg'"),
        (
            {"data": "d", "suites": {"severities": 6}},
            "suites.severities: input should be less than or equal to 5; got 6",
        ),
    ],
)
def test_a_wrong_spec_is_refused_in_one_line_that_names_the_key(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_spec(content, "here")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("data = ")
    with pytest.raises(InputError, match=r"stdy.toml: no such spec; did you mean '.*study.toml'"):
        read_spec(tmp_path / "stdy.toml")
    with pytest.raises(InputError, match=r"study\.toml: not TOML: Invalid value"):
        read_spec(tmp_path / "study.toml")
    with pytest.raises(InputError, match="a spec is expected, a TOML file; this is something else"):
        read_spec(tmp_path)


def test_the_hash_sees_every_setting() -> None:
    specs = [Spec(data="d"), Spec(data="e"), Spec(data="d", seeds=4), Spec(data="d", training=TrainingSpec(epochs=1))]
    assert len({spec.sha256() for spec in specs}) == 4
    assert Spec(data="d").sha256() == Spec(data="d").sha256()


def test_all_losses_are_every_name_of_the_catalogue() -> None:
    assert parse_spec({"data": "x", "losses": ["all"]}, "here").losses == catalogue.names()
    assert Spec(data="x", losses=("all",)).losses == catalogue.names()


def test_names_with_a_minus_are_left_out_of_all() -> None:
    kept = parse_spec({"data": "x", "losses": ["all", "-adafocal", "-cals"]}, "here").losses
    assert kept == tuple(name for name in catalogue.names() if name not in ("adafocal", "cals"))


def test_one_name_may_stand_without_a_list() -> None:
    spec = parse_spec({"data": "x", "losses": "focal", "calibrators": "none"}, "here")
    assert (spec.losses, spec.calibrators) == (("focal",), ("none",))
    assert parse_spec({"data": "x", "losses": "all"}, "here").losses == catalogue.names()


def test_a_knob_that_is_tuned_and_one_that_is_written_make_two_losses() -> None:
    spec = parse_spec({"data": "x", "losses": ["focal", "focal:gamma=2"], "tune": {"trials": 2}}, "here")
    assert spec.losses == ("focal", "focal:gamma=2.0")


def test_a_regime_is_kept_in_one_spelling() -> None:
    one, other = (
        parse_spec({"data": "x", "regime": regime}, "here")
        for regime in ("label-noise:0.20 + long-tail:10", "long-tail:10.0+label-noise:.2")
    )
    assert one.regime == ("long-tail:10+label-noise:0.2",)
    assert one.sha256() == other.sha256()
