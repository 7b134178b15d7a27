"""What a fitted calibrator is: a frozen record of numbers, and a pure function of logits and those numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from gence.calibration._inputs import Array, apply


class Calibrator(ABC):
    """A fitted, frozen dataclass that maps logits to calibrated logits; its softmax is the calibrated probabilities.

    A subclass holds its numbers as fields (floats, and tuples of them), so that saving it is saving its fields. It says
    what it computes with (`tensors`) and how (`transform`), so that a module can hold the same numbers as buffers.
    """

    @property
    @abstractmethod
    def summary(self) -> str:
        """What was fitted, in a few words: `"one temperature, 1.53"`."""

    @property
    def fell_back(self) -> bool:
        """Whether the fit came back with something simpler than its name says; `remarks` then says why."""
        return False

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know about this fit; empty when all went as usual."""
        return ()

    @property
    def num_classes(self) -> int | None:
        """How many classes it was fitted on, where it has numbers of its own for each; None if it suits any number."""
        return None

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The fitted numbers that `transform` computes with, float64, by name."""

    @staticmethod
    @abstractmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """Calibrated logits of float64 `logits` `(rows, classes)`; in tensor operations that export to ONNX."""

    def __call__(self, logits: Array) -> Array:
        """Calibrated logits, of the same kind, shape and dtype (at least float32) as `logits` `(rows, classes)`.

        Raises:
            ValueError: If they are no floating-point array of that shape, or of another number of classes than the
                calibrator's own.
        """
        return apply(self._calibrate, logits)

    def _calibrate(self, logits: Tensor) -> Tensor:
        check_classes(logits, self.num_classes)
        return self.transform(logits, {name: value.to(logits.device) for name, value in self.tensors().items()})


def check_classes(logits: Tensor, num_classes: int | None) -> None:
    """ValueError if `logits` `(rows, classes)` are of other classes than a calibrator's `num_classes`."""
    if num_classes not in (None, logits.shape[1]):
        raise ValueError(
            f"this calibrator holds numbers for each of {num_classes} classes, logits has {logits.shape[1]} columns: "
            "fit one on logits of these classes"
        )
