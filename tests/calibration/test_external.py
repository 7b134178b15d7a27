from __future__ import annotations

import ast
import inspect
import json
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gence import InputError
from gence.calibration import Calibrated, catalogue, external, fit_temperature, save

probmetrics = pytest.importorskip("probmetrics.calibrators")


def rows_of(rows: int = 300, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    return logits, torch.multinomial((logits / 2).softmax(1), 1, generator=generator).squeeze(1)


def test_the_names_are_those_that_get_calibrator_compares_with() -> None:
    tree = ast.parse(inspect.getsource(probmetrics.get_calibrator))
    tests = [node.test for node in ast.walk(tree) if isinstance(node, ast.If)]
    compared = [test for test in tests if isinstance(test, ast.Compare)]
    known = {c.value for test in compared for c in ast.walk(test) if isinstance(c, ast.Constant)}
    assert {name.removeprefix("probmetrics:") for name in external.names()} == known
    assert len(known) > 20


def test_only_ours_are_in_the_catalogue() -> None:
    assert not set(external.names()) & set(catalogue.names())


def test_their_temperature_is_ours() -> None:
    logits, target = rows_of()
    theirs, ours = catalogue.fit("probmetrics:temp-scaling", logits, target), fit_temperature(logits, target)
    assert_close(theirs(logits).softmax(1), ours(logits).softmax(1), rtol=0, atol=1e-5)
    assert theirs.nll_before == ours.nll_before  # type: ignore[attr-defined]
    assert theirs.nll_after == pytest.approx(ours.nll_after)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["isotonic", "svs", "ts-mix"])
def test_it_says_what_theirs_says(name: str) -> None:
    from probmetrics.distributions import CategoricalLogits

    logits, target = rows_of()
    ours = catalogue.fit(f"probmetrics:{name}", logits, target)
    theirs = probmetrics.get_calibrator(name).fit_torch(CategoricalLogits(logits), target)
    expected = theirs.predict_proba_torch(CategoricalLogits(logits)).get_probs()
    assert_close(ours(logits).exp(), expected, rtol=1e-6, atol=1e-12)
    assert_close(torch.from_numpy(ours(logits.numpy())), ours(logits))
    assert ours(logits.float()).dtype == torch.float32
    assert ours(logits).isfinite().all()
    assert ours.summary == f"{name} of probmetrics"
    assert ours.remarks == ()


def test_its_fields_are_plain_numbers() -> None:
    fitted = catalogue.fit("probmetrics:temp-scaling", *rows_of())
    record = {f.name: getattr(fitted, f.name) for f in fields(fitted)}  # type: ignore[arg-type]
    assert json.loads(json.dumps(record)) == record
    assert record["rows"] == 300


def test_logits_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="each of 4 classes, logits has 3 columns"):
        catalogue.fit("probmetrics:temp-scaling", *rows_of())(torch.zeros(2, 3))


def test_probabilities_are_refused_before_anything_is_imported() -> None:
    with pytest.raises(ValueError, match="these rows are probabilities"):
        catalogue.fit("probmetrics:sms", torch.tensor([[0.9, 0.1]]), torch.tensor([0]))


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match="unknown calibrator 'probmetrics:temp-scalin': did you mean 'probmetrics:temp-"
    ):
        catalogue.fit("probmetrics:temp-scalin", *rows_of())


def test_one_that_does_not_suit_the_rows_says_which_and_why() -> None:
    with pytest.raises(
        InputError, match="probmetrics:affine-scaling cannot be fitted to 300 rows of 4 classes: Invalid"
    ):
        catalogue.fit("probmetrics:affine-scaling", *rows_of())


def test_without_probmetrics_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "probmetrics.calibrators", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"probmetrics:sms needs probmetrics .*pip install 'gence\[probmetrics\]'"
    ):
        catalogue.fit("probmetrics:sms", *rows_of())
    assert "probmetrics:sms" in external.names()


def test_without_a_further_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "venn_abers", None)
    with pytest.raises(ModuleNotFoundError, match=r"probmetrics:ivap needs a package .*'venn_abers'") as caught:
        catalogue.fit("probmetrics:ivap", *rows_of())
    assert caught.value.name == "venn_abers"


def test_it_cannot_be_saved_or_exported_and_says_so(tmp_path: Path) -> None:
    fitted = catalogue.fit("probmetrics:temp-scaling", *rows_of())
    for attempt in (fitted.tensors, lambda: fitted.transform(torch.zeros(1, 4), {})):
        with pytest.raises(TypeError, match="holds code, not numbers: it cannot be saved or exported"):
            attempt()
    with pytest.raises(TypeError, match="holds code, not numbers"):
        Calibrated(torch.nn.Linear(2, 4), fitted)
    with pytest.raises(TypeError, match="a fitted calibrator of gence is expected; got ExternalCalibrator"):
        save(fitted, tmp_path / "c.json")
