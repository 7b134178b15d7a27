from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from gence.training import Recipe

PLAIN = Recipe(10)


def test_a_plain_recipe_asks_for_nothing_that_is_new() -> None:
    assert (PLAIN.schedule, PLAIN.warmup, PLAIN.clip_norm, PLAIN.nesterov) == ("cosine", 0.0, 0.0, True)
    assert (PLAIN.precision, PLAIN.channels_last, PLAIN.compile) == ("float32", False, False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "cosin"}, "unknown schedule 'cosin': did you mean 'cosine'? known: cosine, steps, constant"),
        ({"precision": "float16"}, "unknown precision 'float16': did you mean 'bfloat16'? known: float32, bfloat16"),
        (
            {"schedule": "steps"},
            "milestones belong to the schedule 'steps', which needs some; got schedule 'steps' and milestones (): give "
            "both or neither",
        ),
        (
            {"milestones": (0.5,)},
            "milestones belong to the schedule 'steps', which needs some; got schedule 'cosine' and milestones (0.5,): "
            "give both or neither",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        replace(PLAIN, **given)


@pytest.mark.parametrize("milestones", [(0.5, 0.5), (0.6, 0.4), (0.0, 0.5), (0.5, 1.0), (150.0,), (-0.5,), (math.nan,)])
def test_milestones_are_rising_shares(milestones: tuple[float, ...]) -> None:
    told = f"rising, each above 0 and below 1; got {milestones}: epoch 150 of 350 is 150 / 350"
    with pytest.raises(ValueError, match=re.escape(told)):
        Recipe(10, schedule="steps", milestones=milestones)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("decay", (0.0, -0.1, 1.1, math.nan), "decay must lie in (0, 1], the factor at each milestone; got "),
        ("warmup", (-1.0, 10.0, 11, math.inf, math.nan), "0 for none, or a number of epochs below all 10; got "),
        ("clip_norm", (-2.0, math.inf, math.nan), "clip_norm must be 0 for none, or a positive number; got "),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, values: tuple[float, ...], message: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=re.escape(f"{message}{value}")):
            Recipe(10, **{name: value})
