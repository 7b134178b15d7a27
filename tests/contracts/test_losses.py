"""What every loss of the catalogue owes; a new loss is tested by being registered."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from gence import InputError
from gence.losses import catalogue

every_loss = pytest.mark.parametrize("name", catalogue.names())


def build(name: str, num_classes: int = 5, **settings: float) -> catalogue.Loss:
    """A fresh one each time: some keep a state."""
    return catalogue.build(name, num_classes=num_classes, **settings)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 5, dtype=torch.float64, generator=generator), torch.arange(30) % 5


@every_loss
def test_it_gives_a_scalar_with_a_right_gradient(name: str) -> None:
    logits, target = batch()
    assert build(name)(logits, target).shape == ()
    if catalogue.CATALOGUE[name].estimates:
        pytest.skip("the gradient is that of the loss it estimates, not of its value; its own tests hold it")
    assert torch.autograd.gradcheck(lambda z: build(name)(z, target), logits.requires_grad_())


@every_loss
def test_an_ignored_row_changes_nothing(name: str) -> None:
    logits, target = batch()
    more = torch.cat([logits, torch.full((2, 5), 7.0, dtype=torch.float64)])
    value = build(name)(more, torch.cat([target, torch.tensor([-100, -100])]))
    assert_close(value, build(name)(logits, target))


@every_loss
def test_it_does_not_depend_on_the_order_of_rows_or_classes_or_on_a_shift_of_a_row(name: str) -> None:
    logits, target = batch()
    generator = torch.Generator().manual_seed(1)
    rows, classes = torch.randperm(30, generator=generator), torch.randperm(5, generator=generator)
    value = build(name)(logits, target)
    assert_close(build(name)(logits[rows], target[rows]), value)
    assert_close(build(name)(logits[:, classes], classes.argsort()[target]), value)
    shift = torch.randn(30, 1, dtype=torch.float64, generator=generator)
    assert_close(build(name)(logits + shift, target), value)


@every_loss
def test_positions_of_an_image_are_rows(name: str) -> None:
    logits, target = batch()
    value = build(name)(logits.view(2, 15, 5).movedim(-1, 1), target.view(2, 15))
    assert_close(value, build(name)(logits, target))


@every_loss
def test_training_with_it_beats_guessing(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(300) % 3
    inputs = torch.randn(300, 2, generator=generator) + 2.0 * F.one_hot(target, 3)[:, :2]
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    loss = build(name, num_classes=3)
    for _ in range(200):
        optimizer.zero_grad()
        loss(layer(inputs), target).backward()
        optimizer.step()
    assert (layer(inputs).argmax(1) == target).float().mean() > 0.7


@every_loss
def test_it_takes_bfloat16_autocast_and_compiles_whole(name: str) -> None:
    logits, target = batch()
    value = build(name)(logits, target)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(build(name)(logits.bfloat16(), target).double(), value, rtol=2e-2, atol=2e-2)
    assert_close(torch.compile(build(name), fullgraph=True, backend="aot_eager")(logits, target), value)


@every_loss
def test_every_knob_changes_the_loss(name: str) -> None:
    logits, target = batch()
    for knob, default in catalogue.knobs(name).items():
        usual, changed = build(name), build(name, **{knob: default / 2})
        for _ in range(60):  # a rate tells after 1 / rate batches
            logits = 0.97 * logits
            values = usual(logits, target), changed(logits, target)
        assert not torch.isclose(*values, rtol=1e-4), knob


@every_loss
def test_degenerate_batches_give_finite_losses(name: str) -> None:
    assert build(name, num_classes=3)(torch.zeros(1, 3), torch.tensor([2])).isfinite()
    assert build(name, num_classes=4)(torch.eye(4) * 500.0, torch.zeros(4, dtype=torch.long)).isfinite()


def test_the_default_knobs_are_the_documented_ones() -> None:
    assert {name: catalogue.knobs(name) for name in catalogue.names()} == {
        "ce": {},
        "label_smoothing": {"smoothing": 0.1},
        "focal": {"gamma": 2.0},
        "gence": {"strength": 1.0},
        "gence_moving": {"strength": 1.0, "rate": 0.02},
    }


@every_loss
def test_a_class_ruled_out_by_minus_infinity_leaves_the_gradient_finite(name: str) -> None:
    if name == "label_smoothing":
        pytest.skip("smoothing gives the class that is ruled out a share of the target, so the loss is infinite")
    logits, target = batch()
    ruled_out = torch.cat([logits, torch.full((30, 1), -torch.inf, dtype=torch.float64)], 1).requires_grad_()
    gradient = torch.autograd.grad(build(name, num_classes=6)(ruled_out, target), ruled_out)[0]
    assert gradient.isfinite().all()


def test_a_misspelt_loss_or_knob_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown loss 'gense': did you mean 'gence'"):
        catalogue.build("gense")
    with pytest.raises(InputError, match="unknown knob of loss 'focal' 'gama': did you mean 'gamma'"):
        catalogue.build("focal", gama=1.0)
    with pytest.raises(InputError, match="loss 'ce' has no knobs; got gamma=1"):
        catalogue.build("ce", gamma=1.0)
    with pytest.raises(InputError, match="loss 'gence_moving' needs the number of classes; give num_classes="):
        catalogue.build("gence_moving")
