"""What a study is: a small TOML file in which a typo stops the run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator

from gence._errors import InputError, nearest, unknown_name
from gence.bench.knob_ranges import knob_ranges
from gence.bench.records import Budget
from gence.bench.spec_parts import Names, Strict, SuitesSpec, TrainingSpec, TuneSpec, listed_or_one
from gence.calibration import catalogue as calibrators
from gence.data import image_sets, shift_names
from gence.data.regimes import parse_regime
from gence.losses import catalogue as losses
from gence.losses.written import parse_loss
from gence.models import catalogue as models
from gence.training import AUGMENTATIONS

SPEC_VERSION = 1


class Spec(Strict):
    """A study: a grid of data sets, regimes, models, budgets of labels, batch sizes, losses and seeds; one recipe.

    One name may stand without a list wherever names are listed.

    Attributes:
        version: Of this format.
        data: Named data sets, paths, or `hf:org/name[:config]`.
        data_root: The folder that named data sets lie in; without it they come from the Hugging Face hub.
        target: The label column of a table.
        image_size: Resize images to this height and width; without it, images of one small size are left alone.
        regime: How the labels are thinned or spoilt, `"none"` or such as `"long-tail:100"`; see `gence list regimes`.
        losses: Names from the catalogue of losses, with knobs if need be, as in `"focal:gamma=1"`; `["all"]` is every
            one of them, `["all", "-cals"]` all but that.
        labels_per_class: Labels a class, those for calibration included; numbers or `"all"`. Without it: 10 and 50,
            where `"all"` takes the place of what the data cannot afford. A long tail has `"all"` only.
        seeds: How many; seed s decides the test split (where the source has none), the labelled rows, the weights and
            the batches, and is the same for every loss.
        model: Names from the catalogue of models, or `"auto"`.
        calibrators: Names from the catalogue of calibrators.
        test_fraction: Share of the rows held out for testing where the source has no test split of its own.
        calibration_fraction: Share of the labelled rows that is kept from training, for the calibrators.
        training: The recipe, with the batch sizes.
        tune: How each loss's own recipe is looked for; without it every loss has the one of `training`.
        suites: What else the models are tested on.
    """

    version: Literal[1] = SPEC_VERSION
    data: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(listed_or_one), Field(min_length=1)
    ]
    data_root: Annotated[str, Field(min_length=1)] | None = None
    target: str | None = None
    image_size: Annotated[int, Field(ge=4)] | None = None
    regime: Names = ("none",)
    losses: Names = ("ce", "label_smoothing", "focal", "gence")
    labels_per_class: Annotated[tuple[Budget, ...], BeforeValidator(listed_or_one), Field(min_length=1)] | None = None
    seeds: Annotated[int, Field(ge=1)] = 5
    model: Names = ("auto",)
    calibrators: Names = ("none", "temperature", "ats")
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    calibration_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    training: TrainingSpec = TrainingSpec()
    tune: TuneSpec | None = None
    suites: SuitesSpec = SuitesSpec()

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

    @field_validator("losses")
    @classmethod
    def _spelt_one_way(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(parse_loss(text)) for text in value)

    @field_validator("regime")
    @classmethod
    def _regimes_spelt_one_way(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # A study whose parts are given in another order is the same study.
        return tuple(str(parse_regime(text)) for text in value)

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
        raise InputError(f"{where}: {_in_one_line(error, content)}") from error
    suites = spec.suites
    augment = () if spec.training.augment == "auto" else spec.training.augment
    foreign = () if suites.ood == "auto" else suites.ood
    shifts = () if suites.shift == "all" else suites.shift
    tuned = spec.tune.knobs if spec.tune is not None and isinstance(spec.tune.knobs, dict) else {}
    for kind, given, known in (
        ("calibrator", spec.calibrators, calibrators.names()),
        ("model", spec.model, ("auto", *models.names())),
        ("augmentation", augment, tuple(AUGMENTATIONS)),
        ("out-of-distribution set", foreign, image_sets()),
        ("shift", shifts, shift_names()),
        ("loss of [tune.knobs]", tuned, losses.names()),
    ):
        for name in given:
            if name not in known:
                raise InputError(f"{where}: {unknown_name(kind, name, known)}")
    for name in tuned:
        try:
            knob_ranges(parse_loss(name), tuned)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    by_knobs: dict[str, str] = {}
    for text in spec.losses:
        loss = parse_loss(text)
        tuned = {} if spec.tune is None else knob_ranges(loss, spec.tune.knobs)
        same = by_knobs.setdefault(f"{loss.name}{loss.knobs()}{tuned}", text)
        if same != text:
            raise InputError(f"{where}: losses {same!r} and {text!r} are one and the same loss; name it once")
    for key, values in (
        ("data", spec.data),
        ("regime", spec.regime),
        ("model", spec.model),
        ("losses", spec.losses),
        ("calibrators", spec.calibrators),
        ("labels_per_class", spec.labels_per_class or ()),
        ("training.batch_size", spec.training.batch_size),
        ("training.augment", augment),
        ("suites.ood", foreign),
        ("suites.shift", shifts),
        ("suites.severities", suites.severities),
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


_TABLES: dict[str, type[BaseModel]] = {"training": TrainingSpec, "tune": TuneSpec, "suites": SuitesSpec}


def _in_one_line(error: ValidationError, content: Mapping[str, Any]) -> str:
    # A mistyped key leaves another one missing; the typo is the thing to say.
    found = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    first = found[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    place: list[int | str] = list(first["loc"])
    if first["type"] == "extra_forbidden":
        table = _TABLES.get(str(place[0]), Spec) if len(place) > 1 else Spec
        guess = nearest(str(place[-1]), table.model_fields)
        hint = f"did you mean {guess!r}? " if guess else ""
        return f"unknown key {'.'.join(map(str, place))!r}; {hint}known: {', '.join(table.model_fields)}"
    if first["type"] == "missing" and isinstance(place[-1], int):
        return f"{_key(place, content)}: [low, high] is expected; got {list(first['input'])!r}"
    if first["type"] == "missing":
        return f"the key {'.'.join(map(str, place))!r} is missing"
    key, got = _key(place, content), first["input"]
    if first["type"] == "too_short":
        return f"{key} is empty; name at least one, or leave the key out"
    # Of a union every member says what it would have taken.
    others = [one.get("ctx", {}) for one in found[1:] if _key(one["loc"], content) == key]
    words = [member["expected"] for member in others if "expected" in member]
    if first["type"] in _KINDS:
        kind = "[low, high]" if first["type"] == "tuple_type" and place[0] == "tune" else _KINDS[first["type"]]
        several = ", " if any(" or " in word for word in words) else " or "
        return f"{key}: {several.join([kind, *words])} is expected; got {got!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}" + ("" if "; got " in message else f"; got {got!r}")


_KINDS = {
    "tuple_type": "a list",
    "model_type": "a table",
    "dict_type": "a table",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
}


def _key(place: Sequence[str | int], content: Mapping[str, Any]) -> str:
    """Where a value stands, as `training.epochs` or `losses.1`: without a number where one value stands for a list."""
    key: list[str] = []
    inner: Any = content
    for part in place:
        known: Any = dict(enumerate(inner)) if isinstance(inner, list | tuple) else inner
        if isinstance(known, Mapping) and part in known:  # pydantic also names the member of a union that it tried
            inner = known[part]
            key.append(str(part))
    return ".".join(key)
