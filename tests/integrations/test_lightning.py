"""Calibration at the end of `fit`, with both packages of Lightning, in one process and in two."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SubsetRandomSampler, TensorDataset

pl = pytest.importorskip("lightning.pytorch", exc_type=ImportError)

from gence import InputError, calibration, metrics  # noqa: E402
from gence.integrations import lightning as ours  # noqa: E402
from gence.integrations.lightning import CalibrateAtFitEnd  # noqa: E402
from two_processes import start, take_part, what_went_wrong  # noqa: E402

# Lightning advises on loaders' workers, on logging, and on folders that are there already; and calls what torch 2.13
# has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty.*"),
    pytest.mark.filterwarnings("ignore:.*litlogger.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]

ROWS, FEATURES, CLASSES = 101, 5, 3


def data(seed: int, rows: int = ROWS) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (rows,), generator=generator)
    inputs = torch.randn(rows, FEATURES, generator=generator)
    inputs[torch.arange(rows), target] += 1.5
    return TensorDataset(inputs, target)


def network(package: ModuleType = pl, loaders: Any = None) -> Any:
    """Confident from the start, with dropout and batch norm, so that the mode it predicts in shows."""

    class Module(package.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            layers = nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, CLASSES)
            self.layers = nn.Sequential(*layers)
            with torch.no_grad():
                self.layers[3].weight *= 8.0

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layers(inputs)

        def training_step(self, batch: Any, _: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            pass

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.001)

        def train_dataloader(self) -> Any:
            return DataLoader(data(0), batch_size=16)

        def val_dataloader(self) -> Any:
            return DataLoader(data(1), batch_size=16) if loaders is None else loaders

    return Module()


def fitted(
    folder: Path,
    callback: CalibrateAtFitEnd,
    package: ModuleType = pl,
    loaders: Any = None,
    more: Any = (),
    ckpt_path: Path | None = None,
    **given: Any,
):
    module = network(package, loaders)
    settings: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "max_epochs": 2, **given}
    trainer = package.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback, *more],
        **settings,
    )
    trainer.fit(module, ckpt_path=ckpt_path)
    return trainer, module


def rows(module: nn.Module, of: TensorDataset) -> tuple[Tensor, Tensor]:
    module.eval()
    with torch.no_grad():
        return module(of.tensors[0]), of.tensors[1]


@pytest.mark.parametrize("name", ["lightning.pytorch", "pytorch_lightning"])
def test_the_calibrator_is_the_fit_to_the_validation_rows(name: str, tmp_path: Path) -> None:
    package = pytest.importorskip(name, exc_type=ImportError)
    callback = CalibrateAtFitEnd("temperature")
    trainer, module = fitted(tmp_path, callback, package)
    logits, target = rows(module, data(1))
    expected = calibration.fit_temperature(logits, target)
    assert isinstance(callback.calibrator, calibration.TemperatureScaling)
    assert callback.calibrator.temperature == pytest.approx(expected.temperature, rel=1e-5)
    assert callback.path == tmp_path / "calibrator.json"
    assert calibration.load(callback.path) == callback.calibrator

    held_out = calibration.cross_fit("temperature", logits, target)
    by_hand = {
        f"calibration/{measure}_{when}": function(shown.double().softmax(1), target).item()
        for when, shown in {"before": logits, "after": held_out}.items()
        for measure, function in {
            "nll": metrics.negative_log_likelihood,
            "ece": lambda p, y: metrics.expected_calibration_error(p, y, bins=15, binning="mass"),
        }.items()
    }
    assert callback.scores == pytest.approx(by_hand, rel=1e-5)
    assert {key: trainer.callback_metrics[key].item() for key in by_hand} == pytest.approx(by_hand, rel=1e-5)
    assert callback.scores["calibration/nll_after"] < callback.scores["calibration/nll_before"]


def test_the_modes_of_the_module_are_left_as_they_were(tmp_path: Path) -> None:
    modes: list[bool] = []
    seen: list[bool] = []

    class Before(CalibrateAtFitEnd):
        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            pl_module.layers[1].eval()  # frozen on purpose
            running = pl_module.layers[1].running_mean.clone()
            super().on_train_end(trainer, pl_module)
            modes.extend(part.training for part in pl_module.layers)
            assert_close(pl_module.layers[1].running_mean, running, rtol=0.0, atol=0.0)

    def logits_of(module: Any, batch: Any) -> tuple[Tensor, Tensor]:
        seen.extend([module.training, module.layers[2].training, torch.is_grad_enabled()])
        return module(batch[0]), batch[1]

    fitted(tmp_path, Before(logits_of=logits_of))
    assert modes == [True, False, True, True]
    assert set(seen) == {False}


@pytest.mark.parametrize("method", [*calibration.catalogue.names(), "auto"])
def test_every_calibrator_can_be_fitted_saved_and_carried_by_a_checkpoint(method: str, tmp_path: Path) -> None:
    callback = CalibrateAtFitEnd(method, file_name="cal.safetensors")
    trainer, _ = fitted(tmp_path, callback, max_epochs=1)
    assert callback.path == tmp_path / "cal.safetensors"
    assert calibration.load(callback.path) == callback.calibrator
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    kept = torch.load(tmp_path / "end.ckpt", weights_only=True)["callbacks"]
    other = CalibrateAtFitEnd(method)
    other.load_state_dict(kept[callback.state_key])
    assert other.calibrator == callback.calibrator
    assert other.scores == callback.scores


def test_a_checkpoint_from_before_the_end_has_no_calibrator() -> None:
    callback = CalibrateAtFitEnd()
    assert callback.state_dict() == {}
    callback.load_state_dict({})
    assert callback.calibrator is None


def test_a_checkpoint_keeps_two_of_them_apart(tmp_path: Path) -> None:
    one, two = CalibrateAtFitEnd("temperature"), CalibrateAtFitEnd("vector", file_name="vector.json")
    trainer, _ = fitted(tmp_path, one, max_epochs=1, more=[two])
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    again = CalibrateAtFitEnd("temperature"), CalibrateAtFitEnd("vector", file_name="vector.json")
    fitted(tmp_path, again[0], max_epochs=1, more=[again[1]], ckpt_path=tmp_path / "end.ckpt")
    assert [callback.calibrator for callback in again] == [one.calibrator, two.calibrator]


def test_rows_that_no_epoch_has_validated_are_found(tmp_path: Path) -> None:
    callback = CalibrateAtFitEnd()
    trainer, module = fitted(tmp_path, callback, num_sanity_val_steps=0, check_val_every_n_epoch=9)
    assert callback.calibrator == calibration.fit_temperature(*rows(module, data(1)))
    assert trainer.current_epoch == 2


def test_it_is_saved_beside_the_checkpoints_and_logged(tmp_path: Path) -> None:
    callback = CalibrateAtFitEnd("vector")
    logger = pl.loggers.CSVLogger(tmp_path)
    checkpoint = pl.callbacks.ModelCheckpoint(dirpath=tmp_path / "kept", save_last=True)
    module = network()
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=1,
        logger=logger,
        callbacks=[checkpoint, callback],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module)
    assert callback.path == tmp_path / "kept" / "calibrator.json"
    logger.save()
    written = (Path(logger.log_dir) / "metrics.csv").read_text()
    assert all(name in written for name in callback.scores)


def test_rows_come_from_where_they_are_said_to(tmp_path: Path) -> None:
    """From a loader of its own, or from all validation loaders of the trainer; by a function of the user."""

    def logits_of(module: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return module(batch["x"]), batch["y"]

    def as_dict(items: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        return {"x": torch.stack([x for x, _ in items]), "y": torch.stack([y for _, y in items])}

    callback = CalibrateAtFitEnd(
        dataloader=DataLoader(data(2, 60), batch_size=7, collate_fn=as_dict), logits_of=logits_of
    )
    trainer, module = fitted(tmp_path, callback)
    found = callback.predict(trainer, module)
    assert_close(found, rows(module, data(2, 60)))

    for loaders in (
        [DataLoader(data(1), batch_size=16), DataLoader(data(2), batch_size=16)],
        {"a": DataLoader(data(1), batch_size=16), "b": DataLoader(data(2), batch_size=16)},
    ):
        seen: list[Tensor] = []

        class Kept(CalibrateAtFitEnd):
            def predict(self, trainer: Any, pl_module: Any, seen: list[Tensor] = seen) -> tuple[Tensor, Tensor]:
                found = super().predict(trainer, pl_module)
                seen.append(found[1])
                return found

        module = network(loaders=loaders)
        module.validation_step = lambda batch, batch_idx, dataloader_idx=0: None
        trainer = pl.Trainer(
            default_root_dir=tmp_path, accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
            callbacks=[Kept()], enable_progress_bar=False, enable_model_summary=False, limit_val_batches=1,
        )  # fmt: skip
        trainer.fit(module)
        assert_close(seen[0], torch.cat([data(1).tensors[1], data(2).tensors[1]]))


def test_a_dry_run_fits_and_saves_nothing(tmp_path: Path) -> None:
    callback = CalibrateAtFitEnd()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning says what fast_dev_run switches off
        fitted(tmp_path, callback, fast_dev_run=True)
    assert callback.calibrator is None
    assert not (tmp_path / "calibrator.json").exists()


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown calibrator 'temperatur': did you mean 'temperature'"):
        CalibrateAtFitEnd("temperatur")
    steps: list[int] = []

    class Steps(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            steps.append(1)

    with pytest.raises(InputError, match="needs rows to calibrate on"):
        fitted(tmp_path, CalibrateAtFitEnd(), limit_val_batches=0, more=[Steps()])
    assert not steps  # nobody wants to hear that after the last epoch
    with pytest.raises(InputError, match="needs rows to calibrate on"):
        fitted(tmp_path, CalibrateAtFitEnd(dataloader=[]), max_epochs=1)
    for message, batch, logits_of in (
        (r"must be \(inputs, target\); got dict", {"x": 1}, None),
        (r"logits must be \(rows, classes\) .* \(4, 3, 2\)", 0, lambda m, b: (torch.zeros(4, 3, 2), torch.zeros(4))),
        (r"torch.float32: give", 0, lambda m, b: (torch.zeros(4, 3), torch.zeros(4))),
    ):
        callback = CalibrateAtFitEnd(dataloader=[batch], logits_of=logits_of)
        with pytest.raises(InputError, match=message):
            fitted(tmp_path, callback, max_epochs=1)


class Broken(MetaPathFinder):
    """Stands in for an installation in which these packages raise on import."""

    def __init__(self, error: Exception, *packages: str) -> None:
        self.error, self.packages = error, packages

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name.partition(".")[0] in self.packages:
            raise self.error


@pytest.mark.parametrize(
    ("error", "packages", "message"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), ("lightning",), "pip uninstall torchvision"),
        (ModuleNotFoundError("No module named 'torchmetrics'", name="torchmetrics"), ("lightning",), "torchmetrics"),
        (
            ModuleNotFoundError("No module named 'lightning'", name="lightning"),
            ("lightning", "pytorch_lightning"),
            "pip install lightning",
        ),
    ],
)
def test_a_lightning_that_cannot_be_imported_is_explained(
    error: Exception, packages: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(error, *packages), *sys.meta_path])
    spec = importlib.util.spec_from_file_location("again", ours.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError, match=message):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_without_the_one_package_the_other_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    other = pytest.importorskip("pytorch_lightning", exc_type=ImportError)
    for name in list(sys.modules):
        if name.partition(".")[0] == "lightning":
            monkeypatch.delitem(sys.modules, name)
    missing = ModuleNotFoundError("No module named 'lightning'", name="lightning")
    monkeypatch.setattr(sys, "meta_path", [Broken(missing, "lightning"), *sys.meta_path])
    spec = importlib.util.spec_from_file_location("again", ours.__file__)
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert issubclass(again.CalibrateAtFitEnd, other.Callback)


class Grouped(BatchSampler):
    """A batch sampler of somebody's own."""


