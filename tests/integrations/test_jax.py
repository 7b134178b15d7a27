"""GenCE for JAX against PyTorch's, against optax where it is cross-entropy, and over devices against one device."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gence
from gence._errors import InputError

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

from gence.integrations.jax import generative_cross_entropy  # noqa: E402

# Compiled as a whole, as anything else costs more in compiling its operators one by one.
loss = jax.jit(generative_cross_entropy, static_argnames=("axis", "axis_name", "label_smoothing", "strength"))


def drawn(rows: int = 24, classes: int = 5, scale: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return scale * random.standard_normal((rows, classes)), random.integers(0, classes, rows)


def both(
    logits: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None, **settings: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values and gradient of their sum, ours and PyTorch's, in the dtype of the logits."""
    leaf = torch.tensor(logits, requires_grad=True)
    weights = None if weight is None else torch.tensor(weight)
    rows = gence.generative_cross_entropy(leaf, torch.tensor(labels), weights, reduction="none", **settings)
    (slope,) = torch.autograd.grad(rows.sum(), leaf)
    value, gradient = with_gradient(logits, labels, weight=weight, **settings)
    return value, gradient, rows.detach().numpy(), slope.numpy()


def with_gradient(logits: np.ndarray, labels: np.ndarray, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values, and the gradient of their sum."""

    @jax.jit
    def both(z: Any) -> Any:
        values, pull = jax.vjp(lambda z: generative_cross_entropy(z, labels, **settings), z)
        return values, pull(jnp.ones_like(values))[0]

    value, gradient = both(logits)
    return np.asarray(value), np.asarray(gradient)


SETTINGS: list[dict[str, Any]] = [
    {},
    {"strength": 0.0},
    {"strength": 0.7, "label_smoothing": 0.1},
    {"weight": np.array([1.0, 2.0, 0.5, 3.0, 0.0])},
    {"weight": np.array([1.0, 2.0, 0.5, 3.0, 0.2]), "label_smoothing": 0.3},
]


def test_the_value_by_hand() -> None:
    logits, labels = jnp.log(jnp.array([[1.0, 1.0], [1.0, 3.0]])), jnp.array([0, 1])
    # m = (3/8, 5/8)
    assert loss(logits, labels) == pytest.approx([-np.log(4 / 3), -np.log(6 / 5)], rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "soft"), [*((settings, False) for settings in SETTINGS), (SETTINGS[0], True), (SETTINGS[4], True)]
)
def test_it_is_pytorch_s(settings: dict[str, Any], soft: bool) -> None:
    logits, labels = drawn()
    if soft:
        labels = np.random.default_rng(1).dirichlet(np.ones(5), len(labels))
    with jax.enable_x64(True):
        value, gradient, their_value, their_gradient = both(logits, labels, **settings)
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, their_value, rtol=0, atol=1e-12)
    np.testing.assert_allclose(gradient, their_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"weight": np.arange(5, dtype=np.float32), "label_smoothing": 0.3}])
def test_it_is_pytorch_s_in_float32(settings: dict[str, Any]) -> None:
    logits, labels = drawn()
    value, gradient, their_value, their_gradient = both(logits.astype(np.float32), labels, **settings)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, their_value, rtol=1e-6, atol=3e-6)
    np.testing.assert_allclose(gradient, their_gradient, rtol=0, atol=1e-6)


def test_huge_logits_and_classes_ruled_out_are_as_in_pytorch() -> None:
    logits, labels = drawn(scale=1e4)
    # No row may be of a class that is ruled out for it: class 4 is so in every row, class 0 in the first ones.
    logits[:, 4] = -np.inf
    labels[labels == 4] = 3
    logits[:6, 0] = -np.inf
    labels[:6] = 1
    with jax.enable_x64(True):
        value, gradient, their_value, their_gradient = both(logits, labels)
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(value, their_value, rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(gradient, their_gradient, rtol=0, atol=1e-12)
        labels[0] = 0
        value, _, their_value, _ = both(logits, labels)
    assert value[0] == their_value[0] == np.inf


@pytest.mark.parametrize("soft", [False, True])
def test_without_strength_it_is_optax_s(soft: bool) -> None:
    optax = pytest.importorskip("optax")
    logits, labels = drawn()
    name = "softmax_cross_entropy" if soft else "softmax_cross_entropy_with_integer_labels"
    theirs_of = jax.jit(getattr(optax, name))
    labels = np.eye(5, dtype=np.float32)[labels] if soft else labels
    rows = np.arange(24) % 3 > 0
    entries = np.random.default_rng(2).random((24, 5)) < 0.7
    if not soft:
        entries[np.arange(24), labels] = True
    entries[7] = False
    for where in (None, rows, entries):
        ours = loss(logits, labels, where=where, strength=0.0)
        theirs = theirs_of(logits, labels, where=where)
        if where is rows and soft:
            theirs = np.where(rows, theirs, 0.0)  # optax has NaN in rows that do not count
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_axes_are_where_they_are_said_to_be() -> None:
    random = np.random.default_rng(3)
    logits, labels = random.standard_normal((4, 2, 3, 5)), random.integers(0, 6, (4, 5))
    flat, mask = np.moveaxis(logits, 3, 1).reshape(20, 6), random.random((4, 5)) < 0.5
    middle = np.moveaxis(logits.reshape(4, 6, 5), 1, 2)
    wanted = loss(flat, labels.reshape(20), where=mask.reshape(20)).reshape(4, 5)
    for given, axis in ((logits, (1, 2)), (middle, 2), (middle, -1), (logits.reshape(4, 6, 5), -2)):
        found = loss(given, labels, axis=axis, where=mask)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_rows_left_out_might_as_well_not_be_there() -> None:
    logits, labels = drawn()
    keep = np.arange(24) % 3 > 0
    logits[~keep] = np.nan
    labels[~keep] = -100
    value, gradient = with_gradient(logits, labels, where=keep, label_smoothing=0.1)
    wanted = both(logits[keep], labels[keep], label_smoothing=0.1)[2:]
    for found, alone in zip((value, gradient), wanted, strict=True):
        np.testing.assert_array_equal(found[~keep], 0.0)
        np.testing.assert_allclose(found[keep], alone, atol=2e-6)
    for found in with_gradient(logits, labels, where=np.zeros(24, bool)):
        np.testing.assert_array_equal(found, 0.0)


def test_classes_left_out_are_as_if_ruled_out_by_minus_infinity() -> None:
    logits, labels = drawn()
    allowed = np.random.default_rng(4).random((24, 5)) < 0.7
    allowed[np.arange(24), labels] = True
    wanted = with_gradient(np.where(allowed, logits, -np.inf), labels)
    for found, one in zip(with_gradient(logits, labels, where=allowed), wanted, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-5, atol=1e-6)
    allowed[0, labels[0]] = False
    smoothed = loss(logits, labels, where=allowed, label_smoothing=0.1)
    assert smoothed[0] == np.inf
    assert np.isfinite(smoothed[1:]).all()


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels = drawn()
    half = jnp.asarray(logits, jnp.bfloat16)
    found = loss(half, labels)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found, loss(half.astype(jnp.float32), labels).astype(jnp.bfloat16))


def test_a_class_number_out_of_range_gives_nan() -> None:
    logits, labels = drawn()
    labels[:2] = -1, 5
    found = np.asarray(loss(logits, labels))
    assert np.isnan(found[:2]).all()
    assert np.isfinite(found[2:]).all()


def test_it_maps_over_batches_and_a_name_makes_one_batch_of_them() -> None:
    logits, labels = drawn()
    parts, part_labels = logits.reshape(4, 6, 5), labels.reshape(4, 6)
    apart = jax.jit(jax.vmap(generative_cross_entropy))(parts, part_labels)
    for part, part_label, values in zip(parts, part_labels, apart, strict=True):
        np.testing.assert_allclose(values, loss(part, part_label), rtol=1e-5, atol=1e-6)
    keep = np.arange(24) > 7  # no row of the first part counts, and not all of the second

    def together(z: jax.Array) -> jax.Array:
        one = jax.vmap(lambda *part: loss(*part, axis_name="parts"), axis_name="parts")
        masked = jax.vmap(lambda z, y, k: loss(z, y, where=k, axis_name=("parts",)), axis_name="parts")
        return jnp.stack([one(z, part_labels), masked(z, part_labels, keep.reshape(4, 6))]).reshape(2, 24)

    def whole(z: jax.Array) -> jax.Array:
        masked = loss(z.reshape(24, 5), labels, where=keep)
        return jnp.stack([loss(z.reshape(24, 5), labels), masked])

    def value_and_gradients(f: Any, z: jax.Array) -> Any:
        values, pull = jax.vjp(f, z)
        return values, jax.vmap(pull)(jnp.repeat(jnp.eye(2), 24, axis=1).reshape(2, 2, 24))[0]

    for found, wanted in zip(
        *(jax.jit(value_and_gradients, static_argnums=0)(f, parts) for f in (together, whole)), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


DEVICES = """
import jax, jax.numpy as jnp, numpy as np, torch, gence
from functools import partial
from jax.sharding import Mesh, PartitionSpec as P
from gence.integrations.jax import generative_cross_entropy as loss

assert len(jax.devices()) == 2 and jnp.zeros(1).dtype == jnp.float64
random = np.random.default_rng(0)
x, w, y = random.standard_normal((12, 4)), 2 * random.standard_normal((4, 3)), random.integers(0, 3, 12)
leaf = torch.tensor(w, requires_grad=True)
rows = gence.generative_cross_entropy(torch.tensor(x) @ leaf, torch.tensor(y), reduction="none")
(slope,) = torch.autograd.grad(rows.sum(), leaf)
mesh = Mesh(np.array(jax.devices()), ("data",))

def of_device(w, x, y):
    return loss(x @ w, y, axis_name="data").sum()

for check in (True, False):  # the types that know what varies over devices, and the older rules
    shard = partial(jax.shard_map, mesh=mesh, check_vma=check)
    values = shard(lambda w, x, y: loss(x @ w, y, axis_name="data"), in_specs=(P(), P("data"), P("data")),
                   out_specs=P("data"))

    @jax.jit
    def outside(w):
        value, pull = jax.vjp(lambda w: values(w, x, y), w)
        return value, pull(jnp.ones_like(value))[0]
    value, gradient = outside(w)
    np.testing.assert_allclose(value, rows.detach(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-12)

    def inside(w, x, y):
        gradient = jax.grad(of_device)(w, x, y)
        # Types that know what varies over devices add up the gradient of what does not by themselves.
        return gradient if check else jax.lax.psum(gradient, "data")
    found = jax.jit(shard(inside, in_specs=(P(), P("data"), P("data")), out_specs=P()))(w, x, y)
    np.testing.assert_allclose(found, slope, rtol=0, atol=1e-12)

gradient = jax.pmap(lambda x, y: jax.lax.psum(jax.grad(of_device)(w, x, y), "data"), axis_name="data")
np.testing.assert_allclose(gradient(x.reshape(2, 6, 4), y.reshape(2, 6))[0], slope, rtol=0, atol=1e-12)
print("as one")
"""


def test_on_two_devices_it_is_the_loss_of_one() -> None:
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_ENABLE_X64": "1"}
    result = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, env=environment)
    assert result.stdout == "as one\n", result.stderr


def test_where_jax_is_missing_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Path(__file__).parents[2] / "src/gence/integrations/jax.py"
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ImportError, match=r"needs jax, which is not installed: pip install 'gence\[jax\]'"):
        runpy.run_path(str(module))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros((2, 3), int)}, "logits must be floating point"),
        ({"labels": np.zeros(3, int)}, r"class numbers of shape \(2,\), or class probabilities of shape \(2, 3\)"),
        ({"labels": np.zeros(2)}, "got float"),
        ({"axis": 2}, "axis must be an axis of logits, which has 2"),
        ({"axis": (1, -1)}, "axis must be"),
        ({"axis": None}, "axis must be"),
        ({"where": np.ones(2)}, "where must hold booleans"),
        ({"where": np.ones(3, bool)}, r"shape of the rows \(2,\)"),
        ({"weight": np.ones(2)}, r"weight must have one entry a class, shape \(3,\)"),
        ({"label_smoothing": 1.1}, r"label_smoothing must lie in \[0, 1\]"),
        ({"strength": float("inf")}, "strength must be a finite number"),
    ],
)
def test_bad_input_gets_one_line(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"logits": np.zeros((2, 3), np.float32), "labels": np.zeros(2, int)}
    with pytest.raises(InputError, match=message):
        generative_cross_entropy(**(given | change))
