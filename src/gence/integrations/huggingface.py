"""The losses in the `Trainer` of transformers: `compute_loss_func=TrainerLoss("gence")`, exact under accumulation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from gence._epochs import EpochLoss
from gence._errors import InputError
from gence.losses import catalogue
from gence.losses._cautions import silence
from gence.losses.class_mass import ClassMass, class_mass, total_class_mass
from gence.losses.criterion import Criterion
from gence.losses.generative import GenCELoss
from gence.losses.hybrid import gence_focal, gence_margin, gence_prior, gence_smoothing
from gence.losses.marginal import dca, mdca, mmce
from gence.losses.prior import log_prior

_IGNORED = -100
"""The label that `Trainer` does not count."""

_OF_MICRO_BATCHES = (gence_focal, gence_margin, mmce, mdca, dca)
"""Losses with a statistic of the batch that have no exact form for its parts."""


class TrainerLoss:
    """A loss of the catalogue for `Trainer(compute_loss_func=...)`, in sequence, image and token classification.

    In training it gives the sum of the terms of a micro-batch over `num_items_in_batch`, the number of labels of the
    whole accumulated batch, as `Trainer` expects; where that is None, over the number of labels of its own. A loss
    that is a sum over rows is thereby exact under accumulation. **GenCE takes the class mass of each micro-batch**,
    unless the trainer is an `ExactAccumulation`. Several ranks (torchrun) share one class mass, without more ado.

    Without gradient, as in `trainer.evaluate()`, it gives the mean cross-entropy whatever the loss is, so that
    `eval_loss` is a proper score of single rows that can be compared between losses, and no state moves.

    With class weights the sum of the weighted terms is divided by the number of labels, not by their weights.

    Args:
        loss: A name of `gence.losses.catalogue`; or a module with a `reduction` and an `ignore_index`, as those of
            `gence.losses` and `nn.CrossEntropyLoss` are. Its reduction is not used.
        num_classes: C, where a loss by name needs it.
        class_counts: `(C)`, how many training rows each class has, where a loss by name needs it.
        weight: `(C)` class weights of a loss by name.
        shift: Whether a position predicts the label of the next, as in causal language modelling.
        **knobs: Of a loss by name.

    Attributes:
        loss: The module that is called; it moves to the device of the logits.
        total: The class mass of all micro-batches of a step, where `ExactAccumulation` has added it up.

    Raises:
        InputError: If there is no loss or no knob of that name; the loss wants more of a training loop than batches
            (AdaFocal, CALS, CRL, LDAM); or a module is of another kind or comes with settings of a loss by name.
        ValueError: If a knob is out of its range.

    Example:
        >>> compute_loss = TrainerLoss("focal", gamma=0.0)
        >>> logits, labels = torch.zeros(2, 4, requires_grad=True), torch.tensor([0, 3])
        >>> round(compute_loss({"logits": logits}, labels).item(), 4)  # log(4)
        1.3863
        >>> round(compute_loss({"logits": logits}, labels, num_items_in_batch=8).item(), 4)  # 2 of 8
        0.3466
    """

    def __init__(
        self,
        loss: str | nn.Module = "gence",
        *,
        num_classes: int | None = None,
        class_counts: Tensor | Sequence[int] | None = None,
        weight: Tensor | None = None,
        shift: bool = False,
        **knobs: float,
    ) -> None:
        settings = {"num_classes": num_classes, "class_counts": class_counts, "weight": weight, **knobs}
        given = {name: value for name, value in settings.items() if value is not None}
        if isinstance(loss, str):
            _check_can_be_had(loss, getattr(catalogue.CATALOGUE.get(loss), "source", None))
            module = catalogue.build(loss, **given)
        else:
            module = _checked(loss, given)
        self.loss = copy.copy(module)  # shallow: the caller's module keeps its reduction and shares its state
        self.loss.reduction = "sum"  # type: ignore[assignment]
        self.shift = shift
        self.total: ClassMass | None = None

    def __call__(self, outputs: Any, labels: Tensor | None, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """The loss of a micro-batch.

        Args:
            outputs: What the model gave: a mapping with `"logits"`, a tuple that starts with them, or the logits,
                `(N, C)` or `(N, ..., C)`.
            labels: Class numbers `(N)` or `(N, ...)`; -100 does not count.
            num_items_in_batch: How many labels of the accumulated batch count; of several numbers, one a replica of
                `DataParallel`, the sum.

        Raises:
            InputError: If there are no logits or no labels, or the labels are no class numbers of these logits.
        """
        logits, target = self.rows_of(outputs, labels)
        items = (target != _IGNORED).sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch).sum()
        items = items.to(logits.device)
        if not torch.is_grad_enabled():
            return F.cross_entropy(logits, target, ignore_index=_IGNORED, reduction="sum") / items
        self.loss.to(logits.device)
        total = self.total
        if total is None and _several_ranks() and (self.has_class_mass or self._moving is not None):
            total = _over_ranks(self.class_mass(logits, target))
            total = total if self._moving is None else self._moving(total)
        if total is None:
            return self.loss(logits, target) / items
        with silence():  # what the loss would warn of is what the total mends
            return self._share(logits, target, total) / items

    def rows_of(self, outputs: Any, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits `(rows, C)`, at least float32, and labels `(rows)` of what a model gave."""
        logits = _logits(outputs)
        labels = _labels(logits, labels)
        if self.shift:
            logits, labels = logits[..., :-1, :], labels[..., 1:]
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        return logits.flatten(0, -2), labels.flatten().to(logits.device)

    @property
    def has_class_mass(self) -> bool:
        """Whether the loss normalises by a class mass that can be added up over parts of a batch."""
        loss = self.loss
        by_function = isinstance(loss, Criterion) and loss.function in (gence_smoothing, gence_prior)
        return (by_function or (isinstance(loss, GenCELoss) and loss.class_mass is None)) and bool(loss.strength != 0.0)

    def class_mass(self, logits: Tensor, target: Tensor) -> ClassMass:
        """The sums over these rows that the loss needs of the whole."""
        return class_mass(self.normalised(logits), target, *self.mass_settings)

    def normalised(self, logits: Tensor) -> Tensor:
        """The logits `(rows, C)` whose softmax the class mass is the mean of."""
        if isinstance(self.loss, Criterion) and self.loss.function is gence_prior:
            return logits + log_prior(logits, self.loss.class_counts, self.loss.tau)  # type: ignore[arg-type]
        return logits

    @property
    def mass_settings(self) -> tuple[Tensor | None, int, float]:
        """Weight, ignore_index and label_smoothing that a class mass for this loss is made with."""
        smoothing = getattr(self.loss, "label_smoothing", getattr(self.loss, "smoothing", 0.0))
        return self.loss.weight, _IGNORED, smoothing  # type: ignore[return-value]

    @property
    def _moving(self) -> nn.Module | None:
        return self.loss.class_mass if isinstance(self.loss, GenCELoss) else None

    def _share(self, logits: Tensor, target: Tensor, total: ClassMass) -> Tensor:
        if isinstance(self.loss, GenCELoss):
            return self.loss(logits, target, class_mass=total)
        weight, _, smoothing = self.mass_settings
        as_gence = GenCELoss(weight, label_smoothing=smoothing, reduction="sum", strength=self.loss.strength)  # type: ignore[arg-type]
        return as_gence(self.normalised(logits), target, class_mass=total)


