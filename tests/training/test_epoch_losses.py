"""What a training loop owes a loss that moves once an epoch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gence._epochs import EpochLoss
from gence.training import Recipe, predict, train


class Recorder(nn.Module):
    """Cross-entropy that writes down what it is told."""

    def __init__(self, model: nn.Module, *, uses_validation: bool) -> None:
        super().__init__()
        self.uses_validation = uses_validation
        # In a list, so that the model is no part of the loss.
        self.model = [model]
        self.rows: list[Tensor | None] = []
        self.targets: list[Tensor] = []
        self.modes: list[tuple[bool, bool]] = []
        self.ends: list[tuple[int, int]] = []
        self.seen: list[tuple[Tensor, Tensor] | None] = []
        self.expected: list[Tensor] = []
        self.events: list[str] = []
        self.validation_inputs: Tensor | None = None

    def forward(self, input: Tensor, target: Tensor, *, rows: Tensor | None = None) -> Tensor:
        self.events.append("step")
        self.rows.append(rows)
        self.targets.append(target)
        self.modes.append((self.training, all(part.training for part in self.model[0].modules())))
        return F.cross_entropy(input, target)

    def end_epoch(self, epoch: int, epochs: int, validation: tuple[Tensor, Tensor] | None = None) -> None:
        self.events.append("end")
        self.ends.append((epoch, epochs))
        self.seen.append(validation)
        if self.validation_inputs is not None:
            self.expected.append(predict(self.model[0], self.validation_inputs))


def problem() -> tuple[nn.Module, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(3, (20,), generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    return model, torch.randn(20, 3, generator=generator), target


def rows_of(recorder: Recorder) -> list[list[int]]:
    named = [rows.tolist() for rows in recorder.rows if rows is not None]
    assert len(named) == len(recorder.rows)
    return named


def test_the_recorder_obeys_the_protocol_and_a_loss_without_epochs_does_not() -> None:
    assert isinstance(Recorder(nn.Identity(), uses_validation=True), EpochLoss)
    assert not isinstance(F.cross_entropy, EpochLoss)
    assert not isinstance(nn.CrossEntropyLoss(), EpochLoss)


def test_every_call_names_its_rows_and_every_epoch_its_end() -> None:
    model, inputs, target = problem()
    recorder = Recorder(model, uses_validation=False).eval()
    train(model, inputs, target, recorder, Recipe(3, 10), seed=0)
    assert recorder.events == ["step", "step", "end"] * 3
    assert recorder.ends == [(1, 3), (2, 3), (3, 3)]
    assert recorder.seen == [None] * 3
    for rows, labels in zip(rows_of(recorder), recorder.targets, strict=True):
        assert labels.tolist() == target[rows].tolist()
    for epoch in range(3):
        first, second = rows_of(recorder)[2 * epoch : 2 * epoch + 2]
        assert sorted(first + second) == list(range(20))


def test_the_validation_logits_are_those_of_prediction_and_the_model_trains_on() -> None:
    model, inputs, target = problem()
    recorder = Recorder(model, uses_validation=True)
    recorder.validation_inputs = inputs[:7] + 1
    labels = target[:7]
    train(model, inputs, target, recorder, Recipe(3, 10), seed=0, validation=(inputs[:7] + 1, labels))
    assert recorder.modes == [(True, True)] * 6
    for seen, expected in zip(recorder.seen, recorder.expected, strict=True):
        assert seen is not None
        assert torch.equal(seen[0], expected)
        assert torch.equal(seen[1], labels)
        assert not seen[0].requires_grad
    assert not torch.equal(recorder.expected[0], recorder.expected[1])
    assert not model.training


def test_looking_at_validation_rows_changes_nothing_of_the_training() -> None:
    weights = []
    for uses_validation in (False, True):
        model, inputs, target = problem()
        model[2] = nn.Identity()
        loss = Recorder(model, uses_validation=uses_validation)
        train(model, inputs, target, loss, Recipe(2, 10), seed=0, validation=(inputs[:5] * 3, target[:5]))
        assert (loss.seen[0] is not None) == uses_validation
        weights.append(torch.cat([value.flatten().double() for value in model.state_dict().values()]))
    assert torch.equal(weights[0], weights[1])


def test_with_mixup_both_calls_name_the_rows_their_labels_come_from() -> None:
    model, inputs, target = problem()
    recorder = Recorder(model, uses_validation=False)
    train(model, inputs, target, recorder, Recipe(1, 10, mixup=1.0), seed=0)
    assert recorder.events == ["step"] * 4 + ["end"]
    named = rows_of(recorder)
    for rows, labels in zip(named, recorder.targets, strict=True):
        assert labels.tolist() == target[rows].tolist()
    assert named[0] != named[1]
    assert sorted(named[0]) == sorted(named[1])


def test_a_loss_without_epochs_is_given_two_arguments_and_nothing_else() -> None:
    seen: list[tuple[int, dict[str, Any]]] = []

    def recording(*arguments: Tensor, **keywords: Any) -> Tensor:
        seen.append((len(arguments), keywords))
        return F.cross_entropy(arguments[0], arguments[1])

    model, inputs, target = problem()
    train(model, inputs, target, recording, Recipe(2, 10), seed=0, validation=(inputs, target))
    assert seen == [(2, {})] * 4


def test_a_loss_that_needs_validation_rows_is_not_trained_without() -> None:
    model, inputs, target = problem()
    recorder = Recorder(model, uses_validation=True)
    with pytest.raises(ValueError, match=r"Recorder learns from validation rows; got validation=None: give \(inputs"):
        train(model, inputs, target, recorder, Recipe(1, 10), seed=0)
    assert recorder.events == []


def test_an_epoch_that_diverged_is_not_ended() -> None:
    class Diverging(Recorder):
        def forward(self, input: Tensor, target: Tensor, *, rows: Tensor | None = None) -> Tensor:
            return super().forward(input, target, rows=rows) * float("nan")

    model, inputs, target = problem()
    recorder = Diverging(model, uses_validation=False)
    with pytest.raises(FloatingPointError, match="training diverged"):
        train(model, inputs, target, recorder, Recipe(2, 10), seed=0)
    assert recorder.ends == []


def test_a_state_that_is_no_module_is_told_as_well() -> None:
    class Plain:
        uses_validation = False

        def __init__(self) -> None:
            self.ends: list[int] = []

        def __call__(self, input: Tensor, target: Tensor, *, rows: Tensor | None = None) -> Tensor:
            assert rows is not None
            return F.cross_entropy(input, target)

        def end_epoch(self, epoch: int, epochs: int, validation: tuple[Tensor, Tensor] | None = None) -> None:
            self.ends.append(epoch)

    model, inputs, target = problem()
    loss = Plain()
    train(model, inputs, target, loss, Recipe(2, 10), seed=0)
    assert loss.ends == [1, 2]
