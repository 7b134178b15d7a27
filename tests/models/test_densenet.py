from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from gence.models import DenseNet
from gence.models.densenet import DenseLayer


def test_a_layer_joins_what_it_computes_to_its_input() -> None:
    """Huang et al. 2017, equation 2 with the bottleneck of section 3; the norms here pass x on."""
    layer = DenseLayer(4, 3).double().eval()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    passed = 1 / math.sqrt(1 + 1e-5)
    inner = F.conv2d((x * passed).relu(), layer.body[2].weight)
    assert inner.shape[1] == 12
    outer = F.conv2d((inner * passed).relu(), layer.body[5].weight, padding=1)
    torch.testing.assert_close(layer(x), torch.cat([x, outer], dim=1))


def test_features_grow_with_the_layers_and_a_transition_keeps_its_share_at_half_the_size() -> None:
    for reduction, kept in ((0.5, 10), (0.25, 5)):
        model = DenseNet(1, 3, growth=5, depths=(2, 3), reduction=reduction)
        assert model.head.in_features == kept + 3 * 5
        assert model.body(torch.zeros(2, 1, 8, 8)).shape == (2, kept + 3 * 5, 4, 4)


def test_a_small_one_trains_a_step() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DenseNet(3, 4, growth=4, depths=(2, 2))
        images = torch.randn(2, 3, 8, 8)
    assert (model.features(images) >= 0).all()
    model(images).logsumexp(1).sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
