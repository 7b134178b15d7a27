"""Calibration at the end of `fit`: a callback for Lightning, from `lightning.pytorch` or `pytorch_lightning`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DistributedSampler, IterableDataset

from gence._errors import InputError, unknown_name
from gence.calibration import catalogue
from gence.calibration.calibrator import Calibrator
from gence.calibration.selection import cross_fit, fit_best
from gence.calibration.storage import load, save
from gence.metrics import expected_calibration_error, negative_log_likelihood

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
else:
    try:
        try:
            from lightning.pytorch.callbacks import Callback
        except ModuleNotFoundError as error:
            if error.name != "lightning":
                raise
            from pytorch_lightning.callbacks import Callback
    except ModuleNotFoundError as error:
        raise ImportError(
            f"gence.integrations.lightning needs Lightning ({error}): pip install lightning", name=error.name
        ) from error
    except RuntimeError as error:
        raise ImportError(
            f"Lightning cannot be imported ({error}); where torchvision is the cause, it was built for another torch: "
            "pip uninstall torchvision, or install the one that belongs to this torch"
        ) from error

LogitsOf = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]
"""(module, batch) -> logits `(rows, classes)` and class numbers `(rows)`, a row an item of the data set."""


class CalibrateAtFitEnd(Callback):
    """Fits a calibrator to the validation rows when training ends, and logs what it changes.

    The rows are predicted in evaluation mode, without gradient, by the weights that training ends with (not those of
    the best checkpoint). Several ranks predict their own parts; every rank then fits on all rows, so that all hold the
    same calibrator, which is that of one process. Nothing is done under `fast_dev_run`, and `limit_val_batches` does
    not limit the rows.

    Logged, and put into `trainer.callback_metrics`: `calibration/nll_before` and `calibration/ece_before` of the
    model's own probabilities, `calibration/nll_after` and `calibration/ece_after` of calibrated ones. "After" is
    cross-fitted: each row is calibrated by a fit without it. Rows that chose the epoch to stop at, or the model, make
    all four look better than they are; give rows of their own by `dataloader`.

    Args:
        method: A name of `gence.calibration.catalogue`, or `"auto"` for the one with the lowest cross-validated NLL.
            With `"auto"` "after" is that of the winner, by as much too low as choosing gains by chance.
        dataloader: Gives the calibration rows; without one, the validation loaders of the trainer do. Over ranks, one
            without a `DistributedSampler` gives each rank all rows.
        logits_of: (module, batch) -> (logits, target), a row for each item; without it the batch must be
            (inputs, target) and the module map inputs to logits.
        folds: Parts that the rows are dealt into for "after".
        bins: Bins of equal mass for ECE.
        seed: Of the dealing.
        file_name: The calibrator is saved under this name beside the checkpoints, or in `trainer.default_root_dir`
            where there are none; None does not save it.

    Attributes:
        calibrator: The fitted calibrator; None before.
        path: Where it was saved; None before, and on other ranks than 0.
        scores: The four numbers, by the names they are logged under.

    Raises:
        InputError: If there is no calibrator of that name; at the end of `fit`, if there are no rows, or a batch is
            not as described.
        ImportError: On import of this module, if Lightning is not there or cannot be imported.
    """

    def __init__(
        self,
        method: str = "temperature",
        *,
        dataloader: Iterable[Any] | None = None,
        logits_of: LogitsOf | None = None,
        folds: int = 5,
        bins: int = 15,
        seed: int = 0,
        file_name: str | None = "calibrator.json",
    ) -> None:
        super().__init__()
        if method != "auto" and method not in catalogue.names():
            raise unknown_name("calibrator", method, ["auto", *catalogue.names()])
        self.method = method
        self.dataloader = dataloader
        self.logits_of = _logits_of_pairs if logits_of is None else logits_of
        self.folds, self.bins, self.seed = folds, bins, seed
        self.file_name = file_name
        self.calibrator: Calibrator | None = None
        self.path: Path | None = None
        self.scores: dict[str, float] = {}

    @property
    def state_key(self) -> str:
        """Its name in a checkpoint, which holds several callbacks of this kind apart."""
        return self._generate_state_key(method=self.method, file_name=self.file_name)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Say at once, and not after the last epoch, that there will be nothing to calibrate on."""
        if self.dataloader is None and not trainer.enable_validation and not trainer.fast_dev_run:
            raise _no_rows()

    # Not on_fit_end: the model has left its device by then, and the ranks each other.
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.fast_dev_run:
            return
        logits, target = self.predict(trainer, pl_module)
        after = self._fit(logits, target)
        self.scores = {f"calibration/{name}": value for name, value in self._measured(logits, after, target).items()}
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in self.scores.items()})
        for logger in trainer.loggers:
            logger.log_metrics(self.scores, step=trainer.global_step)
        if self.file_name is not None and trainer.is_global_zero:
            checkpoints = getattr(trainer.checkpoint_callback, "dirpath", None)
            folder = Path(checkpoints or trainer.default_root_dir)
            folder.mkdir(parents=True, exist_ok=True)
            assert self.calibrator is not None
            self.path = save(self.calibrator, folder / self.file_name)

    def predict(self, trainer: Any, pl_module: Any) -> tuple[Tensor, Tensor]:
        """Logits `(rows, classes)` and class numbers `(rows)` of all calibration rows, on the CPU, on every rank."""
        if self.dataloader is None:
            trainer.fit_loop.epoch_loop.val_loop.setup_data()  # which no epoch may have validated so far
        loaders = _each(trainer.val_dataloaders) if self.dataloader is None else [self.dataloader]
        parts = [self._predict(trainer, pl_module, loader) for loader in loaders]
        if not parts or not sum(len(target) for _, target in parts):
            raise _no_rows()
        return torch.cat([logits for logits, _ in parts]), torch.cat([target for _, target in parts])

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the calibrator as its JSON, where one has been fitted."""
        if self.calibrator is None:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            text = save(self.calibrator, Path(folder) / "calibrator.json").read_text(encoding="utf-8")
        return {"calibrator": text, "scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Bring back what a checkpoint kept."""
        if "calibrator" not in state_dict:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "calibrator.json"
            path.write_text(state_dict["calibrator"], encoding="utf-8")
            self.calibrator = load(path)
        self.scores = dict(state_dict["scores"])

    def _fit(self, logits: Tensor, target: Tensor) -> Tensor:
        """Fit on all rows, and give the logits of each by a fit without it."""
        if self.method == "auto":
            selection = fit_best(logits, target, folds=self.folds, seed=self.seed)
            self.calibrator = selection.calibrator
            return selection.held_out
        after = cross_fit(self.method, logits, target, folds=self.folds, seed=self.seed)
        self.calibrator = catalogue.fit(self.method, logits, target)
        return after

    def _measured(self, before: Tensor, after: Tensor, target: Tensor) -> dict[str, float]:
        found = {}
        for name, logits in {"before": before, "after": after}.items():
            probs = logits.double().softmax(1)
            found[f"nll_{name}"] = negative_log_likelihood(probs, target).item()
            found[f"ece_{name}"] = expected_calibration_error(probs, target, bins=self.bins, binning="mass").item()
        return found

    @torch.no_grad()
    def _predict(self, trainer: Any, pl_module: Any, loader: Any) -> tuple[Tensor, Tensor]:
        over_ranks = trainer.world_size > 1
        if over_ranks and isinstance(getattr(loader, "dataset", None), IterableDataset):
            raise InputError(
                "an IterableDataset does not say which rows a rank has; give CalibrateAtFitEnd(dataloader=...) of a "
                "data set with a length"
            )
        parts: list[tuple[Tensor, Tensor]] = []
        with (
            _drawn_once(loader, over_ranks) as items,
            _evaluation_mode(pl_module),
            trainer.precision_plugin.forward_context(),
        ):
            for batch in loader:
                batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                parts.append(_checked(self.logits_of(pl_module, batch)))
        if not parts:
            return torch.empty(0, 2), torch.empty(0, dtype=torch.long)
        logits = torch.cat([logits for logits, _ in parts])
        target = torch.cat([target for _, target in parts])
        if items is not None:
            logits, target = _of_all_ranks(trainer, logits, target, items)
        return logits.cpu(), target.cpu()


