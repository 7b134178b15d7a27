"""What a study is: a small TOML file in which a typo stops the run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from gence._errors import InputError, nearest, unknown_name
from gence.bench.records import Budget
from gence.calibration import catalogue as calibrators
from gence.data.regimes import parse_regime
from gence.losses import catalogue as losses
from gence.models import catalogue as models
from gence.training import AUGMENTATIONS
from gence.training.augment import LARGEST_ALPHA

SPEC_VERSION = 1


def _listed(value: Any) -> Any:
    """TOML and JSON give lists; a frozen spec holds tuples."""
    return tuple(value) if isinstance(value, list) else value


def _listed_or_one(value: Any) -> Any:
    return _listed(value) if isinstance(value, list | tuple) else (value,)


def _listed_or_name(value: Any) -> Any:
    return (value,) if isinstance(value, str) else _listed(value)


_Names = Annotated[tuple[str, ...], BeforeValidator(_listed_or_name), Field(min_length=1)]
_Sizes = Annotated[tuple[Annotated[int, Field(ge=2)], ...], BeforeValidator(_listed_or_one), Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TrainingSpec(_Strict):
    """The recipe, the same for every loss.

    A loss that looks at validation rows has them taken out of its training rows; its batches are therefore its own, and
    without `epochs` it may have more epochs than the others, for about as many updates.

    Attributes:
        epochs: Without it: about 300 updates at each batch size, and 20 epochs at least.
        batch_size: Rows a batch; with several sizes the study is run at each of them.
        learning_rate: At the start.
        weight_decay: L2 penalty.
        momentum: Nesterov momentum.
        augment: Names of augmentations for images, `"auto"` for the usual ones of a data set known by name.
        mixup: Its alpha, at most 1e6; 0 is no mixup.
    """

    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: _Sizes = (32,)
    learning_rate: Annotated[float, Field(gt=0)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    augment: Annotated[tuple[str, ...], BeforeValidator(_listed)] | Literal["auto"] = "auto"
    mixup: Annotated[float, Field(ge=0, le=LARGEST_ALPHA)] = 0.0


class Spec(_Strict):
    """A study: a grid of losses, budgets of labels, batch sizes and seeds over one data set, model and recipe.

    Attributes:
        version: Of this format.
        data: A named data set, a path, or `hf:org/name[:config]`.
        data_root: The folder that named data sets lie in; without it they come from the Hugging Face hub.
        target: The label column of a table.
        image_size: Resize images to this height and width; without it, images of one small size are left alone.
        regime: How the labels are thinned or spoilt, `"none"` or such as `"long-tail:100"`; see `gence list regimes`.
        losses: Names from the catalogue of losses; `["all"]` is every one of them, `["all", "-cals"]` all but that.
            One name may stand without a list, as in calibrators.
        labels_per_class: Labels a class, those for calibration included; numbers or `"all"`. Without it: 10 and 50,
            where `"all"` takes the place of what the data cannot afford.
        seeds: How many; seed s decides the test split (where the source has none), the labelled rows, the weights and
            the batches, and is the same for every loss.
        model: A name from the catalogue of models, or `"auto"`.
        calibrators: Names from the catalogue of calibrators.
        test_fraction: Share of the rows held out for testing where the source has no test split of its own.
        calibration_fraction: Share of the labelled rows that is kept from training, for the calibrators.
        training: The recipe, with the batch sizes.
    """

    version: Literal[1] = SPEC_VERSION
    data: Annotated[str, Field(min_length=1)]
    data_root: Annotated[str, Field(min_length=1)] | None = None
    target: str | None = None
    image_size: Annotated[int, Field(ge=4)] | None = None
    regime: str = "none"
    losses: _Names = ("ce", "label_smoothing", "focal", "gence")
    labels_per_class: Annotated[tuple[Budget, ...], BeforeValidator(_listed), Field(min_length=1)] | None = None
    seeds: Annotated[int, Field(ge=1)] = 5
    model: str = "auto"
    calibrators: _Names = ("none", "temperature", "ats")
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    calibration_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    training: TrainingSpec = TrainingSpec()

    @field_validator("labels_per_class")
    @classmethod
    def _enough_for_two_parts(cls, value: tuple[Budget, ...] | None) -> tuple[Budget, ...] | None:
        small = [budget for budget in value or () if budget != "all" and budget < 2]
        if small:
            raise ValueError(f"at least 2 labels per class are needed, one of them to calibrate on; got {small[0]}")
        return value

    @field_validator("losses")
    @classmethod
    def _every_loss(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        all_but = [name.removeprefix("-") for name in value[1:]]
        if value != ("all", *(f"-{name}" for name in all_but)):
            if "all" in value or any(name.startswith("-") for name in value):
                raise InputError(
                    "losses: all comes first and only names with a minus, which are left out, may follow it, as in "
                    f"all,-cals; got {','.join(value)}"
                )
            return value
        for name in all_but:
            if name not in losses.names():
                raise unknown_name("loss", name, losses.names())
        kept = tuple(name for name in losses.names() if name not in all_but)
        if not kept:
            raise InputError("losses leaves every loss out; keep at least one")
        return kept

    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def parse_spec(content: Mapping[str, Any], where: str) -> Spec:
    """A checked spec; `where` names its origin in messages.

    Raises:
        InputError: In one line, for an unknown key or name (with the nearest valid one) or a value out of range.
    """
    try:
        spec = Spec.model_validate(dict(content))
    except ValidationError as error:
        raise InputError(f"{where}: {_in_one_line(error)}") from error
    augment = () if spec.training.augment == "auto" else spec.training.augment
    for kind, given, known in (
        ("loss", spec.losses, losses.names()),
        ("calibrator", spec.calibrators, calibrators.names()),
        ("model", (spec.model,), ("auto", *models.names())),
        ("augmentation", augment, tuple(AUGMENTATIONS)),
    ):
        for name in given:
            if name not in known:
                guess = nearest(name, known)
                hint = f"did you mean {guess!r}? " if guess else ""
                raise InputError(f"{where}: unknown {kind} {name!r}; {hint}known: {', '.join(known)}")
    try:
        # Spelt one way, so that a study whose parts are given in another order is the same study.
        spec = spec.model_copy(update={"regime": str(parse_regime(spec.regime))})
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    for key, values in (
        ("losses", spec.losses),
        ("calibrators", spec.calibrators),
        ("labels_per_class", spec.labels_per_class or ()),
        ("training.batch_size", spec.training.batch_size),
        ("training.augment", augment),
    ):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise InputError(f"{where}: {key} names {twice[0]!r} twice; name everything once")
    return spec


def read_spec(path: Path) -> Spec:
    """The spec in a TOML file.

    Raises:
        InputError: If there is no such file, it is not TOML, or not a valid spec.
    """
    try:
        return parse_spec(tomllib.loads(path.read_text()), str(path))
    except FileNotFoundError as error:
        beside = [str(p) for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        guess = nearest(str(path), beside)
        raise InputError(f"{path}: no such spec" + (f"; did you mean {guess!r}?" if guess else "")) from error
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: a spec is expected, a TOML file; this is something else") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from error


def _in_one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    place = [str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-"))]
    # Of a union pydantic also names the member it tried; the key is enough.
    key = ".".join(part for part in place if part not in ("int", "literal['all']"))
    if first["type"] == "extra_forbidden":
        fields = TrainingSpec.model_fields if place[0] == "training" and len(place) > 1 else Spec.model_fields
        guess = nearest(place[-1], fields)
        hint = f"did you mean {guess!r}? " if guess else ""
        return f"unknown key {key!r}; {hint}known: {', '.join(fields)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"the key {key!r} is missing"
    if first["type"] == "tuple_type":
        return f"{key}: a list is expected; got {first['input']!r}"
    if first["type"] == "too_short":
        return f"{key} is empty; name at least one, or leave the key out"
    return f"{key}: {message[0].lower()}{message[1:]}; got {first['input']!r}"
