"""GenCE under PyTorch's machinery: compile, autocast and GradScaler, vmap, deterministic algorithms, no host sync."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.testing import assert_close

from gence import GenCELoss, MovingClassMass, class_mass, generative_cross_entropy

CLASSES = 5


def batch(rows: int = 16, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, CLASSES, generator=generator)
    target = torch.randint(CLASSES, (rows,), generator=generator)
    target[::5] = -100
    return logits, target


def with_total(input: Tensor, target: Tensor) -> Tensor:
    total = class_mass(input, target) + class_mass(input.flip(1), target)
    return generative_cross_entropy(input, target, class_mass=total)


FORMS: dict[str, Callable[[], Callable[[Tensor, Tensor], Tensor]]] = {
    "plain": lambda: generative_cross_entropy,
    "total": lambda: with_total,
    "moving": lambda: GenCELoss(class_mass=MovingClassMass(CLASSES)),
    "weights and smoothing": lambda: GenCELoss(torch.rand(CLASSES) + 0.5, label_smoothing=0.1),
}
every_form = pytest.mark.parametrize("form", FORMS)


def value_and_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    return value.detach(), torch.autograd.grad(value, logits)[0]


@every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_compiles_whole_forward_and_backward(form: str, dtype: torch.dtype) -> None:
    forms = []
    for _ in range(2):
        torch.manual_seed(0)
        loss = FORMS[form]()
        forms.append(loss.to(dtype) if isinstance(loss, nn.Module) else loss)
    eager, compiled = forms[0], torch.compile(forms[1], fullgraph=True, backend="aot_eager")
    for seed in range(3):  # a moving mass goes on moving
        logits, target = batch(seed=seed)
        logits = logits.to(dtype)
        assert_close(value_and_gradient(compiled, logits, target), value_and_gradient(eager, logits, target))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler, and there is none")
def test_inductor_gives_the_same() -> None:
    logits, target = batch()

    def both(input: Tensor, target: Tensor) -> Tensor:
        return generative_cross_entropy(input, target) + with_total(input, target)

    compiled = torch.compile(both, fullgraph=True)
    assert_close(value_and_gradient(compiled, logits, target), value_and_gradient(both, logits, target))


@every_form
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_and_returns_float32(form: str, dtype: torch.dtype) -> None:
    logits, target = batch()
    with torch.autocast("cpu", dtype):
        torch.manual_seed(0)
        value = FORMS[form]()(logits.to(dtype), target)
    torch.manual_seed(0)
    assert value.dtype == torch.float32
    assert_close(value, FORMS[form]()(logits.to(dtype).float(), target))


@every_form
def test_float16_training_with_a_gradient_scaler(form: str) -> None:
    """Scaled by 2^16, the gradient of float16 logits neither overflows nor underflows, and the step is float32's."""
    torch.manual_seed(0)
    inputs, target = torch.randn(16, 8), batch()[1]
    layers = [nn.Linear(8, CLASSES), nn.Linear(8, CLASSES)]
    layers[1].load_state_dict(layers[0].state_dict())
    steps = []
    for layer, scaled in zip(layers, (True, False), strict=True):
        torch.manual_seed(1)
        loss = FORMS[form]()
        scaler = torch.amp.GradScaler("cpu", enabled=scaled)
        optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
        with torch.autocast("cpu", torch.float16, enabled=scaled):
            value = loss(layer(inputs), target)
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        steps.append(layer.weight.detach())
    assert_close(*steps, rtol=5e-2, atol=2e-3)
    assert not torch.equal(steps[0], layers[0].weight * 0)


def test_vmap_over_batches_is_a_loop_over_them() -> None:
    logits, target = torch.randn(3, 12, CLASSES), torch.randint(CLASSES, (3, 12))
    for loss in (generative_cross_entropy, with_total):
        assert_close(vmap(loss)(logits, target), torch.stack([loss(z, y) for z, y in zip(logits, target, strict=True)]))
        together = vmap(grad(loss))(logits, target)
        assert_close(together, torch.stack([grad(loss)(z, y) for z, y in zip(logits, target, strict=True)]))


