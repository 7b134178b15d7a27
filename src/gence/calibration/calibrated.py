"""A model and its calibrator as one module, so that the two are saved, moved and exported together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from gence.calibration._inputs import apply
from gence.calibration.calibrator import Calibrator, check_classes


class Calibrated(nn.Module):
    """A model whose output is calibrated probabilities.

    The calibrators' numbers are buffers: they are in the `state_dict`, move with the module, and go with it into
    `torch.export` and ONNX, where the number of rows may stay free: for a model of one argument with
    `dynamic_shapes=(({0: torch.export.Dim.DYNAMIC},),)`. They are float64, and stay it when the module is cast, by
    `half()` for instance; so is the arithmetic, and the device must have float64.

    Args:
        model: Gives logits, `(rows, classes)`. Its mode, `train` or `eval`, is left as it is.
        calibrator: What a `fit_*` function returned for logits of this model.
        more: Further ones, in the order they are applied in: a `PriorShift` after a temperature, say.

    Raises:
        TypeError: If the model is no module, a calibrator is none of gence's, or it holds code and not numbers, as
            those of probmetrics do.

    Example:
        >>> import torch
        >>> from gence.calibration import fit_prior_shift
        >>> model = nn.Linear(3, 2)
        >>> calibrated = Calibrated(model, fit_prior_shift([0.5, 0.5], [0.9, 0.1]))
        >>> rows = torch.randn(4, 3)
        >>> torch.allclose(calibrated(rows), (model(rows) + torch.tensor([0.9, 0.1]).log()).softmax(1))
        True
        >>> sorted(calibrated.state_dict())
        ['calibrators.0.log_ratio', 'model.bias', 'model.weight']
    """

    def __init__(self, model: nn.Module, calibrator: Calibrator, *more: Calibrator) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
        self.model = model
        self.calibrators = nn.ModuleList(_Numbers(one) for one in (calibrator, *more))
        self.training = model.training

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Calibrated probabilities of what `model(*args, **kwargs)` gives, in its dtype but at least float32."""
        return apply(lambda logits: self._calibrate(logits).softmax(1), self._model_logits(*args, **kwargs))

    def logits(self, *args: Any, **kwargs: Any) -> Tensor:
        """Calibrated logits of what `model(*args, **kwargs)` gives, in its dtype but at least float32."""
        return apply(self._calibrate, self._model_logits(*args, **kwargs))

    def _model_logits(self, *args: Any, **kwargs: Any) -> Tensor:
        logits = self.model(*args, **kwargs)
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"the model must return its logits as a tensor; got {type(logits).__name__}: wrap it in a module that "
                "returns them alone"
            )
        return logits

    def _calibrate(self, logits: Tensor) -> Tensor:
        for calibrator in self.calibrators:
            logits = calibrator(logits)
        return logits


class _Numbers(nn.Module):
    """A calibrator with its tensors as buffers, which keep their dtype whatever the module is cast to."""

    def __init__(self, calibrator: Calibrator) -> None:
        super().__init__()
        if not isinstance(calibrator, Calibrator):
            raise TypeError(f"a fitted calibrator of gence is expected; got {type(calibrator).__name__}")
        self._kind = type(calibrator)
        self._num_classes = calibrator.num_classes
        for name, value in calibrator.tensors().items():
            self.register_buffer(name, value)

    def forward(self, logits: Tensor) -> Tensor:
        check_classes(logits, self._num_classes)
        return self._kind.transform(logits, dict(self.named_buffers()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Numbers:
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        for name, value in before.items():
            after = self.get_buffer(name)
            if after.dtype != value.dtype:
                setattr(self, name, value.to(after.device))
        return self

    def extra_repr(self) -> str:
        return self._kind.__name__
