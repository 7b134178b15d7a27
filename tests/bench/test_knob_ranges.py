"""The ranges of knobs: those that come with gence, and those of a spec."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from gence import InputError
from gence.bench.knob_ranges import DEFAULT_RANGES, knob_ranges
from gence.losses import catalogue as losses
from gence.losses.written import parse_loss

OURS = tuple(name for name in losses.names() if name.startswith("gence"))


@pytest.mark.parametrize("name", DEFAULT_RANGES)
def test_every_default_range_holds_the_default_and_trains_in_every_corner(name: str) -> None:
    ranges, defaults = DEFAULT_RANGES[name], losses.knobs(name)
    assert knob_ranges(parse_loss(name), "default") == ranges
    assert all(low <= defaults[knob] <= high and low < high for knob, (low, high) in ranges.items())
    for corner in product(*ranges.values()):
        loss = losses.build(name, class_counts=[4, 3, 2], **dict(zip(ranges, corner, strict=True)))
        logits = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
        rows = {"rows": torch.arange(9)} if name == "crl" else {}
        loss(logits, torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2]), **rows).backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert logits.grad.abs().sum() > 0


def test_our_losses_have_no_more_knobs_tuned_than_others() -> None:
    most = max(len(ranges) for name, ranges in DEFAULT_RANGES.items() if name not in OURS)
    assert most == 2
    assert all(len(DEFAULT_RANGES[name]) <= most for name in OURS)
    for hybrid, other in {"gence_focal": "focal", "gence_smoothing": "label_smoothing", "gence_margin": "mbls"}.items():
        assert DEFAULT_RANGES[hybrid] == DEFAULT_RANGES[other]


def test_losses_without_ranges_have_no_knobs_or_are_rules_of_their_own() -> None:
    without = {name for name in losses.names() if name not in DEFAULT_RANGES and losses.knobs(name)}
    assert without == {"flsd53", "adafocal"}


def test_a_knob_that_is_written_keeps_its_value() -> None:
    assert set(knob_ranges(parse_loss("mbls:alpha=0.3"), "default")) == {"margin"}
    assert knob_ranges(parse_loss("focal:gamma=1"), {"focal": {"gamma": (0.0, 9.0)}}) == {}
    assert knob_ranges(parse_loss("focal"), {"focal": {"gamma": (0.0, 9.0)}}) == {"gamma": (0.0, 9.0)}
    assert knob_ranges(parse_loss("focal"), {"mbls": {"alpha": (0.0, 9.0)}}) == {}
    assert knob_ranges(parse_loss("focal"), "none") == {}


@pytest.mark.parametrize(
    ("loss", "ranges", "message"),
    [
        (
            "mmce",
            {"weighted": (0.0, 1.0)},
            "tune.knobs.mmce.weighted: a knob that is true or false has no range; got [0, 1]: write "
            "mmce:weighted=true instead",
        ),
        ("focal", {"gamma": (2.0, 2.0)}, "tune.knobs.focal.gamma: [low, high] is expected, rising; got [2, 2]"),
        (
            "adafocal",
            {"bins": (5.0, 7.5)},
            "tune.knobs.adafocal.bins: the knob is a whole number, and so must be the ends of its range; got [5, 7.5]",
        ),
        (
            "focal",
            {"gamma": (-1.0, 2.0)},
            "tune.knobs.focal: the ranges reach gamma=-1, but gamma must be a finite number of at least 0 (0 is "
            "cross-entropy); got -1.0",
        ),
        (
            "focal",
            {"gama": (1.0, 2.0)},
            "unknown knob of loss 'focal' in [tune.knobs] 'gama': did you mean 'gamma'? known: gamma",
        ),
    ],
)
def test_what_a_range_cannot_be_is_said_in_one_line(
    loss: str, ranges: dict[str, tuple[float, float]], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        knob_ranges(parse_loss(loss), {loss: ranges})
    assert str(caught.value) == message


def test_ranges_that_are_well_alone_may_still_not_go_together() -> None:
    with pytest.raises(InputError, match=r"the ranges reach gamma=4, gamma_max=3, but gamma must lie between"):
        knob_ranges(parse_loss("adafocal"), {"adafocal": {"gamma": (1.0, 4.0), "gamma_max": (3.0, 20.0)}})