def test_the_module_maps_over_batches_as_the_function_does() -> None:
    logits, target = torch.randn(3, 12, CLASSES), torch.randint(CLASSES, (3, 12))
    assert_close(vmap(GenCELoss())(logits, target), vmap(generative_cross_entropy)(logits, target))


def test_vmap_over_models_shares_the_rows() -> None:
    models = [nn.Linear(4, CLASSES) for _ in range(3)]
    inputs, target = torch.randn(12, 4), torch.randint(CLASSES, (12,))
    stacked, _ = torch.func.stack_module_state(models)

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return generative_cross_entropy(functional_call(models[0], parameters, (inputs,)), target)

    alone = torch.stack([generative_cross_entropy(model(inputs), target) for model in models])
    assert_close(vmap(loss)(stacked), alone)


def test_vmap_over_a_moving_mass_is_a_clear_error() -> None:
    loss = GenCELoss(class_mass=MovingClassMass(CLASSES))
    logits, target = torch.randn(3, 12, CLASSES), torch.randint(CLASSES, (3, 12))
    with pytest.raises(
        RuntimeError, match=r"vmap, grad and other transforms of torch.func do not allow: freeze it by eval\(\)"
    ):
        vmap(loss)(logits, target)
    with pytest.raises(RuntimeError, match=r"transforms of torch\.func do not allow"):
        grad(loss)(logits[0], target[0])
    loss(logits[0], target[0])
    loss.eval()
    assert_close(vmap(loss)(logits, target), torch.stack([loss(z, y) for z, y in zip(logits, target, strict=True)]))


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
@every_form
def test_deterministic_algorithms_give_the_same_bits_each_time(form: str) -> None:
    images, target = torch.randn(4, CLASSES, 6, 7), torch.randint(CLASSES, (4, 6, 7))
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        results.append(value_and_gradient(FORMS[form](), images, target))
    assert_close(*results, rtol=0, atol=0)


@pytest.mark.usefixtures("deterministic")
def test_deterministic_images_equal_cross_entropy_and_their_flattened_rows() -> None:
    """nll_loss of images has no deterministic form on CUDA, so images are then flattened into rows."""
    images, target = torch.randn(4, CLASSES, 6, 7), torch.randint(CLASSES, (4, 6, 7))
    target[0] = -100
    for arguments in ({}, {"weight": torch.rand(CLASSES)}, {"label_smoothing": 0.1}, {"reduction": "none"}):
        settings: dict[str, Any] = arguments
        ours = generative_cross_entropy(images, target, **settings, strength=0.0)
        assert_close(ours, F.cross_entropy(images, target, **settings))


@every_form
def test_no_value_is_read_on_an_accelerator(form: str) -> None:
    """Meta tensors have no values: whoever reads one fails. So do CUDA graphs, and a sync would stall the device."""
    loss = FORMS[form]()
    if isinstance(loss, nn.Module):
        loss = loss.to("meta")
    logits, target = (tensor.to("meta") for tensor in batch())
    value = loss(logits.requires_grad_(), target)
    value.backward()
    assert logits.grad is not None
    assert logits.grad.shape == logits.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@every_form
def test_cuda_gives_the_same_without_a_sync_and_in_a_graph(form: str) -> None:
    torch.manual_seed(0)
    on_cpu = FORMS[form]()
    torch.manual_seed(0)
    loss = FORMS[form]()
    if isinstance(loss, nn.Module):
        loss = loss.cuda()
    logits, target = batch()
    expected = value_and_gradient(on_cpu, logits, target)
    z, y = logits.cuda().requires_grad_(), target.cuda()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.autograd.grad(loss(z, y), z)  # warm up
    torch.cuda.current_stream().wait_stream(stream)
    if isinstance(loss, GenCELoss) and loss.class_mass is not None:
        loss.class_mass.load_state_dict(MovingClassMass(CLASSES).state_dict())
    torch.cuda.set_sync_debug_mode("error")
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value = loss(z, y)
            gradient = torch.autograd.grad(value, z)[0]
        graph.replay()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert_close((value.detach().cpu(), gradient.cpu()), expected)
