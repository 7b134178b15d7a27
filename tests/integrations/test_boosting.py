"""GenCE as the objective of boosted trees: its derivatives, and both libraries' own trees where it is softmax."""

from __future__ import annotations

import pickle
import runpy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import gence
from architecture import imports
from gence._errors import InputError
from gence.integrations.boosting import (
    GenerativeObjective,
    generative_loss,
    gradient_and_bound,
    log_prior,
    probabilities,
)

ROOT = Path(__file__).parents[2]


def drawn(rows: int = 30, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return 2.0 * random.standard_normal((rows, classes)), random.integers(0, classes, rows)


def of_torch(scores: np.ndarray, target: np.ndarray, loss: Any = gence.generative_cross_entropy, **settings: Any):
    leaf = torch.tensor(scores, requires_grad=True)
    value = loss(leaf, torch.tensor(target), reduction="sum", **settings)
    return value.item(), torch.autograd.grad(value, leaf)[0].numpy()


def test_gradient_and_bound_by_a_loop() -> None:
    scores, target = drawn(7, 3)
    w, v, strength = np.arange(1.0, 8.0), np.array([1.0, 3.0, 0.5]), 0.8
    q = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    r = np.zeros(3)
    for c in range(3):
        mass = sum(w[i] * q[i, c] for i in range(7)) / w.sum()
        r[c] = strength * sum(w[i] * v[c] for i in range(7) if target[i] == c) / (w.sum() * mass)
    gradient, bound = gradient_and_bound(scores, target, w, class_weight=v, strength=strength)
    for i in range(7):
        s = sum(r[c] * q[i, c] for c in range(3))
        spread = sum(q[i, c] * abs(r[c] - s) for c in range(3))
        for k in range(3):
            a = w[i] * v[target[i]]
            slope = a * (q[i, k] - (k == target[i])) + w[i] * q[i, k] * (r[k] - s)
            assert gradient[i, k] == pytest.approx(slope, abs=1e-12)
            of_mass = (1 - 2 * q[i, k]) * max(r[k] - s, 0) + spread / 2
            assert bound[i, k] == pytest.approx(2 * q[i, k] * (a * (1 - q[i, k]) + w[i] * of_mass), abs=1e-12)


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_the_gradient_is_that_of_the_loss(strength: float) -> None:
    scores, target = drawn()
    target[target == 3] = 0  # a class without rows
    value, gradient = of_torch(scores, target, strength=strength)
    assert generative_loss(scores, target, strength=strength) * 30 == pytest.approx(value, abs=1e-10)
    np.testing.assert_allclose(gradient_and_bound(scores, target, strength=strength)[0], gradient, atol=1e-10)
    weight = np.array([1.0, 2.0, 0.5, 1.0])
    value, gradient = of_torch(scores, target, strength=strength, weight=torch.tensor(weight))
    found = gradient_and_bound(scores, target, class_weight=weight, strength=strength)[0]
    np.testing.assert_allclose(found, gradient, atol=1e-10)
    assert generative_loss(scores, target, class_weight=weight, strength=strength) * 30 == pytest.approx(value)


def test_class_counts_make_it_prior_aware() -> None:
    scores, target = drawn()
    counts, settings = [9, 5, 2, 1], {"tau": 0.7}
    value, gradient = of_torch(scores, target, gence.losses.gence_prior, class_counts=counts, **settings)
    assert generative_loss(scores, target, class_counts=counts, **settings) * 30 == pytest.approx(value, abs=1e-10)
    found = gradient_and_bound(scores, target, class_counts=counts, **settings)
    np.testing.assert_allclose(found[0], gradient, atol=1e-10)
    shifted = gradient_and_bound(scores + log_prior(counts, tau=0.7), target)
    np.testing.assert_allclose(found[1], shifted[1], atol=1e-12)
    np.testing.assert_allclose(
        probabilities(scores, counts, **settings),
        torch.tensor(scores + 0.7 * np.log(np.array(counts) / 17)).softmax(1),
        atol=1e-12,
    )


def test_a_row_of_weight_2_is_that_row_twice() -> None:
    scores, target = drawn()
    weight = np.arange(30) % 3
    twice = np.repeat(np.arange(30), weight)
    gradient, bound = gradient_and_bound(scores, target, weight)
    alone = gradient_and_bound(scores[twice], target[twice])
    for found, rows in zip((gradient, bound), alone, strict=True):
        summed = np.zeros_like(scores)
        np.add.at(summed, twice, rows)
        np.testing.assert_allclose(found, summed, atol=1e-12)
    assert generative_loss(scores, target, weight) == pytest.approx(generative_loss(scores[twice], target[twice]))


def test_one_score_of_two_classes_is_the_second_of_two() -> None:
    scores, target = drawn(classes=2)
    single = scores[:, 1] - scores[:, 0]
    two = gradient_and_bound(scores, target, class_counts=[3, 1], factor=1.0)
    one = gradient_and_bound(single, target, class_counts=[3, 1])
    for found, wanted in zip(one, two, strict=True):
        np.testing.assert_allclose(found, wanted[:, 1], atol=1e-12)
    np.testing.assert_allclose(probabilities(single), probabilities(scores), atol=1e-12)


def total(z: Tensor, one_hot: Tensor, weight: Tensor, class_weight: Tensor, strength: Tensor) -> Tensor:
    """The loss of the table, written so that torch.func can differentiate it twice and over many tables."""
    log_q = z.log_softmax(1)
    log_mass = (log_q + weight.log()[:, None]).logsumexp(0) - weight.sum().log()
    return -(weight[:, None] * class_weight * one_hot * (log_q - strength * log_mass)).sum()


@pytest.mark.parametrize(("rows", "classes"), [(1, 3), (2, 2), (3, 5), (6, 3)])
def test_the_curvature_is_never_above_the_bound(rows: int, classes: int) -> None:
    """Thousands of random tables: the diagonal at a factor of 1, the whole matrix at 2."""
    tables, generator = 1000, torch.Generator().manual_seed(rows)
    real = {"generator": generator, "dtype": torch.float64}
    scale = torch.tensor([0.1, 1.0, 3.0, 10.0, 1000.0]).double().repeat(tables // 5)
    z = scale[:, None, None] * torch.randn(tables, rows, classes, **real)
    y = torch.randint(classes, (tables, rows), generator=generator)
    weight, class_weight = torch.rand(tables, rows, **real) + 0.01, 3 * torch.rand(tables, classes, **real)
    weight[::2], class_weight[::3] = 1.0, 1.0
    strength = torch.tensor([1.0, 0.0, 0.5, 2.0]).double().repeat(tables // 4)
    given = (z, torch.nn.functional.one_hot(y, classes).double(), weight, class_weight, strength)
    hessian = torch.vmap(torch.func.jacrev(torch.func.grad(total)))(*given).reshape(
        tables, rows * classes, rows * classes
    )
    slope = torch.vmap(torch.func.grad(total))(*given)

    def found(factor: float) -> tuple[Tensor, Tensor]:
        pairs = [
            gradient_and_bound(
                z.numpy(), y.numpy(), w.numpy(), class_weight=v.numpy(), strength=s.item(), factor=factor
            )
            for z, y, (_, _, w, v, s) in zip(z, y, zip(*given, strict=True), strict=True)
        ]
        gradients, bounds = (torch.as_tensor(np.stack(one)).reshape(tables, -1) for one in zip(*pairs, strict=True))
        return gradients, bounds

    gradient, of_diagonal = found(1.0)
    assert (gradient - slope.reshape(tables, -1)).abs().max() < 1e-10
    assert (hessian.diagonal(dim1=1, dim2=2) - of_diagonal).max() < 1e-11
    _, of_whole = found(2.0)
    assert torch.linalg.eigvalsh(torch.diag_embed(of_whole) - hessian).min() > -1e-11
    # Neither has room to spare: at strength 0 a twentieth less is too little.
    assert (hessian.diagonal(dim1=1, dim2=2) - 0.95 * of_diagonal).max() > 1e-3
    assert torch.linalg.eigvalsh(torch.diag_embed(0.95 * of_whole) - hessian).min() < -1e-3


def test_where_the_mass_is_the_label_share_the_step_is_that_of_softmax() -> None:
    target = np.array([0, 0, 0, 1, 1, 2])
    scores = np.tile(log_prior([3, 2, 1]), (6, 1))
    q = np.array([3, 2, 1]) / 6
    gradient, bound = gradient_and_bound(scores, target)
    np.testing.assert_allclose(gradient, q - np.eye(3)[target], atol=1e-12)
    np.testing.assert_allclose(bound, np.tile(2 * q * (1 - q), (6, 1)), atol=1e-12)


def test_scores_far_apart_and_in_float32_stay_finite() -> None:
    scores, target = drawn()
    for scale in (1e3, 1e6, 1e30):
        for given in (scale * scores, (scale * scores).astype(np.float32)):
            gradient, bound = gradient_and_bound(given, target.astype(np.float32))
            assert np.isfinite(gradient).all()
            assert np.isfinite(bound).all()
            assert (bound > 0.0).all()
            assert np.isfinite(generative_loss(given, target))
    impossible = np.tile([0.0, 0.0, 0.0, -1e5], (30, 1))  # its mass underflows in every row, though it has some
    _, gradient = of_torch(impossible, target)
    assert np.abs(gradient[:, 3]).max() > 0.1
    np.testing.assert_allclose(gradient_and_bound(impossible, target)[0], gradient, atol=1e-10)
    single = scores.astype(np.float32)
    np.testing.assert_array_equal(gradient_and_bound(single, target), gradient_and_bound(single.astype(float), target))


def lopsided() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and weights of a table of three classes that overlap."""
    random = np.random.default_rng(0)
    y = random.choice(3, 200, p=[0.6, 0.3, 0.1])
    return random.standard_normal((200, 4)) + y[:, None] * [1.0, -0.5, 0.0, 0.3], y, random.integers(1, 4, 200) / 2


@pytest.mark.parametrize("weighted", [False, True])
def test_at_strength_0_it_grows_the_trees_of_xgboost(weighted: bool) -> None:
    xgboost = pytest.importorskip("xgboost")
    x, y, weight = lopsided()
    shares = np.bincount(y, weight if weighted else None)
    objective, settings = GenerativeObjective(strength=0.0), {"nthread": 1, "max_depth": 3}
    data = xgboost.DMatrix(x, y, weight=weight if weighted else None)
    multi = settings | {"objective": "multi:softprob", "num_class": 3}
    own = xgboost.train(multi, data, 10).predict(data)
    ours = xgboost.train(multi | {"base_score": log_prior(shares).tolist()}, data, 10, obj=objective)
    np.testing.assert_allclose(ours.predict(data), own, atol=1e-5)
    np.testing.assert_allclose(probabilities(ours.predict(data, output_margin=True)), own, atol=1e-5)
    data.set_label(y > 0)
    binary = settings | {"objective": "binary:logistic"}
    own = xgboost.train(binary, data, 10).predict(data)
    ours = xgboost.train(binary | {"base_score": shares[1:].sum() / shares.sum()}, data, 10, obj=objective)
    np.testing.assert_allclose(ours.predict(data), own, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_at_strength_0_it_grows_the_trees_of_lightgbm(weighted: bool) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x, y, weight = lopsided()
    settings, given = {"num_threads": 1, "num_leaves": 7, "verbosity": -1}, weight if weighted else None
    counts = np.bincount(y, given)
    own = lightgbm.train(
        settings | {"objective": "multiclass", "num_class": 3}, lightgbm.Dataset(x, y, weight=given), 10
    )
    objective = GenerativeObjective(strength=0.0, class_counts=counts, factor=3 / 2)
    data = lightgbm.Dataset(x, y, weight=given)
    ours = lightgbm.train(settings | {"objective": objective, "num_class": 3}, data, 10)
    np.testing.assert_allclose(probabilities(ours.predict(x), counts), own.predict(x), atol=1e-5)
    own = lightgbm.train(settings | {"objective": "binary"}, lightgbm.Dataset(x, y > 0, weight=given), 10)
    counts = np.array([counts[0], counts[1:].sum()])
    objective = GenerativeObjective(strength=0.0, class_counts=counts)
    ours = lightgbm.train(settings | {"objective": objective}, lightgbm.Dataset(x, y > 0, weight=given), 10)
    np.testing.assert_allclose(probabilities(ours.predict(x), counts)[:, 1], own.predict(x), atol=1e-5)


def test_from_the_class_shares_gence_and_its_prior_aware_form_are_one_model() -> None:
    xgboost = pytest.importorskip("xgboost")
    x, y, _ = lopsided()
    data, counts = xgboost.DMatrix(x, y), np.bincount(y)
    settings = {"objective": "multi:softprob", "num_class": 3, "nthread": 1, "max_depth": 3}
    plain = xgboost.train(settings | {"base_score": log_prior(counts).tolist()}, data, 10, obj=GenerativeObjective())
    aware = GenerativeObjective(class_counts=counts)
    trees = xgboost.train(settings | {"base_score": [0.0] * 3}, data, 10, obj=aware)
    scores = trees.predict(data, output_margin=True)
    np.testing.assert_allclose(probabilities(scores, counts), plain.predict(data), atol=1e-5)
    assert np.abs(trees.predict(data) - plain.predict(data)).max() > 0.05  # these are for balanced classes
    own = xgboost.train(settings, data, 10)
    assert np.abs(own.predict(data) - plain.predict(data)).max() > 1e-3
    # Newton's steps lower the loss.
    start = generative_loss(np.zeros((200, 3)), y, class_counts=counts)
    assert generative_loss(scores, y, class_counts=counts) < start - 0.1


def test_the_scikit_learn_classifiers_take_it() -> None:
    xgboost, lightgbm = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    x, y, weight = lopsided()
    counts = np.bincount(y, weight)
    objective = pickle.loads(pickle.dumps(GenerativeObjective(class_counts=counts)))
    data = xgboost.DMatrix(x, y, weight=weight)
    settings = {"objective": "multi:softprob", "num_class": 3, "base_score": [0.0] * 3, "nthread": 1}
    wanted = xgboost.train(settings, data, 5, obj=objective).predict(data)
    trees = xgboost.XGBClassifier(objective=objective.sklearn, base_score=[0.0] * 3, n_estimators=5, n_jobs=1)
    trees.fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(trees.predict_proba(x), wanted, atol=1e-5)
    scores = trees.predict(x, output_margin=True)
    np.testing.assert_allclose(probabilities(scores), wanted, atol=1e-5)
    settings = {"objective": objective, "num_class": 3, "num_threads": 1, "verbosity": -1}
    wanted = lightgbm.train(settings, lightgbm.Dataset(x, y, weight=weight), 5).predict(x)
    trees = lightgbm.LGBMClassifier(objective=objective.sklearn, n_estimators=5, n_jobs=1, verbosity=-1)
    trees.fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(trees.predict(x, raw_score=True), wanted, atol=1e-12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Cannot compute class probabilities")  # what `probabilities` is for
        np.testing.assert_allclose(trees.predict_proba(x), wanted, atol=1e-12)


def test_both_libraries_report_the_likelihood_and_the_loss() -> None:
    xgboost, lightgbm = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    x, y, weight = lopsided()
    objective, seen = GenerativeObjective(), {}
    data = xgboost.DMatrix(x, y, weight=weight)
    settings = {"objective": "multi:softprob", "num_class": 3, "eval_metric": "mlogloss", "nthread": 1}
    trees = xgboost.train(
        settings, data, 3, obj=objective, custom_metric=objective.xgboost_metric, evals=[(data, "train")],
        evals_result=seen, verbose_eval=False,
    )  # fmt: skip
    scores = trees.predict(data, output_margin=True)
    assert seen["train"]["nll"] == pytest.approx(seen["train"]["mlogloss"], abs=1e-4)
    assert seen["train"]["gence"][-1] == pytest.approx(generative_loss(scores, y, weight), abs=1e-4)
    seen = {}
    settings = {"objective": objective, "num_class": 3, "num_threads": 1, "verbosity": -1}
    data = lightgbm.Dataset(x, y, weight=weight)
    trees = lightgbm.train(
        settings, data, 3, feval=objective.lightgbm_metric, valid_sets=[data], valid_names=["train"],
        callbacks=[lightgbm.record_evaluation(seen)],
    )  # fmt: skip
    scores = trees.predict(x)
    assert seen["train"]["nll"][-1] == pytest.approx(generative_loss(scores, y, weight, strength=0.0), abs=1e-9)
    assert seen["train"]["gence"][-1] == pytest.approx(generative_loss(scores, y, weight), abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros((2, 1))}, "scores must have the shape"),
        ({"scores": [[0.0, np.nan], [0.0, 0.0]]}, "scores must be finite"),
        ({"target": [0, 2]}, "class numbers from 0 to 1; got 2 at 1"),
        ({"target": [0, 0.5]}, "got 0.5 at 1"),
        ({"target": [0]}, "a class number for each of 2 rows"),
        ({"weight": [1.0, -1.0]}, "weight must be 2 finite numbers"),
        ({"weight": [0.0, 0.0]}, "not all 0"),
        ({"class_weight": [1.0]}, "class_weight must be 2"),
        ({"strength": -0.1}, "strength must be a finite number of at least 0"),
        ({"factor": 0.9}, "factor must be a finite number of at least 1"),
        ({"class_counts": [1, 0]}, "class_counts must be positive"),
        ({"class_counts": [1, 2, 3]}, "class_counts must have one entry a class, 2"),
        ({"class_counts": [1, 2], "tau": -1.0}, "tau must be a finite number"),
    ],
)
def test_bad_input_gets_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        gradient_and_bound(**({"scores": np.zeros((2, 2)), "target": [0, 1]} | change))


def test_neither_library_is_imported() -> None:
    for name in ("boosting", "_boosting"):
        source = (ROOT / f"src/gence/integrations/{name}.py").read_text()
        assert not {"xgboost", "lightgbm"} & set(imports(source, f"gence.integrations.{name}"))


def test_the_tables_of_the_page_are_what_the_script_gives() -> None:
    script = runpy.run_path(str(ROOT / "docs/boosting/compare.py"))
    page = (ROOT / "docs/boosting.md").read_text()
    for name, others in script["OTHERS"].items():
        given = script["table"](ROOT / "docs/boosting/results.csv", name)
        assert len(given.splitlines()) == 2 + 2 * (1 + len(others))
        assert given in page


def test_the_study_of_the_page_can_be_run() -> None:
    pytest.importorskip("xgboost")
    pytest.importorskip("sklearn")
    script = runpy.run_path(str(ROOT / "docs/boosting/compare.py"))
    parts = script["split"]("digits thinned", 0)
    assert parts.counts.tolist() == sorted(parts.counts, reverse=True)
    assert len(parts.balanced_test[1]) > 2 * len(parts.test[1])
    found = script["stages"]("xgboost", "gence", script["split"]("wine", 0))
    assert set(found) == {(rate, rounds) for rate in script["RATES"] for rounds in script["ROUNDS"]}
    assert [len(scores) for scores in found[0.1, 10]] == [18, 44, 45, 45]
