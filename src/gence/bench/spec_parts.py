"""The tables of a spec: the training recipe, the tuning, and the suites of shifted and of foreign rows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gence.training.augment import LARGEST_ALPHA


def listed(value: Any) -> Any:
    """TOML and JSON give lists; a frozen spec holds tuples."""
    return tuple(value) if isinstance(value, list) else value


def listed_or_one(value: Any) -> Any:
    """One value may stand without its list."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Names = Annotated[tuple[str, ...], BeforeValidator(listed_or_one), Field(min_length=1)]
_Sizes = Annotated[tuple[Annotated[int, Field(ge=2)], ...], BeforeValidator(listed_or_one), Field(min_length=1)]


class Strict(BaseModel):
    """Frozen; an unknown key, a number that is not finite, or a value of another kind is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TrainingSpec(Strict):
    """The recipe, the same for every loss.

    A loss that looks at validation rows has them taken out of its training rows; its batches are therefore its own, and
    without `epochs` it may have more epochs than the others, for about as many updates.

    Attributes:
        epochs: Without it: about 300 updates at each batch size, and 20 epochs at least.
        batch_size: Rows a batch; with several sizes the study is run at each of them.
        learning_rate: At the start.
        weight_decay: L2 penalty.
        momentum: Of stochastic gradient descent.
        nesterov: Whether it is Nesterov's momentum.
        augment: Names of augmentations for images, `"auto"` for the usual ones of a data set known by name.
        mixup: Its alpha, at most 1e6; 0 is no mixup.
        schedule: Of the learning rate: a cosine down to 0, steps at `milestones`, or none.
        milestones: Shares of all epochs after which the learning rate is multiplied by `decay`, with `"steps"`.
        decay: That factor.
        warmup: Epochs over which the learning rate rises from 0.
        clip_norm: Gradients are scaled down to this norm; 0 leaves them alone.
        precision: What the model computes in; the loss always gets float32.
        channels_last: Memory layout of images, faster on a GPU.
        compile: Compile the model with `torch.compile`.
    """

    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: _Sizes = (32,)
    learning_rate: Annotated[float, Field(gt=0)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    augment: Annotated[tuple[str, ...], BeforeValidator(listed)] | Literal["auto"] = "auto"
    mixup: Annotated[float, Field(ge=0, le=LARGEST_ALPHA)] = 0.0
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    milestones: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(listed)] = ()
    decay: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False

    @model_validator(mode="after")
    def _steps_need_milestones(self) -> TrainingSpec:
        if (self.schedule == "steps") != bool(self.milestones):
            given = f"got schedule {self.schedule!r} and milestones {list(self.milestones)}"
            raise ValueError(f'schedule "steps" and milestones belong together, as in [0.5, 0.75]; {given}')
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise; got {list(self.milestones)}")
        return self


Interval = Annotated[tuple[float, float], BeforeValidator(listed)]
"""Low and high, both included."""


def _rising(name: str, interval: tuple[float, float], least: float, open_below: bool) -> None:
    low, high = interval
    if low >= high or low < least or (open_below and low == least):
        above = f"above {least:g}" if open_below else f"at least {least:g}"
        raise ValueError(f"{name}: [low, high] is expected, {above} and rising; got [{low:g}, {high:g}]")


class TuneSpec(Strict):
    """The tuning: every loss gets as many trials as every other, over the same ranges, at every setting.

    Each trial trains on the training rows less a validation split of them, and is judged on that split, uncalibrated.
    What is `"fixed"` stays as the recipe has it. The ranges of learning rate, weight decay and epochs are searched on a
    logarithmic scale.

    Attributes:
        trials: How many a loss and setting.
        metric: What the best trial is best in, on the validation rows.
        validation_fraction: Share of the training rows that is validated on.
        each_seed: Tune for every seed, on that seed's labels alone. Otherwise the first seed's labels decide for all
            seeds, and where the source has no test split one is held out for all of them.
        sampler: Optuna's tree of Parzen estimators, or random search.
        learning_rate: [low, high], or `"fixed"`.
        weight_decay: [low, high], or `"fixed"`.
        epochs: [low, high], whole numbers, or `"fixed"`.
        knobs: The knobs of each loss: `"default"` for the ranges that `gence.bench.knob_ranges` has for them, `"none"`
            for no knobs, or a table of [low, high] by loss and knob. A knob that `losses` gives a value keeps it.
    """

    trials: Annotated[int, Field(ge=1)]
    metric: Literal["nll", "balanced_nll", "accuracy"] = "nll"
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25
    each_seed: bool = False
    sampler: Literal["tpe", "random"] = "tpe"
    learning_rate: Interval | Literal["fixed"] = (0.005, 0.5)
    weight_decay: Interval | Literal["fixed"] = (1e-5, 1e-2)
    epochs: Annotated[tuple[int, int], BeforeValidator(listed)] | Literal["fixed"] = "fixed"
    knobs: dict[str, dict[str, Interval]] | Literal["default", "none"] = "default"

    @model_validator(mode="after")
    def _ranges_rise(self) -> TuneSpec:
        for name, interval in self.recipe_ranges().items():
            _rising(name, interval, *((1, False) if name == "epochs" else (0.0, True)))
        if not self.recipe_ranges() and self.knobs in ("none", {}):
            raise ValueError("everything is fixed, so there is nothing to tune; give a range, or leave [tune] out")
        return self

    def recipe_ranges(self) -> dict[str, tuple[float, float]]:
        """[low, high] of the parts of the recipe that are tuned."""
        given = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay, "epochs": self.epochs}
        return {name: interval for name, interval in given.items() if interval != "fixed"}


class SuitesSpec(Strict):
    """What the trained and calibrated models are tested on besides the test rows.

    Attributes:
        ood: Names of data sets of other images, told apart from the test rows by every score; `"auto"` is the usual
            ones of a data set known by name.
        shift: Names of shifts of the test rows, or `"all"` that fit the data.
        severities: At which they are applied, 1 to 5.
        rows: At most so many test rows, and rows of each out-of-distribution set, drawn by the seed; without it, all.
    """

    ood: Annotated[tuple[str, ...], BeforeValidator(listed)] | Literal["auto"] = ()
    shift: Annotated[tuple[str, ...], BeforeValidator(listed)] | Literal["all"] = ()
    severities: Annotated[
        tuple[Annotated[int, Field(ge=1, le=5)], ...], BeforeValidator(listed_or_one), Field(min_length=1)
    ] = (1, 2, 3, 4, 5)
    rows: Annotated[int, Field(ge=10)] | None = None