@contextmanager
def _drawn_once(loader: Any, over_ranks: bool) -> Iterator[list[int] | None]:
    """The item numbers that a loader with a DistributedSampler gives while this lasts; None for another loader.

    They are drawn beforehand, as a sampler of the user's that Lightning has wrapped may draw others every time.
    """
    batches = getattr(loader, "batch_sampler", None)
    sampler = getattr(batches, "sampler", None)
    if not over_ranks or not isinstance(sampler, DistributedSampler):
        yield None
        return
    if type(batches) is not BatchSampler:
        raise InputError(
            f"{type(batches).__name__} does not say which rows a rank has; give CalibrateAtFitEnd(dataloader=...) "
            "without a batch sampler of your own"
        )
    items = list(sampler)
    batches.sampler = items
    try:
        yield items
    finally:
        batches.sampler = sampler


def _of_all_ranks(trainer: Any, logits: Tensor, target: Tensor, items: list[int]) -> tuple[Tensor, Tensor]:
    """The rows of all ranks in the order of the data set, each once: a DistributedSampler repeats some to be even."""
    if len(target) > len(items):
        raise InputError(
            f"logits_of must give one row for each item of the data set over several ranks; got {len(target)} rows of "
            f"{len(items)} items: give CalibrateAtFitEnd(dataloader=DataLoader(...)), which each rank then runs whole"
        )
    numbers = torch.tensor(items[: len(target)], device=target.device)
    numbers, logits, target = (trainer.strategy.all_gather(part).flatten(0, 1) for part in (numbers, logits, target))
    order = numbers.argsort(stable=True)
    numbers = numbers[order]
    first = torch.ones_like(numbers, dtype=torch.bool)
    first[1:] = numbers[1:] != numbers[:-1]
    return logits[order[first]], target[order[first]]


def _no_rows() -> InputError:
    return InputError(
        "CalibrateAtFitEnd needs rows to calibrate on; got none: give the trainer a validation loader and the module a "
        "validation_step, or CalibrateAtFitEnd(dataloader=...)"
    )


def _logits_of_pairs(module: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(
            f"a batch must be (inputs, target); got {type(batch).__name__}: give "
            "CalibrateAtFitEnd(logits_of=lambda module, batch: (logits, target))"
        )
    return module(batch[0]), batch[1]


def _checked(rows: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    logits, target = rows
    if logits.dim() != 2 or target.shape != logits.shape[:1] or target.is_floating_point():
        raise InputError(
            "logits must be (rows, classes) and target class numbers (rows); got shapes "
            f"{tuple(logits.shape)} and {tuple(target.shape)}, {target.dtype}: give "
            "CalibrateAtFitEnd(logits_of=lambda module, batch: (logits, target))"
        )
    # Half precision is the training's; calibrators are fitted to no less than float32.
    return logits if logits.dtype == torch.float64 else logits.float(), target.long()


def _each(loaders: Any) -> Iterator[Any]:
    """The loaders of what a trainer may hold: one, several, or several by name."""
    if loaders is None:
        return
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        for loader in loaders:
            yield from _each(loader)
    else:
        yield loaders


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
