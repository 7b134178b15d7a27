"""A kept model as ONNX: rows as the data hold them in, calibrated probabilities out, everything in between inside."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import numpy as np
import torch
from torch import Tensor, nn

from gence._errors import InputError
from gence.calibration import Calibrated
from gence.classifier.kept import KeptModel
from gence.data import Standardize

INPUT, OUTPUT = "rows", "probabilities"

_LOGGERS = ("torch.onnx", "torch.export", "torch._export", "onnxscript", "onnx_ir")


class RowsToProbabilities(nn.Module):
    """The preprocessing, the network and the calibrator of a kept model as one module, in evaluation mode.

    Args:
        kept: The model.

    Raises:
        TypeError: If the calibrator holds code and not numbers, as those of probmetrics do.
    """

    def __init__(self, kept: KeptModel) -> None:
        super().__init__()
        self.preprocessing = _Preprocessing(kept.network.standardize, len(kept.form.shape))
        self.calibrated = Calibrated(kept.network.model, kept.calibrator)
        self.eval()

    def forward(self, rows: Tensor) -> Tensor:
        """Probabilities `(rows, classes)` of rows `(rows, ...)` as the data hold them, NaN for a missing number."""
        return self.calibrated(self.preprocessing(rows))


class _Preprocessing(nn.Module):
    """`Standardize` in tensor operations; its numbers keep their type, whatever the network is cast to."""

    fill: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, standardize: Standardize, axes: int) -> None:
        super().__init__()
        shape = (1, -1) + (1,) * (axes - 1)
        self.dtype = getattr(torch, standardize.dtype)
        self.fills = standardize.fill.size > 0
        self.register_buffer("fill", torch.from_numpy(standardize.fill.copy()))
        self.register_buffer("mean", torch.from_numpy(standardize.mean.copy()).reshape(shape))
        self.register_buffer("scale", torch.from_numpy(standardize.scale.copy()).reshape(shape))

    def forward(self, rows: Tensor) -> Tensor:
        values = rows.to(torch.float32) / 255.0 if rows.dtype == torch.uint8 else rows
        if self.fills:
            values = torch.where(torch.isnan(values), self.fill, values)
        return ((values - self.mean) / self.scale).to(self.dtype)


def to_onnx(kept: KeptModel) -> bytes:
    """The content of an .onnx file.

    It has one input, `rows`, `(any number, ...)` in the type of `kept.form`, and one output, `probabilities`. Its
    metadata hold, as JSON, `class_names`, one name a column of the output, and for tables `columns`, what the numbers
    of a row are.

    Args:
        kept: The model. It is left on its device and in its mode.

    Raises:
        InputError: If a package that exporting needs is not installed, or the exporter cannot take this network.
    """
    device = next(kept.network.model.parameters()).device
    module = RowsToProbabilities(kept).to(device)
    # Two rows: the exporter takes an axis of length 1 for one that is always so.
    example = torch.from_numpy(np.zeros((2, *kept.form.shape), kept.form.dtype)).to(device)
    with _quiet():
        _demand_exporter()
        try:
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{kept.architecture.name} cannot be written as ONNX ({reason})") from error
    assert program is not None
    program.model.metadata_props.update(_metadata(kept))
    return program.model_proto.SerializeToString()


def _demand_exporter() -> None:
    for package in ("onnx", "onnxscript"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise InputError(f"an .onnx file needs {package}: pip install 'gence[onnx]'") from error


def _metadata(kept: KeptModel) -> dict[str, str]:
    found = {"class_names": json.dumps(kept.class_names)}
    if kept.form.columns is not None:
        found["columns"] = json.dumps(kept.form.columns.names)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log lines of the exporter, which speak of its own workings, and afterwards all as it was."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
