"""A Lightning module trained with GenCE, and calibrated when `fit` ends: `python examples/lightning_callback.py`.

When GenCE is worth it here: with ten classes and batches of 64 it fits about the same model as cross-entropy, and no
gain over it has been measured on these digits; what this shows is that it takes cross-entropy's place in one line, and
what one temperature, fitted to rows that were not trained on, changes.

Needs Lightning (`pip install lightning`) and scikit-learn, whose 1,797 digits of 8 x 8 pixels come with it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import gence
from gence import calibration, metrics
from gence.integrations.lightning import CalibrateAtFitEnd

LABELS_PER_CLASS, CALIBRATION_ROWS = 50, 400


class Digits(pl.LightningModule):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        layers = nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)
        self.layers, self.loss = nn.Sequential(*layers), loss

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, target = batch
        return self.loss(self(inputs), target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def parts() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Training rows (so many a class), calibration rows, and the rest to test on."""
    inputs, target = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(0))
    inputs, target = inputs[order].float() / 16, target[order]
    train = torch.cat([(target == k).nonzero().flatten()[:LABELS_PER_CLASS] for k in range(10)])
    rest = torch.ones(len(target), dtype=torch.bool).index_fill(0, train, False).nonzero().flatten()
    rows = train, rest[:CALIBRATION_ROWS], rest[CALIBRATION_ROWS:]
    return tuple(TensorDataset(inputs[one], target[one]) for one in rows)  # type: ignore[return-value]


def main() -> None:
    torch.set_num_threads(1)  # for so small a model more are slower
    # Lightning advises on loaders, logs on every fit, and calls what torch 2.13 has deprecated.
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    train, held_out, test = parts()
    inputs, target = test.tensors
    print(f"{len(train)} rows to train on, {len(held_out)} to calibrate on, {len(target)} to test on")
    for name, loss in {"cross-entropy": nn.CrossEntropyLoss(), "GenCE": gence.GenCELoss()}.items():
        pl.seed_everything(0, verbose=False)
        module = Digits(loss)
        callback = CalibrateAtFitEnd("temperature", dataloader=DataLoader(held_out, batch_size=200))
        with tempfile.TemporaryDirectory() as folder:
            trainer = pl.Trainer(
                max_epochs=15,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=folder,
                callbacks=[callback],
            )
            trainer.fit(module, DataLoader(train, batch_size=64, shuffle=True))
            assert callback.path is not None
            calibrator = calibration.load(callback.path)
        scores = {key.removeprefix("calibration/"): value for key, value in callback.scores.items()}
        print(f"{name}: {calibrator.summary}")
        print(
            f"  calibration rows: NLL {scores['nll_before']:.4f} -> {scores['nll_after']:.4f}, "
            f"ECE {scores['ece_before']:.2%} -> {scores['ece_after']:.2%} (cross-fitted)"
        )
        module.eval()
        with torch.no_grad():
            logits = module(inputs)
        before, after = logits.double().softmax(1), calibrator(logits).double().softmax(1)
        print(
            f"  test rows: accuracy {metrics.accuracy(before, target).item():.2%}, "
            f"NLL {metrics.negative_log_likelihood(before, target).item():.4f} -> "
            f"{metrics.negative_log_likelihood(after, target).item():.4f}"
        )


if __name__ == "__main__":
    main()