class ExactAccumulation:
    """Mixin for a `Trainer`: GenCE under gradient accumulation is that of the whole accumulated batch.

    `class MyTrainer(ExactAccumulation, Trainer)`. Before the micro-batches of a step are trained on, they all pass
    through the model once without gradient, and the class mass of all of them, on all ranks, is given to the
    `TrainerLoss`. So 4 times 4 rows make the step that 16 rows make, up to rounding. Dropout draws the same masks in
    both passes, as the random generators are put back; running statistics are put back as well.

    **It costs one more forward pass** over every micro-batch. With one micro-batch a step, or a loss that has no class
    mass to add up, it costs nothing.

    Raises:
        InputError: If `compute_loss_func` is no `TrainerLoss`, or its loss has a statistic of the batch that has no
            exact form for parts (`gence_focal`, `gence_margin`, `mmce`, `mdca`, `dca`).
    """

    compute_loss_func: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        loss = self.compute_loss_func
        if not isinstance(loss, TrainerLoss):
            raise InputError(
                f"ExactAccumulation needs a compute_loss_func that is a TrainerLoss; got {type(loss).__name__}: use "
                'compute_loss_func=TrainerLoss("gence")'
            )
        if isinstance(loss.loss, Criterion) and loss.loss.function in _OF_MICRO_BATCHES:
            raise InputError(
                f"ExactAccumulation cannot make {loss.loss.function.__name__} exact, its statistic of the batch has no "
                "form for parts; use Trainer itself, and know that each micro-batch has its own"
            )

    _step: list[Mapping[str, Any]] | None = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().train(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.compute_loss_func.total = self._step = None

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        batches, items = super().get_batch_samples(*args, **kwargs)  # type: ignore[misc]
        loss: TrainerLoss = self.compute_loss_func
        loss.total = None  # that of the last step must not be taken for this one's
        self._step = batches if len(batches) > 1 and loss.has_class_mass else None
        return batches, items

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        # Not with the batches: a run that resumes sets its random generators between them and their first step.
        if self._step is not None:
            self.compute_loss_func.total, self._step = self._class_mass_of_step(self._step), None
        return super().training_step(*args, **kwargs)  # type: ignore[misc]

    def _class_mass_of_step(self, batches: list[Mapping[str, Any]]) -> ClassMass:
        trainer: Any = self
        loss: TrainerLoss = self.compute_loss_func
        model: nn.Module = trainer.model_wrapped
        model.train()  # `evaluate` may have left it in the other mode; the step is about to do the same
        parts: list[tuple[Any, Tensor]] = []
        for batch in batches:
            inputs = dict(trainer._prepare_inputs(batch))
            labels = inputs.pop("labels", None)
            if labels is None:
                raise InputError('ExactAccumulation needs batches with "labels"; got none: let the collator give them')
            target = labels[..., 1:] if loss.shift else labels
            parts.append(((inputs, labels), target.flatten()))
        with trainer.compute_loss_context_manager():
            total = total_class_mass(_Normalised(model, loss), parts, *loss.mass_settings)
        return _over_ranks(total) if _several_ranks() else total


class _Normalised(nn.Module):
    """A model as a map from (its inputs, labels) to the logits of the class mass."""

    def __init__(self, model: nn.Module, loss: TrainerLoss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: tuple[Mapping[str, Any], Tensor]) -> Tensor:
        inputs, labels = batch
        logits, _ = self.loss.rows_of(self.model(**inputs), labels)
        self.loss.loss.to(logits.device)
        return self.loss.normalised(logits)


def _several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _over_ranks(mass: ClassMass) -> ClassMass:
    assert dist.group.WORLD is not None
    return mass.all_reduce(dist.group.WORLD)


def _check_can_be_had(name: str, kind: object) -> None:
    if hasattr(kind, "end_epoch"):
        raise InputError(
            f"loss {name} wants to be told of epochs, rows or validation rows, which Trainer does not do; use a loss "
            "that needs batches only, or a training loop of your own"
        )


def _checked(loss: object, given: Mapping[str, object]) -> nn.Module:
    if not isinstance(loss, nn.Module) or not hasattr(loss, "reduction") or not hasattr(loss, "ignore_index"):
        raise InputError(
            "loss must be a name of gence.losses.catalogue, or a module with a reduction and an ignore_index; got "
            f'{type(loss).__name__}: use TrainerLoss("gence") or TrainerLoss(gence.GenCELoss())'
        )
    if isinstance(loss, EpochLoss):
        _check_can_be_had(type(loss).__name__, loss)
    if given:
        raise InputError(
            f"{', '.join(given)} cannot be set on a loss that is a module already; give it to {type(loss).__name__}"
        )
    if loss.ignore_index != _IGNORED:
        raise InputError(
            f"the loss must ignore label {_IGNORED}, which is what Trainer does not count; got ignore_index="
            f"{loss.ignore_index}: leave it out, and give such rows the label {_IGNORED}"
        )
    if getattr(loss, "process_group", None) is not None:
        raise InputError("the loss must have no process_group, as TrainerLoss looks after the ranks: leave it out")
    return loss


def _logits(outputs: Any) -> Tensor:
    found = outputs.get("logits") if isinstance(outputs, Mapping) else outputs
    found = found[0] if isinstance(found, tuple | list) and len(found) else found
    if isinstance(found, Tensor) and found.is_floating_point() and found.dim() >= 2:
        return found
    got = f"keys {', '.join(map(str, outputs))}" if isinstance(outputs, Mapping) else type(outputs).__name__
    raise InputError(
        f'outputs must have floating-point "logits" with the classes on the last axis; got {got}: use a model with a '
        "classification head"
    )


def _labels(logits: Tensor, labels: Tensor | None) -> Tensor:
    if labels is None:
        raise InputError('labels are needed; got None: the data set must have a column "labels"')
    if labels.is_floating_point():
        raise InputError(
            f"labels must be class numbers, integers; got {labels.dtype} of shape {tuple(labels.shape)}: heads for "
            "regression and multi-label classification have no loss here"
        )
    if logits.shape[-1] < 2:
        raise InputError(
            f"logits must be of 2 classes or more; got shape {tuple(logits.shape)}: give the model num_labels=2, or "
            "use Trainer's own loss for regression"
        )
    if labels.shape != logits.shape[:-1]:
        raise InputError(
            f"labels must have the shape of the logits without their last axis, {tuple(logits.shape[:-1])}; got "
            f"{tuple(labels.shape)}: the classes must be on the last axis"
        )
    return labels
