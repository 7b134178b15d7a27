from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gence.models import WideResNet, build
from gence.models.residual import ResidualBlock
from gence.models.wide_resnet import PreActivationBlock


def test_a_block_norms_before_it_convolves_and_adds_its_raw_input() -> None:
    """Zagoruyko and Komodakis 2016, figure 1(a), in the order of He et al. 2016b; the norms here pass x on."""
    block = PreActivationBlock(4, 4, stride=1).double().eval()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    passed = 1 / math.sqrt(1 + 1e-5)
    inner = F.conv2d((x * passed).relu(), block.body[0].weight, padding=1)
    outer = F.conv2d((inner * passed).relu(), block.body[3].weight, padding=1)
    torch.testing.assert_close(block(x), x + outer)


def test_a_block_that_changes_the_shape_projects_its_normed_input() -> None:
    block = PreActivationBlock(4, 6, stride=2).double().eval()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    passed = 1 / math.sqrt(1 + 1e-5)
    normed = (x * passed).relu()
    inner = F.conv2d(normed, block.body[0].weight, stride=2, padding=1)
    outer = F.conv2d((inner * passed).relu(), block.body[3].weight, padding=1)
    assert block.projection is not None
    torch.testing.assert_close(block(x), outer + F.conv2d(normed, block.projection.weight, stride=2))


def test_a_narrow_one_trains_a_step_and_its_features_are_a_relu() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = WideResNet(1, 3, depth=10, width=1)
        images = torch.randn(2, 1, 8, 8)
    assert (model.features(images) >= 0).all()
    model(images).logsumexp(1).sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_convolutions_are_drawn_by_fan_out_and_the_bias_of_the_head_is_zero() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = WideResNet(3, 10, depth=10, width=4)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            scaled = layer.weight.detach().double() * math.sqrt(fan_out / 2)
            assert abs(scaled.square().mean() - 1) < 4 * math.sqrt(2 / scaled.numel())
    assert not model.head.bias.any()


def test_wrn28_10_has_28_convolutions_and_wrn26_10_the_same_that_count() -> None:
    """Both have 24 convolutions in blocks, the stem and 3 shortcuts; 26 is the 25 that are no shortcut and the head."""
    for name in ("wrn28_10", "wrn26_10"):
        with torch.device("meta"):
            model = build(name, (3, 32, 32), 10, seed=0)
        assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == 28, name


def test_wrn26_10_is_post_activation_with_normed_shortcuts() -> None:
    with torch.device("meta"):
        model = build("wrn26_10", (3, 32, 32), 10, seed=0)
    assert all(isinstance(block, ResidualBlock) for block in model.stages)
    assert [sum(block.second[1].num_features == width for block in model.stages) for width in (160, 320, 640)] == [
        4
    ] * 3


@pytest.mark.parametrize("depth", [4, 26])
def test_a_depth_that_gives_no_whole_blocks_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"depth must be 6 n \+ 4 for n blocks a stage .*, got {depth}"):
        WideResNet(3, 10, depth=depth, width=1)
