"""Every calibrator of probmetrics by its name there, `"probmetrics:sms"`; imported when one is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from typing import Any, NoReturn

from torch import Tensor

from gence._errors import InputError, unknown_name
from gence.calibration._inputs import AnyArray, check_fit
from gence.calibration._remarks import harm_remarks
from gence.calibration.calibrator import Calibrator, check_classes
from gence.calibration.temperature import mean_nll

PREFIX = "probmetrics:"

# The names that get_calibrator of probmetrics 1.3 takes; it has no list of them.
_NAMES = (
    "platt", "platt-logits", "isotonic", "isotonic-naive-ovr", "cir", "ivap", "ivap-ovr", "ivap-ovo",
    "temp-scaling", "ts-mix", "guo-ts", "torchcal-ts", "torchunc-ts", "autogluon-ts", "autogluon-inv-ts",
    "linear-scaling", "affine-scaling", "quadratic-scaling", "beta", "svs", "sms", "logistic", "logistic-mix",
    "dircal", "dircal-cv",
)  # fmt: skip

# What probmetrics itself puts in the place of a probability of 0 where it needs a logarithm.
_TINY = 1e-30


@dataclass(frozen=True)
class ExternalCalibrator(Calibrator):
    """A calibrator that probmetrics fitted: logits -> logits. It holds code, so it cannot be saved or exported.

    Attributes:
        name: Its name, with the prefix.
        classes: Columns of the logits it was fitted on.
        rows: Calibration rows it was fitted on.
        nll_before: Their mean negative log-likelihood without calibration, in nats.
        nll_after: The same after it.
    """

    name: str
    classes: int
    rows: int
    nll_before: float
    nll_after: float
    fitted: InitVar[Any]

    def __post_init__(self, fitted: Any) -> None:
        # Not a field: what JSON cannot hold is no part of the record.
        object.__setattr__(self, "_fitted", fitted)

    @property
    def num_classes(self) -> int:
        """Columns of the logits it was fitted on."""
        return self.classes

    @property
    def summary(self) -> str:
        return f"{self.name.removeprefix(PREFIX)} of probmetrics"

    @property
    def remarks(self) -> tuple[str, ...]:
        return harm_remarks(self.nll_before, self.nll_after)

    def tensors(self) -> dict[str, Tensor]:
        _refuse()

    @staticmethod
    def transform(logits: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        _refuse()

    def _calibrate(self, logits: Tensor) -> Tensor:
        check_classes(logits, self.num_classes)
        return _logits_of(vars(self)["_fitted"], logits)


def names() -> tuple[str, ...]:
    """The names of probmetrics 1.3, with the prefix; `fit_external` takes those that a later version adds as well.

    Some need a package more, and some take two classes only; fitting says so.

    Example:
        >>> "probmetrics:sms" in names()
        True
    """
    return tuple(PREFIX + name for name in _NAMES)


def fit_external(name: str, logits: AnyArray, target: AnyArray) -> ExternalCalibrator:
    """Fit a calibrator of probmetrics at its default settings, on logits where it can use them.

    A probability of 0 counts as 1e-30, as in probmetrics.

    Args:
        name: One of `names()`.
        logits: `(rows, classes)`, torch or numpy, of rows the model was not trained on.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A frozen callable logits -> logits.

    Raises:
        ValueError: As in `fit_temperature`.
        InputError: If there is no calibrator of that name, or it cannot be fitted to these rows.
        ModuleNotFoundError: If probmetrics, or a package that this calibrator needs, is not installed.
    """
    z, y = check_fit(logits, target)
    unfitted = _unfitted(name)
    try:
        fitted = unfitted.fit_torch(_distribution(z), y)
        after = mean_nll(_logits_of(fitted, z), y).item()
    # Whatever another package stumbles over, the user reads which calibrator, on what, and why.
    except Exception as error:
        raise InputError(f"{name} cannot be fitted to {len(z)} rows of {z.shape[1]} classes: {error}") from error
    return ExternalCalibrator(name, z.shape[1], len(z), mean_nll(z, y).item(), after, fitted)


def _unfitted(name: str) -> Any:
    try:
        from probmetrics.calibrators import get_calibrator
    except ImportError as error:
        message = f"{name} needs probmetrics ({error}); pip install 'gence[probmetrics]'"
        raise ModuleNotFoundError(message, name=error.name) from error
    try:
        return get_calibrator(name.removeprefix(PREFIX))
    except ImportError as error:
        message = f"{name} needs a package that probmetrics does not bring along, install it: {error}"
        raise ModuleNotFoundError(message, name=getattr(error.__cause__, "name", None)) from error
    except ValueError as error:
        raise unknown_name("calibrator", name, names()) from error


def _distribution(logits: Tensor) -> Any:
    from probmetrics.distributions import CategoricalLogits

    return CategoricalLogits(logits)


def _logits_of(fitted: Any, logits: Tensor) -> Tensor:
    given = fitted.predict_proba_torch(_distribution(logits))
    if type(given) is type(_distribution(logits)):
        return given.get_logits().to(logits)
    return given.get_probs().to(logits).clamp(min=_TINY).log()


def _refuse() -> NoReturn:
    raise TypeError(
        "a calibrator of probmetrics holds code, not numbers: it cannot be saved or exported; fit one of gence's own, "
        "see gence.calibration.catalogue.names()"
    )
