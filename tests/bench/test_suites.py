"""The suites of a trial, against loops and calls by hand on its own logits; and what is refused at the start."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from gence import InputError, metrics, ood
from gence.bench import suite_results, trial
from gence.bench.inputs import StudyData
from gence.bench.plan import plan
from gence.bench.records import OOD_MEASURES, SHIFT_METRICS, TrialRecord
from gence.bench.spec import Spec
from gence.bench.spec_parts import SuitesSpec, TrainingSpec
from gence.bench.suite_results import tell_apart
from gence.bench.suites import check_suites, draw_rows, foreign_sets, wanted_shifts
from gence.bench.training import train_model
from gence.calibration import catalogue as calibrators
from gence.classifier.network import Network
from gence.data import LabelledData, additive_shift, corrupt, fit_standardize, missing_features, shift_names

SPEC = Spec(data="x", losses=("ce",), labels_per_class=(20,), seeds=1, training=TrainingSpec(epochs=3))


def make_images(rows: int = 180, *, channels: int = 1, dtype: str = "uint8", seed: int = 0) -> LabelledData:
    """Three classes of 8x8 images, by where they are bright; the last third is the test split."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows, dtype=np.int64) % 3
    pixels = generator.uniform(0.0, 0.6, (rows, channels, 8, 8))
    for row, label in enumerate(labels):
        pixels[row, :, 2 * label : 2 * label + 3] += 0.2
    pixels[0, 0, 0, 0] = 1.0
    inputs = np.rint(255 * pixels).astype(np.uint8) if dtype == "uint8" else pixels.astype(dtype)
    return LabelledData("spots", "image", inputs, labels, ("a", "b", "c"), np.arange(rows - rows // 3, rows))


def make_foreign(**sizes: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(5)
    return {name: generator.integers(0, 256, (rows, 1, 8, 8)).astype(np.uint8) for name, rows in sizes.items()}


@pytest.fixture
def images() -> LabelledData:
    return make_images()


def run(
    data: LabelledData,
    suites: SuitesSpec,
    foreign: dict[str, np.ndarray] | None = None,
    *,
    loss: str = "ce",
) -> tuple[TrialRecord, dict[str, np.ndarray], Network]:
    """Record, arrays, and the model that the trial trained, by training it again."""
    spec = SPEC.model_copy(update={"suites": suites, "losses": (loss,)})
    study = StudyData({data.name: data}, {} if foreign is None else {data.name: foreign})
    (planned,) = plan(spec, study).trials
    cpu = torch.device("cpu")
    record, arrays = trial.run_trial(planned, study, cpu)
    rows = trial.choose_rows(data, planned.cell, 0.3, 0.2)
    return record, arrays, train_model(data, rows, data.labels, planned.cell, planned.recipe, planned.knobs, cpu)


def by_hand(arrays: dict[str, np.ndarray], name: str):
    calibration = torch.from_numpy(arrays["calibration_logits"]), torch.from_numpy(arrays["calibration_target"])
    return calibrators.fit(name, *calibration)


def test_under_shift_are_the_metrics_of_the_shifted_test_rows(images: LabelledData) -> None:
    record, arrays, trained = run(images, SuitesSpec(shift=("contrast", "gaussian_noise"), severities=(4, 2)))
    target = torch.from_numpy(arrays["test_target"])
    assert record.data["suite_rows"] == {"test": 60}
    assert record.seconds["suites"] > 0
    for name, result in record.results.items():
        places = [(shifted.shift, shifted.severity) for shifted in result.shifted]
        assert places == [(shift, severity) for shift in ("gaussian_noise", "contrast") for severity in (2, 4)]
        assert result.ood == {}
        for shifted in result.shifted:
            changed = corrupt(images.inputs[arrays["test_rows"]], shifted.shift, shifted.severity, seed=0)
            standardize = fit_standardize("image", images.inputs[arrays["train_rows"]])
            with torch.no_grad():
                logits = trained.model(torch.from_numpy(standardize(changed)))
            probs = by_hand(arrays, name)(logits.double()).softmax(1)
            assert tuple(shifted.metrics) == SHIFT_METRICS
            assert shifted.metrics["accuracy"] == metrics.accuracy(probs, target).item()
            nll = -np.log(probs.numpy()[np.arange(60), target.numpy()]).mean()
            assert shifted.metrics["nll"] == pytest.approx(nll, rel=1e-6)
            brier = ((probs.numpy() - np.eye(3)[target.numpy()]) ** 2).sum(1).mean()
            assert shifted.metrics["brier"] == pytest.approx(brier, rel=1e-6)
            assert shifted.metrics["ece"] == pytest.approx(metrics.expected_calibration_error(probs, target).item())


def test_tables_move_by_the_standard_deviations_of_the_rows_that_are_trained_on(table: LabelledData) -> None:
    record, arrays, trained = run(table, SuitesSpec(shift="all", severities=5))
    first, second = record.results["none"].shifted
    assert (first.shift, second.shift) == ("missing_features", "additive_shift")
    inputs, target = table.inputs[arrays["test_rows"]], torch.from_numpy(arrays["test_target"])
    train = table.inputs[arrays["train_rows"]]
    scale = np.where(np.isnan(train), np.nanmedian(train, axis=0), train).std(0)
    for shifted, changed in (
        (first, missing_features(inputs, 0.5, seed=0)),
        (second, additive_shift(inputs, 2.0, scale=scale, seed=0)),
    ):
        nll = metrics.negative_log_likelihood(trained.logits(changed).double().softmax(1), target).item()
        assert shifted.metrics["nll"] == pytest.approx(nll, rel=1e-5)
        assert shifted.metrics["nll"] > record.results["none"].metrics["nll"]


def test_every_loss_and_calibrator_meets_the_same_shifted_and_foreign_rows(
    images: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[bytes]] = []
    logits = Network.logits
    monkeypatch.setattr(
        Network, "logits", lambda self, inputs: (seen[-1].append(inputs.tobytes()), logits(self, inputs))[1]
    )
    for loss in ("ce", "gence"):
        seen.append([])
        run(images, SuitesSpec(shift=("shot_noise",), rows=25), make_foreign(other=80), loss=loss)
    assert seen[0] == seen[1]
    assert len(seen[0]) == len(set(seen[0])) == 2 + 5 + 1  # calibration and test rows, severities, foreign rows


def test_a_loss_that_looks_at_validation_rows_meets_the_shifts_of_the_others(
    table: LabelledData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[bytes]] = []
    logits = Network.logits
    monkeypatch.setattr(
        Network, "logits", lambda self, inputs: (seen[-1].append(inputs.tobytes()), logits(self, inputs))[1]
    )
    for loss in ("ce", "adafocal"):
        seen.append([])
        run(table, SuitesSpec(shift="all", severities=(3,)), loss=loss)
    assert seen[0] == seen[1]


def test_every_seed_meets_shifts_of_its_own(images: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    under_shift = suite_results.under_shift
    monkeypatch.setattr(
        suite_results, "under_shift", lambda *given, seed: (seen.append(seed), under_shift(*given, seed=seed))[1]
    )
    study = StudyData({"spots": images})
    spec = SPEC.model_copy(update={"suites": SuitesSpec(shift=("shot_noise",), severities=(3,)), "seeds": 2})
    found = [trial.run_trial(planned, study, torch.device("cpu"))[1] for planned in plan(spec, study).trials]
    assert np.array_equal(found[0]["test_rows"], found[1]["test_rows"])
    assert seen == [0, 1]


def naive(score: str, logits: np.ndarray) -> list[float]:
    found = []
    for row in logits.astype(np.float64):
        p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        found.append(
            {
                "max_softmax": p.max(),
                "negative_entropy": (p * np.log(p)).sum(),
                "max_logit": row.max(),
                "energy": np.log(np.exp(row).sum()),
            }[score]
        )
    return found


def test_scores_of_logits_are_told_apart_as_by_hand_and_as_sklearn_does(images: LabelledData) -> None:
    foreign = make_foreign(near=40, far=70)
    record, arrays, trained = run(images, SuitesSpec(ood=("near", "far")), foreign)
    assert record.data["suite_rows"] == {"test": 60, "near": 40, "far": 70}
    own = arrays["test_logits"]
    for name, result in record.results.items():
        assert list(result.ood) == ["near", "far"]
        assert result.shifted == ()
        for set_name, by_score in result.ood.items():
            calibrated = ["max_softmax", "negative_entropy"]
            assert list(by_score) == ([*calibrated, "max_logit", "energy", "knn"] if name == "none" else calibrated)
            others = trained.logits(foreign[set_name])
            calibrator = by_hand(arrays, name)
            pair = [calibrator(torch.as_tensor(logits).double()) for logits in (own, others)]
            for score in [score for score in by_score if score != "knn"]:
                scores = [getattr(ood, score)(logits) for logits in pair]
                assert by_score[score] == {
                    "auroc": metrics.ood_auroc(*scores).item(),
                    "fpr95": metrics.ood_fpr95(*scores).item(),
                    "aupr_in": metrics.ood_aupr(*scores, positive="id").item(),
                    "aupr_out": metrics.ood_aupr(*scores).item(),
                }
                foreignness = -np.concatenate([naive(score, logits.numpy()) for logits in pair])
                is_foreign = np.repeat([0, 1], [60, len(others)])
                found = by_score[score]
                assert found["auroc"] == pytest.approx(roc_auc_score(is_foreign, foreignness), abs=1e-9)
                assert found["aupr_out"] == pytest.approx(average_precision_score(is_foreign, foreignness), abs=1e-9)
                assert found["aupr_in"] == pytest.approx(
                    average_precision_score(1 - is_foreign, -foreignness), abs=1e-9
                )


def test_neighbours_are_those_of_the_features_of_the_training_rows(images: LabelledData) -> None:
    foreign = make_foreign(other=30)
    record, arrays, trained = run(images, SuitesSpec(ood=("other",)), foreign)

    def features(inputs: np.ndarray) -> Tensor:
        with torch.no_grad():
            return trained.model.features(torch.from_numpy(trained.standardize(inputs)))

    unit = [
        (rows := features(inputs).double().numpy()) / np.linalg.norm(rows, axis=1, keepdims=True)
        for inputs in (images.inputs[arrays["train_rows"]], images.inputs[arrays["test_rows"]], foreign["other"])
    ]
    # Of each class 16 rows are trained on, so the 16th neighbour counts.
    own, others = (
        torch.tensor([-sorted(np.linalg.norm(row - unit[0], axis=1))[15] for row in rows]) for rows in unit[1:]
    )
    assert record.results["none"].ood["other"]["knn"] == pytest.approx(tell_apart(own, others), abs=1e-9)


def test_the_rows_are_capped_and_drawn_by_the_seed(images: LabelledData) -> None:
    foreign = make_foreign(small=12, large=90)
    record, arrays, trained = run(images, SuitesSpec(ood=("small", "large"), rows=20), foreign)
    assert record.data["suite_rows"] == {"test": 20, "small": 12, "large": 20}
    kept = draw_rows(60, 20, seed=0)
    large = foreign["large"][draw_rows(90, 20, seed=0)]
    scores = [ood.max_logit(logits) for logits in (arrays["test_logits"][kept], trained.logits(large))]
    assert record.results["none"].ood["large"]["max_logit"] == tell_apart(*scores)
    assert sum(record.results["none"].reliability.counts) == 60


def test_drawn_rows_rise_are_distinct_and_depend_on_the_seed_alone() -> None:
    drawn = draw_rows(100, 30, seed=1)
    assert len(set(drawn.tolist())) == 30
    assert (np.diff(drawn) > 0).all()
    assert np.array_equal(drawn, draw_rows(100, 30, seed=1))
    assert not np.array_equal(drawn, draw_rows(100, 30, seed=2))
    assert np.array_equal(draw_rows(5, 30, seed=1), np.arange(5))
    assert np.array_equal(draw_rows(5, None, seed=1), np.arange(5))


def test_a_study_without_suites_costs_nothing_for_them(images: LabelledData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite_results, "predict", None)
    monkeypatch.setattr(suite_results, "draw_rows", None)
    record, _, _ = run(images, SuitesSpec())
    assert all((result.shifted, result.ood) == ((), {}) for result in record.results.values())


def test_sets_told_apart_perfectly_and_not_at_all() -> None:
    high, low = torch.linspace(1, 2, 40), torch.linspace(-2, -1, 40)
    assert tell_apart(high, low) == {"auroc": 1.0, "fpr95": 0.0, "aupr_in": 1.0, "aupr_out": 1.0}
    same = tell_apart(torch.zeros(30), torch.zeros(10))
    assert same == {"auroc": 0.5, "fpr95": 1.0, "aupr_in": 0.75, "aupr_out": 0.25}
    assert tuple(same) == OOD_MEASURES


def test_all_shifts_that_fit_are_wanted_at_the_severities(images: LabelledData, table: LabelledData) -> None:
    rows = np.arange(30)
    of_images = wanted_shifts(SuitesSpec(shift="all", severities=(1, 3)), images, rows)
    assert [(s.name, s.severity) for s in of_images] == [(n, v) for n in shift_names()[:-2] for v in (1, 3)]
    assert "jpeg" not in {s.name for s in wanted_shifts(SuitesSpec(shift="all"), make_images(channels=2), rows)}
    assert len(wanted_shifts(SuitesSpec(shift="all"), table, rows)) == 10
    assert wanted_shifts(SuitesSpec(), images, rows) == ()


def test_a_few_dark_test_rows_of_bright_images_are_no_failure(images: LabelledData) -> None:
    inputs = images.inputs.copy()
    inputs[images.test_rows] //= 8
    dark = dataclasses.replace(images, inputs=inputs)
    record, _, _ = run(dark, SuitesSpec(shift=("brightness",), severities=1))
    assert len(record.results["none"].shifted) == 1


def test_the_sets_that_are_foreign_are_those_asked_for_less_the_data_itself() -> None:
    assert foreign_sets(SuitesSpec(ood="auto"), "cifar10") == ("cifar100", "tiny-imagenet", "mnist", "svhn")
    assert foreign_sets(SuitesSpec(ood=("svhn", "cifar10")), "cifar10") == ("svhn",)
    assert foreign_sets(SuitesSpec(), "cifar10") == ()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_what_fits_passes(dtype: str) -> None:
    check_suites(SuitesSpec(shift="all"), "x", make_images(dtype=dtype))
    check_suites(SuitesSpec(shift=("jpeg",), ood=("cifar10",)), "x", make_images(channels=3))


@pytest.mark.parametrize(
    ("suites", "source", "data", "message"),
    [
        (
            {"shift": ("contrast", "jpeg")},
            "x",
            make_images(channels=2),
            "the shift 'jpeg' does not fit spots, which is images of 2 channels; choose of gaussian_noise, shot_noise, "
            'impulse_noise, gaussian_blur, pixelate, contrast, brightness, or "all"',
        ),
        (
            {"shift": ("missing_features",)},
            "x",
            make_images(),
            "the shift 'missing_features' does not fit spots, which is images of 1 channel; choose of gaussian_noise, "
            'shot_noise, impulse_noise, gaussian_blur, pixelate, contrast, brightness, jpeg, or "all"',
        ),
        (
            {"shift": ("jpeg",)},
            "x",
            "table",
            "the shift 'jpeg' does not fit blobs, which is a table; choose of missing_features, additive_shift, or "
            '"all"',
        ),
        (
            {"shift": "all"},
            "x",
            dataclasses.replace(make_images(), inputs=make_images().inputs // 16),
            "spots: shifts of images need black at 0 and white at 255; its pixels lie in [0, 15]: scale them, or leave "
            "suites.shift out",
        ),
        (
            {"shift": "all"},
            "x",
            dataclasses.replace(make_images(), inputs=make_images(dtype="float32").inputs - 1),
            "spots: shifts of images need black at 0 and white at 1; its pixels lie in [-0.99",
        ),
        (
            {"ood": ("cifar10",)},
            "x",
            "table",
            "suites.ood: sets of other images are for images; blobs is a table: leave it out",
        ),
        (
            {"ood": "auto"},
            "photos",
            make_images(),
            'suites.ood = "auto" stands for the usual sets of cifar10, cifar100, ',
        ),
        (
            {"ood": ("digits",)},
            "digits",
            make_images(),
            "suites.ood names digits only, which is the data set itself; name another one",
        ),
    ],
)
def test_what_would_fail_in_every_trial_is_refused_at_the_start(
    suites: dict, source: str, data: LabelledData | str, message: str, table: LabelledData
) -> None:
    with pytest.raises(InputError) as error:
        check_suites(SuitesSpec(**suites), source, table if isinstance(data, str) else data)
    assert str(error.value).startswith(message)
