from __future__ import annotations

import pytest
import torch

from gence.training import Recipe, learning_rate

FOCAL_CALIBRATION = Recipe(350, 128, 0.1, nesterov=False, schedule="steps", milestones=(150 / 350, 250 / 350))
LONG_TAIL = Recipe(
    200, 128, 0.1, 2e-4, nesterov=False, schedule="steps", milestones=(160 / 200, 180 / 200), decay=0.01, warmup=5
)


def rates(recipe: Recipe, steps_an_epoch: int) -> list[float]:
    return [learning_rate(recipe, step, steps_an_epoch) for step in range(recipe.epochs * steps_an_epoch)]


def torch_rates(recipe: Recipe, steps: int, schedule: type, *arguments: object) -> list[float]:
    """What a schedule of torch gives for every step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.learning_rate)
    scheduler = schedule(optimizer, *arguments)
    given = []
    for _ in range(steps):
        given.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return given


def test_the_cosine_is_that_of_torch() -> None:
    recipe = Recipe(6, learning_rate=0.2)
    expected = torch_rates(recipe, 42, torch.optim.lr_scheduler.CosineAnnealingLR, 42)
    assert rates(recipe, 7) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps_an_epoch", [1, 2])
def test_the_steps_are_those_of_torch_at_the_published_epochs(steps_an_epoch: int) -> None:
    """Mukhoti et al. 2020: 350 epochs, a tenth after 150 and after 250."""
    steps = 350 * steps_an_epoch
    milestones = [150 * steps_an_epoch, 250 * steps_an_epoch]
    expected = torch_rates(FOCAL_CALIBRATION, steps, torch.optim.lr_scheduler.MultiStepLR, milestones)
    assert rates(FOCAL_CALIBRATION, steps_an_epoch) == pytest.approx(expected, rel=1e-12)


def test_milestones_fall_on_their_epochs_whatever_floats_make_of_the_shares() -> None:
    for epochs, milestone in ((350, 150), (350, 250), (100, 7), (1241, 604)):
        recipe = Recipe(epochs, learning_rate=1.0, schedule="steps", milestones=(milestone / epochs,))
        for steps_an_epoch in (1, 2, 78, 390, 391):
            step = milestone * steps_an_epoch
            assert learning_rate(recipe, step - 1, steps_an_epoch) == 1.0
            assert learning_rate(recipe, step, steps_an_epoch) == 0.1


def test_the_long_tailed_recipe_rises_for_five_epochs_and_falls_twice_by_a_hundred() -> None:
    """Cao et al. 2019, epoch by epoch: lr * e / 5, then lr, from epoch 160 on lr / 100, from 180 on lr / 10,000."""
    expected = [0.1 * min(epoch + 1, 5) / 5 for epoch in range(160)] + [1e-3] * 20 + [1e-5] * 20
    assert rates(LONG_TAIL, 1) == pytest.approx(expected, rel=1e-12)


def test_a_warm_up_goes_step_by_step_to_the_start_and_the_cosine_begins_after_it() -> None:
    recipe = Recipe(10, learning_rate=0.4, warmup=2)
    given = rates(recipe, 4)
    assert given[:8] == pytest.approx([0.05 * (step + 1) for step in range(8)])
    assert given[8:] == pytest.approx(rates(Recipe(8, learning_rate=0.4), 4))


def test_a_warm_up_may_end_within_an_epoch() -> None:
    assert rates(Recipe(3, learning_rate=1.0, schedule="constant", warmup=0.5), 3)[:3] == pytest.approx([2 / 3, 1, 1])


def test_a_constant_is_one_and_so_are_steps_without_decay() -> None:
    assert rates(Recipe(5, learning_rate=0.3, schedule="constant"), 3) == [0.3] * 15
    assert rates(Recipe(5, learning_rate=0.3, schedule="steps", milestones=(0.5,), decay=1.0), 3) == [0.3] * 15
