"""The learning rate of every step, as a function of the recipe."""

from __future__ import annotations

import math

from gence.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps_an_epoch: int) -> float:
    r"""The learning rate of step t of T, from 0.

    With :math:`\eta` the recipe's learning rate and W the steps of warm-up, it is
    :math:`\eta\, s_t \min(1, (t + 1) / W)`, where

    .. math::
        s_t = \begin{cases}
            \tfrac{1}{2} \bigl(1 + \cos \pi \frac{\max(t - W, 0)}{T - W}\bigr) & \text{cosine} \\
            d^{\#\{m\,:\, t \ge \mathrm{round}(m T)\}} & \text{steps, with milestones } m \text{ and decay } d \\
            1 & \text{constant}
        \end{cases}

    Args:
        recipe: Epochs, learning rate, warm-up and schedule.
        step: t, from 0.
        steps_an_epoch: S; T is S times the epochs, and W is S times the epochs of warm-up.

    Returns:
        The learning rate.

    Example:
        >>> recipe = Recipe(350, learning_rate=0.1, schedule="steps", milestones=(150 / 350, 250 / 350))
        >>> [round(learning_rate(recipe, epoch, 1), 6) for epoch in (0, 149, 150, 250)]
        [0.1, 0.1, 0.01, 0.001]

    Reference:
        Loshchilov, Hutter: SGDR, ICLR 2017, arXiv 1608.03983, equation 5 (cosine); Goyal et al. 2017, arXiv 1706.02677,
        section 2.2 (warm-up).
    """
    steps = recipe.epochs * steps_an_epoch
    warmup = recipe.warmup * steps_an_epoch
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = rate * 0.5 * (1.0 + math.cos(math.pi * max(step - warmup, 0.0) / (steps - warmup)))
    elif recipe.schedule == "steps":
        rate = rate * recipe.decay ** sum(step >= round(milestone * steps) for milestone in recipe.milestones)
    return rate * min(1.0, (step + 1) / warmup) if warmup > 0.0 else rate