class Stream(IterableDataset):
    def __iter__(self):
        return iter(data(1))


def over_two(folder: Path, callback: CalibrateAtFitEnd, loaders: Any = None) -> Any:
    return fitted(
        folder, callback, loaders=loaders, strategy="ddp", devices=2, max_epochs=1, plugins=[outside()],
    )  # fmt: skip


def outside() -> Any:
    """Processes that somebody else has started."""
    from lightning.pytorch.plugins.environments import LightningEnvironment

    return LightningEnvironment()


def case_both_ranks_have_the_calibrator_of_one_process() -> None:
    """101 rows over two ranks: one is there twice, and is to count once."""
    folder, rank = Path(sys.argv[1]), torch.distributed.get_rank()
    kept: list[tuple[Tensor, Tensor]] = []

    class Kept(CalibrateAtFitEnd):
        def predict(self, trainer: Any, pl_module: Any) -> tuple[Tensor, Tensor]:
            kept.append(super().predict(trainer, pl_module))
            return kept[-1]

    for method, loader in (
        ("temperature", None),
        ("isotonic", None),
        ("temperature", DataLoader(data(1), batch_size=16)),
        ("temperature", DataLoader(data(1), batch_size=16, shuffle=True)),
    ):
        callback = Kept(method, file_name=f"rank{rank}-{len(kept)}.json")
        own = loader if len(kept) < 3 else None
        callback.dataloader = own
        trainer, module = over_two(folder, callback, None if own is not None else loader)
        assert trainer.world_size == 2
        logits, target = rows(module, data(1))
        assert_close(kept[-1], (logits, target))
        assert (callback.path is None) == (rank == 1)
        assert callback.calibrator == calibration.catalogue.fit(method, *kept[-1])
        everybody: list[Any] = [None, None]
        torch.distributed.all_gather_object(everybody, (callback.calibrator, callback.scores))
        assert everybody[0] == everybody[1]
    # Every rank draws an order of its own here, and another one each time: no row may get another's number.
    only = range(20, 80)
    callback = Kept(file_name=None)
    _, module = over_two(folder, callback, DataLoader(data(1), batch_size=16, sampler=SubsetRandomSampler(only)))
    assert_close(kept[-1], tuple(part[20:80] for part in rows(module, data(1))))
    grouped = DataLoader(data(1), batch_sampler=Grouped(range(ROWS), 16, False))
    with pytest.raises(InputError, match="Grouped does not say which rows a rank has"):
        over_two(folder, CalibrateAtFitEnd(), grouped)
    stream = DataLoader(Stream(), batch_size=16)
    with pytest.raises(InputError, match="IterableDataset does not say"):
        over_two(folder, CalibrateAtFitEnd(dataloader=stream))


def test_two_processes(tmp_path: Path) -> None:
    start(__file__, tmp_path)
    for rank in (0, 1):
        trace = what_went_wrong("ranks", rank, tmp_path)
        assert not trace, trace


if __name__ == "__main__":
    os.environ |= {"NODE_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    take_part({"ranks": case_both_ranks_have_the_calibrator_of_one_process})
