"""Blocks against the same sums written with torch's functions, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gence.models import ResNet
from gence.models.residual import Bottleneck, PaddedBlock, ResidualBlock, stages


def drawn(block: nn.Module) -> nn.Module:
    """The block in evaluation, with norms that do something."""
    generator = torch.Generator().manual_seed(0)
    for layer in block.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5, generator=generator)
    return block.double().eval()


def images(channels: int, side: int = 5) -> Tensor:
    return torch.randn(2, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def normed(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean, var, weight, bias = (
        v[:, None, None] for v in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def test_a_residual_block_adds_its_input() -> None:
    block, x = drawn(ResidualBlock(4, 4, stride=1)), images(4)
    inner = normed(block.first[1], F.conv2d(x, block.first[0].weight, padding=1)).relu()
    outer = normed(block.second[1], F.conv2d(inner, block.second[0].weight, padding=1))
    torch.testing.assert_close(block(x), (outer + x).relu())


def test_a_residual_block_projects_its_input_where_the_shape_changes() -> None:
    block, x = drawn(ResidualBlock(4, 6, stride=2)), images(4)
    inner = normed(block.first[1], F.conv2d(x, block.first[0].weight, stride=2, padding=1)).relu()
    outer = normed(block.second[1], F.conv2d(inner, block.second[0].weight, padding=1))
    shortcut = normed(block.shortcut[1], F.conv2d(x, block.shortcut[0].weight, stride=2))
    torch.testing.assert_close(block(x), (outer + shortcut).relu())


def test_a_padded_block_keeps_every_second_pixel_between_channels_of_zeros() -> None:
    """Option A of He et al. 2016, section 4.2."""
    block, x = drawn(PaddedBlock(4, 8, stride=2)), images(4)
    inner = normed(block.first[1], F.conv2d(x, block.first[0].weight, stride=2, padding=1)).relu()
    outer = normed(block.second[1], F.conv2d(inner, block.second[0].weight, padding=1))
    zeros = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(block(x), (outer + torch.cat([zeros, x[:, :, ::2, ::2], zeros], dim=1)).relu())
    assert all(isinstance(name, str) and not name.startswith("shortcut") for name, _ in block.named_parameters())


def test_a_padded_block_that_changes_nothing_adds_its_input() -> None:
    padded, plain = drawn(PaddedBlock(4, 4, stride=1)), drawn(ResidualBlock(4, 4, stride=1))
    plain.load_state_dict(padded.state_dict())
    torch.testing.assert_close(padded(images(4)), plain(images(4)), rtol=0, atol=0)


@pytest.mark.parametrize(("inputs", "stride"), [(8, 1), (4, 2)])
def test_a_bottleneck_narrows_to_a_quarter_and_strides_in_the_middle(inputs: int, stride: int) -> None:
    block, x = drawn(Bottleneck(inputs, 8, stride=stride)), images(inputs)
    first, norm1, _, second, norm2, _, third, norm3 = block.body
    assert (first.out_channels, second.out_channels) == (2, 2)
    inner = normed(norm1, F.conv2d(x, first.weight)).relu()
    inner = normed(norm2, F.conv2d(inner, second.weight, stride=stride, padding=1)).relu()
    outer = normed(norm3, F.conv2d(inner, third.weight))
    shortcut = x
    if stride == 2:
        shortcut = normed(block.shortcut[1], F.conv2d(x, block.shortcut[0].weight, stride=2))
    torch.testing.assert_close(block(x), (outer + shortcut).relu())


def test_each_stage_but_the_first_halves_the_image_once() -> None:
    body = stages(ResidualBlock, 2, depths=(2, 1, 3), widths=(2, 4, 6)).eval()
    x, seen = torch.zeros(1, 2, 8, 8), []
    for block in body:
        x = block(x)
        seen.append(tuple(x.shape[1:]))
    assert seen == [(2, 8, 8), (2, 8, 8), (4, 4, 4), (6, 2, 2), (6, 2, 2), (6, 2, 2)]


@pytest.mark.parametrize("block", [ResidualBlock, PaddedBlock, Bottleneck])
def test_a_resnet_trains_a_step_on_small_grey_images(block) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ResNet(1, 3, block=block, depths=(1, 2), widths=(8, 16), stem=8)
    logits = model(images(1, 4).float())
    assert logits.shape == (2, 3)
    logits.logsumexp(1).sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_features_are_the_mean_over_the_pixels_of_the_last_stage() -> None:
    model, x = drawn(ResNet(1, 3, block=ResidualBlock, depths=(1,), widths=(4,), stem=4)), images(1)
    pixels = model.stages(model.stem(x))
    means = torch.stack([torch.stack([channel.flatten().mean() for channel in row]) for row in pixels])
    torch.testing.assert_close(model.features(x), means)
