"""What the loss warns of, once: a plain batch with fewer rows than classes. Ranks apart: see test_distributed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from gence import GenCELoss, MovingClassMass, class_mass, generative_cross_entropy
from gence.losses import _cautions


@pytest.fixture(autouse=True)
def nothing_said() -> Iterator[None]:
    _cautions._said.clear()
    yield
    _cautions._said.clear()


def said(call: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


def batch(rows: int, classes: int) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, classes), torch.arange(rows) % classes


def test_a_plain_batch_with_fewer_rows_than_classes_is_warned_of_once() -> None:
    texts = said(lambda: [generative_cross_entropy(*batch(4, 100)) for _ in range(3)])
    assert len(texts) == 1
    assert "a batch of 4 rows that count, and an input of 100 classes" in texts[0]
    assert "GenCELoss(class_mass=gence.MovingClassMass(100))" in texts[0]
    assert len(said(lambda: generative_cross_entropy(*batch(4, 50)))) == 1  # another head, another caution


def test_ignored_rows_do_not_count() -> None:
    logits, target = batch(8, 6)
    assert said(lambda: generative_cross_entropy(logits, target)) == []
    target[:4] = -100
    assert "4 rows that count" in said(lambda: generative_cross_entropy(logits, target))[0]


def test_the_module_compares_with_the_classes_it_has_seen() -> None:
    loss = GenCELoss()
    logits = torch.randn(4, 100)
    assert said(lambda: loss(logits, torch.tensor([0, 1, 2, 3]))) == []  # four of a hundred columns are in use
    texts = said(lambda: loss(logits, torch.tensor([3, 4, 5, 6])))
    assert "4 rows that count, and labels of 7 classes" in texts[0]
    assert "MovingClassMass(100)" in texts[0]
    assert said(lambda: loss(logits, torch.tensor([7, 8, 9, 10]))) == []  # once
    assert len(said(lambda: [GenCELoss()(*batch(3, 4)) for _ in range(2)])) == 0
    assert len(said(lambda: [loss(logits, torch.arange(4) + 4 * k) for loss in [GenCELoss()] for k in range(9)])) == 1


@pytest.mark.parametrize(
    "quiet",
    [
        lambda z, y: generative_cross_entropy(z, y, strength=0.0),
        lambda z, y: generative_cross_entropy(z, y, class_mass=class_mass(z, y)),
        lambda z, y: GenCELoss(class_mass=MovingClassMass(9))(z, y),
        lambda z, y: generative_cross_entropy(z[:0], y[:0]),
    ],
    ids=["strength 0", "a total", "a moving mass", "no rows"],
)
def test_there_is_nothing_to_say_of_other_forms(quiet: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert said(lambda: quiet(*batch(4, 9))) == []


def test_the_caution_points_at_the_line_of_the_caller() -> None:
    for loss in (generative_cross_entropy, GenCELoss()):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for k in range(2):
                loss(torch.randn(4, 9), torch.arange(4) + 4 * k)
        assert [warning.filename for warning in caught] == [__file__]


def test_evaluation_is_not_warned_of() -> None:
    with torch.no_grad():
        assert said(lambda: generative_cross_entropy(*batch(4, 9))) == []
        assert said(lambda: [GenCELoss()(torch.randn(4, 9), torch.arange(4) + k) for k in range(5)]) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, of its jvp
def test_looking_at_the_labels_leaves_nothing_behind() -> None:
    loss = GenCELoss()
    logits, target = batch(12, 5)
    with torch.inference_mode():
        loss(logits, target)
    for _ in range(2):  # a trace of the first transform would break the second
        torch.func.grad(loss)(logits, target)
        torch.func.jvp(lambda z: loss(z, target), (logits,), (logits,))
        torch.func.hessian(loss)(logits, target)
        torch.func.vmap(loss)(torch.stack([logits, logits]), torch.stack([target, target]))
        loss(logits.requires_grad_(), target).backward()
    with FakeTensorMode():
        assert loss(torch.randn(12, 5), torch.zeros(12, dtype=torch.long)).shape == ()


def test_class_probabilities_count_every_column() -> None:
    loss = GenCELoss()
    assert len(said(lambda: loss(torch.randn(4, 9), torch.randn(4, 9).softmax(1)))) == 1
